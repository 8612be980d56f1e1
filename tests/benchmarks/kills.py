"""Kill what decides, changes and sends alerts with SIGKILL, hundreds of times: is one lost, or sent under a second id?

    python -m tests.benchmarks.kills [--kills 500] [--database URL]

A process for each round: it lets evaluation's verdict act, acknowledges or resolves an alert, or sends a message, and
is killed at each of its system calls in turn until it has no more (with strace); then around its end and at random
until as many have died as were asked for. Whoever changed an alert asks once more, as a client does that got no
answer. Afterwards nobody is killed, and what the receiver got is compared with what was written: every event of an
alert once, every message under one id. The control is a sender that records before it sends: it must lose some. Then
two deliverers at once send five hundred messages. Without --database: SQLite, then a PostgreSQL of its own. The last
line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.deliver import LEASE
from monitor.settings import Settings
from monitor.store import outbox
from monitor.store import tables as t
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, reading, writing
from tests.alerts.crashes import Round
from tests.alerts.receivers import Receiver, make_channel
from tests.benchmarks.databases import databases
from tests.keys import SECRET_KEY

ROOT = Path(__file__).parents[2]
STEP = LEASE + 6 * clock.SECOND  # of the clock from round to round, as the supervisor has it
AT_ONCE = 500


def supervise(settings: Settings, rounds: list[Round] | int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.alerts.crashes", settings.url, json.dumps(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.stderr:
        print(done.stderr[-3000:], file=sys.stderr)
    if done.returncode:
        raise SystemExit(done.returncode)
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def fill(engine: Engine, url: str, count: int, step: int) -> dict[str, str]:
    """Messages that become due one after the other; by id their bodies."""
    start = clock.now() - clock.SECOND
    bodies = [json.dumps({"n": number}) for number in range(count)]
    with writing(engine) as connection:
        channel = make_channel(connection, url, f"c{time.monotonic_ns()}")
        return {
            outbox.add(connection, channel, "channel.test", None, body, start + number * step): body
            for number, body in enumerate(bodies)
        }


def tried(settings: Settings, rounds: list[Round] | int, messages: int) -> dict[str, int]:
    """What came of these rounds, or of as many kills, with so many messages to send beside the alerts'."""
    engine, receiver = make_engine(settings), Receiver()
    with writing(engine) as connection:
        for table in (t.delivery_attempt, t.delivery, t.notification, t.channel, t.alert_event, t.alert, t.model):
            connection.execute(sa.delete(table))  # what an earlier part left
    written = fill(engine, receiver.url, messages, STEP)
    result = supervise(settings, rounds)
    got = {(headers["webhook-id"], body.decode()) for headers, body, _ in receiver.requests}
    by_meaning: dict[str, set[str]] = {}
    for id_, body in got:
        read = json.loads(body)
        meaning = body if "data" not in read else f"{read['data']['id']} {read['type']}"
        by_meaning.setdefault(meaning, set()).add(id_)
    with reading(engine) as connection:
        sent = set(connection.scalars(sa.select(t.delivery.c.id)))
        events = [f"{row.alert_id} {row.type}" for row in connection.execute(sa.select(t.alert_event))]
    engine.dispose()
    repeats = len(receiver.requests) - len(got)
    receiver.close()
    ids = {id_ for id_, _ in got}
    return {
        **result,
        "messages": len(sent),
        "lost": len((sent | written.keys()) - ids) + len(set(events) - by_meaning.keys()),
        "second_ids": sum(len(found) - 1 for found in by_meaning.values()) + len(ids - sent),
        "events_twice": len(events) - len(set(events)),
        "repeats": repeats,
    }


def at_once(settings: Settings) -> dict[str, int]:
    """Two deliverers in processes of their own send the same messages: how many went out twice?"""
    engine, receiver = make_engine(settings), Receiver()
    written = fill(engine, receiver.url, AT_ONCE, -1)
    engine.dispose()
    command = [sys.executable, "-m", "tests.alerts.crashes", settings.url, "drain"]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    for process in processes:
        process.wait()
    counts = Counter(receiver.ids)
    receiver.close()
    return {"sent": len(counts), "missing": len(written) - len(counts), "doubles": sum(counts.values()) - len(counts)}


def measure(url: str, kills: int) -> dict[str, Any]:
    settings = Settings(database_url=url, allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)
    engine = make_engine(settings, create=settings.embedded)
    upgrade(engine)
    engine.dispose()
    started = time.perf_counter()
    found: dict[str, Any] = {"database": url.partition(":")[0], **tried(settings, kills, kills)}
    found["control_lost"] = tried(settings, [("deliver", "mark first", 1)] * 3, 3)["lost"]
    found["at_once"] = at_once(settings)
    found["seconds"] = round(time.perf_counter() - started, 1)
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--database")
    asked = parser.parse_args()
    results = [measure(url, asked.kills) for url in databases(asked.database)]
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
