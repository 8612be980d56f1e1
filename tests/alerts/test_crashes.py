"""SIGKILL between the decision, the sending and the record: no alert is lost, none gets a second id."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.rules import read_silence
from monitor.alerts.transition import apply
from monitor.settings import Settings
from monitor.store import outbox
from monitor.store import tables as t
from monitor.store.session import reading, writing
from monitor.store.silences import add_silence
from tests.alerts.crashes import CHANGES, told_once
from tests.alerts.receivers import Receiver, make_channel, make_model, verdict

MESSAGES = 24
ROOT = Path(__file__).parents[2]


def _supervise(settings: Settings, rounds: list[tuple[str, str, int | None]]) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.alerts.crashes", settings.url, json.dumps(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    result: dict[str, int] = json.loads(done.stdout)
    return result


def _fill(engine: Engine, receiver: Receiver) -> set[str]:
    start = clock.now() - MESSAGES
    with writing(engine) as connection:
        channel = make_channel(connection, receiver.url)
        return {
            outbox.add(connection, channel, "channel.test", None, json.dumps({"n": n}), start + n)
            for n in range(MESSAGES)
        }


def test_killed_around_the_decision_the_sending_and_the_record_nothing_is_lost_and_nothing_gets_a_second_id(
    settings: Settings, engine: Engine, receiver: Callable[..., Receiver]
) -> None:
    one = receiver()
    ids = _fill(engine, one)
    engine.dispose()
    changes = [(act, mode, None) for act in CHANGES for mode in ("before", "after")]
    sendings = [("deliver", mode, count) for count in (1, 3) for mode in ("before", "after")]
    result = _supervise(settings, [*changes, *sendings, *[("deliver", "random", None)] * 6])
    assert result["kills"] >= 14 and result["waiting"] == 0
    with reading(engine) as connection:
        told = told_once(connection, one)
        assert len(told) == MESSAGES + len(changes) + 4  # each alert, and that four of them ended or were seen
        happened = Counter(connection.scalars(sa.select(t.alert_event.c.type)))
    assert happened == {"alert.firing": 6, "alert.acknowledged": 2, "alert.resolved": 2}
    counts = Counter(one.ids)
    assert set(counts) == told >= ids
    assert max(counts.values()) > 1  # killed after sending, it was sent again: at least once, under one id


def test_killed_while_a_silence_lets_go_each_alert_is_told_once_under_one_id(
    settings: Settings, engine: Engine, receiver: Callable[..., Receiver]
) -> None:
    one, now = receiver(), clock.now()
    with writing(engine) as connection:
        make_channel(connection, one.url)
        everything = {"matchers": [{"name": "model", "value": ".+", "isRegex": True}]}
        add_silence(connection, read_silence({**everything, "endsAt": clock.render(now)}, 1, now - 9, "Ada"))
        for number in range(MESSAGES):
            model = make_model(connection, f"m{number}")
            apply(connection, 1, model.id, model.name, [verdict()], now - 5, "")
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.delivery)) == 0
    engine.dispose()
    deaths = [("release", "before", count) for count in (1, 7, MESSAGES)] + [("release", "random", None)] * 4
    result = _supervise(settings, [*deaths, ("release", "after", None), ("release", "calm", None)])
    assert result["kills"] >= 4 and result["waiting"] == 0
    told = [json.loads(body)["data"]["model"] for _, body, _ in one.requests]
    assert len(one.ids) == len(set(one.ids)) == len(set(told)) == MESSAGES
    with reading(engine) as connection:
        assert set(connection.scalars(sa.select(t.notification.c.state))) == {"sent"}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it kills at a system call")
def test_killed_at_system_calls_of_the_sender_nothing_is_lost_and_nothing_gets_a_second_id(
    sqlite_settings: Settings, sqlite_engine: Engine, receiver: Callable[..., Receiver]
) -> None:
    """Every 30th of them; `python -m tests.benchmarks.kills` takes each."""
    one = receiver()
    ids = _fill(sqlite_engine, one)
    sqlite_engine.dispose()
    result = _supervise(sqlite_settings, [("deliver", "system call", number) for number in range(1, 360, 30)])
    assert result["kills"] >= 8 and result["waiting"] == 0
    assert set(one.ids) == ids


def test_a_deliverer_that_records_before_it_sends_would_lose_messages(
    sqlite_settings: Settings, sqlite_engine: Engine, receiver: Callable[..., Receiver]
) -> None:
    """The control: the same harness notices the loss."""
    one = receiver()
    ids = _fill(sqlite_engine, one)
    sqlite_engine.dispose()
    result = _supervise(sqlite_settings, [("deliver", "mark first", 2)])
    assert (result["kills"], result["waiting"]) == (1, 0) and set(one.ids) < ids
