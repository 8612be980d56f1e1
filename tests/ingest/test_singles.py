"""Rows that are decoded together have the answers, and leave the rows, that they would have alone."""

import json
import random
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor.errors import KeepwatchError, Overloaded
from monitor.ingest import singles
from monitor.ingest.decode import decode_predictions
from monitor.ingest.singles import Singles
from monitor.ingest.validate import validate_predictions
from monitor.ingest.writer import Writer
from monitor.store import blocks
from monitor.store.catalog import put_model
from monitor.store.session import reading, writing
from tests.ingest.conftest import BINARY, NOW

GOOD = [{"id": f"good-{i}", "timestamp": "2026-03-01T11:00:00Z", "features": {"age": i}} for i in range(6)]
RULES = [
    {"id": "", "features": {"age": 1}},
    {"id": "x" * 257, "features": {"age": 1}},
    {"id": "old", "timestamp": "1999-01-01T00:00:00Z", "features": {"age": 1}},
    {"id": "far", "timestamp": "2027-01-01T00:00:00Z", "features": {"age": 1}},
    {"id": "nothing"},
    {"id": "score", "features": {"age": 1}, "score": 7},
]
SHAPES = [
    {"id": "typed", "features": {"age": "many"}},
    {"id": "new", "features": {"age": 1, "height": 2}},
    {"id": "strange", "features": {"age": 1}, "colour": "red"},
    {"id": "tagged", "features": {"age": 1}, "tags": {"route": "a"}},
    {"rows": [{"id": "r1", "features": {"age": 1}}, {"id": "r2", "features": {"age": 2}}], "at": 1},
    [],
    "text",
]
AGAIN = [
    {"id": "good-1", "timestamp": "2026-03-01T11:00:00Z", "features": {"age": 1}},
    {"id": "good-2", "timestamp": "2026-03-01T11:00:00Z", "features": {"age": 99}},
    {"id": "good-3", "version": "2", "features": {"age": 3}},
]
BROKEN = [b"", b"{", b'{"id": "a"},{"id": "b"}', b'{"id":"a","tags":{"x":"', b'"}}', b"\xff", b"null"]
BODIES = [json.dumps(one).encode() for one in [*GOOD, *RULES, *SHAPES, *AGAIN]] + BROKEN


def alone(writer: Writer, body: bytes, name: str) -> Any:
    """The answer as the route gives it for a body that is not joined with others."""
    try:
        model, times = writer.model(1, name)
        batch = validate_predictions(decode_predictions(body, model), model, times)
        return writer.submit(model, batch).result(timeout=30).shown()
    except KeepwatchError as error:
        return type(error), error.detail


def together(writer: Writer, bodies: list[bytes], name: str) -> list[Any]:
    singles = Singles(writer)
    futures = [singles.submit(1, name, body) for body in bodies]
    singles.start()
    answers: list[Any] = []
    for future in futures:
        try:
            answers.append(future.result(timeout=30).shown())
        except KeepwatchError as error:
            answers.append((type(error), error.detail))
    singles.stop()
    return answers


def stored(engine: Engine, writer: Writer, name: str) -> list[dict[str, Any]]:
    model, _ = writer.model(1, name)
    with reading(engine) as connection:
        end = blocks.log_end(connection, model.id)
        found = [
            {key: value for key, value in row.items() if value is not None and key != "version"}
            for _, batch in blocks.read_blocks(connection, model.id, 0, end.next_row)
            for row in batch.to_pylist()
        ]
    return sorted(found, key=lambda row: (row["id"], json.dumps(row, sort_keys=True, default=str)))


@pytest.mark.parametrize("seed", range(4))
def test_bodies_of_one_row_are_answered_together_as_they_would_be_alone(
    writer: Writer, engine: Engine, seed: int
) -> None:
    with writing(engine) as connection:
        put_model(connection, 1, "apart", BINARY, NOW, "test")
    bodies = list(BODIES)
    random.Random(seed).shuffle(bodies)
    # What comes first decides which of two bodies with one id is the conflict: the joined ones are stored first.
    apart = [alone(writer, body, "apart") for body in bodies]
    joined = together(writer, bodies, "loan")
    firsts = {json.dumps(one) for one in (GOOD[1], GOOD[2], AGAIN[0], AGAIN[1])}
    same = [body.decode("latin-1") not in firsts for body in bodies]
    assert [one for one, is_same in zip(joined, same, strict=True) if is_same] == [
        one for one, is_same in zip(apart, same, strict=True) if is_same
    ]
    assert sum(one["accepted"] for one in joined if isinstance(one, dict)) == sum(
        one["accepted"] for one in apart if isinstance(one, dict)
    )
    ids = [row["id"] for row in stored(engine, writer, "loan")]
    assert ids == [row["id"] for row in stored(engine, writer, "apart")]


def test_rows_that_come_together_are_stored_as_rows_that_come_alone(writer: Writer, engine: Engine) -> None:
    with writing(engine) as connection:
        put_model(connection, 1, "apart", BINARY, NOW, "test")
    bodies = [json.dumps(one).encode() for one in GOOD]
    answers = together(writer, bodies, "loan")
    assert answers == [alone(writer, body, "apart") for body in bodies]
    assert stored(engine, writer, "loan") == stored(engine, writer, "apart")
    assert together(writer, bodies, "loan") == [answer | {"accepted": 0, "duplicates": 1} for answer in answers]


def test_only_the_row_without_an_id_is_told_the_one_that_was_made(writer: Writer) -> None:
    bodies = [b'{"features":{"age":1}}', b'{"id":"mine","features":{"age":1}}', b'{"features":{"age":2}}']
    first, mine, second = together(writer, bodies, "loan")
    assert "ids" not in mine
    assert len({first["ids"][0], second["ids"][0]}) == 2


def test_a_model_without_a_schema_and_one_that_is_not_there(writer: Writer) -> None:
    assert [one["accepted"] for one in together(writer, [b'{"id":"a","features":{"x":1}}'] * 2, "bare")] == [1, 0]
    assert [kind.__name__ for kind, _ in together(writer, [b'{"id":"a"}'] * 2, "absent")] == ["NotFound", "NotFound"]


def test_after_the_end_nothing_is_taken_in(writer: Writer) -> None:
    singles = Singles(writer)
    singles.start()
    singles.stop()
    with pytest.raises(Overloaded):
        singles.submit(1, "loan", b"{}")


def test_nobody_waits_for_more_when_there_are_more_than_are_decoded_together(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, waits = Singles(writer), list[float]()
    monkeypatch.setattr(made._all_there, "wait", waits.append)
    for number in range(2 * singles.MOST + singles.CROWD):
        made.submit(1, "loan", b'{"id": "%d", "features": {"age": 1}}' % number)
    sizes = [len(made._next()[0]) for _ in range(3)]
    assert sizes == [singles.MOST, singles.MOST, singles.CROWD]
    assert len(waits) == singles.QUIET_LOOKS  # for the last, who are fewer


def test_a_crowd_that_is_back_is_not_waited_for_any_longer(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Singles(writer)

    def come(number: int) -> None:
        for _ in range(number):
            made.submit(1, "loan", b'{"features": {"age": 1}}')

    late = iter([3])
    monkeypatch.setattr(made._all_there, "wait", lambda seconds: come(next(late)))
    come(singles.CROWD)
    assert len(made._next()[0]) == singles.CROWD
    come(singles.CROWD - 3)
    assert len(made._next()[0]) == singles.CROWD  # after one look: a second would end the iterator


def test_those_who_came_too_late_for_a_crowd_are_of_the_next_one_with_it(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Singles(writer)

    def come(number: int) -> None:
        for _ in range(number):
            made.submit(1, "loan", b'{"features": {"age": 1}}')

    come(singles.CROWD)
    crowd, _ = made._next()
    come(2)
    for committed in made._pass_on(1, "loan", "", crowd):
        committed.result(30)
    come(singles.CROWD - 1)
    late = iter([1])
    monkeypatch.setattr(made._all_there, "wait", lambda seconds: come(next(late)))
    assert len(made._next()[0]) == singles.CROWD + 2
