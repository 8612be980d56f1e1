"""What new rows and new outcomes add to the profiles of their hours.

The state of the profiles is a function of the watermark alone: of rows below `next_row`, each with the outcome that
holds among those below `next_outcome`. Taking in rows joins them with the outcomes below the mark; taking in outcomes
takes back, for rows below the mark, the value that held before and counts the one that holds now. So any order of
arrival, cut into any chunks, ends in the same profiles.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from monitor.clock import HOUR
from monitor.evaluate import ahead as reading_ahead
from monitor.evaluate import findings, windows
from monitor.evaluate import rows as rows_of
from monitor.evaluate.ahead import ReadAhead
from monitor.stats.binning import Binning
from monitor.stats.profile import Profile, merge, profile_inputs, profile_outcomes
from monitor.stats.rows import Rows
from monitor.store import blocks, id_index, outcomes
from monitor.store.catalog import Model
from monitor.store.outcomes import Held
from monitor.store.profiles import Watermark
from monitor.store.schema_findings import Place, Seen

HOURS = 50  # of rows in one chunk at most: their profiles are written in one transaction, and others wait for it
# Of outcomes, many more: those that come in the order of their ids are of any hour, and so is every part of them. What
# is written at once then takes SQLite's lock for a fifth of a second; parts would be read and written again and again.
OUTCOME_HOURS = 2000
_MEMORY = 128 * 1024 * 1024  # bytes of one chunk's profiles: wide models take fewer hours at a time
_GAP = 1000  # rows further apart are read separately


class Cell(NamedTuple):
    """An hour of one version and role."""

    start: int
    version_id: int
    role: str


@dataclass(frozen=True)
class Delta:
    """What is added to a cell, the span of known_at among the rows and outcomes behind it, and the latest of rows."""

    profile: Profile
    min_known_at: int
    max_known_at: int
    rows_known_at: int


Deltas = dict[Cell, Delta]


@dataclass(frozen=True)
class Chunk:
    """Deltas that take the profiles from one watermark to another; `carried`: what no schema knows."""

    old: Watermark
    new: Watermark
    deltas: Deltas
    carried: Mapping[Place, Seen] = field(default_factory=dict)


def segment_names(binning: Binning) -> list[str]:
    return [name for name, _ in binning.segments]


def columns_for(model: Model, binning: Binning, *, with_id: bool) -> list[str]:
    """The block columns that profiling rows needs."""
    names = rows_of.input_columns(model.features or {}, segment_names(binning), model.config.slices)
    names = rows_of.with_scores(names, binning.classes if model.task == "multiclass" else ())
    return ["id", *names] if with_id else names


def new_rows(
    connection: Connection,
    model: Model,
    binning: Binning,
    mark: Watermark,
    end_row: int,
    limit: int,
    ahead: ReadAhead,
) -> Chunk:
    """The next rows from the watermark on, at most `limit` of them, and fewer where they spread over many hours."""
    wanted = [*columns_for(model, binning, with_id=mark.next_outcome > 0), findings.EXTRA]
    asked = reading_ahead.wanted(model, mark.next_row, min(mark.next_row + limit, end_row), wanted)
    batch, upto = ahead.take(connection, asked)
    if upto < end_row:
        ahead.begin(asked._replace(first=upto, end=min(upto + limit, end_row)))
    if batch is None:  # erased or expired rows leave nothing to count
        return Chunk(mark, Watermark(upto, mark.next_outcome), {})
    hours = _hours(batch, model.config.timezone)
    kept = _rows_within(hours, _most_hours(binning, HOURS))
    if kept < batch.num_rows:
        first = batch.column("row")[kept].as_py()  # rows are gone in between, where some were erased
        ahead.leave(asked._replace(first=first, end=upto), batch.slice(kept))
        batch, hours, upto = batch.slice(0, kept), hours[:kept], first
    held = held_for(connection, model, batch, below_position=mark.next_outcome)
    deltas = _profiles_by_cell(model, binning, batch, held, hours)
    return Chunk(mark, Watermark(upto, mark.next_outcome), deltas, findings.carried(batch, model.features or {}))


def held_for(
    connection: Connection, model: Model, batch: pa.RecordBatch, below_position: int, known_by: int | None = None
) -> list[Held | None] | None:
    """The outcome of each row of a batch with ids, None where there is none; None when the model had no outcomes."""
    if below_position == 0:
        return None
    keys = rows_of.keys(batch)
    found = outcomes.held_outcomes(
        connection,
        model.id,
        keys,
        regression=model.task == "regression",
        below_position=below_position,
        known_by=known_by,
    )
    return [found.get(key) for key in keys] if found else None


def _profiles_by_cell(
    model: Model, binning: Binning, batch: pa.RecordBatch, held: Sequence[Held | None] | None, hours: NDArray[np.int64]
) -> Deltas:
    """The profiles of a fitted batch, one for each hour, version and role in it."""
    if not batch.num_rows:
        return {}
    rows = rows_of.to_rows(batch, model.task, model.features or {}, segment_names(binning), held, model.config.slices)
    known = _known(batch, held)
    deltas: Deltas = {}
    for cell, chosen in zip(*_cells_of(batch, hours), strict=True):
        part = rows.take(chosen)
        profile = profile_inputs(binning, part)
        if held is not None:
            profile = _add_outcomes(binning, part, profile)
        own, latest = known[0][chosen], known[1][chosen]
        deltas[cell] = Delta(profile, int(own.min()), int(latest.max()), int(own.max()))
    return deltas


def profile_together(
    model: Model, binning: Binning, batch: pa.RecordBatch, held: Sequence[Held | None] | None
) -> Profile:
    """The profile of a fitted batch in one piece: the sum of `_profiles_by_cell`, without going by hours."""
    rows = rows_of.to_rows(batch, model.task, model.features or {}, segment_names(binning), held, model.config.slices)
    profile = profile_inputs(binning, rows)
    return profile if held is None else _add_outcomes(binning, rows, profile)


def _add_outcomes(binning: Binning, rows: Rows, profile: Profile) -> Profile:
    labelled = rows.labelled()
    if not labelled.any():
        return profile
    return profile + profile_outcomes(binning, rows.take(labelled))


def _known(batch: pa.RecordBatch, held: Sequence[Held | None] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The known_at of each row, and the later of it and its outcome's."""
    row = batch.column("known_at").to_numpy()
    if held is None:
        return row, row
    return row, np.maximum(row, np.array([0 if one is None else one.known_at for one in held], dtype=np.int64))


def _hours(batch: pa.RecordBatch, timezone: str) -> NDArray[np.int64]:
    """The first instant of each row's hour."""
    return windows.starts_of(batch.column("timestamp").to_numpy(), HOUR, timezone)


def _cells_of(batch: pa.RecordBatch, hours: NDArray[np.int64]) -> tuple[list[Cell], list[slice | NDArray[np.int64]]]:
    """The cells of a batch, and which of its rows lie in each: slices where the batch is in that order already."""
    roles = batch.column("role").dictionary_encode()
    names: list[str] = roles.dictionary.to_pylist()
    starts, hour_codes = _coded(hours)
    versions, version_codes = _coded(batch.column("version").to_numpy())
    codes = (hour_codes * len(versions) + version_codes) * len(names) + roles.indices.to_numpy()
    rising = bool(np.all(codes[1:] >= codes[:-1]))
    order = np.arange(len(codes)) if rising else np.argsort(codes, kind="stable")
    ordered = codes[order]
    firsts = np.flatnonzero(np.diff(ordered, prepend=-1))
    cells, parts = [], []
    for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(codes)], strict=True):
        rest, role = divmod(int(ordered[first]), len(names))
        hour, version = divmod(rest, len(versions))
        cells.append(Cell(int(starts[hour]), int(versions[version]), names[role]))
        parts.append(slice(first, last) if rising else order[first:last])
    return cells, parts


def _coded(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The distinct values, rising, and the place of each value among them; quick where neighbours are alike."""
    firsts = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)
    distinct, codes = np.unique(values[firsts], return_inverse=True)
    return distinct, np.repeat(codes, np.diff(firsts, append=len(values)))


def _most_hours(binning: Binning, most: int) -> int:
    return max(1, min(most, _MEMORY // (8 * binning.whole.size)))


def _rows_within(hours: NDArray[np.int64], most: int) -> int:
    """How many of the first rows lie in at most so many hours (versions and roles are few)."""
    starts, codes = _coded(hours)
    if len(starts) <= most:
        return len(codes)
    return int(np.sort(np.unique(codes, return_index=True)[1])[most])


# ---------------------------------------------------------------- outcomes of rows that are in the profiles already


def new_outcomes(
    connection: Connection, model: Model, binning: Binning, mark: Watermark, end_outcome: int, limit: int
) -> Chunk:
    """The next outcomes from the watermark on: what changes in the profiles of rows below it."""
    if mark.next_row == 0:
        return Chunk(mark, Watermark(0, end_outcome), {})
    upto = min(mark.next_outcome + limit, end_outcome)
    most = _most_hours(binning, OUTCOME_HOURS)
    while True:
        keys = list(dict.fromkeys(outcomes.outcomes_between(connection, model.id, mark.next_outcome, upto).key))
        changes = _changes(connection, model, mark, upto, keys)
        batch = _read_rows(connection, model, binning, sorted(changes))
        if batch is None or len(keys) == 1:
            break
        if _rows_within(_hours(batch, model.config.timezone), most) == batch.num_rows:
            break
        upto = mark.next_outcome + max(1, (upto - mark.next_outcome) // 4)  # very many hours: fewer at a time
    new = Watermark(mark.next_row, upto)
    return Chunk(mark, new, {} if batch is None else _swap(model, binning, batch, changes))


Change = tuple[Held | None, Held]


def _changes(
    connection: Connection, model: Model, mark: Watermark, upto: int, keys: Sequence[bytes]
) -> dict[int, Change]:
    """By row number: the outcome that held before, and the one that holds now, where they differ."""
    rows = [(key, row) for key, _, row in id_index.rows_of_keys(connection, model.id, keys) if row < mark.next_row]
    regression = model.task == "regression"
    history = outcomes.history(connection, model.id, list({key for key, _ in rows}), below_position=upto)
    changed: dict[bytes, Change] = {}
    for key, all_of_key in history.items():
        earlier = [one for one in all_of_key if one.position < mark.next_outcome]
        before = max(earlier, key=lambda one: outcomes.rank(one, regression), default=None)
        after = max(all_of_key, key=lambda one: outcomes.rank(one, regression))
        if before is None or before.position != after.position:
            changed[key] = (before, after)
    return {row: changed[key] for key, row in rows if key in changed}


def _read_rows(connection: Connection, model: Model, binning: Binning, numbers: Sequence[int]) -> pa.RecordBatch | None:
    """The rows with these ascending numbers that are still kept, with the column `row`; None for none."""
    features = model.features or {}
    wanted = rows_of.with_scores(
        rows_of.outcome_columns(features, segment_names(binning), model.config.slices),
        binning.classes if model.task == "multiclass" else (),
    )
    batches = []
    for low, high in _clusters(numbers):
        for first, batch in blocks.read_blocks(connection, model.id, low, high, wanted):
            at = np.searchsorted(numbers, [first, first + batch.num_rows])
            chosen = np.asarray(numbers[at[0] : at[1]], dtype=np.int64)
            if len(chosen):
                batches.append(batch.take(pa.array(chosen - first)).append_column("row", pa.array(chosen)))
    return rows_of.join(batches, features) if batches else None


def _clusters(numbers: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Stretches [low, high) that cover ascending numbers, cut where more than `_GAP` lie between two."""
    if not numbers:
        return
    low = last = numbers[0]
    for number in numbers:
        if number - last > _GAP:
            yield low, last + 1
            low = number
        last = number
    yield low, last + 1


def _swap(model: Model, binning: Binning, batch: pa.RecordBatch, changes: dict[int, Change]) -> Deltas:
    """Take back what held before, count what holds now."""
    pairs = [changes[row] for row in batch.column("row").to_pylist()]
    features, names = model.features or {}, segment_names(binning)
    before = [old for old, _ in pairs]
    after = [new for _, new in pairs]
    slices = model.config.slices
    plus = rows_of.to_rows(batch, model.task, features, names, after, slices)
    minus = rows_of.to_rows(batch, model.task, features, names, before, slices) if any(before) else None
    known = np.array([new.known_at for new in after], dtype=np.int64)
    row_known = batch.column("known_at").to_numpy()
    deltas: Deltas = {}
    for cell, chosen in zip(*_cells_of(batch, _hours(batch, model.config.timezone)), strict=True):
        parts = [profile_outcomes(binning, plus.take(chosen))]
        if minus is not None:
            old = minus.take(chosen)
            old = old.take(old.labelled())
            if old.n:
                parts.append(profile_outcomes(binning, old, sign=-1))
        profile = parts[0] if len(parts) == 1 else merge(binning, parts)
        own = row_known[chosen]
        deltas[cell] = Delta(profile, int(own.min()), int(known[chosen].max()), int(own.max()))
    return deltas
