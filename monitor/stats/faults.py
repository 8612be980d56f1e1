"""Signals of data quality: what goes wrong with a feature between its source and the model.

All are shares of rows. Two need more than a slot of the profile:

- **Out of range** (another unit, a swapped column): rows beyond the reference's range or in its outermost bins, which
  hold so few rows of the reference that their share is known, with its variation from window to window.
- **Stuck** (a sensor, a default, a failed join): rows that one value has beyond what chance and its neighbours explain.
  A fine bin is expected to hold its share of the reference, times the largest factor by which one of the two bins on
  either side has grown; so a distribution that moves smoothly has no excess. Four standard deviations and four rows
  more are chance. The largest excess over the bins is the count.
"""

import numpy as np

from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.evidence import Floats, Ints
from monitor.stats.families import Gather, Signal, span, two
from monitor.stats.layout import Key
from monitor.stats.profile import Profile

# PSI: some 2 % and 4 % of rows. A feature that moves takes some beyond its usual range, a new product is a new value.
RANGE_TOLERANCE, STUCK_TOLERANCE = 0.05, 0.15
EXTREME, EXTREME_ROWS = 0.001, 8  # of the reference on either side: no more than the larger
STUCK_BINS = 8  # fewer values are a mix, not a scale
CHANCE = 4.0  # standard deviations, and rows, that are chance


def quality(binning: Binning, reference: Profile) -> list[Gather]:
    """The error rate, and the faults of each feature."""
    found = [two(binning, "error", [1], Signal("error_rate", "share"), 1)]
    for bins in binning.features:
        key: Key = ("feature", bins.name)
        found.append(two(binning, key, [bins.missing], Signal("missing_share", "share", bins.name)))
        if isinstance(bins, CategoricalBins):
            found.append(two(binning, key, [bins.unseen], Signal("unseen_share", "share", bins.name), 1))
            continue
        odd = [bins.nan, bins.infinite]
        found.append(two(binning, key, odd, Signal("invalid_share", "share", bins.name), 1))
        counts = reference.of(key)
        extreme = extremes(bins, counts)
        if extreme:
            signal = Signal("out_of_range_share", "extreme", bins.name)
            found.append(two(binning, key, extreme, signal, 1, RANGE_TOLERANCE))
        if bins.k >= STUCK_BINS and counts[1 : bins.k + 1].sum() > 0:
            found.append(_stuck(binning, bins, counts))
    return found


def extremes(bins: NumericBins, counts: Ints) -> list[int]:
    """The slots of a feature that hold its rarest values at both ends; none where the reference has too few of them."""
    inside = counts[1 : bins.k + 1]
    most = max(EXTREME * inside.sum(), EXTREME_ROWS)
    low = int(np.searchsorted(np.cumsum(inside), most, side="right"))
    high = int(np.searchsorted(np.cumsum(inside[::-1]), most, side="right"))
    if low + high >= bins.k or inside[:low].sum() + inside[bins.k - high :].sum() < EXTREME_ROWS:
        return []
    return [0, *range(1, low + 1), *range(bins.k + 1 - high, bins.k + 1), bins.above]


def _stuck(binning: Binning, bins: NumericBins, counts: Ints) -> Gather:
    present = counts[: bins.k + 2].astype(float)
    shares = (present + 0.5) / (present.sum() + 0.5 * present.size)
    shares[[0, -1]] = 1.0  # beyond the range there are many values: they count as rows, never as one value
    source = span(binning, ("feature", bins.name))[: bins.k + 2]
    return Gather(
        Signal("stuck_share", "stuck", bins.name), source, np.zeros(source.size, np.int64), 2, direction=1,
        tolerance=STUCK_TOLERANCE, shares=shares,
    )  # fmt: skip


def excess(counts: Floats, shares: Floats, firsts: Ints) -> Floats:
    """Rows that one bin has beyond what is expected, the largest by feature: counts [..., bins] -> [..., features].

    Features lie side by side: shares are the reference's, [bins] (1: a bin that has no excess); firsts the first bins.
    """
    sizes = np.diff(np.append(firsts, shares.size))
    rows = np.repeat(np.add.reduceat(counts, firsts, axis=-1), sizes, axis=-1)
    usual = rows * shares
    grown = (counts + 1) / (usual + 1)
    near = np.ones_like(grown)
    place = np.arange(shares.size) - np.repeat(firsts, sizes)
    left = np.repeat(sizes, sizes) - 1 - place
    for step in (1, 2):
        inside = np.flatnonzero(place >= step)
        near[..., inside] = np.maximum(near[..., inside], grown[..., inside - step])
        inside = np.flatnonzero(left >= step)
        near[..., inside] = np.maximum(near[..., inside], grown[..., inside + step])
    expected = usual * near
    over = counts - expected - CHANCE * np.sqrt(expected) - CHANCE
    return np.asarray(np.maximum(np.maximum.reduceat(over, firsts, axis=-1), 0.0))


def blocks(gather: Gather, counts: Ints) -> Floats:
    """Cells [T, 2] of a signal of stuck values in many windows, given their wide counts [T, size]."""
    assert gather.shares is not None
    values = counts[:, gather.source].astype(float)
    most = excess(values, gather.shares, np.zeros(1, np.int64))
    return np.column_stack([values.sum(axis=1) - most[:, 0], most[:, 0]])
