"""Rows compared by column are the same rows as those compared field by field."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest import fates
from tests.ingest.conftest import Send

NAN = float("nan")
ROW = st.fixed_dictionaries(
    {"id": st.just("a"), "timestamp": st.integers(0, 2), "known_at": st.integers(0, 2), "filled": st.integers(0, 7)},
    optional={
        "f:x": st.sampled_from([1.0, 2.0, 0.0, -0.0, NAN, float("inf"), None]),
        "f:c": st.sampled_from(["1", "2", "true", None]),
        "f:b": st.sampled_from([True, False, None]),
        "score": st.sampled_from([0.5, 0.25, None]),
        "extra": st.sampled_from([None, '{"x":"odd"}', '{"c":1}', '{"x":2}', '{"x":"od']),
    },
)
TYPES: dict[str, list[pa.DataType]] = {
    "f:x": [pa.float64()],
    "f:c": [pa.string()],
    "f:b": [pa.bool_(), pa.string()],
}


def batch(rows: list[dict[str, Any]], odd: bool) -> pa.RecordBatch:
    """Rows as a block has them; with `odd` the truth value is a text there, as before the schema was known."""
    made: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if name == "f:b" and odd:
            values = [None if value is None else str(value).lower() for value in values]
        kind = {"filled": pa.uint8(), "timestamp": pa.int64(), "known_at": pa.int64()}.get(name)
        made[name] = pa.array(values, kind or (TYPES.get(name, [None])[-1 if name == "f:b" and odd else 0]))
    return pa.RecordBatch.from_arrays(list(made.values()), names=list(made))


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(ROW, ROW), min_size=1, max_size=5), odd=st.booleans())
def test_by_column_and_by_field_it_is_the_same(pairs: list[tuple[Any, Any]], odd: bool) -> None:
    one, other = batch([left for left, _ in pairs], False), batch([right for _, right in pairs], odd)
    told = fates._compared(one, other)
    for at in range(len(pairs)):
        same = fates.same_body(fates.body_of(other, at), fates.body_of(one, at))
        assert told[at] == (fates.DUPLICATE if same else fates.CONFLICT), (pairs[at], odd)


def test_a_storm_of_retries_is_not_compared_row_by_row(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3000
    rows = [{"id": f"r{n}", "features": {"age": n % 90, "city": "Lyon"}, "score": 0.5} for n in range(count)]
    assert send({"rows": rows})["accepted"] == count
    compared: list[Any] = []
    monkeypatch.setattr(fates, "same_body", lambda *bodies: compared.append(bodies))
    changed = [row | {"score": 0.75} if n % 3 == 0 else row for n, row in enumerate(rows)]
    answer = send({"rows": changed})
    assert (answer["accepted"], answer["duplicates"]) == (0, count - count // 3)
    assert answer["rejected_count"] == count // 3
    assert {one["code"] for one in answer["rejected"]} == {"conflict"}
    assert not compared
