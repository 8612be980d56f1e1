"""The first half of a tick: new rows and outcomes go into the profiles of their hours and days.

A step reads the watermark and what lies beyond it in one snapshot, computes, and writes in one short transaction that
moves the watermark only from where it was read. Killed anywhere, nothing is lost or counted twice; of two that do the
same step, one finds that the watermark has moved and throws its work away.
"""

from dataclasses import dataclass, field

from sqlalchemy.engine import Connection, Engine

from monitor.clock import SECOND
from monitor.evaluate import provisional, windows
from monitor.evaluate.ahead import ReadAhead
from monitor.evaluate.deltas import Cell, Chunk, Delta, Deltas, new_outcomes, new_rows
from monitor.evaluate.loaded import binning_of, with_schema
from monitor.stats.binning import Binning
from monitor.stats.profile import Profile, merge
from monitor.store import blocks, profiles, schema_findings
from monitor.store.blocks import LogEnd
from monitor.store.catalog import Model, get_model_by_id
from monitor.store.profiles import DAY_SPAN, HOUR_SPAN, LIVE, ProfileKey, StoredProfile
from monitor.store.session import reading, writing

ROWS = 200_000
CELLS = 6_000_000  # values of one step: wide models take fewer rows at a time
OUTCOMES = 20_000
_ATTEMPTS = 5


@dataclass
class Built:
    """What a run of steps took in; `complete` is False when another process was ahead."""

    rows: int = 0
    outcomes: int = 0
    steps: int = 0
    complete: bool = False
    windows: set[int] = field(default_factory=set)


def build(
    engine: Engine, model_id: int, now: int, until: LogEnd | None = None, *, rows: int = ROWS, outcomes: int = OUTCOMES
) -> Built:
    """Bring the profiles of a model up to its log's end, in steps of at most so many rows or outcomes.

    Args:
        now: the model's clock, in microseconds.
        until: the end of the log when `now` was read; what comes later is left to the next tick, so that a steady
            stream does not keep windows from being evaluated.
    """
    built = Built()
    overtaken = 0
    again = False  # whether rows are counted again in a new binning
    most_outcomes = outcomes
    with ReadAhead(engine) as ahead:
        while overtaken < _ATTEMPTS:
            with reading(engine) as connection:
                model = get_model_by_id(connection, model_id)
            provisional.prepare(engine, model, now)
            with reading(engine) as connection:
                model = get_model_by_id(connection, model_id)
                if not provisional.serves(connection, model):  # the settings have just been changed
                    overtaken += 1
                    continue
                model = with_schema(connection, model)
                chunk = _next_chunk(connection, model, until, rows, most_outcomes, ahead)
                if chunk is not None:
                    binning, work = chunk
                    merged = _merged(connection, model, binning, work.deltas)
            if chunk is None:
                built.complete = True
                if again:
                    _drop_superseded(engine, model)
                return built
            again = again or (binning.number > 1 and work.old.next_row == 0)
            try:
                written = _write(engine, model, binning, work, merged, built)
            except _OvertakenError:
                written = False
            if written:
                built.steps += 1
                built.rows += work.new.next_row - work.old.next_row
                taken = work.new.next_outcome - work.old.next_outcome
                built.outcomes += taken
                if taken:  # fewer than asked where they lie in very many hours: the next ones probably do too
                    most_outcomes = min(outcomes, 2 * taken)
            else:
                overtaken += 1
    return built


def _drop_superseded(engine: Engine, model: Model) -> None:
    """Remove what the newest binning has counted in full; what it could not count again keeps its older profiles."""
    with writing(engine) as connection:
        if profiles.lock_watermark(connection, model.id) is not None:
            profiles.drop_superseded(connection, model.id, profiles.current_number(connection, model.id))


def _next_chunk(
    connection: Connection, model: Model, until: LogEnd | None, rows: int, outcomes: int, ahead: ReadAhead
) -> tuple[Binning, Chunk] | None:
    mark = profiles.read_watermark(connection, model.id)
    end = until or blocks.log_end(connection, model.id)
    stored = profiles.current_binning(connection, model.id)
    if stored is None:
        return None
    binning = binning_of(stored.content)
    # Outcomes first: those of rows still to come then cost nothing, for the rows are joined with them.
    if mark.next_outcome < end.next_outcome:
        return binning, new_outcomes(connection, model, binning, mark, end.next_outcome, outcomes)
    if mark.next_row < end.next_row:
        limit = max(1, min(rows, CELLS // max(1, len(binning.features))))
        return binning, new_rows(connection, model, binning, mark, end.next_row, limit, ahead)
    return None


def _merged(connection: Connection, model: Model, binning: Binning, deltas: Deltas) -> list[StoredProfile]:
    """The profiles of the deltas' hours and days as they will be stored."""
    days: dict[Cell, list[Delta]] = {}
    starts = sorted({cell.start for cell in deltas})
    day_of = {start: windows.start_of(start, DAY_SPAN * SECOND, model.config.timezone) for start in starts}
    for cell, delta in deltas.items():
        days.setdefault(cell._replace(start=day_of[cell.start]), []).append(delta)
    parts = {_key(HOUR_SPAN, cell, binning): [delta] for cell, delta in deltas.items()}
    parts |= {_key(DAY_SPAN, cell, binning): found for cell, found in days.items()}
    stored = profiles.load_profiles(connection, model.id, parts)
    return [_sum(binning, key, found, stored.get(key)) for key, found in parts.items()]


def _key(span: int, cell: Cell, binning: Binning) -> ProfileKey:
    return ProfileKey(span, cell.start, cell.version_id, cell.role, binning.number)


def _sum(binning: Binning, key: ProfileKey, deltas: list[Delta], stored: StoredProfile | None) -> StoredProfile:
    parts = [delta.profile for delta in deltas]
    low = min(delta.min_known_at for delta in deltas)
    high = max(delta.max_known_at for delta in deltas)
    latest: int | None = max(delta.rows_known_at for delta in deltas)
    if stored is not None:
        parts.append(Profile.load_parts(stored.payload, stored.segments, binning))
        low, high = min(low, stored.min_known_at), max(high, stored.max_known_at)
        latest = None if stored.rows_known_at is None or latest is None else max(latest, stored.rows_known_at)
    total = parts[0] if len(parts) == 1 else merge(binning, parts)
    return StoredProfile(
        *key,
        rows=total.rows,
        labelled=total.labelled,
        min_known_at=low,
        max_known_at=high,
        rows_known_at=latest,
        payload=total.dump_whole(),
        segments=total.dump_segments(),
    )


def _write(
    engine: Engine, model: Model, binning: Binning, work: Chunk, merged: list[StoredProfile], built: Built
) -> bool:
    """One short transaction; False when the profiles have changed since they were read."""
    dirty = {
        windows.start_of(cell.start, model.config.window_us, model.config.timezone)
        for cell in work.deltas
        if cell.role == LIVE
    }
    with writing(engine) as connection:
        if not profiles.move_watermark(connection, model.id, work.old, work.new):
            return False
        # The watermark goes back when a new binning starts, so its place alone does not prove that nothing changed.
        if profiles.current_number(connection, model.id) != binning.number:
            raise _OvertakenError
        profiles.save_profiles(connection, model.project_id, model.id, merged)
        profiles.mark_dirty(connection, model.project_id, model.id, dirty)
        if work.old.next_row == 0 < work.new.next_row:
            schema_findings.start_again(connection, model.id)
        schema_findings.add(connection, model.project_id, model.id, work.carried)
    built.windows |= dirty
    return True


class _OvertakenError(Exception):
    """Rolls the transaction back: a new binning was made meanwhile."""
