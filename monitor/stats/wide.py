"""A profile's counts in one vector: those of the whole model, then those of each segment in the coarse layout."""

import numpy as np

from monitor.stats.binning import Binning
from monitor.stats.layout import Key
from monitor.stats.profile import Profile
from monitor.stats.rows import Ints


def size(binning: Binning) -> int:
    """Length of the vector."""
    return binning.whole.size + len(binning.segment_rows) * binning.coarse.size


def wide(profile: Profile) -> Ints:
    """int64[size]; zeros for the segments where they were not loaded."""
    binning = profile.binning
    found = np.zeros(size(binning), np.int64)
    found[: binning.whole.size] = profile.counts
    if profile.segments is not None:
        found[binning.whole.size + profile.segments.at] = profile.segments.counts
    return found


def places(binning: Binning, segment: tuple[str, str], key: Key) -> Ints:
    """Where a segment's counts of a signal stand in the vector, int64[slots of the coarse layout]."""
    first = binning.whole.size + binning.segment_rows[segment] * binning.coarse.size
    where = binning.coarse.slices[key]
    return first + np.arange(where.start, where.stop)
