"""How much a window resembles the one before it: what the alert budget takes to be nothing.

The autocorrelation at lag 1 of one number a window, after its rhythm of hours and weekends has been taken out. The
number is a numeric feature's mean, or the share of a categorical feature's most frequent level; rows that are drawn
anew for each window give about 0, whatever the features look like.
"""

from collections.abc import Sequence

import numpy as np

from monitor.stats.bins import NumericBins
from monitor.stats.phases import Clock, groups
from monitor.stats.profile import Profile
from monitor.stats.quality import feature_moments
from monitor.stats.rows import Floats

LEAST = 20  # windows
CLEAR = 3.5  # standard errors, 1/sqrt(T) each: several features are looked at
MUCH = 0.3


def dependent(windows: Sequence[Profile], starts: Sequence[int], timezone: str) -> list[tuple[str, float]]:
    """The features that depend clearly on the window before, and their correlation with it, largest first.

    windows: the reference's; starts: theirs (us).
    """
    kept = [(profile, start) for profile, start in zip(windows, starts, strict=True) if profile.rows]
    if len(kept) < LEAST:
        return []
    clock = Clock.of([start for _, start in kept], timezone)
    usable = groups(clock, [start for _, start in kept]) if clock is not None else {}
    member = next(iter(usable.values()))[1] if usable else np.zeros(len(kept), np.int64)  # the finest
    found = []
    for bins in kept[0][0].layout.features:
        values = np.array([_level(profile, bins.name, isinstance(bins, NumericBins)) for profile, _ in kept])
        r = correlation(values - (np.bincount(member, weights=values) / np.bincount(member))[member])
        if r > max(MUCH, CLEAR / np.sqrt(len(kept))):
            found.append((bins.name, r))
    return sorted(found, key=lambda one: -one[1])


def correlation(deviations: Floats) -> float:
    """Autocorrelation at lag 1 of deviations [T] from their mean; 0 where they are not numbers or do not vary."""
    square = float((deviations * deviations).sum())
    return float((deviations[1:] * deviations[:-1]).sum()) / square if np.isfinite(square) and square > 1e-300 else 0.0


def _level(profile: Profile, name: str, numeric: bool) -> float:
    if numeric:
        return feature_moments(profile, name)[0]
    counts = profile.of(("feature", name))
    return float(counts[0] / max(counts.sum(), 1))
