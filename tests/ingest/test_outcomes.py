"""What becomes of outcomes: joined by id, kept with every correction, counted once."""

from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor.ingest.writer import Writer
from monitor.store.identity import key_of
from monitor.store.outcomes import held_outcomes
from monitor.store.session import reading
from tests.ingest.conftest import NOW, Send


def held(engine: Engine, writer: Writer, row_id: str, known_by: int | None = None, model: str = "loan") -> str | None:
    found, _ = writer.model(1, model)
    key = key_of(row_id)
    with reading(engine) as connection:
        one = held_outcomes(connection, found.id, [key], regression=found.task == "regression", known_by=known_by).get(
            key
        )
    return None if one is None else one.actual


def test_an_outcome_before_its_prediction_is_pending_and_accepted(send: Send) -> None:
    answer = send({"id": "a", "actual": 1}, "outcomes")
    assert (answer["accepted"], answer["pending"]) == (1, 1)
    send({"id": "b", "features": {"age": 3}})
    answer = send({"id": "b", "actual": 1}, "outcomes")
    assert (answer["accepted"], answer["pending"]) == (1, 0)


def test_outcomes_may_come_by_column(send: Send, engine: Engine, writer: Writer) -> None:
    answer = send({"columns": {"id": ["a", "b", "c"], "actual": [1, None, 0]}}, "outcomes")
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (2, [1])
    assert held(engine, writer, "c") == "0"


def test_without_a_time_a_repeat_is_a_duplicate_and_a_new_value_a_revision(send: Send) -> None:
    fates = [send({"id": "a", "actual": value}, "outcomes") for value in (1, 1, 0, 1)]
    assert [(one["accepted"], one["duplicates"], one["revised"]) for one in fates] == [
        (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 0),
    ]  # fmt: skip


def test_the_latest_observation_holds_whatever_order_they_came_in(send: Send, engine: Engine, writer: Writer) -> None:
    late, early = "2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z"
    send({"id": "a", "actual": 1, "observed_at": late}, "outcomes")
    assert send({"id": "a", "actual": 0, "observed_at": early}, "outcomes")["revised"] == 1
    assert held(engine, writer, "a") == "1"
    assert send({"id": "a", "actual": 0, "observed_at": early}, "outcomes")["duplicates"] == 1


def test_of_two_at_the_same_time_the_larger_value_holds(send: Send, engine: Engine, writer: Writer) -> None:
    for value in (10.0, 9.5):
        send({"id": "a", "actual": value, "observed_at": "2026-03-01T11:00:00Z"}, "outcomes", "price")
    assert held(engine, writer, "a", model="price") == "10.0"


def test_what_was_held_at_an_instant_can_be_asked(send: Send, engine: Engine, writer: Writer) -> None:
    for value, at in ((1, "2026-03-01T10:00:00Z"), (0, "2026-03-01T11:00:00Z")):
        send({"id": "a", "actual": value, "observed_at": at, "known_at": at}, "outcomes")
    hour = 3600 * 1_000_000
    assert held(engine, writer, "a", known_by=NOW - 3 * hour) is None
    assert held(engine, writer, "a", known_by=NOW - 2 * hour) == "1"
    assert held(engine, writer, "a", known_by=NOW - hour) == "0"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"id": "x"}, "actual"),
        ({"actual": 1}, "id"),
        ({"id": "", "actual": 1}, "id"),
        ({"id": "x", "actual": None}, "actual"),
        ({"id": "x", "actual": [1]}, "actual"),
        ({"id": "x", "actual": 1, "observed_at": "noon"}, "observed_at"),
        ({"id": "x", "actual": 1, "observed_at": "2026-03-02T12:00:00Z"}, "observed_at"),
        ({"id": "x", "actual": "y" * 300}, "actual"),
    ],
)
def test_a_bad_outcome_is_rejected_by_name_and_the_rest_is_stored(send: Send, bad: dict[str, Any], field: str) -> None:
    answer = send({"rows": [{"id": "a", "actual": 1}, bad, {"id": "b", "actual": 0}]}, "outcomes")
    assert (answer["accepted"], answer["rejected_count"]) == (2, 1)
    assert field in answer["rejected"][0]["message"]


def test_a_regression_rejects_an_actual_that_is_no_number(send: Send) -> None:
    rows = [{"id": "a", "actual": "high"}, {"id": "b", "actual": 3}, {"id": "c", "actual": True}]
    answer = send({"rows": rows}, "outcomes", "price")
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [0, 2])
