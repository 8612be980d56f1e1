"""Monitors by hand in an evaluation: once a window, on final numbers, through the same alerts."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import jobs
from monitor.alerts import transition
from monitor.clock import DAY, HOUR, MINUTE
from monitor.errors import Invalid
from monitor.evaluate import events, run, watched
from monitor.evaluate.events import Asked
from monitor.evaluate.rules import read_rule, rule_json
from monitor.evaluate.watched import Monitor
from monitor.settings import Settings
from monitor.store import alerts, channels
from monitor.store import tables as t
from monitor.store.alerts import Alert
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows
from tests.keys import SECRET_KEY

FEATURES = {"x": "numeric", "carrier": "categorical"}
FEW = {"conditions": [{"metric": "volume", "op": "<", "value": 30}]}
WRONG = {"conditions": [{"metric": "accuracy", "op": "<", "value": 0.5}], "min_rows": 20}


@pytest.fixture
def log(make_log: Callable[..., Log]) -> Log:
    return make_log(features=FEATURES, label_delay="4h")


def put(log: Log, name: str, body: dict[str, Any]) -> Monitor:
    with writing(log.engine) as connection:
        rule = read_rule(connection, log.model, body)
        return watched.put_monitor(connection, 1, log.model_id, name, rule, START, "ann")[0]


def at(log: Log, name: str) -> Monitor:
    with reading(log.engine) as connection:
        return watched.get_monitor(connection, log.model_id, name)


def send(log: Log, hour: int, rows: int = 60, **more: Any) -> list[dict[str, Any]]:
    step = 5 * MINUTE if rows <= 12 else MINUTE
    made = binary_rows(rows, start=START + hour * HOUR, prefix=f"h{hour}-", seed=hour, step=step)
    made = [{**row, **more} for row in made]
    log.predictions(made)
    return made


def evaluate(log: Log) -> None:
    """An evaluation with its alerts, as the worker does it."""
    jobs.evaluate_fully(log.engine, Settings(), log.model_id, START)


def alerts_of(log: Log, family: str) -> list[Alert]:
    with reading(log.engine) as connection:
        found, _ = alerts.list_alerts(connection, 1, limit=50, model_id=log.model_id)
    return [one for one in found if one.family == family][::-1]


def test_it_fires_and_resolves_with_its_cause_and_interval(log: Log) -> None:
    put(log, "slow", {"conditions": [{"metric": "latency_p95", "op": ">", "value": 20}], "windows": 2})
    for hour, latency in enumerate((7.0, 40.0, 40.0, 40.0, 7.0, 7.0, 7.0)):
        send(log, hour, latency_ms=latency)
    evaluate(log)
    (alert,) = alerts_of(log, "monitor:slow")
    assert alert.state == "resolved" and alert.severity == "warning"
    assert (alert.first_evidence_at, alert.opened_at) == (START + HOUR, START + 3 * HOUR + 10 * MINUTE)
    assert alert.resolved_at == START + 6 * HOUR + 10 * MINUTE  # as many good windows as bad ones
    (cause,) = alert.causes
    assert cause["metric"] == "latency_p95" and cause["low"] <= cause["effect"] <= cause["high"]
    assert "above 20 ms, 2 windows in a row" in alert.text and "latency_p95 is" in alert.text
    assert alert.budget == {"monitor": "slow", "windows": 2, "threshold": 2.0}


def test_a_window_without_rows_has_a_volume_of_nought(log: Log) -> None:
    put(log, "few", FEW)
    send(log, 0)
    send(log, 3)
    send(log, 4)
    evaluate(log)
    (alert,) = alerts_of(log, "monitor:few")
    assert alert.first_evidence_at == START + HOUR and "volume is 0 rows, below 30 rows" in alert.text
    assert alert.state == "resolved"


def test_late_rows_restate_the_number_and_page_nobody(log: Log) -> None:
    put(log, "few", FEW)
    send(log, 0, rows=10)
    send(log, 1)
    send(log, 2)
    evaluate(log)
    (alert,) = alerts_of(log, "monitor:few")
    seen = at(log, "few")
    send(log, 0, rows=59)
    late = binary_rows(50, start=START + HOUR, prefix="late")
    log.predictions(late)
    evaluate(log)
    assert [one.id for one in alerts_of(log, "monitor:few")] == [alert.id]
    assert at(log, "few") == seen
    assert log.measurements()[0].revision == 1


def test_one_that_needs_outcomes_waits_for_them_and_ignores_small_numbers(log: Log) -> None:
    put(log, "wrong", WRONG)
    for hour in range(8):
        rows = send(log, hour, rows=60 if hour != 1 else 10)
        flipped = [(one["id"], "0" if one["prediction"] == "1" else "1", START + (hour + 2) * HOUR) for one in rows]
        log.outcomes(flipped if hour in (1, 2) else actuals(rows))
    evaluate(log)
    (alert,) = alerts_of(log, "monitor:wrong")
    assert alert.first_evidence_at == START + 2 * HOUR  # of hour 1 there were ten rows
    assert alert.opened_at == START + 7 * HOUR  # its label delay
    last = at(log, "wrong").last
    assert last is not None and last.start <= START + 3 * HOUR


def test_segments_and_versions_have_numbers_of_their_own(log: Log) -> None:
    log.reference(binary_rows(600, seed=3, start=START - 10 * DAY), ["0", "1"] * 300)
    put(log, "aa", {"conditions": [{"metric": "volume", "op": ">", "value": 0, "segment": "carrier:AA"}]})
    put(log, "v2", {"conditions": [{"metric": "latency_p50", "op": ">", "value": 20, "version": "2"}]})
    put(log, "psi", {"conditions": [{"metric": "psi", "op": ">=", "value": 0, "feature": "x"}]})
    send(log, 0, version="1", latency_ms=40.0)
    send(log, 1, rows=60, version="2", latency_ms=40.0)
    send(log, 2)
    evaluate(log)
    segment = at(log, "aa").last
    assert segment is not None and segment.readings[0].value is not None and 5 < segment.readings[0].value < 60
    (alert,) = alerts_of(log, "monitor:v2")
    assert alert.first_evidence_at == START + HOUR and "version 2 is" in alert.text
    (drift,) = alerts_of(log, "monitor:psi")
    assert drift.causes[0]["feature"] == "x"


def test_composites_name_the_conditions_that_were_met(log: Log) -> None:
    slow = {"metric": "latency_p50", "op": ">", "value": 20}
    few = {"metric": "volume", "op": "<", "value": 30}
    put(log, "both", {"conditions": [slow, few]})
    put(log, "either", {"conditions": [slow, few], "match": "any"})
    send(log, 0, latency_ms=40.0)
    send(log, 1, rows=10, latency_ms=40.0)
    send(log, 2)
    evaluate(log)
    (both,) = alerts_of(log, "monitor:both")
    assert both.first_evidence_at == START + HOUR
    assert {one["metric"] for one in both.causes} == {"latency_p50", "volume"}
    (either,) = alerts_of(log, "monitor:either")
    assert either.first_evidence_at == START


def test_known_bad_windows_and_those_of_a_paused_model_are_passed_over(log: Log) -> None:
    put(log, "few", FEW)
    with writing(log.engine) as connection:
        events.add(connection, log.model, Asked("known_bad", START, START + HOUR, ""), START, "ann")
    send(log, 0, rows=10)
    send(log, 1)
    send(log, 2)
    evaluate(log)
    assert alerts_of(log, "monitor:few") == []
    last = at(log, "few").last
    assert last is not None and last.start == START + HOUR


def test_an_alert_that_was_resolved_by_hand_opens_again_after_as_many_windows(log: Log) -> None:
    put(log, "few", {**FEW, "windows": 2})
    for hour in range(3):
        send(log, hour, rows=10)
    evaluate(log)
    (alert,) = alerts_of(log, "monitor:few")
    with writing(log.engine) as connection:
        transition.resolve(connection, 1, alert.id, "ann", START, "")
    send(log, 3, rows=10)
    evaluate(log)
    assert [one.state for one in alerts_of(log, "monitor:few")] == ["resolved"]
    send(log, 4, rows=10)
    evaluate(log)
    assert [one.state for one in alerts_of(log, "monitor:few")] == ["firing"]  # within the cool-down: the same one


def test_a_change_of_the_rule_meanwhile_wins_over_the_evaluation(log: Log) -> None:
    put(log, "few", FEW)
    send(log, 0, rows=10)
    send(log, 1)
    log.build()
    with reading(log.engine) as connection:
        (judged,) = run.judge_due(connection, log.model, START + HOUR + 10 * MINUTE, 5)
    assert judged.seen[0].verdict is not None
    put(log, "few", {"conditions": [{"metric": "volume", "op": "<", "value": 3}]})
    given: list[Any] = []
    assert run._write(log.engine, log.model, judged, START + 2 * HOUR, lambda *rest: given.append(rest))
    assert given == [] and at(log, "few").last is None


def test_the_message_is_written_with_the_alert(engine: Engine) -> None:
    log = Log.make(engine, features=FEATURES, label_delay="4h")
    put(log, "few", FEW)
    with writing(engine) as connection:
        url, secret = "https://example.org/x", "whsec_" + "a" * 40
        made = channels.Channel(channels.new_id(), 1, "webhook", "on-call", url, secret, (), 0)
        channels.add_channel(connection, made, SECRET_KEY, "ann")
    send(log, 0, rows=10)
    send(log, 1)
    evaluate(log)
    with engine.connect() as connection:
        sent = connection.execute(t.delivery.select()).all()
    assert [one.type for one in sent] == ["alert.firing"] and '"family":"monitor:few"' in sent[0].body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "conditions"),
        ({"conditions": []}, "conditions"),
        ({"conditions": [FEW["conditions"][0]] * 11}, "conditions"),
        ({"conditions": ["x"]}, "conditions[0]"),
        ({"conditions": [{"op": ">", "value": 1}]}, "conditions[0].metric"),
        ({"conditions": [{"metric": "rmse", "op": ">", "value": 1}]}, "conditions[0].metric"),
        ({"conditions": [{"metric": "volume", "op": "=", "value": 1}]}, "conditions[0].op"),
        ({"conditions": [{"metric": "volume", "op": ">"}]}, "conditions[0].value"),
        ({"conditions": [{"metric": "volume", "op": ">", "value": "1"}]}, "conditions[0].value"),
        ({"conditions": [{"metric": "volume", "op": ">", "value": 1, "clear": 2}]}, "conditions[0].clear"),
        ({"conditions": [{"metric": "volume", "op": "<", "value": 2, "clear": 1}]}, "conditions[0].clear"),
        ({"conditions": [{"metric": "psi", "op": ">", "value": 1, "feature": "y"}]}, "conditions[0].feature"),
        ({"conditions": [{"metric": "volume", "op": ">", "value": 1, "feature": "x"}]}, "conditions[0].feature"),
        ({"conditions": [{"metric": "volume", "op": ">", "value": 1, "colour": "x"}]}, "conditions[0].colour"),
        ({**FEW, "windows": 0}, "windows"),
        ({**FEW, "windows": True}, "windows"),
        ({**FEW, "min_rows": -1}, "min_rows"),
        ({**FEW, "match": "most"}, "match"),
        ({**FEW, "missing": "page"}, "missing"),
        ({**FEW, "severity": "loud"}, "severity"),
        ({**FEW, "threshold": 1}, "threshold"),
    ],
)
def test_a_wrong_rule_names_the_field(log: Log, body: dict[str, Any], field: str) -> None:
    with reading(log.engine) as connection, pytest.raises(Invalid) as caught:
        read_rule(connection, log.model, body)
    assert field in [one["field"] for one in caught.value.errors]


def test_a_rule_reads_back_as_it_is_shown(log: Log) -> None:
    body = {"conditions": [{"metric": "psi", "op": ">", "value": 0.3, "clear": 0.2, "feature": "x"}], "windows": 3}
    made = put(log, "drift", body)
    with reading(log.engine) as connection:
        assert read_rule(connection, log.model, rule_json(made.rule)) == made.rule == at(log, "drift").rule
    assert made.rule.resolve_windows == 3
