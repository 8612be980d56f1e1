"""What is watched of a model: the plan of each family, learned from its binning and its reference."""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monitor.stats import cohorts, families, faults
from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins
from monitor.stats.cut import Cut
from monitor.stats.detector import MINIMUM_ROWS, Watch
from monitor.stats.evidence import CountModel, Floats, ScalarModel
from monitor.stats.families import Gather, Signal, read, read_all
from monitor.stats.learned import count_model, scalar_model
from monitor.stats.phases import Clock, Phases, groups, of_counts
from monitor.stats.plan import Plan, adjust
from monitor.stats.profile import Profile
from monitor.stats.scalars import LOSS, loss, pairs, volume
from monitor.stats.verdict import Family
from monitor.stats.wide import size, wide

WEIGHTS: dict[Family, float] = {
    "features": 0.3,
    "multivariate": 0.05,  # judged by nights, from rows (monitor/evaluate/nightly.py)
    "performance": 0.35,
    "volume": 0.1,
    "latency": 0.1,
    "quality": 0.1,
}
LEAST_WINDOWS = 3  # reference windows that a scalar needs
SEGMENTS = 0.3  # weight of all segments' signals, against 1 for those of the whole model


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
    cut = Cut(reference, whole, list(windows), counts, inner, starts or (), clock, usable, timezone, without)
    found: dict[Family, Plan] = {}
    drafts: dict[Family, list[Gather]] = {
        "features": families.features(binning) + cohorts.features(binning, cut.total, SEGMENTS),
        "performance": families.performance(binning, reference),
        "quality": faults.quality(binning, reference),
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


def _plan(binning: Binning, family: Family, gathers: list[Gather], cut: Cut, budget_windows: float) -> Plan:
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
        if gather.shares is not None:
            blocks = faults.blocks(gather, cut.counts)
            stuck = blocks[:, 1].sum()
            data.append((np.array([rows[-1] - stuck, stuck]), blocks))
            expected.append(None)
            phases.append(None)
            sure.append(0.0)
            continue
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
    measured = loss(binning, cut) if family == "performance" else None
    if family == "features":
        places, scalars, more = pairs(binning, cut)
        signals += [Signal("correlation", "pair", " and ".join(binning.pairs[place])) for place in places.tolist()]
        weights += more.tolist()
    elif measured is not None:
        scalars = measured[0]
        signals.append(Signal("log_loss", "loss"))
        weights.append(LOSS)
    total = np.asarray(weights, float)
    watch = _watch(
        binning, family, model, scalars, total / total.sum(), budget_windows, subjects=_subjects(binning, signals)
    )
    return Plan(
        family, tuple(signals), tuple(gathers), tuple(expected), tuple(phases), cut.clock, watch,
        cut.timezone, np.array(rows), places, measured is not None, None if measured is None else measured[1],
    )  # fmt: skip


def _subjects(binning: Binning, signals: list[Signal]) -> tuple[frozenset[str], ...]:
    """What each signal is about: its feature, or both of a pair."""
    pair_of = {" and ".join(pair): frozenset(pair) for pair in binning.pairs}
    return tuple(
        pair_of[signal.feature or ""] if signal.kind == "pair" else frozenset([signal.feature or ""])
        for signal in signals
    )


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
    cut: Cut, rhythm: Phases | None, blocks: Floats, counts: Floats
) -> tuple[Floats, Floats, Phases | None]:
    """A segment's windows and counts, turned by its feature's phases."""
    if rhythm is None or next(iter(rhythm.factors.values())).size != counts.size or not len(blocks):
        return blocks, counts, None
    found, member = cut.groups[rhythm.kind]
    phases = found[member[cut.inner]].tolist()
    turned = np.array([rhythm.turn(phase, one) for phase, one in zip(phases, blocks, strict=True)])
    # Where only the later windows know their segments, their turned sum stands for all.
    return turned, turned.sum(axis=0) * (counts.sum() / max(turned.sum(), 1.0)), rhythm


def _volume(binning: Binning, cut: Cut, budget_windows: float) -> Plan:
    scalars, rhythm = volume(cut)
    watch = _watch(binning, "volume", count_model([]), scalars, np.ones(1), budget_windows, 0)
    return Plan("volume", (Signal("volume", "level"),), (), (), (rhythm,), cut.clock, watch, cut.timezone, np.zeros(0))


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
