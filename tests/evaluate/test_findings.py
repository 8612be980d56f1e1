"""Schema in motion: whatever a sender changes, and wherever, no row is lost, no job fails, and people are told."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.clock import HOUR, MINUTE
from monitor.doctor import models as doctor
from monitor.evaluate import findings, health
from monitor.evaluate.references import put_reference
from monitor.ingest.decode import decode_predictions
from monitor.ingest.prepare import validated
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import alerts, catalog, schema_findings
from monitor.store.schema_findings import MISSING, NEW, RETYPED, Seen
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, to_batch

ROWS, PER_HOUR, HOURS = 90, 30, 3
NOW = START + (HOURS + 1) * HOUR
SCHEMA = {"amount": {"kind": "numeric"}, "city": {"kind": "categorical"}, "member": {"kind": "boolean"}}


def row(number: int, changed: bool = False) -> dict[str, Any]:
    """A row; changed, a feature is new, one is gone, and one comes as text."""
    at = clock.render(START + number * HOUR // PER_HOUR)
    features = {"amount": 1.5 + number % 7, "city": "AB"[number % 2], "member": number % 3 == 0}
    if changed:
        features |= {"amount": "much", "coupon": {"code": [1, None]}}
        del features["city"]
    return {"id": f"r{number}", "timestamp": at, "known_at": at, "prediction": number % 2, "features": features}


class Stream:
    """Models of one database, and a writer for them."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        self.writer = Writer(engine, settings, now=lambda: NOW)
        self.writer.start()
        self.logs: dict[str, Log] = {}

    def make(self, name: str, rows: int = 40, apart: int = MINUTE) -> Log:
        body = {"task": "binary", "features": SCHEMA, "clock": "wall", "segments": []}
        with writing(self.engine) as connection:
            model, _ = catalog.put_model(connection, 1, name, body, START, "test")
        times = [START - (rows - i) * apart for i in range(rows)]
        sent = [row(i) | {"id": f"ref{i}", "timestamp": at, "known_at": at} for i, at in enumerate(times)]
        for one in sent:
            one["prediction"] = str(one["prediction"])
        put_reference(self.engine, model, to_batch(sent, "binary", {"": 0}), None, None, None, START)
        self.logs[name] = Log(self.engine, model.id)
        return self.logs[name]

    def send(self, name: str, rows: list[dict[str, Any]]) -> None:
        model, times = self.writer.model(1, name)
        draft = decode_predictions(json.dumps({"rows": rows}).encode(), model)
        answer = self.writer.submit(model, validated(draft, model, times, "predictions")).result(30)
        assert (answer.accepted, answer.rejected) == (len(rows), [])

    def evaluate(self, name: str, now: int = NOW) -> None:
        assert jobs.evaluate_fully(self.engine, self.settings, self.logs[name].model_id, now).complete

    def found(self, name: str) -> dict[tuple[str, str], tuple[int, int, int]]:
        with reading(self.engine) as connection:
            listed = schema_findings.read(connection, 1, self.logs[name].model_id)
        return {(one.feature, one.kind): (one.rows, one.first_at, one.last_at) for one in listed}

    def told(self, name: str, now: int = NOW) -> tuple[health.Health, list[str]]:
        """The model's health, and what the doctor says of its schema."""
        with reading(self.engine) as connection:
            model = self.logs[name].model
            state = health.health(connection, model, now)
            listed = [one.level for one in doctor.examine(connection, model, now) if one.area == "schema"]
        return state, listed


@pytest.fixture
def stream(engine: Engine, settings: Settings) -> Iterator[Stream]:
    made = Stream(engine, settings)
    yield made
    made.writer.stop()


def test_a_change_at_any_row_is_told_and_leaves_earlier_windows_as_they_were(stream: Stream) -> None:
    plain = stream.make("plain")
    stream.send("plain", [row(i) for i in range(ROWS)])
    stream.evaluate("plain")
    assert stream.found("plain") == {}
    assert stream.told("plain")[0].state == "healthy"
    for change in range(0, ROWS, 11 if stream.settings.embedded else 41):
        name = f"m{change}"
        log = stream.make(name)
        rows = [row(i, changed=i >= change) for i in range(ROWS)]
        for at in range(0, ROWS, 30):
            stream.send(name, rows[at : at + 30])
            stream.evaluate(name, START + (at + 30) * HOUR // PER_HOUR)
        stream.evaluate(name)
        found = stream.found(name)
        first, last = START + change * HOUR // PER_HOUR, START + (ROWS - 1) * HOUR // PER_HOUR
        assert found["coupon", NEW] == found["amount", RETYPED] == (ROWS - change, first, last)
        whole = [hour for hour in range(HOURS) if change <= hour * PER_HOUR]
        if whole:
            assert found["city", MISSING] == (PER_HOUR * len(whole), START + whole[0] * HOUR, START + HOURS * HOUR)
        assert set(found) <= {("coupon", NEW), ("amount", RETYPED), ("city", MISSING), ("amount", MISSING)}
        state, checked = stream.told(name)
        assert state.state == "warning" and checked.count("warning") == (2 if whole else 1)
        text = " ".join(reason for reason in state.reasons if not reason.startswith(f"{name}:"))  # those are alerts
        assert "`coupon`" in text and "`amount`" in text and ("`city`" in text) == bool(whole)
        assert log.profiles().keys() == plain.profiles().keys()
        for place, content in plain.profiles().items():
            if place[0] == 3600 and place[1] + HOUR <= first:
                assert log.profiles()[place] == content
        measured = {one.start: one for one in log.measurements()}
        assert all(one.error is None and one.rows == PER_HOUR for one in measured.values())
        for one in plain.measurements():
            if one.end <= first:
                assert measured[one.start].payload == one.payload


def test_what_is_back_is_no_finding_of_now_and_a_schema_that_knows_it_starts_again(stream: Stream) -> None:
    log = stream.make("m")
    stream.send("m", [row(i, changed=i < PER_HOUR) for i in range(2 * PER_HOUR)])
    stream.evaluate("m", START + 1 * HOUR + 15 * MINUTE)
    assert {kind for _, kind in stream.found("m")} == {NEW, RETYPED, MISSING}
    stream.evaluate("m")
    assert {kind for _, kind in stream.found("m")} == {NEW, RETYPED}  # the second hour has all of them
    stream.send("m", [row(ROWS + i) for i in range(PER_HOUR)])
    stream.evaluate("m", NOW + 6 * HOUR)
    state, _ = stream.told("m", NOW + 6 * HOUR)
    assert not any("coupon" in reason for reason in state.reasons)  # too long ago
    with writing(stream.engine) as connection:
        features = {**SCHEMA, "amount": {"kind": "categorical"}, "coupon": {"kind": "ignored"}}
        body = {"task": "binary", "features": features, "clock": "wall", "segments": []}
        catalog.put_model(connection, 1, "m", body, NOW, "test")
    stream.evaluate("m")
    assert stream.found("m").keys() <= {("amount", RETYPED)}  # the log keeps those values beside the rows, as they came
    assert sum(one.rows for one in log.measurements()) == 3 * PER_HOUR


def test_very_many_new_names_are_counted_together_beyond_a_bound(stream: Stream) -> None:
    stream.make("m")
    rows = [row(i) for i in range(30)]
    for number, one in enumerate(rows):
        one["features"] |= {f"new {number} {i}": i for i in range(30)}
    stream.send("m", rows)
    stream.evaluate("m")
    found = stream.found("m")
    assert len(found) == schema_findings.MOST + 1
    assert sum(rows for rows, _, _ in found.values()) == 30 * 30
    assert any("more came in" in reason for reason in stream.told("m", START + HOUR)[0].reasons)


def test_names_that_no_database_could_hold_are_counted_under_the_empty_one() -> None:
    batch = pa.record_batch({"timestamp": [1, 2], "extra": [json.dumps({"a\x00b": 1, "x" * 300: 2}), '{"fine": 1}']})
    assert findings.carried(batch, {}) == {("", NEW): Seen(2, 1, 1), ("fine", NEW): Seen(1, 2, 2)}


def test_the_cause_of_an_alarm_says_that_a_feature_comes_in_another_type(stream: Stream) -> None:
    stream.make("typed", rows=28 * PER_HOUR, apart=2 * MINUTE)
    stream.send("typed", [row(i, changed=i >= PER_HOUR) for i in range(ROWS)])
    stream.evaluate("typed")
    with reading(stream.engine) as connection:
        causes = [cause for one in alerts.list_alerts(connection, 1, limit=10)[0] for cause in one.causes]
    texts = {cause["feature"]: cause["text"] for cause in causes if cause["segment"] is None}
    assert "60 rows since 2026-03-02T01:00:00Z brought it in another type than the schema's" in texts["amount"]
    assert "another type" not in texts["city"]
