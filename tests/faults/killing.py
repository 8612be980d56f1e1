"""Kill the ingest process again and again under load, and judge what is left: run as a script.

    python -m tests.faults.killing URL [--random N] [--calls STEP] [--controls N]

At random: four clients send, and SIGKILL falls somewhere in the first moments. At calls: one client sends, and SIGKILL
falls at the first, second, … call (each, with a step of 1) that writes, syncs or answers, until a round ends without
one; on PostgreSQL also the backend that writes is killed so, and the server recovers. Controls are rounds of their own
with a fault that must be found: a writer that answers before it commits loses rows, rows without ids are doubled by
retries. The last line is one JSON object. The database must be empty and migrated.
"""

import argparse
import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.ingest import writer
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog, keys
from monitor.store.session import is_sqlite, make_engine, reading, writing
from tests.faults.forked import Alter, Forked, strace
from tests.faults.ledger import Found, Ledger
from tests.keys import SECRET_KEY

CLIENTS = 4
ANSWERS, MOMENTS = 30, 0.02  # a random kill falls after up to so many answers, and so many seconds
LINGERING = 0.1  # seconds from a commit to its answer in the control that kills between the two
REQUESTS = 6  # of a round that is killed at a call
# What a process does to its files (SQLite), and what it says: to clients, and to PostgreSQL.
FILES = "pwrite64,fdatasync,fsync,ftruncate,unlink"
SAID = "write,writev,sendto,sendmsg"


def early(_engine: Engine) -> None:
    """The planted fault: a writer that answers before it commits."""
    commit = writer.Writer._commit

    def hasty(self: Writer, group: list[Any]) -> None:
        for request in group:
            count = len(request.batch.rows) if isinstance(request.batch, writer.OutcomeBatch) else request.batch.rows
            request.future.set_result(Answer(accepted=count))
            request.future = Future()
        time.sleep(0.003)
        commit(self, group)

    writer.Writer._commit = hasty  # type: ignore[method-assign]


def slow_to_answer(engine: Engine) -> None:
    """For the control without ids: most kills fall between a commit and its answer, which else is a moment."""
    whole = writer.writing
    often(engine)

    @contextmanager
    def lingering(of: Engine) -> Iterator[Connection]:
        with whole(of) as connection:
            yield connection
        time.sleep(LINGERING)

    writer.writing = lingering  # type: ignore[assignment]


def often(engine: Engine) -> None:
    """Let SQLite copy its log into the database every few pages, so that kills fall into that too."""
    if is_sqlite(engine):
        sa.event.listen(engine, "connect", lambda raw, _record: raw.execute("PRAGMA wal_autocheckpoint=8"))


def _client(ledger: Ledger, port: int, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while ledger.send(connection, key):
        pass


def at_random(settings: Settings, ledger: Ledger, key: str, kills: int, alter: Alter, moments: float = MOMENTS) -> int:
    """Rounds that are killed at a random moment of the load; how many."""
    chance = random.Random(kills)
    for _ in range(kills):
        service = Forked(settings, alter)
        threads = [threading.Thread(target=_client, args=(ledger, service.port, key)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        ledger.wait_for(chance.randrange(ANSWERS), timeout=20)
        time.sleep(chance.uniform(0.0, moments))
        service.kill()
        for thread in threads:
            thread.join()
    return kills


def at_calls(settings: Settings, ledger: Ledger, key: str, calls: str, step: int, alter: Alter) -> int:
    """Rounds that are killed at the first, second, … of these calls of a thread; how many until none was."""
    for number in range(1, 10_000, step):
        service = Forked(settings, alter)
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        ledger.send(connection, key)  # opening the database is no part of it
        tracer = strace(service.pid, _killing(calls, number))
        alive = all(ledger.send(connection, key, 2) for _ in range(REQUESTS))
        connection.close()
        service.kill()
        tracer.wait()
        if alive:
            return number // step
    raise AssertionError("a round of six requests has no end")


def _killing(calls: str, number: int) -> list[str]:
    """The options of strace that kill a thread's process at its call with that number."""
    return ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={number}"]


def at_backend(settings: Settings, engine: Engine, ledger: Ledger, key: str, step: int) -> int:
    """As `at_calls`, of the PostgreSQL process that writes for us: its server recovers, ours goes on; how many."""
    calls = "pwrite64,pwritev,fdatasync,fsync"
    service = Forked(settings)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    own = sa.text(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    try:
        for number in range(1, 10_000, step):
            calm(ledger, connection, key)
            with reading(engine) as found:
                backends = found.execute(own).scalars().all()
            engine.dispose()
            tracers = [strace(pid, _killing(calls, number)) for pid in backends]
            for _ in range(REQUESTS):
                ledger.send(connection, key, 2)
            killed = [pid for pid in backends if not Path(f"/proc/{pid}").exists()]
            for tracer in tracers:
                tracer.terminate()
                tracer.wait()
            if not killed:
                return number // step
    finally:
        service.stop()
    raise AssertionError("a round of six requests has no end")


def calm(ledger: Ledger, connection: http.client.HTTPConnection, key: str) -> None:
    """Send until nothing is open: whatever was at work recovers meanwhile."""
    deadline = time.monotonic() + 60
    while not ledger.send(connection, key, 1) or ledger.open:
        assert time.monotonic() < deadline, "nothing is acknowledged any more"
        time.sleep(0.005)


def prepare(engine: Engine, *models: str) -> str:
    """These models, and a key for them."""
    with writing(engine) as connection:
        body = {"task": "binary", "features": {"x": {"kind": "numeric"}}}
        for name in models:
            catalog.put_model(connection, 1, name, body, clock.now(), "test")
        key = keys.create_key(connection, 1, "faults", "ingest", clock.now())
    engine.dispose()  # children must not inherit a connection
    return key


def judged(settings: Settings, engine: Engine, ledger: Ledger, key: str, alter: Alter) -> Found:
    """What is found when everything that was sent has been acknowledged, by a service that nobody kills."""
    service = Forked(settings, alter)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    calm(ledger, connection, key)
    connection.close()
    service.stop()
    with reading(engine) as found:
        result = ledger.compare(found)
    engine.dispose()
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--calls", type=int, default=0, metavar="STEP")
    parser.add_argument("--controls", type=int, default=0)
    asked = parser.parse_args()
    settings = Settings(database_url=asked.url, secret_key=SECRET_KEY)
    engine = make_engine(settings)
    key = prepare(engine, "m", "early", "anonymous")
    ledger = Ledger("m", asked.random)
    kills = {"random": at_random(settings, ledger, key, asked.random, often)}
    if asked.calls:
        kills["said"] = at_calls(settings, ledger, key, SAID, asked.calls, often)
        if settings.embedded:
            kills["files"] = at_calls(settings, ledger, key, FILES, asked.calls, often)
        else:
            kills["backend"] = at_backend(settings, engine, ledger, key, asked.calls)
    result = {"kills": kills, **asdict(judged(settings, engine, ledger, key, often))}
    for name, alter, moments in (("early", early, MOMENTS), ("anonymous", slow_to_answer, LINGERING)):
        planted = Ledger(name, 1, with_ids=name != "anonymous")
        if at_random(settings, planted, key, asked.controls, alter, moments):
            found = judged(settings, engine, planted, key, alter)
            result["control_" + name] = {"lost": found.lost, "doubled": found.doubled}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
