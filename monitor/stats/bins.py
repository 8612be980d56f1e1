"""How one column is cut into bins. Edges are frozen when a binning is made, so that counts of any two windows add up.

Every numeric column (feature, score, regression prediction, residual, latency, label delay) is a `NumericBins`, every
categorical or boolean feature a `CategoricalBins`. `locate` gives each row its slot; `coarse` is the same column with
the few bins that evidence and segments use, and `coarse_slots` says where each fine slot goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from monitor.stats.edges import equal_mass_groups, power_of_two, quantile_edges, sorted_finite
from monitor.stats.grid import Grid, count_sorted
from monitor.stats.rows import Bools, Codes, Floats, Ints

LEVELS = 200  # levels with a slot of their own
KNOWN = 10_000  # levels that are remembered as seen
COARSE_LEVELS = 9
_FEW = 256  # values that are bisected without a grid


@dataclass(frozen=True, eq=False)
class NumericBins:
    """k bins [edges[i], edges[i+1]) between the reference's lowest and highest value, and slots for all the rest.

    Slots: 0 below | 1..k bins | k+1 above | k+2 missing | k+3 NaN | k+4 infinite. The last edge is the float after
    `high`, so that `high` itself is inside. `discrete`: the reference has at most k distinct values, bin i holds
    edges[i]. `groups` int64[k]: the coarse bin of each bin, rising from 0. `mean`, `sd` and `count` are of the
    reference's finite values; `unit` is the power of two in which sums are counted, no smaller than any distance from
    the mean to a value within the range.
    """

    name: str
    edges: Floats
    groups: Ints
    discrete: bool
    low: float
    high: float
    mean: float
    sd: float
    count: int

    @property
    def k(self) -> int:
        return len(self.edges) - 1

    @property
    def size(self) -> int:
        return len(self.edges) + 4

    @property
    def above(self) -> int:
        return self.k + 1

    @property
    def missing(self) -> int:
        return self.k + 2

    @property
    def nan(self) -> int:
        return self.k + 3

    @property
    def infinite(self) -> int:
        return self.k + 4

    @cached_property
    def unit(self) -> float:
        return power_of_two(max(self.high - self.mean, self.mean - self.low))

    @cached_property
    def _grid(self) -> Grid | None:
        return Grid.over(self.edges)

    def locate(self, finite: Floats, *, within: bool = False) -> Ints:
        """int64[n] slots (0..k+1) of finite values; `within`: all of them lie in the reference's range."""
        grid = self._grid if len(finite) > _FEW else None
        if grid is None:
            return np.searchsorted(self.edges, finite, side="right")
        return grid.locate(finite, within=within)

    def slots(self, values: Floats, missing: Bools | None = None) -> Ints:
        """int64[n] slots of any values; `missing` marks nulls."""
        finite = np.isfinite(values)
        if missing is None and finite.all():
            return self.locate(values)
        slots = self.locate(np.where(finite, values, self.mean))
        odd = ~finite
        slots[odd] = np.where(np.isnan(values[odd]), self.nan, self.infinite)
        if missing is not None:
            slots[missing] = self.missing
        return slots

    def odd(self, values: Floats, missing: Bools | None = None) -> Ints:
        """int64[m]: where values (at least one) are missing, not finite or beyond the reference's range."""
        if missing is None and values.min() >= self.low and values.max() <= self.high:  # never so with a NaN in them
            return np.zeros(0, dtype=np.int64)
        usual = (values >= self.low) & (values <= self.high)
        return np.flatnonzero(~usual if missing is None else ~usual | missing)

    def histogram(self, within: Floats) -> Ints:
        """int64[size]: how many values have each slot, all of them in the reference's range; without placing every
        value where edges are too close for the grid."""
        grid = self._grid if len(within) > _FEW else None
        if grid is not None and not grid.sorts:
            return np.bincount(grid.locate(within, within=True), minlength=self.size)
        counted = np.zeros(self.size, dtype=np.int64)
        counted[: self.missing] = count_sorted(self.edges, within)
        return counted

    @cached_property
    def coarse_slots(self) -> Ints:
        """int64[size]: the slot in `coarse` of each slot."""
        top = int(self.groups[-1]) + 1
        return np.concatenate([[0], self.groups + 1, top + np.arange(1, 5)]).astype(np.int64)

    @cached_property
    def coarse(self) -> "NumericBins":
        """The same column with a bin for each group."""
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        edges = np.append(self.edges[starts], self.edges[-1])
        discrete = self.discrete and len(starts) == self.k
        return replace(self, edges=edges, groups=np.arange(len(starts)), discrete=discrete)

    def data(self) -> dict[str, Any]:
        return {
            "kind": "numeric", "name": self.name, "edges": self.edges.astype("<f8").tobytes(),
            "groups": self.groups.tolist(), "discrete": self.discrete, "low": self.low, "high": self.high,
            "mean": self.mean, "sd": self.sd, "count": self.count,
        }  # fmt: skip

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "NumericBins":
        data = {name: value for name, value in data.items() if name != "kind"}
        edges = np.frombuffer(data.pop("edges"), dtype="<f8").astype(np.float64)
        return cls(edges=edges, groups=np.asarray(data.pop("groups"), dtype=np.int64), **data)

    @classmethod
    def build(cls, name: str, values: Floats, missing: Bools | None = None) -> "NumericBins":
        """Quantile bins of a reference column; NaN, infinities and missing values stay out."""
        finite = sorted_finite(values, missing)
        if not len(finite):
            finite_edges, discrete = np.zeros(1), True
        else:
            finite_edges, discrete = quantile_edges(finite)
        high = float(finite[-1]) if len(finite) else 0.0
        with np.errstate(over="ignore", under="ignore"):  # the float after the largest one is infinity
            edges = np.append(finite_edges[finite_edges <= high], np.nextafter(high, np.inf))
        return cls.on_edges(name, edges, finite, discrete=discrete)

    @classmethod
    def on_edges(cls, name: str, edges: Floats, finite: Floats, *, discrete: bool = False) -> "NumericBins":
        """Bins with given edges; the sorted finite reference values decide groups, mean and sd only."""
        counts = np.diff(np.searchsorted(finite, edges, side="left"))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            mean, sd = (float(finite.mean()), float(finite.std())) if len(finite) else (0.0, 0.0)
            low, high = float(edges[0]), float(np.nextafter(edges[-1], -np.inf))
        if not (np.isfinite(mean) and np.isfinite(sd)):  # values near the end of float64: sums are clipped anyway
            mean, sd = low / 2 + high / 2, high / 2 - low / 2
        mean = min(max(mean, low), high)
        return cls(name, edges, equal_mass_groups(counts), discrete, low, high, mean, sd, len(finite))


@dataclass(frozen=True, eq=False)
class CategoricalBins:
    """Slots: the most frequent reference levels | other known levels | never seen | missing.

    `levels` are sorted by falling frequency (ties by text); `known` are all reference levels (at most 10,000, the most
    frequent). `singletons` is Good and Turing's estimate of the mass of unseen levels: the share of reference
    rows whose level occurs once (Good, Biometrika 40, 1953). `count`: reference rows that are not missing.
    """

    name: str
    levels: tuple[str, ...]
    known: tuple[str, ...]
    singletons: float
    count: int

    @property
    def size(self) -> int:
        return len(self.levels) + 3

    @property
    def other(self) -> int:
        return len(self.levels)

    @property
    def unseen(self) -> int:
        return len(self.levels) + 1

    @property
    def missing(self) -> int:
        return len(self.levels) + 2

    @cached_property
    def _slot_of(self) -> dict[str, int]:
        found = dict.fromkeys(self.known, self.other)
        found.update({level: slot for slot, level in enumerate(self.levels)})
        return found

    def table(self, levels: Sequence[str]) -> Ints:
        """int64[len(levels) + 1]: the slot of each level, and last (so that code -1 finds it) that of null."""
        get, unseen = self._slot_of.get, self.unseen
        return np.asarray([*(get(level, unseen) for level in levels), self.missing], dtype=np.int64)

    def slots(self, column: Codes) -> Ints:
        return self.table(column.levels)[column.codes]

    def histogram(self, column: Codes) -> Ints:
        """int64[size]: how many values have each slot, without placing every value."""
        counted = np.bincount(self.table(column.levels), weights=column.counts(), minlength=self.size)
        return counted.astype(np.int64)

    @cached_property
    def coarse_slots(self) -> Ints:
        kept = min(len(self.levels), COARSE_LEVELS)
        folded = np.minimum(np.arange(len(self.levels)), kept)
        return np.concatenate([folded, kept + np.arange(3)]).astype(np.int64)

    @cached_property
    def coarse(self) -> "CategoricalBins":
        return replace(self, levels=self.levels[:COARSE_LEVELS])

    def data(self) -> dict[str, Any]:
        return {
            "kind": "categorical", "name": self.name, "levels": len(self.levels), "known": list(self.known),
            "singletons": self.singletons, "count": self.count,
        }  # fmt: skip

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "CategoricalBins":
        known = tuple(data["known"])
        return cls(data["name"], known[: data["levels"]], known, data["singletons"], data["count"])

    @classmethod
    def build(cls, name: str, column: Codes) -> "CategoricalBins":
        """The levels of a reference column by frequency."""
        known, counts = by_frequency(column)
        total = int(counts.sum())
        singletons = float((counts == 1).sum() / total) if total else 1.0
        return cls(name, known[:LEVELS], known[:KNOWN], singletons, total)


Bins = NumericBins | CategoricalBins


def by_frequency(column: Codes) -> tuple[tuple[str, ...], Ints]:
    """The levels that occur, most frequent first, ties by text; and their counts."""
    counts = column.counts()[:-1]
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], column.levels[code]))
    return tuple(column.levels[code] for code in order), counts[order]
