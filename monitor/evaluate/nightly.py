"""Multivariate drift on raw rows: each night the day that is over is judged by classifiers (`stats/two_sample`).

It is a background job, for it reads rows: a sample of the day, chosen by a hash of the ids so that the order of arrival
does not matter. Days are those of the model's timezone, each judged once, in order, when its grace is over; days of a
paused model, days known to be bad, and days of few rows are passed over. What is remembered between nights, the verdict
and its messages are written in one transaction, which only the first of several workers gets through.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.clock import DAY
from monitor.evaluate import material, windows
from monitor.evaluate import rows as rows_of
from monitor.evaluate.loaded import Reference, reference_for, with_schema
from monitor.stats import two_sample
from monitor.stats.rows import Floats
from monitor.stats.signals import WEIGHTS
from monitor.stats.terms import Encoding
from monitor.stats.two_sample import LEAST_DAYS, State, Step
from monitor.stats.two_sample_state import dump, dump_rows, load, load_rows
from monitor.stats.verdict import Cause, Verdict
from monitor.store import blocks, events, profiles
from monitor.store import two_sample as stored
from monitor.store.catalog import Model, get_model_by_id, model_now
from monitor.store.identity import keys_of
from monitor.store.profiles import DAY_SPAN, LIVE
from monitor.store.session import reading, writing
from monitor.store.two_sample import Memory

FAMILY = "multivariate"
METRIC = "classifier_auc"
ROWS = 1000  # of a day
REFERENCE_ROWS = 30_000
LEAST_ROWS = 100  # of a day
NAMED = 0.2  # share of the largest importance from which a feature is named
MOST_NAMED = 4

OnVerdicts = Callable[[Connection, Model, Sequence[Verdict], int], None]


class _Night(NamedTuple):
    """A day to judge, and what it came to."""

    end: int
    memory: Memory
    verdict: Verdict | None


def judge_days(
    engine: Engine,
    model_id: int,
    wall: int,
    on_verdicts: OnVerdicts,
    enough: Callable[[], bool] = lambda: False,
    until: int | None = None,
) -> int:
    """Judge the days of a model that are due, until it is enough; returns how many.

    Args:
        wall: the wall clock; a model whose clock is its events takes its own now.
        until: an instant to judge up to, whatever the model's clock says.
        on_verdicts: called in the transaction that writes a day, with the model's now.

    Raises:
        NotFound: the model was deleted.
    """
    count = 0
    while not enough():
        with reading(engine) as connection:
            model = with_schema(connection, get_model_by_id(connection, model_id))
            now = model_now(connection, model, wall) if until is None else until
            before = stored.read(connection, model.id)
            night = _next(connection, model, before, now)
        if night is None:
            return count
        with writing(engine) as connection:
            known = None if before is None else before.judged_to
            if not stored.save(connection, model.project_id, model.id, night.memory, known):
                return count  # another worker is at it
            if night.verdict is not None:
                at = night.end + model.config.grace_us if model.config.clock == "events" else now
                on_verdicts(connection, model, [night.verdict], at)
        count += 1
    return count


def undecided_from(connection: Connection, model: Model, before: int) -> int | None:
    """From which instant before `before` on rows are needed for days that are not judged yet; None when no such day has
    live rows, or the test is not at work and will not be.

    A long import is judged for minutes after its rows have come, and by the model's own clock they may be over the
    retention already: without this the first sweep would take days away from under the test. What a model without live
    rows goes on to log has its time like any other.
    """
    number = profiles.current_number(connection, model.id)
    reference = reference_for(connection, model.id, number) if number else None
    if reference is None or _most_days(reference) < LEAST_DAYS:
        return None  # nights pass, but look at no row
    done = stored.progress(connection, model.id)
    same = done is not None and done.reference_id == reference.stored.id
    start = _start(connection, model, reference, None if done is None else done.judged_to, same)
    if start is None or start >= before:
        return None
    if (
        not (same and done is not None and done.has_rows)
        and material.of_stored(connection, model, reference.stored) is None
    ):
        return None  # the first night will find no rows to compare with
    return start


def _most_days(reference: Reference) -> int:
    """On how many days the rows of a reference can lie."""
    spans = [(start // DAY, (end - 1) // DAY) for start, end, _ in reference.windows]
    return len({day for first, last in spans for day in range(first, last + 1)})


def _next(connection: Connection, model: Model, before: Memory | None, now: int) -> _Night | None:
    """The next day that is due, judged; None when none is, or the reference cannot judge."""
    number = profiles.current_number(connection, model.id)
    reference = reference_for(connection, model.id, number, windows=False) if number else None
    if reference is None:
        return None
    same = before is not None and before.reference_id == reference.stored.id
    start = _start(connection, model, reference, None if before is None else before.judged_to, same)
    if start is None:
        return None
    end = windows.next_start(start, DAY, model.config.timezone)
    if end + model.config.grace_us > now:
        return None
    encoding = _encoding(reference)
    if same and before is not None and before.rows is not None:
        rows, days = load_rows(before.rows)
    else:
        found = _reference(connection, model, reference, encoding)
        if found is None:
            return None
        rows, days = found, ()
    state = State() if before is None else load(before.state, days)
    if not same:
        state = State(incident=state.incident)

    def night(state: State, verdict: Verdict | None = None) -> _Night:
        content = dump_rows(rows, state.days)
        return _Night(end, Memory(reference.stored.id, end, dump(state), content), verdict)

    if not same and state.incident is not None:  # it was against a reference that holds no more
        over = Step("resolve", 0.0, state.incident.since)
        return night(State(), _verdict(model, rows, encoding, over, None, start, end))
    if model.paused_at is not None or events.touches(events.known_bad(connection, model.id), start, end):
        return night(state)
    columns = _day(connection, model, encoding, start, end, end + model.config.grace_us)
    if columns is None or rows.days < LEAST_DAYS:
        return night(state)
    state, step = two_sample.advance(rows, state, columns, start, _threshold(model))
    return night(state, _verdict(model, rows, encoding, step, columns, start, end))


def _start(connection: Connection, model: Model, reference: Reference, judged: int | None, same: bool) -> int | None:
    """The start of the next day with rows after those that were judged, and after the reference; None for none."""
    timezone = model.config.timezone
    low = judged
    if reference.until is not None and not same:
        low = max(low or 0, windows.next_start(windows.start_of(reference.until - 1, DAY, timezone), DAY, timezone))
    first = profiles.first_start(connection, model.id, DAY_SPAN, low)
    return None if first is None else windows.start_of(first, DAY, timezone)


def _threshold(model: Model) -> float:
    """A: nights for each false alarm of the family."""
    config = model.config
    return clock.parse_span(config.per) / DAY / config.false_alarms / WEIGHTS["multivariate"]


# ---------------------------------------------------------------- rows


def _encoding(reference: Reference) -> Encoding:
    features = reference.binning.features
    return Encoding(features, [reference.profile.of(("feature", bins.name)) for bins in features])


def _columns(model: Model, encoding: Encoding, batch: pa.RecordBatch) -> Floats:
    features = model.features or {}
    found = rows_of.to_rows(rows_of.fit(batch, features), model.task, features)
    return encoding.columns(found.features, found.n)


def _order(ids: Sequence[str]) -> np.ndarray:
    """uint64[n]: a number for each id that has nothing to do with time, by which samples are taken."""
    halves = np.frombuffer(b"".join(keys_of(list(ids))), "<u8").reshape(-1, 2)
    mixed = (halves[:, 0] ^ (halves[:, 1] >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return np.asarray(mixed * np.uint64(0xD6E8FEB86659FD93))


def _day(connection: Connection, model: Model, encoding: Encoding, start: int, end: int, due: int) -> Floats | None:
    """Columns of at most ROWS live rows of a day that were known when it was due, those of the smallest numbers; None
    for fewer than LEAST_ROWS."""
    wanted = ["id", "timestamp", "role", *rows_of.input_columns(model.features or {}, ())]
    names = list(dict.fromkeys(wanted))
    batches, orders = [], []
    for _, batch in blocks.read_blocks_between(connection, model.id, start, end, names):
        stamps = batch.column("timestamp").to_numpy()
        mask = (stamps >= start) & (stamps < end) & pc.equal(batch.column("role"), LIVE).to_numpy(False)
        mask &= batch.column("known_at").to_numpy() <= due
        if mask.any():
            chosen = batch.filter(pa.array(mask))
            order = _order(chosen.column("id").to_pylist())
            if chosen.num_rows > ROWS:
                kept = np.sort(np.argpartition(order, ROWS)[:ROWS])
                chosen, order = chosen.take(pa.array(kept)), order[kept]
            batches.append(chosen)
            orders.append(order)
    if sum(batch.num_rows for batch in batches) < LEAST_ROWS:
        return None
    order = np.concatenate(orders)
    columns = np.vstack([_columns(model, encoding, batch) for batch in batches])
    return np.asarray(columns[np.argsort(order, kind="stable")[:ROWS]])


def _reference(
    connection: Connection, model: Model, reference: Reference, encoding: Encoding
) -> two_sample.Reference | None:
    """A sample of the reference's rows with their days; None when its rows are not kept."""
    found = material.of_stored(connection, model, reference.stored)
    if found is None:
        return None
    batch = found.batch
    starts, day = np.unique(
        windows.starts_of(batch.column("timestamp").to_numpy(), DAY, model.config.timezone), return_inverse=True
    )
    ids = batch.column("id").to_pylist() if "id" in batch.schema.names else None
    named = ids is not None and None not in ids
    order = _order(ids) if named and ids is not None else np.random.default_rng(0).permutation(batch.num_rows)
    most = max(LEAST_ROWS, min(ROWS, REFERENCE_ROWS // max(starts.size, 1)))
    by_day = np.lexsort((order, day))
    place = np.arange(day.size) - np.searchsorted(day[by_day], day[by_day])
    count = np.bincount(day)
    kept = np.sort(by_day[(place < most) & (count[day[by_day]] >= LEAST_ROWS)])
    if not kept.size:
        return two_sample.Reference(np.zeros((0, encoding.feature.size), np.float32), np.zeros(0, np.int64))
    _, numbered = np.unique(day[kept], return_inverse=True)
    return two_sample.Reference(_columns(model, encoding, batch.take(pa.array(kept))), numbered.astype(np.int64))


# ---------------------------------------------------------------- what is said


def _verdict(
    model: Model,
    rows: two_sample.Reference,
    encoding: Encoding,
    step: Step,
    columns: Floats | None,
    start: int,
    end: int,
) -> Verdict:
    causes: tuple[Cause, ...] = ()
    if step.action in ("open", "update") and step.leader is not None and columns is not None:
        causes = (_cause(model, rows, encoding, step, columns),)
    threshold = _threshold(model)
    return Verdict(FAMILY, step.action, start, end, step.since, step.evidence, threshold, causes, "warning")


def _cause(model: Model, rows: two_sample.Reference, encoding: Encoding, step: Step, columns: Floats) -> Cause:
    """How well the leading classifier tells the day's rows from the reference's, and by which features."""
    leader = step.leader
    assert leader is not None
    used = sorted({column for term in leader.terms for column in term})
    weights = two_sample.importance(leader, columns, used)
    of_feature: dict[int, float] = {}
    for column, weight in zip(used, weights.tolist(), strict=True):
        feature = int(encoding.feature[column])
        of_feature[feature] = of_feature.get(feature, 0.0) + max(weight, 0.0)
    ranked = sorted(of_feature.items(), key=lambda one: -one[1])
    named = [place for place, weight in ranked[:MOST_NAMED] if weight >= NAMED * ranked[0][1] > 0] or [ranked[0][0]]
    names = [encoding.names[place] for place in sorted(named)]  # in one order, whichever is the strongest today
    area, low, high = two_sample.separation(leader, rows, columns)
    together = " and ".join(f"`{name}`" for name in names)
    text = (
        f"a classifier tells rows from the reference's by {together}{' together' if len(names) > 1 else ''}: "
        f"AUC {area:.2f}, 0.50 is chance, since {clock.spoken(step.since, model.config.timezone)}"
    )
    return Cause(METRIC, " and ".join(names), None, area - 0.5, low - 0.5, high - 0.5, 1.0, text)
