"""Day and night, weekdays and weekends: what repeats in the reference and is therefore no change.

A signal gets phases only where the reference has at least four windows of each phase and they differ clearly. A window
is then compared with its own phase: counts are multiplied by p_mean / p_phase per bin, scalars lose their phase's mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from monitor.stats.rows import Floats, Ints

LEAST_BLOCKS = 4
CLEAR = 5.0  # standard deviations by which the phases must differ more than windows of one phase do
_MOST_RATIO = 10.0  # a bin that a phase hardly has must not turn one row into hundreds
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Clock:
    """Tells a window's phase. step: seconds of the monitored window; timezone: of the model."""

    step: int
    timezone: str

    @staticmethod
    def of(starts: Sequence[int], timezone: str) -> "Clock | None":
        """From the reference windows' starts (us); None where they have no rhythm of a day or less."""
        if len(starts) < 2 * LEAST_BLOCKS:
            return None
        step = int(np.median(np.diff(np.asarray(starts, np.int64)))) // 1_000_000
        return Clock(step, timezone) if 0 < step <= 90_000 else None

    def kinds(self) -> tuple[str, ...]:
        """The possible phases, the finest first."""
        return ("weekend",) if self.step > 43_200 else ("slot, weekend", "slot", "weekend")

    def phase(self, kind: str, start: int) -> int:
        """Number of the phase of a window that starts then (us)."""
        # The middle tells the day: a day's window may start an hour beside midnight when clocks change.
        local = (_EPOCH + timedelta(microseconds=start, seconds=self.step / 2)).astimezone(ZoneInfo(self.timezone))
        weekend = int(local.weekday() >= 5)
        slot = (local.hour * 3600 + local.minute * 60 + local.second) // max(self.step, 1)
        if kind == "weekend":
            return weekend
        return int(slot) if kind == "slot" else int(2 * slot + weekend)


@dataclass(frozen=True)
class Phases:
    """The phases of one signal: by phase number a factor for each bin (counts) or an offset (scalars).

    A factor above 1 makes a bin vary more than counts of its size do. `worth` is what a row of the phase then counts
    for, 1 over the mean factor; `least` the smallest number of such rows that the reference has of a phase. Of scalars,
    `worth` is the usual standard deviation over the phase's, `centre` the mean.
    """

    kind: str
    factors: dict[int, Floats]
    worth: dict[int, float] = field(default_factory=dict)
    least: float = 0.0
    centre: float = 0.0

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.factors)

    def turn(self, phase: int, counts: Floats) -> Floats:
        """Counts [..., bins] of windows of one phase as in the average one, in rows that vary as counts do."""
        factor = self.factors.get(phase)
        if factor is None:
            return counts
        turned = counts * factor
        rows = counts.sum(axis=-1, keepdims=True) * self.worth[phase]
        return np.asarray(turned * (rows / np.maximum(turned.sum(axis=-1, keepdims=True), 1e-12)))

    def turn_all(self, usable: "Groups", blocks: Floats) -> Floats:
        """The reference's windows [T, bins], each turned by its own phase."""
        found, member = usable[self.kind]
        turned = np.empty_like(blocks)
        for place, phase in enumerate(found.tolist()):
            turned[member == place] = self.turn(phase, blocks[member == place])
        return turned

    def shift(self, phase: int, value: float) -> float:
        """A scalar less what its phase adds, its deviation in the average phase's units."""
        offset = self.factors.get(phase)
        if offset is None:
            return value
        return self.centre + (value - self.centre - float(offset[0])) * self.worth[phase]


Groups = dict[str, tuple[Ints, Ints]]


def groups(clock: Clock, starts: Sequence[int]) -> Groups:
    """By kind of phase: the phases that occur, and the place among them of each reference window's phase.

    A kind of which one phase has too few windows is left out.
    """
    usable: Groups = {}
    for kind in clock.kinds():
        phase = np.array([clock.phase(kind, start) for start in starts], np.int64)
        found, member = np.unique(phase, return_inverse=True)
        if found.size >= 2 and np.bincount(member).min() >= LEAST_BLOCKS:
            usable[kind] = (found, member.astype(np.int64))
    return usable


def of_counts(usable: Groups, blocks: Floats) -> Phases | None:
    """The phases of a count signal from the reference's windows, counts [T, K]; None where there are none."""
    total = blocks.sum(axis=0)
    if total.sum() <= 0:
        return None
    p = (total + 0.5) / (total.sum() + 0.5 * total.size)
    best, least = None, np.inf
    for kind, (found, member) in usable.items():
        sums = np.zeros((found.size, total.size))
        np.add.at(sums, member, blocks)
        rows = sums.sum(axis=1, keepdims=True)
        shares = (sums + total.size * p) / (rows + total.size)
        within = _pearson(blocks, shares[member]).sum() / ((blocks.shape[0] - found.size) * (total.size - 1))
        freedom = (found.size - 1) * (total.size - 1)
        between = _pearson(sums, np.tile(p, (found.size, 1))).sum() / freedom
        # Bursts move a column in a few directions only: of that many are its freedom.
        sure = max(freedom / max(within, 1.0), 1.0)
        if between > (1 + CLEAR * np.sqrt(2 / sure)) * max(within, 1.0) and within < 0.9 * least:
            factors = np.clip(p / shares, 1 / _MOST_RATIO, _MOST_RATIO)
            worth = 1 / np.maximum(factors.mean(axis=1), 1.0)
            numbers: list[int] = found.tolist()
            best = Phases(
                kind,
                dict(zip(numbers, factors, strict=True)),
                dict(zip(numbers, worth.tolist(), strict=True)),
                float((rows[:, 0] * worth).min()),
            )
            least = within
    return best


def of_scalars(usable: Groups, values: Floats, floor: float) -> Phases | None:
    """The phases of a scalar from its values in the reference's windows; None where there are none.

    floor: smallest believable standard deviation of a window's value.
    """
    best, least = None, np.inf
    for kind, (found, member) in usable.items():
        size = np.bincount(member)
        means = np.bincount(member, weights=values) / size
        within = max(float(((values - means[member]) ** 2).sum()) / (values.size - found.size), floor**2)
        between = float((size * (means - values.mean()) ** 2).sum()) / (found.size - 1)
        if between > (1 + CLEAR * np.sqrt(2 / (found.size - 1))) * within and within < 0.9 * least:
            offsets = (means - values.mean())[:, None]
            squares = np.bincount(member, weights=(values - means[member]) ** 2)
            # Few windows tell little of a phase's own spread: the usual one counts as four more.
            spread = (squares + LEAST_BLOCKS * within) / (np.maximum(size - 1, 1) + LEAST_BLOCKS)
            worth = np.sqrt(within / np.maximum(spread, floor**2 / LEAST_BLOCKS))
            numbers: list[int] = found.tolist()
            best = Phases(
                kind,
                dict(zip(numbers, offsets, strict=True)),
                dict(zip(numbers, worth.tolist(), strict=True)),
                centre=float(values.mean()),
            )
            least = within
    return best


def _pearson(blocks: Floats, shares: Floats) -> Floats:
    expected = blocks.sum(axis=1, keepdims=True) * shares
    return np.asarray(((blocks - expected) ** 2 / np.maximum(expected, 1e-12)).sum(axis=1))
