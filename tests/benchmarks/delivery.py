"""From the commit of an evaluation to the receiver: how long, with a worker as it runs, beside receivers that hang?

    python -m tests.benchmarks.delivery [--messages 300] [--hanging 20] [--database URL]

A worker runs in a process of its own, on SQLite and then on a PostgreSQL of its own (or on --database). Messages are
committed at random instants, as evaluation does, for a channel that answers; before, twenty other channels are given
ten messages each that hang. Timed is from the end of the commit to the arrival at the receiver. The last line is one
JSON object.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from monitor import clock
from monitor.settings import Settings
from monitor.store import outbox
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, writing
from tests.alerts.receivers import Handler, Receiver, hang, make_channel
from tests.benchmarks.databases import databases
from tests.keys import SECRET_KEY

ROOT = Path(__file__).parents[2]
MEAN_PAUSE = 0.1  # seconds between messages


def worker(url: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "KEEPWATCH_DATABASE_URL": url,
        "KEEPWATCH_SECRET_KEY": SECRET_KEY.get_secret_value(),
        "KEEPWATCH_ALLOW_NETWORKS": "127.0.0.0/8",
    }
    command = [sys.executable, "-m", "monitor.cli", "worker"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(url: str, messages: int, hanging: int) -> dict[str, Any]:
    settings = Settings(database_url=url, allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)
    engine = make_engine(settings, create=settings.embedded)
    upgrade(engine)
    arrived: dict[str, float] = {}

    def note(handler: Handler, number: int) -> None:
        arrived[handler.headers["webhook-id"]] = time.perf_counter()
        handler.answer(204)

    good, bad = Receiver(note), Receiver(hang)
    with writing(engine) as connection:
        channel = make_channel(connection, good.url, "good")
        for number in range(hanging):
            stuck = make_channel(connection, bad.url, f"stuck {number}")
            for _ in range(10):
                outbox.add(connection, stuck, "channel.test", None, "{}", clock.now())
        first = outbox.add(connection, channel, "channel.test", None, "{}", clock.now())
    process, chance, committed = worker(url), random.Random(7), {}
    while first not in arrived:  # the worker has started
        time.sleep(0.05)
    try:
        for _ in range(messages):
            time.sleep(chance.expovariate(1 / MEAN_PAUSE))
            with writing(engine) as connection:
                sent = outbox.add(connection, channel, "channel.test", None, "{}", clock.now())
            committed[sent] = time.perf_counter()
        until = time.monotonic() + 30
        while not committed.keys() <= arrived.keys() and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)  # some of its receivers hang
        process.wait()
        bad.released.set()
    seconds = [arrived.get(one, float("inf")) - committed[one] for one in committed]
    p50, p99 = (round(float(np.percentile(seconds, share)), 3) for share in (50, 99))
    engine.dispose()
    result = {"database": url.partition(":")[0], "messages": messages, "hanging": hanging}
    return result | {"p50_s": p50, "p99_s": p99, "longest_s": round(max(seconds), 3)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--hanging", type=int, default=20)
    parser.add_argument("--database")
    asked = parser.parse_args()
    results = [measure(url, asked.messages, asked.hanging) for url in databases(asked.database)]
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
