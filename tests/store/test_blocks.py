"""Blocks give back the very batch that went in, whatever its texts look like."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import columns
from monitor.store.codec import decode, decode_runs, encode

texts = st.lists(st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["a", "b"])), min_size=1, max_size=300)

MANY = 300  # rows: of fewer, none is packed


def batch_of(values: list[str | None]) -> pa.RecordBatch:
    ids = pa.array([f"row-{i}" for i in range(len(values))])
    return pa.record_batch({"id": ids, "f:x": pa.array(values, pa.string()), "f:y": pa.nulls(len(values), pa.string())})


def as_stored(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its codes, as it lies in its block."""
    return next(decode_runs([encode(batch)]))


@settings(max_examples=100, deadline=None)
@given(texts)
def test_a_block_reads_back_as_it_was(values: list[str | None]) -> None:
    for batch in (batch_of(values), batch_of(values * MANY)):
        assert decode(encode(batch)).equals(batch)
        assert decode(encode(batch), ["f:x"]).equals(batch.select(["f:x"]))


def test_texts_that_repeat_are_stored_as_codes_and_others_as_they_are() -> None:
    batch = batch_of(["yes", "no"] * MANY)
    packed = as_stored(batch)
    assert packed.schema.field("f:x").type == pa.dictionary(pa.int8(), pa.string())
    assert packed.schema.field("id").type == pa.string()
    rare, few = as_stored(batch_of([f"text {i}" for i in range(MANY)])), as_stored(batch_of(["yes", "no"] * 50))
    assert rare.schema.field("f:x").type == few.schema.field("f:x").type == pa.string()


@pytest.mark.parametrize("levels", [2, 60, 129, 300, 40_000])
def test_blocks_of_any_code_width_are_joined_to_the_same_column(levels: int) -> None:
    parts = [[f"v{(start + i) % levels}" for i in range(2 * min(levels, 500))] for start in (0, levels // 2)]
    parts.append([None, "rare", "v0"])
    packed = [as_stored(batch_of(part)) for part in parts]
    joined = columns.concatenate(packed)
    assert columns.unpack(joined).column("f:x").to_pylist() == [value for part in parts for value in part]


def test_a_column_of_numbers_in_one_block_and_of_texts_in_another_becomes_text() -> None:
    numbers = pa.record_batch({"f:x": pa.array([1.0, 2.5])})
    words = columns.pack(pa.record_batch({"f:x": pa.array(["a", "a", None])}))
    joined = columns.unpack(columns.concatenate([numbers, words]))
    assert joined.column("f:x").to_pylist() == ["1", "2.5", "a", "a", None]
