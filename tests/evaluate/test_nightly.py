"""The nightly test on rows of a log: what it finds, when, and that each day is judged once."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy.engine import Engine

from monitor import jobs
from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate import nightly
from monitor.settings import Settings
from monitor.stats.verdict import Verdict
from monitor.store import alerts, catalog, events, two_sample
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log

KINDS = {"x": "numeric", "y": "numeric", "z": "numeric", "w": "categorical"}
PER_DAY = 120
REFERENCE = 16  # days


def rows(day: int, bound: bool, prefix: str = "r") -> list[dict[str, Any]]:
    """A day of rows; bound: the sign of z is that of x times y, and nothing else has changed."""
    number = np.random.default_rng(day + 1000)
    x, y, z = number.normal(size=(3, PER_DAY))
    if bound:
        z = np.abs(z) * np.sign(x * y)
    levels = number.choice(["a", "b"], PER_DAY)
    return [
        {
            "id": f"{prefix}{day}-{i}",
            "timestamp": START + day * DAY + i * 12 * MINUTE,
            "prediction": "1",
            "features": {"x": float(x[i]), "y": float(y[i]), "z": float(z[i]), "w": str(levels[i])},
        }
        for i in range(PER_DAY)
    ]


def made(engine: Engine, window: str = "1h") -> Log:
    """A model with a reference of sixteen days before START."""
    log = Log.make(engine, features=KINDS, window=window, alert_budget={"false_alarms": 1, "per": "20d"}, segments=[])
    log.reference([row for day in range(-REFERENCE, 0) for row in rows(day, False)])
    return log


def judge(log: Log) -> tuple[int, list[Verdict]]:
    """The days that are due, and their verdicts."""
    log.build()
    given: list[Verdict] = []
    days = nightly.judge_days(
        log.engine, log.model_id, START, lambda _connection, _model, verdicts, _now: given.extend(verdicts)
    )
    return days, given


def test_three_features_that_begin_to_go_together_raise_an_alert_that_names_them(
    engine: Engine, settings: Settings
) -> None:
    log = made(engine, "1d")
    for day in range(11):
        log.predictions(rows(day, day >= 3))
    log.build()
    jobs.judge_days(engine, settings, log.model_id, START)
    with reading(engine) as connection:
        (alert,) = [one for one in alerts.list_alerts(connection, 1, limit=9)[0] if one.family == "multivariate"]
    cause = alert.causes[0]
    assert cause["feature"] == "x and y and z" and cause["metric"] == "classifier_auc"
    assert cause["effect"] > 0.1 and "AUC" in alert.text and alert.severity == "warning"
    assert START + 2 * DAY <= alert.first_evidence_at <= START + 5 * DAY < alert.opened_at
    others = log.evaluate()[1]
    assert others and {one.action for one in others} == {"none"}  # no column and no pair has changed


def test_an_alert_names_its_first_day_by_the_models_clock(sqlite_engine: Engine) -> None:
    budget = {"false_alarms": 1, "per": "20d"}
    log = Log.make(sqlite_engine, features=KINDS, timezone="Europe/Berlin", alert_budget=budget, segments=[])
    log.reference([row for day in range(-REFERENCE, 0) for row in rows(day, False)])
    for day in range(11):
        log.predictions(rows(day, day >= 3))
    told = next(one for one in judge(log)[1] if one.causes)
    assert " 00:00 Europe/Berlin" in told.causes[0].text, "days begin at midnight there, which is the day before in UTC"


def test_each_day_is_judged_once_in_order_and_after_its_grace(sqlite_engine: Engine) -> None:
    log = made(sqlite_engine)
    log.predictions(rows(0, False) + rows(1, False))
    days, given = judge(log)
    assert days == 1 and [one.window_start for one in given] == [START]  # the second day is not over
    assert judge(log) == (0, [])
    log.predictions(rows(5, False)[:11])
    days, given = judge(log)
    assert days == 1 and given[0].window_start == START + DAY  # days without rows are passed over
    assert given[0].threshold == pytest.approx(20 / 0.05)
    log.predictions([{**row, "timestamp": row["timestamp"] + 20 * HOUR} for row in rows(6, False, "late")])
    assert judge(log) == (2, [])  # of the day with eleven rows nothing can be said


def test_rows_that_come_after_the_grace_are_no_evidence(sqlite_engine: Engine) -> None:
    log = made(sqlite_engine)
    late = [{**row, "known_at": START + 3 * DAY} for row in rows(0, True)]
    log.predictions(rows(0, False, "t")[:99] + late + rows(1, False))
    assert [one.window_start for one in judge(log)[1]] == [START + DAY]  # 99 rows of the first were there in time


def test_the_order_of_arrival_and_repeated_looks_change_nothing(sqlite_engine: Engine, engine: Engine) -> None:
    straight, mixed = made(sqlite_engine), Log.make(sqlite_engine, "other", KINDS, segments=[])
    mixed.reference([row for day in range(-REFERENCE, 0) for row in rows(day, False)])
    days = [rows(day, day > 1) for day in range(5)]
    for day in days:
        straight.predictions(day)
    number, seen = np.random.default_rng(1), []
    for day in days:
        mixed.predictions([day[place] for place in number.permutation(PER_DAY)], block=7)
        seen += judge(mixed)[1]
    whole = judge(straight)[1]
    assert [one.evidence for one in seen] == [one.evidence for one in whole] and len(whole) == 4


def test_days_known_to_be_bad_and_days_of_a_paused_model_are_passed_over(sqlite_engine: Engine) -> None:
    log = made(sqlite_engine)
    for day in range(4):
        log.predictions(rows(day, False))
    with writing(sqlite_engine) as connection:
        bad = (START + HOUR, START + 2 * HOUR)
        events.add_event(connection, 1, log.model_id, "known_bad", *bad, "", START, "test")
    assert [one.window_start for one in judge(log)[1]] == [START + DAY, START + 2 * DAY]
    with writing(sqlite_engine) as connection:
        catalog.set_paused(connection, log.model, START)
    log.predictions(rows(4, False) + rows(5, False))
    assert judge(log) == (2, [])


def test_a_new_reference_ends_what_was_open_against_the_old_one(sqlite_engine: Engine) -> None:
    log = made(sqlite_engine)
    for day in range(9):
        log.predictions(rows(day, True))
    assert "open" in [one.action for one in judge(log)[1]]
    log.reference([row for day in range(-REFERENCE, 0) for row in rows(day, True, "n")])
    for day in range(9, 12):
        log.predictions(rows(day, True))
    assert [one.action for one in judge(log)[1]] == ["resolve", "none", "none"]


def test_a_reference_of_few_days_judges_nothing(sqlite_engine: Engine) -> None:
    log = Log.make(sqlite_engine, features=KINDS, segments=[])
    log.reference([row for day in range(-5, 0) for row in rows(day, False)])
    for day in range(4):
        log.predictions(rows(day, True))
    assert judge(log) == (3, [])


def test_of_two_workers_one_writes_a_day_and_erased_rows_are_sampled_again(engine: Engine) -> None:
    log = made(engine)
    for day in range(3):
        log.predictions(rows(day, False))
    assert judge(log)[0] == 2
    with writing(engine) as connection:
        memory = two_sample.read(connection, log.model_id)
        assert memory is not None
        assert not two_sample.save(connection, 1, log.model_id, memory, memory.judged_to - 1)
        assert not two_sample.save(connection, 1, log.model_id, memory, None)
        assert two_sample.save(connection, 1, log.model_id, memory, memory.judged_to)
        two_sample.forget_rows(connection, log.model_id)
    log.predictions(rows(3, False))
    assert judge(log)[0] == 1
