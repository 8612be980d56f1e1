"""A bounded sample of rows with one feature, their answers and outcomes: of a stretch of the log, or of a reference.

Of more blocks than may be read every k-th is, so that they lie all over the stretch; of more rows than are looked at a
random part, the same each time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from sqlalchemy.engine import Connection

from monitor.columns import ACTUAL, FEATURE
from monitor.evaluate import material
from monitor.evaluate import rows as rows_of
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.deltas import held_for
from monitor.evaluate.loaded import Reference
from monitor.stats.binning import Binning
from monitor.stats.rows import Rows, sample
from monitor.store import blocks, profiles, references
from monitor.store.catalog import Model
from monitor.store.codec import decode

MOST_READ = 200_000  # rows of the blocks that are opened
MOST_BLOCKS = 500
MOST_ROWS = 20_000  # rows that are looked at

_ANSWERS = ("id", "timestamp", "role", "version", "prediction", "score", ACTUAL)


class Sampled(NamedTuple):
    """The rows that were looked at; `whole`: they are all that there are."""

    rows: Rows
    whole: bool


def of_stretch(
    connection: Connection, model: Model, binning: Binning, feature: str, from_at: int, to_at: int
) -> Sampled | None:
    """Of the live rows with from_at <= timestamp < to_at; None where none is kept. `model` with its schema."""
    return _of_log(connection, model, binning, feature, from_at, to_at, None, ())


def of_reference(connection: Connection, model: Model, reference: Reference, feature: str) -> Sampled | None:
    """Of the rows behind a reference; None where none is kept any more. `model` with its schema."""
    stored, binning = reference.stored, reference.binning
    parts = references.sizes_of_parts(connection, stored.id)
    if parts:
        chosen = _spread(parts)
        columns = _columns(model, binning, feature)
        batches = [decode(one, columns) for one in references.read_parts(connection, stored.id, chosen)]
        batch = rows_of.join(batches, model.features or {})
        kept = _thinned(batch)
        rows = rows_of.to_rows(kept, model.task, model.features or {})
        return Sampled(rows, len(chosen) == len(parts) and kept.num_rows == batch.num_rows)
    if stored.provisional:
        found = material.of_first_rows(connection, model, min(max(stored.rows, 1), MOST_ROWS))
        return None if found is None else Sampled(found.rows(model, model.features or {}, ()), stored.rows <= MOST_ROWS)
    source = stored.source
    if "from" not in source or "to" not in source:
        return None
    without = [(low, high) for low, high in source.get("without", ())]
    return _of_log(connection, model, binning, feature, source["from"], source["to"], stored.version_id, without)


def _of_log(
    connection: Connection,
    model: Model,
    binning: Binning,
    feature: str,
    from_at: int,
    to_at: int,
    version_id: int | None,
    without: Sequence[tuple[int, int]],
) -> Sampled | None:
    listed = blocks.sizes_between(connection, model.id, from_at, to_at)
    chosen = _spread(listed)
    only = chosen if len(chosen) < len(listed) else None
    batches = [
        batch.filter(pa.array(material.outside(batch.column("timestamp").to_numpy(), without)))
        for batch in Shelf(connection, model, Want(version_id=version_id)).rows_of(
            from_at, to_at, _columns(model, binning, feature), only
        )
    ]
    if not any(batch.num_rows for batch in batches):
        return None
    batch = rows_of.join(batches, model.features or {})
    kept = _thinned(batch)
    mark = profiles.read_watermark(connection, model.id)
    held = held_for(connection, model, kept, mark.next_outcome)
    rows = rows_of.to_rows(kept, model.task, model.features or {}, (), held)
    return Sampled(rows, len(chosen) == len(listed) and kept.num_rows == batch.num_rows)


def _columns(model: Model, binning: Binning, feature: str) -> list[str]:
    names = [*_ANSWERS, FEATURE + feature]
    return rows_of.with_scores(names, binning.classes if model.task == "multiclass" else ())


def _spread(listed: Sequence[tuple[int, int]]) -> list[int]:
    """The numbers of as many evenly spaced blocks of (number, rows) as may be read, at least one."""
    step = max(1, -(-sum(rows for _, rows in listed) // MOST_READ), -(-len(listed) // MOST_BLOCKS))
    return [number for number, _ in listed[::step]]


def _thinned(batch: pa.RecordBatch) -> pa.RecordBatch:
    chosen = sample(batch.num_rows, MOST_ROWS)
    return batch if isinstance(chosen, slice) else batch.take(pa.array(np.asarray(chosen)))
