"""How a model does at each value of one feature: any metric over the rows of each of the feature's coarse bins.

The coarse bins are about ten of equal mass in the reference, or the nine most frequent levels and the rest, so that
each has outcomes enough to say something. Values and intervals are those that `measure` gives for the bin's rows alone.
"""

from dataclasses import dataclass, replace

import numpy as np

from monitor.stats.binning import Binning
from monitor.stats.bins import Bins, NumericBins
from monitor.stats.measure import Value, measure_one
from monitor.stats.profile import profile_outcomes
from monitor.stats.rows import Codes, Column, Ints, Numbers, Rows


@dataclass(frozen=True)
class Group:
    """The rows of one bin: how many, their share of all rows, and the metric over those with an outcome."""

    rows: int
    share: float
    value: Value


def slots_of(bins: Bins) -> int:
    """Number of groups: numeric: below, the coarse bins, above, no usable value; categorical: levels, other levels that
    the reference has, levels that it has not, missing."""
    coarse = bins.coarse
    return coarse.missing + 1 if isinstance(coarse, NumericBins) else coarse.size


def places(bins: Bins, column: Column | None, n: int) -> Ints:
    """int64[n]: the group of each row; all are without a usable value where the column is of another kind or absent."""
    coarse = bins.coarse
    if isinstance(coarse, NumericBins) and isinstance(column, Numbers):
        return np.minimum(coarse.slots(column.values, column.missing), coarse.missing)
    if not isinstance(coarse, NumericBins) and isinstance(column, Codes):
        return coarse.slots(column)
    return np.full(n, coarse.missing, dtype=np.int64)


def by_bin(binning: Binning, feature: str, rows: Rows, metric: str) -> list[Group]:
    """A group for each bin of the feature, in the order of `slots_of`, the empty ones too.

    KeyError for a feature that the binning does not have, or an unknown metric.
    """
    bins = binning.whole.by_name[feature]
    at = places(bins, rows.features.get(feature), rows.n)
    counts = np.bincount(at, minlength=slots_of(bins))
    labelled = rows.labelled()
    plain = replace(binning, segments=())  # which would be counted for each bin
    found = []
    for place, count in enumerate(counts.tolist()):
        here = labelled & (at == place)
        value = measure_one(profile_outcomes(plain, rows.take(here)), None, metric) if here.any() else Value()
        found.append(Group(count, count / rows.n, value))
    return found
