"""Windows into stored measurements: provisional numbers, final ones, and restatements with a revision of their own.

Numbers are replaced while they are provisional. After a window has given its evidence of a kind, a change of what that
kind rests on makes a new revision. A window that cannot be measured becomes a row that says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.engine import Connection, Engine

from monitor.evaluate import payload, windows
from monitor.evaluate.cuts import Shelf
from monitor.evaluate.due import EMPTY_WINDOWS
from monitor.stats.measure import FIRST, measure
from monitor.stats.profile import Profile
from monitor.store import evaluations, profiles
from monitor.store.catalog import Model, get_model_by_id
from monitor.store.evaluations import ERROR, FINAL, INPUTS, NO_DATA, PERFORMANCE, PROVISIONAL, Measurement
from monitor.store.session import reading, writing

BATCH = 50
_MESSAGE = 500


@dataclass(frozen=True)
class Measured:
    """How many windows were measured; `complete` is False when the profiles changed meanwhile."""

    windows: int
    complete: bool


def measure_dirty(engine: Engine, model_id: int, now: int) -> Measured:
    """Measure every window whose profiles have changed since it was measured last.

    Args:
        now: the model's clock, in microseconds.
    """
    done = 0
    while True:
        with reading(engine) as connection:
            model = get_model_by_id(connection, model_id)
            mark = profiles.read_watermark(connection, model_id)
            number = profiles.current_number(connection, model_id)
            starts = profiles.dirty_windows(connection, model_id, BATCH)
            if not starts:
                return Measured(done, True)
            found = _measure_all(connection, model, starts, now)
        with writing(engine) as connection:
            # Moving the watermark onto itself holds it: nobody marks a window dirty until this transaction ends.
            # A new binning sets the watermark back, and it may have come here again: so the number counts too.
            held = profiles.move_watermark(connection, model_id, mark, mark)
            if not held or profiles.current_number(connection, model_id) != number:
                return Measured(done, False)
            evaluations.save_measurements(connection, model.project_id, model.id, found)
            profiles.clear_dirty(connection, model_id, starts)
        done += len(starts)


def _measure_all(connection: Connection, model: Model, starts: Sequence[int], now: int) -> list[Measurement]:
    unit, timezone = model.config.window_us, model.config.timezone
    last = {kind: evaluations.last_evaluated(connection, model.id, kind) for kind in (INPUTS, PERFORMANCE)}
    until = {kind: -1 if row is None else row.start for kind, row in last.items()}
    earlier = {
        row.start: row for row in evaluations.latest_measurements(connection, model.id, starts[0], starts[-1] + 1)
    }
    shelf = Shelf(connection, model)
    made = []
    for start in starts:
        if not windows.is_boundary(start, unit, timezone):
            continue  # a window of an earlier length: its numbers stay as they are
        done = {kind: start <= until[kind] for kind in until}
        row = _measure(shelf, start, windows.next_start(start, unit, timezone), now, done)
        changed = _restated(earlier.get(start), row, done)
        if changed is not None:
            made.append(changed)
    late = [row for row in made if row.rows and row.start <= until[INPUTS] and not _rows(earlier.get(row.start))]
    return [*made, *_silence_after(connection, model, late, until[INPUTS], now)]


def _rows(measured: Measurement | None) -> int:
    return 0 if measured is None else measured.rows


def _silence_after(
    connection: Connection, model: Model, late: Sequence[Measurement], until: int, now: int
) -> list[Measurement]:
    """The windows without rows that an evaluation goes through after these, as far as none was made of them.

    Where rows come that are older than the first window that gave its evidence, or that lie in a long silence, these
    windows have passed already; they get the measurement that they have when all comes in order.
    """
    if not late:
        return []
    unit, timezone = model.config.window_us, model.config.timezone
    low = late[0].end
    high = min(windows.next_start(until, unit, timezone), late[-1].end + (EMPTY_WINDOWS + 1) * unit)
    cuts = windows.between(low, high, unit, timezone)
    profiled = profiles.starts_between(connection, model.id, windows.profile_span(unit), low, high)
    busy = set(windows.starts_of(np.array(profiled, np.int64), unit, timezone).tolist())
    measured = evaluations.measured_starts(connection, model.id, low, high)
    found = []
    for row in late:
        first = int(np.searchsorted(cuts, row.end))
        for start in cuts[first : first + EMPTY_WINDOWS].tolist():
            if start in busy:
                break
            if start not in measured:
                measured.add(start)
                end = windows.next_start(start, unit, timezone)
                found.append(Measurement(start, 0, end, now, NO_DATA, NO_DATA, 0, 0, None, b""))
    return found


def _measure(shelf: Shelf, start: int, end: int, now: int, done: dict[str, bool]) -> Measurement:
    try:
        profile = shelf.profile(start, end)
        content, performance = encode(shelf, profile)
    except Exception as error:  # one window's failure must not stop the others, and must be seen
        message = f"{type(error).__name__}: {error}"[:_MESSAGE]
        return Measurement(start, 0, end, now, ERROR, ERROR, 0, 0, message, b"")
    rows, labelled = (0, 0) if profile is None else (profile.rows, profile.labelled)
    return Measurement(
        start,
        0,
        end,
        now,
        _state(rows, done[INPUTS]),
        _state(labelled, done[PERFORMANCE]),
        rows,
        labelled,
        None,
        content,
        performance,
    )


def _state(rows: int, done: bool) -> str:
    if not rows:
        return NO_DATA
    return FINAL if done else PROVISIONAL


def encode(shelf: Shelf, profile: Profile | None) -> tuple[bytes, float | None]:
    """The numbers of a profile against the reference of its binning, as a measurement's payload; and the first one of
    performance."""
    if profile is None:
        return b"", None
    reference = shelf.reference(profile.binning.number)
    measures = measure(profile, None if reference is None else reference.profile)
    first = measures.values.get(FIRST[shelf.model.task])
    return payload.dump(profile.binning.number, measures), None if first is None else first.value


def _restated(earlier: Measurement | None, row: Measurement, done: dict[str, bool]) -> Measurement | None:
    """The row to write: a new revision where final numbers change, else in place; None when nothing changes."""
    if earlier is None:
        return row
    if earlier.payload == row.payload and (earlier.rows, earlier.labelled) == (row.rows, row.labelled):
        if (earlier.inputs_state, earlier.performance_state) == (row.inputs_state, row.performance_state):
            return None
        return row._replace(revision=earlier.revision)
    inputs = earlier.rows != row.rows or payload.binning_of(earlier.payload) != payload.binning_of(row.payload)
    restates = (inputs and done[INPUTS]) or done[PERFORMANCE]
    return row._replace(revision=earlier.revision + int(restates))


def finish(connection: Connection, model: Model, kind: str, start: int, end: int, at: int) -> None:
    """Mark a window's numbers of one kind final, in the transaction in which it gives its evidence."""
    latest = evaluations.latest_measurement(connection, model.id, start)
    if latest is None:
        latest = Measurement(start, 0, end, at, NO_DATA, NO_DATA, 0, 0, None, b"")
    if kind == INPUTS:
        changed = latest._replace(inputs_state=_finished(latest.inputs_state, latest.rows))
    else:
        changed = latest._replace(performance_state=_finished(latest.performance_state, latest.labelled))
    evaluations.save_measurements(connection, model.project_id, model.id, [changed])


def _finished(state: str, rows: int) -> str:
    return state if state == ERROR else _state(rows, True)
