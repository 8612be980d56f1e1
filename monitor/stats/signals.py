"""What is watched of a model: the signals of each family, taken from its binning, and their values in a window.

Every count signal is a gather from a profile's count vector into a few bins. A conditional signal is gathered per
stratum (score group, predicted class) and then set off against what the reference saw in the same strata, so that a
window with other inputs but the same outcomes given the score looks like the reference.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.stats import families
from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins
from monitor.stats.detector import Watch, Window
from monitor.stats.evidence import CountModel, Floats, Ints, ScalarModel
from monitor.stats.families import Gather, Signal, read, read_all
from monitor.stats.learned import count_model, scalar_model
from monitor.stats.phases import Clock, Groups, Phases, groups, of_counts, of_scalars
from monitor.stats.profile import Profile
from monitor.stats.verdict import Family

WEIGHTS: dict[Family, float] = {"features": 0.35, "performance": 0.35, "volume": 0.1, "latency": 0.1, "quality": 0.1}
LEAST_WINDOWS = 3  # reference windows that a scalar needs
VOLUME_CLIP = 6.0
VOLUME_TOLERANCE = 0.1  # in log: a tenth more or fewer rows for good is nobody's page


@dataclass(frozen=True)
class Plan:
    """One family of one model: its signals (counts first), and how to read a window. `watch` is for the detector."""

    family: Family
    signals: tuple[Signal, ...]
    gathers: tuple[Gather, ...]
    expected: tuple[Floats | None, ...]
    phases: tuple[Phases | None, ...]
    clock: Clock | None
    watch: Watch

    def window(self, profile: Profile, start: int, end: int) -> Window:
        """A window's values for the detector."""
        raw = [read(gather, profile) for gather in self.gathers]
        counts = [adjust(cells, table) for cells, table in zip(raw, self.expected, strict=True)]
        rows = profile.labelled if self.family == "performance" else profile.rows
        if self.family == "volume":
            size, rhythm = float(np.log1p(profile.rows)), self.phases[0]
            value = size if rhythm is None else rhythm.shift(self._phase(start)[rhythm.kind], size)
            return Window(start, end, rows, np.zeros(0), np.array([value]))
        phase = self._phase(start)
        for index, phases in enumerate(self.phases):
            if phases is not None:
                counts[index] = phases.turn(phase[phases.kind], counts[index])
        return Window(start, end, rows, np.concatenate(counts), np.zeros(0))

    def _phase(self, start: int) -> dict[str, int]:
        kinds = {phases.kind for phases in self.phases if phases is not None}
        return {kind: self.clock.phase(kind, start) for kind in kinds} if self.clock is not None else {}

    def observed(self, index: int, profile: Profile) -> tuple[float, float, float]:
        """Of a signal of two bins in one window: share of the second bin, the share expected of it, rows."""
        cells, table = read(self.gathers[index], profile), self.expected[index]
        rows = float(cells.sum())
        if rows <= 0:
            return float("nan"), float("nan"), 0.0
        if table is None:
            expected = self.watch.counts.p[self.watch.counts.offsets[index] + 1]
        else:
            expected = (cells.sum(axis=1) @ table[:-1])[1] / rows
        return float(cells[:, 1].sum() / rows), float(expected), rows


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


def plans(
    binning: Binning,
    reference: Profile,
    windows: Sequence[Profile],
    budget_windows: float,
    starts: Sequence[int] | None = None,
    timezone: str = "UTC",
    without: Sequence[tuple[int, int]] = (),
) -> dict[Family, Plan]:
    """The families that the reference can judge, each with its detector's settings.

    reference: all reference rows; windows: the same cut into windows of the monitored length (empty where it has no
    timestamps). budget_windows: windows per bearable false alarm; families split it by WEIGHTS. starts: start of each
    reference window in us, timezone: the model's; without starts there are no phases. without: stretches (us)
    that were left out of the reference.
    """
    clock = Clock.of(starts, timezone) if starts is not None else None
    counts = np.array([profile.counts for profile in windows]).reshape(-1, reference.counts.size)
    usable = groups(clock, starts) if clock is not None and starts is not None else {}
    cut = _Cut(reference, counts, starts or (), clock, usable, without)
    found: dict[Family, Plan] = {}
    drafts: dict[Family, list[Gather]] = {
        "features": families.features(binning),
        "performance": families.performance(binning, reference),
        "quality": families.quality(binning),
        "latency": families.latency(binning, reference),
    }
    for family, gathers in drafts.items():
        if gathers:
            found[family] = _plan(binning, family, gathers, cut, budget_windows)
    if len(windows) >= LEAST_WINDOWS:
        found["volume"] = _volume(binning, cut, budget_windows)
    return found


@dataclass(frozen=True)
class _Cut:
    """The reference, whole and in windows."""

    whole: Profile
    counts: Ints  # [T, layout.size]
    starts: Sequence[int]
    clock: Clock | None
    groups: Groups
    without: Sequence[tuple[int, int]] = ()


def _plan(binning: Binning, family: Family, gathers: list[Gather], cut: _Cut, budget_windows: float) -> Plan:
    expected: list[Floats | None] = []
    phases: list[Phases | None] = []
    data = []
    for gather in gathers:
        whole = read(gather, cut.whole)
        table = None
        if gather.strata > 1 or gather.rates is not None:
            mean = (whole.sum(axis=0) + 0.5) / (whole.sum() + 0.5 * gather.bins)
            within = (whole + gather.bins * mean) / (whole.sum(axis=1, keepdims=True) + gather.bins)
            if gather.rates is not None:
                within = np.column_stack([1 - gather.rates, gather.rates])
            table = np.vstack([within, mean])
        blocks = adjust(read_all(gather, cut.counts), table)
        rhythm = of_counts(cut.groups, blocks)
        if rhythm is not None:
            blocks = rhythm.turn_all(cut.groups, blocks)
        expected.append(table)
        phases.append(rhythm)
        counts = whole.sum(axis=0) if rhythm is None else blocks.sum(axis=0)
        if gather.signal.metric == "unseen_share":
            counts = _good_turing(binning, gather, counts)
        data.append((counts, blocks))
    model = count_model(
        data,
        np.array([gather.tolerance for gather in gathers]),
        [gather.direction for gather in gathers],
        [None if rhythm is None else (rhythm.number, rhythm.least) for rhythm in phases],
    )
    weights = np.array([gather.weight for gather in gathers])
    watch = _watch(binning, family, model, scalar_model([], [], []), weights / weights.sum(), budget_windows)
    signals = tuple(gather.signal for gather in gathers)
    return Plan(family, signals, tuple(gathers), tuple(expected), tuple(phases), cut.clock, watch)


def _volume(binning: Binning, cut: _Cut, budget_windows: float) -> Plan:
    rows, at = _filled(cut)
    sizes = np.log1p(rows)
    floor = float(1 / np.sqrt(max(np.expm1(sizes.mean()), 1.0)))  # counting alone varies that much
    usable = groups(cut.clock, at) if cut.clock is not None else {}
    rhythm = of_scalars(usable, sizes, floor)
    if rhythm is not None:
        found, member = usable[rhythm.kind]
        sizes = np.array([rhythm.shift(int(found[place]), x) for place, x in zip(member, sizes, strict=True)])
    parts = 1 if rhythm is None else rhythm.number
    scalars = scalar_model([sizes], [VOLUME_CLIP], [floor], [parts], [VOLUME_TOLERANCE])
    watch = _watch(binning, "volume", count_model([]), scalars, np.ones(1), budget_windows, 0)
    return Plan("volume", (Signal("volume", "level"),), (), (), (rhythm,), cut.clock, watch)


def _filled(cut: _Cut) -> tuple[Floats, list[int]]:
    """Rows of the reference's windows and their starts, with the windows in between that had no rows at all."""
    rows = cut.counts[:, 0].astype(float)
    if cut.clock is None:
        return rows, []
    step = cut.clock.step * 1_000_000
    place = np.rint((np.asarray(cut.starts, np.int64) - cut.starts[0]) / step).astype(np.int64)
    whole = np.zeros(int(place.max()) + 1)
    starts = cut.starts[0] + step * np.arange(whole.size)
    np.add.at(whole, place, rows)
    starts[place] = cut.starts
    kept = np.ones(whole.size, np.bool_)
    for low, high in cut.without:  # nobody knows how much passed through there
        kept &= (starts + step <= low) | (starts >= high)
    return whole[kept], [int(start) for start in starts[kept]]


def _watch(
    binning: Binning,
    family: Family,
    counts: CountModel,
    scalars: ScalarModel,
    weights: Floats,
    budget_windows: float,
    minimum_rows: int | None = None,
) -> Watch:
    content = b"".join(part.tobytes() for part in (counts.p, counts.kappa, counts.inverse_k0, scalars.mean, weights))
    mark = f"{family}:{binning.number}:{zlib.crc32(content):08x}"
    threshold = budget_windows / WEIGHTS[family]
    if minimum_rows is None:
        return Watch(counts, scalars, weights, threshold, mark)
    return Watch(counts, scalars, weights, threshold, mark, minimum_rows)


def _good_turing(binning: Binning, gather: Gather, counts: Floats) -> Floats:
    """Reference counts of a never-seen signal: as many unseen rows as levels that the reference saw once."""
    bins = next(bins for bins in binning.features if bins.name == gather.signal.feature)
    assert isinstance(bins, CategoricalBins)
    unseen = bins.singletons * bins.count
    return np.array([max(float(counts.sum()) - unseen, 0.0), unseen])
