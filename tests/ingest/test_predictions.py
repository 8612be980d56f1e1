"""What becomes of prediction rows: stored once, or rejected with a reason."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy.engine import Engine

from monitor.errors import Problem
from monitor.ingest.writer import Writer
from monitor.store import blocks
from monitor.store.identity import key_of
from monitor.store.quarantine import read_quarantine, rejected_counts
from monitor.store.session import reading
from tests.ingest.conftest import ODD, Send


def row(**given: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "timestamp": "2026-03-01T11:00:00Z",
        "version": "3",
        "features": {"age": 41.5, "city": "Lyon", "member": True},
        "prediction": 1,
        "score": 0.8,
    } | given


def stored(engine: Engine, writer: Writer, model: str = "loan") -> list[dict[str, Any]]:
    with reading(engine) as connection:
        found, _ = writer.model(1, model)
        return [one for _, batch in blocks.read_blocks(connection, found.id, 0, 10**9) for one in batch.to_pylist()]


def test_a_row_is_stored_as_it_was_sent(send: Send, engine: Engine, writer: Writer) -> None:
    answer = send(row())
    assert answer == {
        "accepted": 1, "duplicates": 0, "revised": 0, "pending": 0, "rejected": [], "rejected_count": 0,
    }  # fmt: skip
    (kept,) = stored(engine, writer)
    assert (kept["id"], kept["f:age"], kept["f:city"], kept["f:member"]) == ("a", 41.5, "Lyon", True)
    assert (kept["prediction"], kept["score"], kept["role"]) == ("1", 0.8, "live")


def test_rows_columns_and_one_row_mean_the_same(send: Send) -> None:
    send(row())
    send({"rows": [row(id="b"), row(id="c")]})
    one = row()
    columns = {name: [value] for name, value in one.items() if name != "features"}
    columns["features"] = {name: [value] for name, value in one["features"].items()}
    assert send({"columns": columns})["duplicates"] == 1
    assert send({"rows": [row(), row(id="b"), row(id="c")]})["duplicates"] == 3


def test_an_identical_retry_is_a_duplicate_and_a_changed_body_a_conflict(send: Send) -> None:
    send(row())
    assert send(row())["duplicates"] == 1
    answer = send({"rows": [row(score=0.9), row(id="b")]})
    assert answer["accepted"] == 1
    assert answer["rejected"][0]["index"] == 0
    assert answer["rejected"][0]["code"] == "conflict"


def test_what_the_server_filled_in_does_not_make_a_retry_a_conflict(send: Send, writer: Writer) -> None:
    bare = {"id": "a", "features": {"age": 3}}
    assert send(bare)["accepted"] == 1
    writer._now = lambda: 1772366400_000000 + 90_000_000  # a minute and a half later
    assert send(bare)["duplicates"] == 1


def test_the_same_id_under_another_version_is_another_row(send: Send) -> None:
    assert send({"rows": [row(), row(version="4"), row(version="4")]}) | {"rejected": []} == {
        "accepted": 2, "duplicates": 1, "revised": 0, "pending": 0, "rejected": [], "rejected_count": 0,
    }  # fmt: skip


def test_fifty_at_once_make_one_row(send: Send, engine: Engine, writer: Writer) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: send(row()), range(50)))
    assert sum(one["accepted"] for one in answers) == 1
    assert sum(one["duplicates"] for one in answers) == 49
    assert len(stored(engine, writer)) == 1


def test_an_absent_id_becomes_a_uuid7_that_the_answer_names(send: Send) -> None:
    one = row()
    del one["id"]
    (made,) = send(one)["ids"]
    assert made[14] == "7"
    assert key_of(made).hex() == made.replace("-", "")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"id": ""}, "invalid", "id"),
        ({"id": 7}, "invalid", "id"),
        ({"id": "x" * 257}, "too_long", "id"),
        ({"id": "nul\x00"}, "invalid", "id"),
        ({"version": "a b"}, "invalid", "version"),
        ({"timestamp": "yesterday"}, "invalid", "timestamp"),
        ({"timestamp": "2026-03-01T11:00:00"}, "invalid", "timestamp"),
        ({"timestamp": "2026-03-01T13:00:01Z"}, "future", "timestamp"),
        ({"timestamp": "2025-01-01T00:00:00Z"}, "expired", "timestamp"),
        ({"score": 1.01}, "invalid", "score"),
        ({"score": "0.5"}, "invalid", "score"),
        ({"score": True}, "invalid", "score"),
        ({"latency_ms": -1}, "invalid", "latency_ms"),
        ({"role": "canary"}, "invalid", "role"),
        ({"features": [1]}, "invalid", "features"),
        ({"features": {"nul\x00": 1}}, "invalid", "features"),
        ({"features": {"": 1}}, "invalid", "features"),
        ({"features": {"x" * 257: 1}}, "invalid", "features"),
        ({"tags": {"t": "x" * 300}}, "too_long", "tags.t"),
        ({"predicton": 1}, "invalid", "predicton"),
        ({"features": {}, "prediction": None, "score": None}, "invalid", "features"),
    ],
)
def test_a_bad_row_is_rejected_by_name_and_the_rest_is_stored(
    send: Send, engine: Engine, writer: Writer, change: dict[str, Any], code: str, field: str
) -> None:
    answer = send({"rows": [row(id="good-1"), row(**{"id": "bad"} | change), row(id="good-2")]})
    assert answer["accepted"] == 2
    (rejected,) = answer["rejected"]
    assert (rejected["index"], rejected["code"]) == (1, code)
    assert field in rejected["message"]
    found, _ = writer.model(1, "loan")
    with reading(engine) as connection:
        (kept,) = read_quarantine(connection, found.id, 10, None)
        assert kept["code"] == code
        assert rejected_counts(connection, found.id) == {code: 1}
    assert [one["id"] for one in stored(engine, writer)] == ["good-1", "good-2"]


def test_a_feature_that_does_not_fit_is_kept_aside_not_lost(send: Send, engine: Engine, writer: Writer) -> None:
    assert send(row(features={"age": "old", "city": 7, "height": 1.8, "member": True}))["accepted"] == 1
    (kept,) = stored(engine, writer)
    assert json.loads(kept["extra"]) == {"age": "old", "height": 1.8}
    assert kept["f:city"] == "7"
    assert kept["f:age"] is None


def test_features_beside_the_schema_are_kept_whole_however_long(send: Send, engine: Engine, writer: Writer) -> None:
    beside = {f"embedding_{at}": [at / 7] * 9 for at in range(300)}
    assert send(row(features=beside))["accepted"] == 1
    (kept,) = stored(engine, writer)
    assert len(kept["extra"]) > 20_000 and json.loads(kept["extra"]) == beside
    assert send(row(features=beside))["duplicates"] == 1
    changed = beside | {"embedding_299": [0.5]}
    assert [one["code"] for one in send(row(features=changed))["rejected"]] == ["conflict"]


def test_ids_that_differ_in_their_hyphens_alone_are_different_rows(send: Send) -> None:
    ids = ["01234567-89ab-7cde-8f01-23456789abcd", "01234567-89ab-7cd-e8f01-23456789abcd"]
    ids += ["01234567-89ab-7cde-8f0123456789-abcd", ids[0].upper()]
    assert send({"rows": [row(id=one, score=at / 10) for at, one in enumerate(ids)]})["accepted"] == len(ids)


def test_a_feature_may_have_any_name(send: Send, engine: Engine, writer: Writer) -> None:
    row = {"id": "a", "features": {name: float(i) for i, name in enumerate(ODD)}}
    columns = {"id": ["b"], "features": {name: [float(i)] for i, name in enumerate(ODD)}}
    assert send(row, model="odd")["accepted"] == 1
    assert send({"columns": columns}, model="odd")["accepted"] == 1
    for kept in stored(engine, writer, "odd"):
        assert [kept[f"f:{name}"] for name in ODD] == list(range(len(ODD)))


def test_an_error_of_false_is_none(send: Send, engine: Engine, writer: Writer) -> None:
    send({"rows": [row(id="a", error=False), row(id="b", error=True), row(id="c", error="timeout")]})
    assert [one["error"] for one in stored(engine, writer)] == [None, "true", "timeout"]


def test_labels_have_one_canonical_text(send: Send, engine: Engine, writer: Writer) -> None:
    send({"rows": [row(id=str(i), prediction=p) for i, p in enumerate([1, 1.0, True, "yes"])]})
    assert [one["prediction"] for one in stored(engine, writer)] == ["1", "1", "true", "yes"]


def test_a_regression_takes_numbers_only(send: Send) -> None:
    answer = send({"rows": [{"id": "a", "prediction": 2.5}, {"id": "b", "prediction": "high"}]}, model="price")
    assert answer["accepted"] == 1
    assert "prediction" in answer["rejected"][0]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff", b"\xef\xbb\xbf{}", b'{"rows": 3}', b'{"rows": []', b"{}}",
        b'{"rows": [], "columns": {}}', b'{"columns": {"id": ["a"], "score": []}}', b'{"columns": {"id": 3}}',
        b'{"rows": [], "more": 1}', b'{"id": "a", "score": NaN}', b'{"id": "a", "prediction": "\\ud800"}',
        b"[" * 100_000, b'{"rows":' + b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
)  # fmt: skip
def test_an_unreadable_body_is_a_problem_with_a_4xx(send: Send, body: bytes) -> None:
    with pytest.raises(Problem) as raised:
        send(body)
    assert 400 <= raised.value.status < 500


@pytest.mark.parametrize("text", ["1e400", "-1e999", "[1]", '{"a": 1}', '"\\u0000"'])
def test_an_odd_value_in_one_row_harms_no_other(send: Send, text: str) -> None:
    body = f'{{"rows": [{{"id": "a", "features": {{"age": 1}}}}, {{"id": "b", "score": {text}}}]}}'.encode()
    answer = send(body)
    assert (answer["accepted"], answer["rejected_count"]) == (1, 1)


def test_more_than_ten_thousand_rows_are_too_large(send: Send) -> None:
    with pytest.raises(Problem, match="10,000"):
        send({"rows": [{"prediction": 1}] * 10_001})


def test_an_empty_batch_is_no_error(send: Send) -> None:
    assert send({"rows": []})["accepted"] == 0


def test_before_a_schema_is_known_columns_take_the_type_of_their_values(
    send: Send, engine: Engine, writer: Writer
) -> None:
    send({"rows": [{"id": "a", "features": {"x": 1, "y": "u", "z": True}}]}, model="bare")
    send({"rows": [{"id": "b", "features": {"x": "three"}}, {"id": "c", "features": {"x": 4}}]}, model="bare")
    found, _ = writer.model(1, "bare")
    with reading(engine) as connection:
        first, second = [batch for _, batch in blocks.read_blocks(connection, found.id, 0, 100)]
    assert first.schema.field("f:x").type == pa.float64()
    assert first.schema.field("f:z").type == pa.bool_()
    assert second.column("f:x").to_pylist() == ["three", "4"]


def test_a_model_on_its_events_clock_takes_history_in(send: Send) -> None:
    old = row(timestamp="2013-03-01T11:00:00Z", known_at="2013-03-01T11:00:00Z")
    assert send(old, model="replay")["accepted"] == 1
    ahead = row(id="b", timestamp="2013-03-01T13:00:00Z", known_at="2013-03-01T11:30:00Z")
    assert send(ahead, model="replay")["rejected"][0]["code"] == "future"
    long_ago = row(id="c", timestamp="2012-03-01T13:00:00Z", known_at="2013-03-01T11:30:00Z")
    assert send(long_ago, model="replay")["rejected"][0]["code"] == "expired"


def test_a_history_in_one_request_is_not_too_old_for_its_own_end(send: Send) -> None:
    days = [f"2013-{month:02}-01T00:00:00Z" for month in range(1, 13)]
    rows = [row(id=day, timestamp=day, known_at=day) for day in days]
    assert send({"rows": rows}, model="replay")["accepted"] == 12


def test_rows_are_found_by_number_and_by_time(send: Send, engine: Engine, writer: Writer) -> None:
    for part in range(4):
        send({"rows": [row(id=f"{part}-{i}", timestamp=f"2026-03-01T0{part}:00:00Z") for i in range(10)]})
    found, _ = writer.model(1, "loan")
    with reading(engine) as connection:
        ids = [one for _, b in blocks.read_blocks(connection, found.id, 8, 22, ["id"]) for one in b["id"].to_pylist()]
        assert ids == ["0-8", "0-9", *[f"1-{i}" for i in range(10)], "2-0", "2-1"]
        from_at = stored_time = 1772323200_000000 + 3600_000000
        hour = [b.num_rows for _, b in blocks.read_blocks_between(connection, found.id, from_at, stored_time + 1)]
        assert hour == [10]
        (single,) = blocks.read_rows(connection, found.id, [25]).values()
        assert single["id"][0].as_py() == "2-5"
