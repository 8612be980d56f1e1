"""A payload gives back the very values that went in, to the bit, alone or in a run of blocks."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.store.codec import decode, decode_runs, encode

ROWS = 256
rng = np.random.default_rng(7)
decimals = rng.integers(-9999, 9999, ROWS) / 100
EXAMPLES = {
    "whole": rng.integers(0, 90, ROWS).astype(float),
    "decimals": decimals,
    "prices in thousands": rng.integers(0, 10**9, ROWS) / 1000,
    "mostly few digits": np.append(np.round(decimals[:-1], 1), 0.123456),
    "more digits than are tried": np.append(decimals[:-1], 0.12345678901),
    "too large for 32 bits": decimals * 1e9,
    "noise": rng.normal(size=ROWS),
    "noise that repeats": rng.choice(rng.normal(size=5), ROWS),
    "minus zero": np.append(decimals[:-1], -0.0),
    "nan and infinities": np.append(rng.normal(size=ROWS - 3), [np.nan, np.inf, -np.inf]),
    "decimals and nan": np.append(decimals[:-1], np.nan),
    "tiny and huge": np.append(rng.normal(size=ROWS - 3), [5e-324, 1.7976931348623157e308, -1e-310]),
}


def bits(batch: pa.RecordBatch, name: str) -> list[int | None]:
    column = batch.column(name)
    whole = column.fill_null(0.0).to_numpy().view(np.int64)
    return [None if null else int(one) for null, one in zip(column.is_null().to_pylist(), whole, strict=True)]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("nulls", [False, True])
def test_any_kind_of_number_reads_back_to_the_bit(name: str, nulls: bool) -> None:
    mask = np.arange(ROWS) % 5 == 0 if nulls else None
    batch = pa.record_batch({"id": pa.array([str(i) for i in range(ROWS)]), "f:x": pa.array(EXAMPLES[name], mask=mask)})
    found = decode(encode(batch))
    assert found.schema.equals(batch.schema)
    assert bits(found, "f:x") == bits(batch, "f:x")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=64) | st.none() | st.decimals(-999, 999, places=2).map(float), min_size=1, max_size=90))
def test_any_numbers_read_back_to_the_bit(values: list[float | None]) -> None:
    batch = pa.record_batch({"f:x": pa.array(values * 3, pa.float64())})
    assert bits(decode(encode(batch)), "f:x") == bits(batch, "f:x")


def block(seed: int, *, digits: int | None = None, level: str = "a") -> pa.RecordBatch:
    made = np.random.default_rng(seed)
    noise = made.normal(size=ROWS)
    return pa.record_batch(
        {
            "id": pa.array([f"{seed}-{i}" for i in range(ROWS)]),
            "f:x": pa.array(noise if digits is None else np.round(noise, digits)),
            "f:y": pa.array(made.normal(size=ROWS)),
            "f:z": pa.array([level, None] * (ROWS // 2)),
        }
    )


def test_a_run_of_blocks_reads_as_its_blocks_do_one_after_the_other() -> None:
    blocks = [block(1), block(2, level="b"), block(3, digits=2), block(4, digits=2), block(5, digits=3), block(6)]
    runs = list(decode_runs([encode(one) for one in blocks], ["f:x", "f:y", "f:z"]))
    assert [run.num_rows // ROWS for run in runs] == [2, 2, 1, 1]  # neighbours that are laid out alike
    for name in ("f:x", "f:y", "f:z"):
        together = [value for run in runs for value in run.column(name).to_pylist()]
        assert together == [value for one in blocks for value in one.column(name).to_pylist()]


def test_decimals_take_a_fraction_of_the_bytes_of_noise() -> None:
    noise, short = block(1), block(1, digits=2)
    assert len(encode(noise)) - len(encode(short)) > 5 * ROWS  # of eight bytes a row


def test_blocks_that_are_one_frame_are_read_too() -> None:
    batch = block(1)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue()
    frame = pa.Codec("zstd", compression_level=1).compress(stream, asbytes=True)
    earlier = len(stream).to_bytes(8, "little") + frame
    assert decode(earlier).equals(batch)
    assert decode(earlier, ["f:y"]).equals(batch.select(["f:y"]))
    assert [run.num_rows for run in decode_runs([earlier, earlier, encode(batch)], ["f:x"])] == [2 * ROWS, ROWS]
