"""A supervisor that starts deliverers and kills them with SIGKILL: run as a script by test_crashes.py.

It imports once and forks a process for each round, before it has opened any database itself. Every round gets a clock
one lease later, so that what a dead deliverer held may be claimed again.
"""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts import release, senders, transition
from monitor.alerts.deliver import LEASE, deliver_due
from monitor.alerts.senders import Means, Receipt
from monitor.settings import Settings
from monitor.store import alerts, outbox
from monitor.store import tables as t
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery
from monitor.store.session import make_engine, reading, writing
from tests.alerts.receivers import Receiver, make_model, verdict
from tests.keys import SECRET_KEY

CHANGES = ("decide", "acknowledge", "resolve")
CALM = 20  # turns at most until everything must have arrived
BEYOND = 3  # system calls in a row that a process does not come to: it has no more

Round = tuple[str, str, int | None]


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


def prepare(settings: Settings, now: int, act: str, number: int) -> None:
    """A model for the round with that number, with an alert unless that is to be decided."""
    engine = make_engine(settings)
    with writing(engine) as connection:
        model = make_model(connection, f"model{number}")
        if act != "decide":
            transition.apply(connection, 1, model.id, model.name, [verdict()], now, "")
    engine.dispose()


def change(settings: Settings, now: int, act: str, mode: str, number: int) -> None:
    """One transaction about the alert of the model with that number; die before or after it ends."""
    engine = make_engine(settings)
    with reading(engine) as connection:  # opening the database is no part of it
        model_id, name = connection.execute(
            sa.select(t.model.c.id, t.model.c.name).where(t.model.c.name == f"model{number}")
        ).one()
        found = alerts.list_alerts(connection, 1, limit=1, model_id=model_id)[0]
    if mode == "system call":
        stop_until_traced()
    with writing(engine) as connection:
        if act == "acknowledge":
            transition.acknowledge(connection, 1, found[0].id, "Ada", now, "")
        elif act == "resolve":
            transition.resolve(connection, 1, found[0].id, "Ada", now, "")
        elif not found:  # evaluation gives a window's evidence once
            transition.apply(connection, 1, model_id, name, [verdict()], now, "")
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


def run(
    settings: Settings, now: int, act: str, mode: str, count: int, kill_after: float | None = None, number: int = 0
) -> bool:
    """One process, killed at its `count`-th sending, message or system call; returns whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            if act in CHANGES:
                change(settings, now, act, mode, number)
            else:
                {"deliver": deliver, "release": let_go}[act](settings, now, mode, count)
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


def hunt(kills: int) -> Generator[Round, bool, None]:
    """Every system call of every act, until it has no more; then around its end and at random, until so many died."""
    died = 0
    for act in ("deliver", *CHANGES) if shutil.which("strace") else ():
        number, beyond = 1, 0
        while beyond < BEYOND:
            killed = yield act, "system call", number
            died, number, beyond = died + killed, number + 1, 0 if killed else beyond + 1
    for act, mode in itertools.cycle(itertools.product(("deliver", *CHANGES), ("before", "after", "random"))):
        if died >= kills:
            return
        died += yield act, mode, 1


def supervise(settings: Settings, rounds: Generator[Round, bool, None]) -> dict[str, int]:
    """Go through the rounds, then deliver in peace; counts of kills, by act and mode too, and of what still waits."""
    chance, now = random.Random(7), clock.now()
    counts: Counter[str] = Counter()
    killed: bool | None = None
    for number in itertools.count():
        try:
            act, mode, count = rounds.send(killed)  # type: ignore[arg-type]
        except StopIteration:
            break
        if act in CHANGES:
            in_peace(prepare, settings, now, act, number)
        kill_after = chance.uniform(0.002, 0.12 if act == "deliver" else 0.03) if mode == "random" else None
        killed = run(settings, now, act, mode, count or 0, kill_after, number)
        counts[f"{act}, {mode}"] += killed
        counts["kills"] += killed
        counts["rounds"] += 1
        if act in CHANGES:  # nobody heard of its end, so it is asked for again
            run(settings, now, act, "calm", 0, number=number)
        now += LEASE + 6 * clock.SECOND
    for _ in range(CALM):  # nobody is killed any more
        now += clock.DAY
        run(settings, now, "deliver", "calm", 0)
        waiting = in_peace(count_waiting, settings)
        if not waiting:
            break
    return {**counts, "waiting": waiting}


def count_waiting(settings: Settings) -> int:
    engine = make_engine(settings)
    with reading(engine) as connection:
        query = sa.select(sa.func.count()).where(t.delivery.c.state != "delivered")
        return min(100, connection.scalar(query) or 0)


def told_once(connection: Connection, receiver: Receiver) -> set[str]:
    """The ids of all messages, once it is sure that each was received, under one id and with one body, and that every
    event of an alert has one message."""
    written = set(connection.scalars(sa.select(t.delivery.c.id)))
    got = {(headers["webhook-id"], body) for headers, body, _ in list(receiver.requests)}
    assert {id_ for id_, _ in got} == written and len(got) == len(written)
    events = list(connection.execute(sa.select(t.alert_event.c.alert_id, t.alert_event.c.type)))
    messages = [(body["data"]["id"], body["type"]) for body in (json.loads(text) for _, text in got) if "data" in body]
    assert sorted(messages) == sorted(map(tuple, events)) and len(messages) == len(set(messages))
    return written


def in_peace(act: Callable[..., int | None], *arguments: Any) -> int:
    """What an act gives (0 to 100), in a process of its own, since this one opens no database before it forks."""
    child = os.fork()
    if child == 0:
        code = 111
        try:
            code = act(*arguments) or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 0 <= code <= 100
    return code


def listed(rounds: list[Round]) -> Generator[Round, bool, None]:
    """These rounds, whatever comes of them."""
    for one in rounds:
        _ = yield one


def main() -> None:
    """Arguments: the database's URL, and the rounds as JSON: [[act, mode, count or null], ...], or how many to kill; or
    `drain`."""
    settings = Settings(database_url=sys.argv[1], allow_networks="127.0.0.0/8", secret_key=SECRET_KEY)
    if sys.argv[2] == "drain":
        drain(settings)
        return
    asked = json.loads(sys.argv[2])
    print(json.dumps(supervise(settings, hunt(asked) if isinstance(asked, int) else listed(asked))))


if __name__ == "__main__":
    main()
