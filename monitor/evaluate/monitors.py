"""Monitors by hand in an evaluation: each sees every window once, when its numbers are final, in order.

A monitor whose metrics need outcomes sees a window when its labels are due, any other at its end plus grace. Rows that
come later restate numbers and never reach a monitor. Windows of a paused model, and those that touch a stretch known to
be bad, are passed over.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from monitor.errors import Invalid
from monitor.evaluate import watched
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.query import segment_of
from monitor.evaluate.rules import needs_outcomes, reading_told
from monitor.evaluate.watched import Last, Monitor
from monitor.stats.measure import METRICS, Value, measure_one
from monitor.stats.profile import Profile
from monitor.stats.rule import Condition, Memory, Reading, Rule, Step, advance
from monitor.stats.verdict import Cause, Verdict
from monitor.store.catalog import Model, version_names
from monitor.store.evaluations import INPUTS, PERFORMANCE

VOLUME = "volume"


@dataclass(frozen=True)
class Seen:
    """What a window came to for one monitor: what it remembers, what is shown, and what its alert should do."""

    monitor: Monitor
    memory: Memory
    last: Last
    verdict: Verdict | None


class Standing:
    """The monitors of a model as they stand, going from one window to the next; inside of one `reading`."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self._monitors = watched.list_monitors(connection, model.id)
        self._memories = {one.id: one.memory for one in self._monitors}
        self._reader = Reader(connection, model)

    def see(self, kind: str, start: int, end: int, profile: Profile | None, as_of: int | None) -> list[Seen]:
        """What a window comes to for every monitor of its kind.

        Args:
            profile: the live rows of the window as its evidence takes them.
            as_of: leave out what became known later.
        """
        found = []
        for one in self._monitors:
            if kind_of(one.rule) != kind:
                continue
            readings = self._reader.read(one.rule, start, end, profile, as_of)
            before = self._memories[one.id]
            after, step = advance(one.rule, before, readings, start)
            self._memories[one.id] = after
            verdict = None
            if step.action != "none":
                verdict = verdict_of(one.name, one.rule, step, readings, before.firing, start, end)
            found.append(Seen(one, after, Last(start, end, step.met, readings), verdict))
        return found


def kind_of(rule: Rule) -> str:
    """With which evidence of a window the rule looks at it."""
    return PERFORMANCE if needs_outcomes(rule) else INPUTS


def keep(connection: Connection, seen: Sequence[Seen]) -> list[Verdict]:
    """Write what the monitors came to; gives the verdicts of those that were not changed meanwhile."""
    given = []
    for one in seen:
        kept = watched.save_step(connection, one.monitor, one.memory, one.last)
        if kept and one.verdict is not None:
            given.append(one.verdict)
    return given


class Reader:
    """Reads the numbers that rules ask for, each cut of the log from a shelf of its own."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model
        self._shelves: dict[Want, Shelf] = {}
        self._versions: dict[str, int] | None = None

    def read(
        self,
        rule: Rule,
        start: int,
        end: int,
        profile: Profile | None,
        as_of: int | None,
        given: Callable[[Condition], Reading | None] = lambda _: None,
    ) -> tuple[Reading, ...]:
        """The readings of a window, one a condition.

        Args:
            profile: of all live rows, without segments.
            given: readings that are known already; None where one must be counted.
        """
        return tuple(
            known if (known := given(one)) is not None else self._one(rule, one, start, end, profile, as_of)
            for one in rule.conditions
        )

    def _one(
        self, rule: Rule, condition: Condition, start: int, end: int, profile: Profile | None, as_of: int | None
    ) -> Reading:
        shelf = self.shelf(condition, as_of)
        if shelf is None:
            return Reading(0.0) if condition.metric == VOLUME else Reading()
        if not is_plain(condition):
            profile = shelf.profile(start, end)
        reading = reading_of(shelf, condition, profile)
        return enough(rule, condition, reading)

    def shelf(self, condition: Condition, as_of: int | None) -> Shelf | None:
        """The shelf of a condition's cut; None while nothing of its version has come."""
        version_id = None
        if condition.version is not None:
            if self._versions is None:
                named = version_names(self._connection, self._model.id)
                self._versions = {name: number for number, name in named.items()}
            version_id = self._versions.get(condition.version)
            if version_id is None:
                return None
        role = Want.role if condition.version is None else None
        want = Want(version_id, role, condition.segment is not None, as_of)
        if as_of is not None:
            return Shelf(self._connection, self._model, want)
        if want not in self._shelves:
            self._shelves[want] = Shelf(self._connection, self._model, want)
        return self._shelves[want]


def is_plain(condition: Condition) -> bool:
    """Whether it is about all live rows of a window."""
    return condition.segment is None and condition.version is None


def enough(rule: Rule, condition: Condition, reading: Reading) -> Reading:
    """The reading, without its value where it rests on too few rows."""
    few = condition.metric != VOLUME and reading.n < rule.min_rows
    return Reading(n=reading.n) if few else reading


def reading_of(shelf: Shelf, condition: Condition, profile: Profile | None) -> Reading:
    """The metric of a condition in a window's profile; a window without rows has a volume of 0."""
    reference = None
    if profile is not None and METRICS[condition.metric].reference:
        against = shelf.reference(profile.binning.number)
        reference = None if against is None else against.profile
    if profile is not None and condition.segment is not None:
        try:
            segment = segment_of(profile.binning, condition.segment)
        except Invalid:  # a binning of other segments
            return Reading()
        profile = profile.segment(*segment)
        reference = None if reference is None else reference.segment(*segment)
    if profile is None or not profile.rows:
        return Reading(0.0) if condition.metric == VOLUME else Reading()
    if condition.feature is not None and ("feature", condition.feature) not in profile.layout.slices:
        return Reading()
    return to_reading(measure_one(profile, reference, condition.metric, condition.feature))


def to_reading(value: Value) -> Reading:
    """A measured value as a rule takes it: what is not finite is none."""
    return Reading(_finite(value.value), _finite(value.low), _finite(value.high), value.n)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def verdict_of(
    name: str, rule: Rule, step: Step, readings: Sequence[Reading], firing: bool, start: int, end: int
) -> Verdict:
    """What an alert of the monitor should do; its causes are the conditions that are met, or have no value."""
    blamed = [
        (condition, reading)
        for condition, reading in zip(rule.conditions, readings, strict=True)
        if condition.holds(reading, firing) is not False
    ]
    often = "" if rule.windows == 1 else f", {rule.windows} windows in a row"
    causes = tuple(
        Cause(
            condition.metric,
            condition.feature,
            condition.segment,
            _number(reading.value),
            _number(reading.low),
            _number(reading.high),
            1 / len(blamed),
            reading_told(condition, reading, firing) + often,
        )
        for condition, reading in blamed
    )
    return Verdict(
        family=watched.family_of(name),
        action=step.action,
        window_start=start,
        window_end=end,
        first_evidence_at=step.since,
        evidence=float(step.streak),
        threshold=float(rule.windows),
        causes=causes if step.action in ("open", "update") else (),
        severity=rule.severity,
        budget={"monitor": name, "windows": rule.windows},
    )
