"""A reference, whole and cut into windows of the monitored length: what every family learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from monitor.stats.evidence import Floats, Ints
from monitor.stats.phases import Clock, Groups
from monitor.stats.profile import Profile


@dataclass(frozen=True)
class Cut:
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


def filled(cut: Cut) -> tuple[Floats, list[int]]:
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
