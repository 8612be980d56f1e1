"""One model's evaluation: build, measure what has changed, then let due windows give their evidence, each once.

Due windows are judged outside of any transaction, in order, from one snapshot. Then one short transaction a window
records that it gave its evidence and writes the detectors' states, the measurement's state and, through
`on_verdicts`, alerts and their messages. It starts by holding the watermark's row and checks that the window before is
still the last one, so of two evaluators only one gets through.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sqlalchemy.engine import Connection, Engine

from monitor.evaluate import judge, measure, monitors
from monitor.evaluate.build import build
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.due import KINDS, Due, Line, next_due
from monitor.evaluate.findings import absent, with_types
from monitor.evaluate.judge import Baseline, Longer
from monitor.evaluate.loaded import Reference
from monitor.evaluate.longer import ending
from monitor.stats.profile import Profile, empty
from monitor.stats.verdict import Verdict
from monitor.store import evaluations, events, profiles, schema_findings
from monitor.store.blocks import log_end
from monitor.store.catalog import Model, get_model_by_id, model_now
from monitor.store.evaluations import INPUTS, PERFORMANCE, Evaluated
from monitor.store.model_config import ModelConfig
from monitor.store.profiles import StoredProfile
from monitor.store.session import reading, writing

OnVerdicts = Callable[[Connection, Model, Sequence[Verdict], int], None]

BATCH = 50  # windows judged from one snapshot


@dataclass(frozen=True)
class Progress:
    """What one evaluation did. `complete`: nothing that was due is left, and no other evaluator was ahead."""

    rows: int = 0
    outcomes: int = 0
    measured: int = 0
    evaluated: int = 0
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Judged:
    """What judging a window came to. `reference_id` None: it was not judged; `bad`: as it is known to be bad; `seen`:
    what monitors by hand made of it; `absent`: features that no row of it has, None where nobody can tell."""

    due: Due
    rows: int
    reference_id: int | None = None
    verdicts: Sequence[Verdict] = ()
    states: dict[str, bytes] | None = None
    bad: bool = False
    seen: Sequence[monitors.Seen] = ()
    absent: Sequence[str] | None = None


def evaluate_model(
    engine: Engine, model_id: int, wall_now: int, on_verdicts: OnVerdicts, until: int | None = None
) -> Progress:
    """Bring one model up to date.

    Args:
        wall_now: the wall clock in microseconds; a model whose clock is its events takes its own now.
        on_verdicts: called in the transaction in which a window gives its evidence, with the detectors' verdicts and
            the model's clock (of a model whose clock is its events: when the window was due).
        until: an instant to evaluate up to, whatever the model's clock says.

    While a model is paused its windows pass without being judged.

    Raises:
        NotFound: the model was deleted.
    """
    with reading(engine) as connection:
        model = get_model_by_id(connection, model_id)
        now = model_now(connection, model, wall_now) if until is None else until
        end = log_end(connection, model_id)
    built = build(engine, model_id, now, end)
    progress = Progress(rows=built.rows, outcomes=built.outcomes, complete=built.complete)
    if not built.complete:
        return progress
    measured = measure.measure_dirty(engine, model_id, now)
    progress = replace(progress, measured=measured.windows, complete=measured.complete)
    if not measured.complete:
        return progress  # what is final must have been measured first
    evaluated, complete = _give_evidence(engine, model_id, now, on_verdicts)
    return replace(progress, evaluated=evaluated, complete=complete)


def _give_evidence(engine: Engine, model_id: int, now: int, on_verdicts: OnVerdicts) -> tuple[int, bool]:
    done = 0
    while True:
        with reading(engine) as connection:
            model = get_model_by_id(connection, model_id)
            batch = judge_due(connection, model, now, BATCH)
        for judged in batch:
            if not _write(engine, model, judged, now, on_verdicts):
                return done, False
            done += 1
        if len(batch) < BATCH:
            return done, True


def _write(engine: Engine, model: Model, judged: Judged, now: int, on_verdicts: OnVerdicts) -> bool:
    """One short transaction; False, and nothing written, when the window is not the next one any more."""
    due = judged.due
    at = due.at if model.config.clock == "events" else now
    with writing(engine) as connection:
        if profiles.lock_watermark(connection, model.id) is None:
            return False
        last = evaluations.last_evaluated(connection, model.id, due.kind)
        if (None if last is None else last.start) != due.previous:
            return False
        if events.touches(events.known_bad(connection, model.id), due.start, due.end) != judged.bad:
            return False  # somebody has just said otherwise: it is judged again
        row = Evaluated(due.kind, due.start, due.end, at, judged.rows)
        if not evaluations.add_evaluation(connection, model.project_id, model.id, row):
            return False
        if judged.reference_id is not None and judged.states:
            reference_id = judged.reference_id
            evaluations.save_detectors(connection, model.project_id, model.id, reference_id, due.start, judged.states)
        measure.finish(connection, model, due.kind, due.start, due.end, at)
        if judged.absent is not None:
            of_window = (judged.absent, judged.rows, due.start, due.end)
            schema_findings.set_missing(connection, model.project_id, model.id, *of_window)
        verdicts = [*judged.verdicts, *monitors.keep(connection, judged.seen)]
        if verdicts:
            on_verdicts(connection, model, verdicts, at)
    return True


# ---------------------------------------------------------------- judging


def judge_due(connection: Connection, model: Model, now: int, limit: int) -> list[Judged]:
    """The next due windows, at most `limit`, judged in the order in which they were due."""
    lines = [Line.read(connection, model.id, kind) for kind in KINDS]
    judging = Judging(connection, model)
    found: list[Judged] = []
    while len(found) < limit and (due := next_due(connection, model, lines, now)) is not None:
        judged = judging.judge(due)
        next(line for line in lines if line.kind == due.kind).took(due)
        found.append(judged)
    return found


class Judging:
    """Judges windows one after the other, the detectors' states going from one to the next."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model
        self._shelf = Shelf(connection, model, Want(segments=True))
        stored = evaluations.detector_states(connection, model.id)
        self._states = {name: state for name, (_, state) in stored.items()}
        self._newest = profiles.current_number(connection, model.id)
        self._bad = events.known_bad(connection, model.id)
        self._monitors = monitors.Standing(connection, model)

    def judge(self, due: Due) -> Judged:
        profile, as_of = self._profile(due)
        rows = 0 if profile is None else profile.rows
        if events.touches(self._bad, due.start, due.end):
            return Judged(due, rows, bad=True)
        if self._model.paused_at is not None:
            return Judged(due, rows)
        seen = self._monitors.see(due.kind, due.start, due.end, profile, as_of)
        number = self._newest if profile is None else profile.binning.number
        reference = self._shelf.reference(number) if number else None
        if reference is None:
            return Judged(due, rows, seen=seen)
        if reference.until is not None and due.start < reference.until:
            return Judged(due, rows, seen=seen)  # a window of the reference itself, or before it
        base = baseline_of(reference, self._model.config)
        # States made against an earlier reference too: the judge knows them, and ends what was open against it.
        window = empty(reference.binning) if profile is None else profile
        longer = self._longer(due, reference, base)
        verdicts, after = judge.judge_window(base, window, self._states, due.kind, due.start, due.end, longer)
        self._states.update(after)
        if any(verdict.causes for verdict in verdicts):
            found = schema_findings.read(self._connection, self._model.project_id, self._model.id)
            verdicts = with_types(verdicts, found)
        gone = absent(window, reference.profile) if due.kind == INPUTS else None
        return Judged(due, rows, reference.stored.id, verdicts, after, seen=seen, absent=gone)

    def _longer(self, due: Due, reference: Reference, base: Baseline) -> list[Longer]:
        """The days and weeks that end with this window and can be judged."""
        found = []
        for name, start in ending(list(base.longer), due.end, self._model.config.timezone):
            if (reference.until is not None and start < reference.until) or events.touches(self._bad, start, due.end):
                continue
            profile, _ = self._profile(due._replace(start=start))
            if profile is None or profile.binning is reference.binning:
                found.append(Longer(name, profile or empty(reference.binning), start, due.end))
        return found

    def _profile(self, due: Due) -> tuple[Profile | None, int | None]:
        """The window's rows that were known when it was due; for performance with the outcomes that were known then.

        When evaluation lags (a backfill, a replay), later rows and outcomes are in the profiles already; they are left
        out (and the instant is given), so that the evidence is the one that an evaluation in time would have given.
        """
        met: list[StoredProfile] = []
        profile = self._shelf.profile(due.start, due.end, met=met)
        known = [one.max_known_at if due.kind == PERFORMANCE else one.rows_known_at for one in met]
        if any(at is not None and at > due.at for at in known):
            then = Shelf(self._connection, self._model, Want(segments=True, as_of=due.at))
            return then.profile(due.start, due.end), due.at
        return profile, None


def baseline_of(reference: Reference, config: ModelConfig) -> Baseline:
    """What a model's windows are judged against. Costly to make; references are cached, so the same comes back."""
    return _baseline(reference, config.budget_windows, config.timezone, config.window_us)


@lru_cache(maxsize=16)
def _baseline(reference: Reference, budget_windows: float, timezone: str, unit: int) -> Baseline:
    return judge.baseline(
        reference.binning,
        reference.profile,
        [profile for _, _, profile in reference.windows],
        budget_windows,
        [start for start, _, _ in reference.windows],
        timezone,
        [(low, high) for low, high in reference.stored.source.get("without", ())],
        unit,
    )
