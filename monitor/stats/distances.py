"""How far the distributions of a profile are from its reference's: every signal of a layout at once.

Signals stand in the order of `layout.signals`: the features, the prediction, the score. PSI and Jensen-Shannon compare
a numeric column over its about ten groups of equal reference mass (values beyond the reference's range belong to the
end groups; missing, NaN and infinite are groups of their own) and a categorical one over its levels; fine bins would
measure little but noise in a window of 50 rows. Kolmogorov-Smirnov and Wasserstein use the fine bins and finite values
only, and are NaN for categorical columns.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from monitor.stats.additive import QUANTUM, Profile
from monitor.stats.bins import NumericBins
from monitor.stats.layout import FEATURE_SUMS, Layout
from monitor.stats.rows import Bools, Floats, Ints

SMOOTHING = 0.5


@dataclass(frozen=True, eq=False)
class _Plan:
    """Where the signals of a layout stand: folded into groups, and the numeric ones' slots 0..k+1 in a row."""

    at: Ints  # every slot of every signal
    fold: Ints  # its group
    starts: Ints  # the first group of each signal
    numeric: Ints  # which signals are numeric
    slots: Ints  # their slots 0..k+1, one signal after the other
    firsts: Ints  # where each numeric signal begins in `slots`
    lengths: Ints
    widths: Floats  # of the bin of each slot; 0 for below and above
    discrete: Bools  # of each slot: the bin's rows all stand at its left edge
    sd: Floats
    sums: Ints  # int64[numeric, 4]: rows of mean, square, below, above; -1 where the layout has none
    units: Floats


@lru_cache(maxsize=32)
def _plan(layout: Layout) -> _Plan:
    at, fold, starts, groups = [], [], [], 0
    numeric: list[tuple[int, NumericBins, int]] = []
    for place, key in enumerate(layout.signals):
        where, bins = layout.slices[key], layout.bins_of(key)
        if isinstance(bins, NumericBins):
            numeric.append((place, bins, where.start))
            top = int(bins.groups[-1])
            inner = np.concatenate([[0], bins.groups, [top, top + 1, top + 2, top + 3]])
        else:
            inner = np.arange(where.stop - where.start)
        at.append(np.arange(where.start, where.stop))
        fold.append(inner + groups)
        starts.append(groups)
        groups += int(inner[-1]) + 1
    sums, units = np.full((len(numeric), 4), -1, dtype=np.int64), np.ones((len(numeric), 4))
    for row, (place, bins, _) in enumerate(numeric):
        for column, name in enumerate(FEATURE_SUMS):
            quantity = layout.quantities.get((name, bins.name)) if place < len(layout.features) else None
            if quantity is not None:
                sums[row, column], units[row, column] = quantity.row, quantity.unit
    lengths = np.asarray([bins.k + 2 for _, bins, _ in numeric], dtype=np.int64)
    none = np.zeros(0)
    with np.errstate(over="ignore"):
        widths = [np.concatenate([[0.0], np.diff(bins.edges), [0.0]]) for _, bins, _ in numeric]
    return _Plan(
        at=np.concatenate(at),
        fold=np.concatenate(fold),
        starts=np.asarray(starts),
        numeric=np.asarray([place for place, _, _ in numeric], dtype=np.int64),
        slots=np.concatenate([none, *(start + np.arange(bins.k + 2) for _, bins, start in numeric)]).astype(np.int64),
        firsts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        widths=np.concatenate([none, *widths]),
        discrete=np.repeat(np.asarray([bins.discrete for _, bins, _ in numeric], dtype=np.bool_), lengths),
        sd=np.asarray([bins.sd for _, bins, _ in numeric], dtype=np.float64),
        sums=sums,
        units=units,
    )


def psi(profile: Profile, reference: Profile) -> Floats:
    """Population stability index, float64[signals]: sum (p - q) ln(p / q) over groups.

    Shares are smoothed by half a row: p = (c + 1/2) / (n + K/2), K the groups that hold a row on either side (Siddiqi,
    Credit Risk Scorecards, 2006; the half is Krichevsky and Trofimov's). Without change it is about (K - 1)(1/n + 1/m).
    """
    starts, window, base = _grouped(profile, reference)
    used = (window + base) > 0
    many = np.add.reduceat(used, starts, dtype=np.float64)
    p = _shares(window + SMOOTHING, window, starts, many)
    q = _shares(base + SMOOTHING, base, starts, many)
    terms = np.where(used, (p - q) * np.log(p / q, where=used, out=np.zeros(len(p))), 0.0)
    return _defined(np.add.reduceat(terms, starts), window, base, starts)


def jensen_shannon(profile: Profile, reference: Profile) -> Floats:
    """Jensen-Shannon distance, base 2, float64[signals] in 0..1: sqrt of (KL(p, m) + KL(q, m)) / 2, m = (p + q) / 2.

    Lin, IEEE Transactions on Information Theory 37 (1991); its root is a metric (Endres and Schindelin, 2003).
    """
    starts, window, base = _grouped(profile, reference)
    nothing = np.zeros(len(starts))
    p, q = _shares(window, window, starts, nothing), _shares(base, base, starts, nothing)
    middle = (p + q) / 2
    terms = np.zeros(len(p))
    for side in (p, q):
        ratio = np.divide(side, middle, out=np.ones(len(p)), where=side > 0)
        terms += side * np.log2(ratio) / 2
    distance = np.sqrt(np.clip(np.add.reduceat(terms, starts), 0.0, 1.0))
    return _defined(distance, window, base, starts)


def ks(profile: Profile, reference: Profile) -> Floats:
    """Kolmogorov-Smirnov statistic sup |F - G|, float64[signals], at the bins' edges: at most the exact one, and below
    it by no more than the largest share of one bin (Smirnov, Annals of Mathematical Statistics 19, 1948)."""
    plan = _plan(profile.layout)
    found = np.full(len(plan.starts), np.nan)
    if len(plan.numeric):
        gaps, defined = _gaps(plan, profile, reference)
        found[plan.numeric] = np.where(defined, np.maximum.reduceat(np.abs(gaps), plan.firsts), np.nan)
    return found


def wasserstein(profile: Profile, reference: Profile) -> Floats:
    """Wasserstein distance of order 1 over the reference's standard deviation, float64[signals].

    The integral of |F - G| (Vallender, Theory of Probability 18, 1974), F and G linear within a bin (constant for
    discrete columns); beyond the reference's range exact, from the sums of the distances to it. NaN where sd is 0.
    """
    plan = _plan(profile.layout)
    found = np.full(len(plan.starts), np.nan)
    if not len(plan.numeric):
        return found
    right, defined = _gaps(plan, profile, reference)
    left = np.append(0.0, right[:-1])
    sizes = np.abs(left) + np.abs(right)
    crossing = np.divide(left**2 + right**2, 2 * sizes, out=np.zeros(len(sizes)), where=left * right < 0)
    height = np.where(plan.discrete, np.abs(right), np.where(left * right < 0, crossing, sizes / 2))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        inside = np.add.reduceat(height * plan.widths, plan.firsts)
        mine, theirs = _means(plan, profile), _means(plan, reference)
        tails = np.abs(mine[:, 2:] - theirs[:, 2:]).sum(axis=1)
        sd = np.sqrt(np.maximum(theirs[:, 1] - theirs[:, 0] ** 2, 0.0))
        sd = np.where(plan.sums[:, 0] >= 0, sd, plan.sd)
        distance = (inside + tails) / sd
    found[plan.numeric] = np.where(defined & np.isfinite(distance), distance, np.nan)
    return found


def _grouped(profile: Profile, reference: Profile) -> tuple[Ints, Floats, Floats]:
    if profile.layout is not reference.layout and profile.layout.size != reference.layout.size:
        raise ValueError("profile and reference are of different layouts")
    plan = _plan(profile.layout)
    window, base = (
        np.bincount(plan.fold, weights=side.counts[plan.at]).astype(np.float64) for side in (profile, reference)
    )
    return plan.starts, window, base


def _shares(counts: Floats, rows: Floats, starts: Ints, groups: Floats) -> Floats:
    """counts / (rows of the signal + SMOOTHING for each of its groups)."""
    totals = np.add.reduceat(rows, starts) + SMOOTHING * groups
    widths = np.diff(np.append(starts, len(rows)))
    shares: Floats = counts / np.repeat(np.maximum(totals, 1e-300), widths)
    return shares


def _defined(values: Floats, window: Floats, base: Floats, starts: Ints) -> Floats:
    both = (np.add.reduceat(window, starts) > 0) & (np.add.reduceat(base, starts) > 0)
    return np.where(both, values, np.nan)


def _gaps(plan: _Plan, profile: Profile, reference: Profile) -> tuple[Floats, Bools]:
    """float64[slots]: F - G after each slot of each numeric signal; bool[numeric]: both sides have finite values."""
    cumulated, defined = [], np.ones(len(plan.numeric), dtype=np.bool_)
    for side in (profile, reference):
        counts = side.counts[plan.slots]
        running = np.cumsum(counts)
        before = running[plan.firsts] - counts[plan.firsts]
        totals = running[plan.firsts + plan.lengths - 1] - before
        defined &= totals > 0
        scale = 1.0 / np.maximum(totals, 1)
        cumulated.append((running - np.repeat(before, plan.lengths)) * np.repeat(scale, plan.lengths))
    return cumulated[0] - cumulated[1], defined


def _means(plan: _Plan, profile: Profile) -> Floats:
    """float64[numeric, 4]: mean and mean square about the centre, mean distance below and above the range."""
    used = np.where(plan.sums >= 0, 1.0, 0.0)
    sums = profile.sums[plan.sums] if len(profile.sums) else np.zeros((*plan.sums.shape, 2))
    rows = np.maximum(np.add.reduceat(profile.counts[plan.slots], plan.firsts), 1)
    means: Floats = (sums[..., 0] * 2.0**32 + sums[..., 1]) * QUANTUM * used * plan.units / rows[:, None]
    return means
