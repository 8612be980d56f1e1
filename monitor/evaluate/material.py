"""What references are made of: rows that were sent, or a stretch of the log with its outcomes; and what they say of
the schema and the segments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from monitor.clock import SECOND
from monitor.columns import FEATURE
from monitor.errors import Invalid
from monitor.evaluate import rows as rows_of
from monitor.evaluate import windows
from monitor.evaluate.deltas import held_for
from monitor.evaluate.windows import Instants
from monitor.stats.rows import Rows
from monitor.store import blocks, events, references, slices
from monitor.store.catalog import Model
from monitor.store.codec import decode
from monitor.store.outcomes import Held
from monitor.store.profiles import LIVE, read_watermark

MAX_ROWS = 5_000_000
SEGMENT_LEVELS = range(2, 21)
_TEXT_LENGTH = 64  # mean bytes from which almost always different texts are no levels


@dataclass(frozen=True, eq=False)
class Material:
    """Rows with their outcomes: one batch, unfitted, and the outcome of each (None: none, or a column `actual`).

    `without`: stretches [from, to) of the log that are known to be bad, and whose rows were left out.
    """

    batch: pa.RecordBatch
    held: Sequence[Held | None] | None
    without: tuple[tuple[int, int], ...] = ()

    def rows(self, model: Model, features: Mapping[str, str], segments: Sequence[str]) -> Rows:
        batch = rows_of.fit(self.batch, features)
        return rows_of.to_rows(batch, model.task, features, segments, self.held, model.config.slices)


def of_table(table: pa.Table | pa.RecordBatch) -> Material:
    batch = table if isinstance(table, pa.RecordBatch) else _one_batch(table)
    return Material(batch, None)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    arrays = [column.combine_chunks() for column in table.columns]
    flat = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    return pa.RecordBatch.from_arrays(flat, names=table.column_names)


def of_stretch(connection: Connection, model: Model, from_at: int, to_at: int, version_id: int | None) -> Material:
    """The live rows of the log with from_at <= timestamp < to_at, but for stretches that are known to be bad.

    Raises:
        Invalid: there are none, or too many.
    """
    batches: list[pa.RecordBatch] = []
    bad = tuple(one for one in events.known_bad(connection, model.id) if events.touches((one,), from_at, to_at))
    for _, batch in blocks.read_blocks_between(connection, model.id, from_at, to_at):
        stamps = batch.column("timestamp").to_numpy()
        mask = (stamps >= from_at) & (stamps < to_at) & pc.equal(batch.column("role"), LIVE).to_numpy(False)
        mask &= outside(stamps, bad)
        if version_id is not None:
            mask &= batch.column("version").to_numpy() == version_id
        if mask.any():
            batches.append(batch if mask.all() else batch.filter(pa.array(mask)))
        if sum(one.num_rows for one in batches) > MAX_ROWS:
            raise Invalid.field("from", f"a reference has at most {MAX_ROWS:,} rows: choose a shorter stretch")
    if not batches:
        but = " outside of what is known to be bad" if bad else ""
        raise Invalid.field("from", f"there are no live rows between from and to{but}")
    return _with_outcomes(connection, model, batches, bad)


def of_first_rows(connection: Connection, model: Model, limit: int) -> Material | None:
    """The first live rows of the log that are still kept and not known to be bad."""
    batches: list[pa.RecordBatch] = []
    missing = limit
    bad = events.known_bad(connection, model.id)
    for _, batch in blocks.read_blocks(connection, model.id, 0, blocks.log_end(connection, model.id).next_row):
        live = batch.filter(pc.equal(batch.column("role"), LIVE))
        if bad:
            live = live.filter(pa.array(outside(live.column("timestamp").to_numpy(), bad)))
        live = live.slice(0, missing)
        if live.num_rows:
            batches.append(live)
        missing -= live.num_rows
        if not missing:
            break
    return _with_outcomes(connection, model, batches, bad) if batches else None


def outside(stamps: Instants, stretches: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which of some instants lie in none of the stretches [from, to)."""
    kept = np.ones(stamps.shape, np.bool_)
    for low, high in stretches:
        kept &= (stamps < low) | (stamps >= high)
    return kept


def of_stored(connection: Connection, model: Model, stored: references.StoredReference) -> Material | None:
    """The rows behind a stored reference again; None when nothing of them is kept."""
    parts = [decode(payload) for payload in references.read_parts(connection, stored.id)]
    if parts:
        return of_table(pa.Table.from_batches(parts))
    if stored.provisional:
        return of_first_rows(connection, model, max(stored.rows, 1))
    try:
        return of_stretch(connection, model, stored.source["from"], stored.source["to"], stored.version_id)
    except (Invalid, KeyError):
        return None


def _with_outcomes(
    connection: Connection, model: Model, batches: list[pa.RecordBatch], without: tuple[tuple[int, int], ...]
) -> Material:
    features = model.features or infer(batches)
    batch = rows_of.join(batches, features)
    mark = read_watermark(connection, model.id)
    below = max(mark.next_outcome, blocks.log_end(connection, model.id).next_outcome)
    return Material(batch, held_for(connection, model, batch, below_position=below), without)


# ---------------------------------------------------------------- what rows say of the schema


def infer(batches: Sequence[pa.RecordBatch]) -> dict[str, str]:
    """Kinds of the features by their columns, in order of the names."""
    columns: dict[str, list[pa.Array]] = {}
    for batch in batches:
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if name.startswith(FEATURE) and array.null_count < len(array):
                columns.setdefault(name[len(FEATURE) :], []).append(array)
    return {name: _kind(columns[name]) for name in sorted(columns)}


def _kind(arrays: list[pa.Array]) -> str:
    kinds = {_kind_of(array.type) for array in arrays}
    if len(kinds) == 1 and kinds != {"categorical"}:
        return kinds.pop()
    texts = [array for array in arrays if pa.types.is_string(array.type)]
    values = pa.chunked_array(texts) if texts else pa.chunked_array([pa.array([], pa.string())])
    present = len(values) - values.null_count
    long = (pc.mean(pc.binary_length(values)).as_py() or 0) > _TEXT_LENGTH
    return "text" if long and present and pc.count_distinct(values).as_py() > 0.5 * present else "categorical"


def _kind_of(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    return "numeric" if pa.types.is_floating(kind) or pa.types.is_integer(kind) else "categorical"


def segment_choice(model: Model, features: Mapping[str, str], batch: pa.RecordBatch) -> list[str]:
    """The names that segments are made of: those of the settings, else categorical features of 2 to 20 levels; and
    the slices that are followed."""
    followed = list(model.config.slices)
    if model.config.segments is not None:
        return [*model.config.segments, *followed]
    fitted = rows_of.fit(batch, features)
    return [
        name
        for name, kind in features.items()
        if kind == "categorical"
        and FEATURE + name in fitted.schema.names
        and pc.count_distinct(fitted.column(FEATURE + name)).as_py() in SEGMENT_LEVELS
    ] + followed


def layout(model: Model, features: Mapping[str, str]) -> dict[str, Any]:
    """What of a model's settings its profiles depend on: when it changes, they must be made again."""
    config = model.config
    return {
        "features": dict(features),
        "timezone": config.timezone,
        "window": config.window_us // SECOND,
        "segments": None if config.segments is None else list(config.segments),
        "threshold": config.threshold,
        **({"slices": slices.shown(config.slices)} if config.slices else {}),
    }


# ---------------------------------------------------------------- windows of the monitored length


def window_parts(
    model: Model, stamps: np.ndarray[Any, np.dtype[np.int64]]
) -> Iterator[tuple[int, int, np.ndarray[Any, np.dtype[np.int64]]]]:
    """(start, end, positions of its rows) of each window that rows lie in; nothing for fewer than two windows.

    The first and the last may be cut off by the stretch: they are left out when they hold less than half of the
    others' median.
    """
    unit, timezone = model.config.window_us, model.config.timezone
    starts, codes, counts = np.unique(
        windows.starts_of(stamps, unit, timezone), return_inverse=True, return_counts=True
    )
    if len(starts) < 2:
        return
    middle = np.median(counts[1:-1]) if len(starts) > 2 else np.median(counts)
    order = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    for place, start in enumerate(starts.tolist()):
        if place in (0, len(starts) - 1) and counts[place] < middle / 2:
            continue
        yield start, windows.next_start(start, unit, timezone), order[place]
