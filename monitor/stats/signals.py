"""What is watched of a model: the signals of each family, taken from its binning, and their values in a window.

Every count signal is a gather from a profile's count vector into a few bins. A conditional signal is gathered per
stratum (score group, predicted class) and then set off against what the reference saw in the same strata, so that a
window with other inputs but the same outcomes given the score looks like the reference.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from monitor.stats import cohorts, families
from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins
from monitor.stats.detector import MINIMUM_ROWS, Watch, Window
from monitor.stats.evidence import CountModel, Floats, Ints, ScalarModel
from monitor.stats.families import Gather, Signal, read, read_all
from monitor.stats.learned import count_model, scalar_model
from monitor.stats.pairs import correlations
from monitor.stats.phases import Clock, Groups, Phases, groups, of_counts, of_scalars
from monitor.stats.profile import Profile
from monitor.stats.verdict import Family
from monitor.stats.wide import size, wide

WEIGHTS: dict[Family, float] = {"features": 0.35, "performance": 0.35, "volume": 0.1, "latency": 0.1, "quality": 0.1}
LEAST_WINDOWS = 3  # reference windows that a scalar needs
SEGMENTS = 0.3  # weight of all segments' signals, against 1 for those of the whole model
PAIRS = 0.3  # the same of pairs of features
PAIR_WINDOWS, PAIR_ROWS = 8, 50  # reference windows that a pair needs, and rows of each
PAIR_CLIP = VOLUME_CLIP = 6.0
PAIR_TOLERANCE = 0.05  # in Fisher's z: a correlation that is another by so much for good is nobody's page
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
    timezone: str
    rows: Floats  # of the reference in each count signal
    pairs: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # those of the binning's that are watched

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
        return Window(start, end, rows, counts, scalars)

    def _counts(self, counts: Ints) -> Floats:
        source, target = self._plain
        found = np.bincount(target, weights=counts[source], minlength=self.watch.counts.p.size).astype(float)
        for index, (gather, table) in enumerate(zip(self.gathers, self.expected, strict=True)):
            if not _is_plain(gather, table):
                first = int(self.watch.counts.offsets[index])
                found[first : first + gather.bins] = adjust(read(gather, counts), table)
        return found

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
        kinds = {phases.kind for phases in self.phases if phases is not None}
        return {kind: self.clock.phase(kind, start) for kind in kinds} if self.clock is not None else {}


def _is_plain(gather: Gather, table: Floats | None) -> bool:
    return table is None and gather.strata == 1 and gather.scale is None


def correlations_of(profile: Profile) -> Floats:
    """Fisher's z of every pair of a profile."""
    binning = profile.binning
    sums = np.array([profile.total(("pair", str(place))) for place in range(len(binning.pairs))])
    counts = [profile.of(("feature", name)) for name, _ in binning.normals]
    return correlations(sums, counts, binning.normals, profile.rows)


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
    counts = np.array([wide(profile) for profile in windows]).reshape(-1, size(binning))
    inner = np.array([profile.segments is not None for profile in windows], np.bool_)
    usable = groups(clock, starts) if clock is not None and starts is not None else {}
    whole = wide(reference)
    cut = _Cut(reference, whole, list(windows), counts, inner, starts or (), clock, usable, timezone, without)
    found: dict[Family, Plan] = {}
    drafts: dict[Family, list[Gather]] = {
        "features": families.features(binning) + cohorts.features(binning, cut.total, SEGMENTS),
        "performance": families.performance(binning, reference),
        "quality": families.quality(binning),
        "latency": families.latency(binning, reference),
    }
    if drafts["performance"]:
        drafts["performance"] += cohorts.performance(binning, cut.total, SEGMENTS)
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
    total: Ints  # the wide counts of all of it
    windows: list[Profile]
    counts: Ints  # [T, size], wide
    inner: NDArray[np.bool_]  # [T]: which windows know their segments
    starts: Sequence[int]
    clock: Clock | None
    groups: Groups
    timezone: str
    without: Sequence[tuple[int, int]] = ()

    @cached_property
    def within(self) -> Ints:
        """The counts of those windows that know their segments."""
        return self.counts if self.inner.all() else self.counts[self.inner]


def _plan(binning: Binning, family: Family, gathers: list[Gather], cut: _Cut, budget_windows: float) -> Plan:
    expected: list[Floats | None] = []
    phases: list[Phases | None] = []
    data, rows, sure = [], [], []
    of_whole: dict[str | None, float] = {}
    whole_phases: dict[str | None, Phases | None] = {}
    for gather in gathers:
        whole = read(gather, cut.total)
        rows.append(float(whole.sum()))
        table = None if gather.strata == 1 and gather.rates is None else _table(gather, whole)
        segment = gather.signal.segment
        blocks = adjust(read_all(gather, cut.counts if segment is None else cut.within), table)
        if segment is None:
            rhythm = of_counts(cut.groups, blocks)
            whole_phases[gather.signal.feature] = rhythm
            if rhythm is not None:
                blocks = rhythm.turn_all(cut.groups, blocks)
            counts = whole.sum(axis=0) if rhythm is None else blocks.sum(axis=0)
        else:
            # A segment has too few rows to tell its rhythm: it is taken to have its feature's.
            rhythm = whole_phases.get(gather.signal.feature) if gather.signal.kind == "shape" else None
            blocks, counts, rhythm = _as_the_whole(cut, rhythm, blocks, whole.sum(axis=0))
        expected.append(table)
        phases.append(rhythm)
        if segment is None:
            of_whole[gather.signal.feature] = rows[-1]
        # A segment has as large a part of the smallest phase as of all rows.
        sure.append(0.0 if rhythm is None else rhythm.least * rows[-1] / max(of_whole[gather.signal.feature], 1.0))
        if gather.signal.metric == "unseen_share":
            counts = _good_turing(binning, gather, counts)
        data.append((counts, blocks))
    model = count_model(
        data,
        np.array([gather.tolerance for gather in gathers]),
        [gather.direction for gather in gathers],
        [None if rhythm is None else (rhythm.number, least) for rhythm, least in zip(phases, sure, strict=True)],
    )
    signals = [gather.signal for gather in gathers]
    model = replace(model, limit=_as_bursty(signals, model.limit))
    weights = [gather.weight for gather in gathers]
    places, scalars = np.zeros(0, np.int64), scalar_model([], [], [])
    if family == "features":
        places, scalars, more = _pairs(binning, cut)
        signals += [Signal("correlation", "pair", " and ".join(binning.pairs[place])) for place in places.tolist()]
        weights += more.tolist()
    pair_of = {" and ".join(pair): frozenset(pair) for pair in binning.pairs}
    subjects = tuple(
        pair_of[signal.feature or ""] if signal.kind == "pair" else frozenset([signal.feature or ""])
        for signal in signals
    )
    total = np.asarray(weights, float)
    watch = _watch(binning, family, model, scalars, total / total.sum(), budget_windows, subjects=subjects)
    return Plan(
        family, tuple(signals), tuple(gathers), tuple(expected), tuple(phases), cut.clock, watch,
        cut.timezone, np.array(rows), places,
    )  # fmt: skip


def _as_bursty(signals: list[Signal], limit: Floats) -> Floats:
    """Where a feature's rows come in bursts, they do in its segments too, though those may be too thin to show it."""
    whole = {signal.feature: bound for signal, bound in zip(signals, limit, strict=True) if signal.segment is None}
    inner = [whole.get(signal.feature, np.inf) if signal.segment else np.inf for signal in signals]
    return np.asarray(np.minimum(limit, np.asarray(inner, float)))


def _table(gather: Gather, whole: Floats) -> Floats:
    """What the reference leads to expect: shares within each stratum, and in the last row those over all."""
    mean = (whole.sum(axis=0) + 0.5) / (whole.sum() + 0.5 * gather.bins)
    within = (whole + gather.bins * mean) / (whole.sum(axis=1, keepdims=True) + gather.bins)
    if gather.rates is not None:
        within = np.column_stack([1 - gather.rates, gather.rates])
    return np.vstack([within, mean])


def _as_the_whole(
    cut: _Cut, rhythm: Phases | None, blocks: Floats, counts: Floats
) -> tuple[Floats, Floats, Phases | None]:
    """A segment's windows and counts, turned by its feature's phases."""
    if rhythm is None or next(iter(rhythm.factors.values())).size != counts.size or not len(blocks):
        return blocks, counts, None
    found, member = cut.groups[rhythm.kind]
    phases = found[member[cut.inner]].tolist()
    turned = np.array([rhythm.turn(phase, one) for phase, one in zip(phases, blocks, strict=True)])
    # Where only the later windows know their segments, their turned sum stands for all.
    return turned, turned.sum(axis=0) * (counts.sum() / max(turned.sum(), 1.0)), rhythm


def _pairs(binning: Binning, cut: _Cut) -> tuple[Ints, ScalarModel, Floats]:
    """The pairs of features that the reference can judge, their scalars, and weights that sum to PAIRS.

    What can break is mostly what is there: half of the weight goes by the strength of the correlation.
    """
    if not binning.pairs or len(cut.windows) < PAIR_WINDOWS:
        return np.zeros(0, np.int64), scalar_model([], [], []), np.zeros(0)
    rows = np.array([profile.rows for profile in cut.windows])
    kept = [profile for profile in cut.windows if profile.rows >= PAIR_ROWS]
    values = np.array([correlations_of(profile) for profile in kept]).reshape(len(kept), -1)
    places = np.flatnonzero(np.isfinite(values).sum(axis=0) >= PAIR_WINDOWS)
    if not places.size:
        return np.zeros(0, np.int64), scalar_model([], [], []), np.zeros(0)
    floor = float(1 / np.sqrt(max(rows[rows >= PAIR_ROWS].mean() - 3, 1.0)))
    many = places.size
    found = scalar_model(
        [values[:, place] for place in places.tolist()], [PAIR_CLIP] * many, [floor] * many, None,
        [PAIR_TOLERANCE] * many,
    )  # fmt: skip
    strength = np.abs(found.mean) + 1e-6
    return places, found, PAIRS * (0.5 / many + 0.5 * strength / strength.sum())


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
    return Plan("volume", (Signal("volume", "level"),), (), (), (rhythm,), cut.clock, watch, cut.timezone, np.zeros(0))


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
    minimum_rows: int = MINIMUM_ROWS,
    subjects: tuple[frozenset[str], ...] = (),
) -> Watch:
    content = b"".join(part.tobytes() for part in (counts.p, counts.kappa, counts.inverse_k0, scalars.mean, weights))
    mark = f"{family}:{binning.number}:{zlib.crc32(content):08x}"
    threshold = budget_windows / WEIGHTS[family]
    return Watch(counts, scalars, weights, threshold, mark, minimum_rows, subjects)


def _good_turing(binning: Binning, gather: Gather, counts: Floats) -> Floats:
    """Reference counts of a never-seen signal: as many unseen rows as levels that the reference saw once."""
    bins = next(bins for bins in binning.features if bins.name == gather.signal.feature)
    assert isinstance(bins, CategoricalBins)
    unseen = bins.singletons * bins.count
    return np.array([max(float(counts.sum()) - unseen, 0.0), unseen])
