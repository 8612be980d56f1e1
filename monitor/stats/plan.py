"""How one family of a model reads a window: its signals, and the values that its detector takes in.

Every count signal is a gather from a profile's count vector into a few bins. A conditional signal is gathered per
stratum (score group, predicted class) and then set off against what the reference saw in the same strata, so that a
window with other inputs but the same outcomes given the score looks like the reference.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from monitor.stats.detector import Watch, Window
from monitor.stats.evidence import Floats, Ints
from monitor.stats.families import Gather, Signal, read
from monitor.stats.faults import excess
from monitor.stats.pairs import correlations
from monitor.stats.phases import Clock, Phases
from monitor.stats.profile import Profile
from monitor.stats.verdict import Family
from monitor.stats.wide import wide

LOSS_ROWS = 20  # with a score and an outcome, that a window's mean loss needs


@dataclass(frozen=True)
class Plan:
    """One family of one model: its signals (counts first), and how to read a window. `watch` is for the detector.

    `pairs`: those of the binning's that are watched; `loss`: whether the mean log loss is, with its rhythm.
    """

    family: Family
    signals: tuple[Signal, ...]
    gathers: tuple[Gather, ...]
    expected: tuple[Floats | None, ...]
    phases: tuple[Phases | None, ...]
    clock: Clock | None
    watch: Watch
    timezone: str
    rows: Floats  # of the reference in each count signal
    pairs: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    loss: bool = False
    loss_rhythm: Phases | None = None

    def window(self, profile: Profile, start: int, end: int) -> Window:
        """A window's values for the detector."""
        phase = self._phase(start)
        if self.family == "volume":
            size, rhythm = float(np.log1p(profile.rows)), self.phases[0]
            value = size if rhythm is None else rhythm.shift(phase[rhythm.kind], size)
            return Window(start, end, profile.rows, np.zeros(0), np.array([value]))
        rows = profile.labelled if self.family == "performance" else profile.rows
        counts = self._counts(wide(profile))
        edges = np.append(self.watch.counts.offsets, counts.size)
        for index, rhythm in enumerate(self.phases):
            if rhythm is not None:
                here = slice(int(edges[index]), int(edges[index + 1]))
                counts[here] = rhythm.turn(phase[rhythm.kind], counts[here])
        scalars = np.zeros(0)
        if self.pairs.size:
            scalars = correlations_of(profile)[self.pairs]
        if self.loss:
            value, rhythm = loss_of(profile), self.loss_rhythm
            scalars = np.array([value if rhythm is None else rhythm.shift(phase[rhythm.kind], value)])
        return Window(start, end, rows, counts, scalars)

    def _counts(self, counts: Ints) -> Floats:
        source, target = self._plain
        found = np.bincount(target, weights=counts[source], minlength=self.watch.counts.p.size).astype(float)
        for index, (gather, table) in enumerate(zip(self.gathers, self.expected, strict=True)):
            if gather.shares is None and not _is_plain(gather, table):
                first = int(self.watch.counts.offsets[index])
                found[first : first + gather.bins] = adjust(read(gather, counts), table)
        source, shares, firsts, cells = self._stuck
        if cells.size:
            values = counts[source].astype(float)
            found[cells + 1] = excess(values, shares, firsts)
            found[cells] = np.add.reduceat(values, firsts) - found[cells + 1]
        return found

    @cached_property
    def _stuck(self) -> tuple[Ints, Floats, Ints, Ints]:
        """Of all signals of stuck values: their fine bins in the counts, the reference's shares of these, the first bin
        of each signal, and the first of its two cells."""
        chosen = [(place, gather) for place, gather in enumerate(self.gathers) if gather.shares is not None]
        sizes = [gather.source.size for _, gather in chosen]
        return (
            np.concatenate([np.zeros(0, np.int64), *(gather.source for _, gather in chosen)]),
            np.concatenate([np.zeros(0), *(gather.shares for _, gather in chosen if gather.shares is not None)]),
            np.concatenate([[0], np.cumsum(sizes)])[: len(sizes)].astype(np.int64),
            self.watch.counts.offsets[[place for place, _ in chosen]].astype(np.int64),
        )

    @cached_property
    def _plain(self) -> tuple[Ints, Ints]:
        """Sources and targets of all signals that are read without strata, for one pass over the counts."""
        offsets = self.watch.counts.offsets
        chosen = [
            (gather.source, gather.target + int(offsets[index]))
            for index, (gather, table) in enumerate(zip(self.gathers, self.expected, strict=True))
            if _is_plain(gather, table)
        ]
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *(one for one, _ in chosen)]), np.concatenate([none, *(to for _, to in chosen)])

    def _phase(self, start: int) -> dict[str, int]:
        kinds = {phases.kind for phases in (*self.phases, self.loss_rhythm) if phases is not None}
        return {kind: self.clock.phase(kind, start) for kind in kinds} if self.clock is not None else {}


def _is_plain(gather: Gather, table: Floats | None) -> bool:
    return table is None and gather.strata == 1 and gather.scale is None and gather.shares is None


def correlations_of(profile: Profile) -> Floats:
    """Fisher's z of every pair of a profile."""
    binning = profile.binning
    if not binning.pairs:
        return np.zeros(0)
    sums = profile.totals(("pair", "0"), len(binning.pairs))
    return correlations(sums, profile.counts, binning.pair_cells, profile.rows)


def loss_of(profile: Profile) -> float:
    """Mean log loss of a window; NaN where too few rows have a score and an outcome."""
    return profile.total("log_loss") / profile.scored if profile.scored >= LOSS_ROWS else float("nan")


def adjust(cells: Floats, expected: Floats | None) -> Floats:
    """Cells [..., strata, bins] as counts [..., bins] under the reference's mix of strata, with the same rows.

    expected: the reference's shares within each stratum [strata, bins], and in its last row those over all; None for
    a signal of one stratum.
    """
    counts = cells.sum(axis=-2)
    if expected is None:
        return np.asarray(counts)
    here = cells.sum(axis=-1) @ expected[:-1]
    turned = counts * expected[-1] / np.maximum(here, 1e-12)
    rows = counts.sum(axis=-1, keepdims=True)
    return np.asarray(turned * (rows / np.maximum(turned.sum(axis=-1, keepdims=True), 1e-12)))
