"""A supervisor that starts deliverers and kills them with SIGKILL: run as a script by test_crashes.py.

It imports once and forks a process for each round, before it has opened any database itself. Every round gets a clock
one lease later, so that what a dead deliverer held may be claimed again.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from monitor import clock
from monitor.alerts import release, senders
from monitor.alerts.deliver import LEASE, deliver_due
from monitor.alerts.senders import Means, Receipt
from monitor.alerts.transition import apply
from monitor.settings import Settings
from monitor.store import alerts, outbox
from monitor.store import tables as t
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery
from monitor.store.session import make_engine, reading, writing
from tests.alerts.receivers import verdict
from tests.keys import SECRET_KEY


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def stop_until_traced() -> None:
    """Do everything in one thread from here on, so that its system calls have one order, and wait for the tracer."""

    def start(self: threading.Thread) -> None:
        self.run()

    threading.Thread.start = start  # type: ignore[method-assign]
    os.kill(os.getpid(), signal.SIGSTOP)


def deliver(settings: Settings, now: int, mode: str, count: int) -> None:
    """Deliver; die before or after the sending with that number, or never."""
    engine = make_engine(settings)
    numbers = itertools.count(1)  # the threads of a deliverer share it
    if mode == "system call":
        with reading(engine) as connection:  # opening the database is no part of a delivery
            outbox.any_due(connection, now)
        stop_until_traced()

    def send(channel: Channel, delivery: Delivery, at: int, means: Means) -> Receipt:
        number = next(numbers)
        if mode == "mark first":  # the control: what a sender does that records before it sends
            with writing(engine) as connection:
                done = outbox.Attempt(at, 200, None, "", 0)
                outbox.finish(connection, delivery, done, next_attempt_at=None)
        if number == count and mode in ("before", "mark first"):
            die()
        receipt = senders.send(channel, delivery, at, means)
        if number == count and mode == "after":
            die()
        return receipt

    deliver_due(engine, settings, now, send=send, patience=10)
    engine.dispose()


def drain(settings: Settings) -> None:
    """Deliver by the real clock until nothing waits any more."""
    engine = make_engine(settings)
    waiting = sa.select(sa.func.count()).where(t.delivery.c.state == "pending")
    while True:
        deliver_due(engine, settings, clock.now(), patience=10)
        with reading(engine) as connection:
            if not connection.scalar(waiting):
                break
        time.sleep(0.01)
    engine.dispose()


def decide(settings: Settings, now: int, mode: str, _count: int) -> None:
    """Let a verdict act once, as evaluation does; die before or after its transaction ends."""
    engine = make_engine(settings)
    with writing(engine) as connection:
        model_id, name = connection.execute(sa.select(t.model.c.id, t.model.c.name)).one()
        if not alerts.list_alerts(connection, 1, limit=1)[0]:
            apply(connection, 1, model_id, name, [verdict()], now, "")
        if mode == "before":
            die()
    if mode == "after":
        die()
    engine.dispose()


def let_go(settings: Settings, now: int, mode: str, count: int) -> None:
    """Release what was held back; die inside the transaction of a message, after it, or never."""
    engine = make_engine(settings)
    add, numbers = outbox.add, itertools.count(1)

    def add_and_die(*arguments: Any) -> str:
        made = add(*arguments)
        if next(numbers) == count:
            die()
        return made

    if mode == "before":
        release.outbox.add = add_and_die  # type: ignore[attr-defined]
    release.release_due(engine, "", now)
    if mode == "after":
        die()
    engine.dispose()


def run(settings: Settings, now: int, act: str, mode: str, count: int, kill_after: float | None) -> bool:
    """One process; returns whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            {"deliver": deliver, "decide": decide, "release": let_go}[act](settings, now, mode, count)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    if mode == "system call" and not trace(child, count):
        return False
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def trace(child: int, number: int) -> bool:
    """Let a stopped process go on until its system call with that number, at which it is killed; False: it is gone."""
    if not os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]):
        return False
    kill = f"inject=all:signal=SIGKILL:when={number}"
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=all", "-e", kill, "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
        while tracer.poll() is None and not _traced(child):
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
        tracer.wait()
    return True


def _traced(pid: int) -> bool:
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # gone already


def main() -> None:
    """Arguments: the database's URL and the rounds, as JSON: [[act, mode, count or null], …]; null: at random. Or
    `drain`."""
    settings = Settings(database_url=sys.argv[1], allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)
    if sys.argv[2] == "drain":
        drain(settings)
        return
    chance = random.Random(7)
    kills, now = 0, clock.now()
    unharmed = 0  # system calls that a delivery does not come to
    for act, mode, count in json.loads(sys.argv[2]):
        kill_after = chance.uniform(0.005, 0.12) if mode == "random" else None
        killed = run(settings, now, act, mode, count or 0, kill_after)
        kills += killed
        unharmed += mode == "system call" and not killed
        now += LEASE + 6 * clock.SECOND
    for _ in range(3):  # nobody is killed any more
        run(settings, now, "deliver", "calm", 0, None)
        now += LEASE + 6 * clock.SECOND
    engine = make_engine(settings)
    with reading(engine) as connection:
        waiting = connection.scalar(sa.select(sa.func.count()).where(t.delivery.c.state != "delivered"))
    engine.dispose()
    print(json.dumps({"kills": kills, "waiting": waiting, "unharmed": unharmed}))


if __name__ == "__main__":
    main()
