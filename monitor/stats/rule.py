"""A monitor by hand: conditions on metrics of a window, and when they fire, go on, and are over.

`advance` is a pure function of (rule, memory, readings). Conditions are three-valued (Kleene): without a value a
condition is neither met nor not met, and `all` or `any` of several is decided where the others decide it.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Action = Literal["none", "open", "update", "resolve"]
OPS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
MATCHES = ("all", "any")
MISSING = ("ignore", "alert")


@dataclass(frozen=True)
class Reading:
    """A metric of one window with its 95 % interval, from `n` rows; `value` None: there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Condition:
    """`metric op value`, of a feature, a segment (NAME:VALUE), a version, or of all live rows.

    `clear` is the bound once the monitor fires: between the two it goes on firing and does not begin.
    """

    metric: str
    op: str
    value: float
    feature: str | None = None
    segment: str | None = None
    version: str | None = None
    clear: float | None = None

    def bound(self, firing: bool) -> float:
        return self.clear if firing and self.clear is not None else self.value

    def holds(self, reading: Reading, firing: bool) -> bool | None:
        """Whether it is met; None without a value."""
        return None if reading.value is None else OPS[self.op](reading.value, self.bound(firing))


@dataclass(frozen=True)
class Rule:
    """All or any of some conditions, met `windows` times in a row; over after `resolve_windows` windows that do not.

    `missing`: a window that decides nothing is passed over (ignore), or counts as one that meets the rule (alert). A
    number from fewer than `min_rows` rows is none.
    """

    conditions: tuple[Condition, ...]
    match: str = "all"
    windows: int = 1
    resolve_windows: int = 1
    missing: str = "ignore"
    min_rows: int = 0
    severity: Literal["info", "warning", "critical"] = "warning"

    def holds(self, readings: Sequence[Reading], firing: bool) -> bool | None:
        """Whether one window meets it; None where what is missing would decide."""
        found = [one.holds(reading, firing) for one, reading in zip(self.conditions, readings, strict=True)]
        decisive = self.match == "any"
        if decisive in found:
            return decisive
        return None if None in found else not decisive


@dataclass(frozen=True)
class Memory:
    """What a monitor remembers: whether it fires, windows in a row that met it (since its alarm) or did not (since it
    fires), and the start of the first of those that met it."""

    firing: bool = False
    met: int = 0
    back: int = 0
    since: int | None = None


@dataclass(frozen=True)
class Step:
    """What one window came to. `met` None: nothing decided it. `streak`: windows in a row, this one included."""

    action: Action
    met: bool | None
    streak: int
    since: int


def advance(rule: Rule, memory: Memory, readings: Sequence[Reading], start: int) -> tuple[Memory, Step]:
    """Takes one window in; windows come in order and once.

    While it fires, every further `windows` windows in a row say so again (update): so an alert that somebody resolved
    by hand opens again only when the rule was met as often anew.
    """
    met = rule.holds(readings, memory.firing)
    if met is None and rule.missing == "ignore":
        return memory, Step("none", None, memory.met, start)
    if met is False:
        after = replace(memory, met=0, since=None, back=memory.back + 1 if memory.firing else 0)
        if memory.firing and after.back >= rule.resolve_windows:
            return Memory(), Step("resolve", met, 0, start)
        return after, Step("none", met, 0, start)
    streak = memory.met + 1
    since = start if memory.since is None or memory.met == 0 else memory.since
    if streak < rule.windows:
        return Memory(memory.firing, streak, 0, since), Step("none", met, streak, since)
    return Memory(True, 0, 0, None), Step("update" if memory.firing else "open", met, streak, since)
