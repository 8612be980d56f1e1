"""Causes of data quality that a person recognises: another unit, a stuck value."""

from typing import NamedTuple

import numpy as np

from monitor.evaluate.wording import percent
from monitor.stats.bins import NumericBins
from monitor.stats.families import Signal
from monitor.stats.intervals import wilson
from monitor.stats.profile import Profile
from monitor.stats.quality import feature_moments

FACTORS = (10.0, 24.0, 60.0, 100.0, 1000.0, 3600.0, 1e6)
STUCK = 0.1  # of the rows: a value with fewer is only more common
CLOSE = 0.2  # how far a ratio of means may lie from a factor, as a part of it


class Said(NamedTuple):
    """Change of a share, its 95 % bounds, and the sentence."""

    effect: float
    low: float
    high: float
    text: str


def cause(signal: Signal, reference: Profile, window: Profile) -> Said:
    """What a signal of extremes or of a stuck value says of the window that raised the alarm."""
    assert signal.feature is not None
    bins = window.layout.by_name[signal.feature]
    assert isinstance(bins, NumericBins)
    if signal.kind == "stuck":
        return _stuck(signal.feature, bins, reference, window)
    return _extreme(signal.feature, bins, reference, window)


def _stuck(name: str, bins: NumericBins, reference: Profile, window: Profile) -> Said:
    """The value that has most rows more than in the reference."""
    now, before = (profile.of(("feature", name))[: bins.missing].astype(float) for profile in (window, reference))
    rows, now = max(now.sum(), 1.0), now[1 : bins.k + 1]
    shares = before[1 : bins.k + 1] / max(before.sum(), 1.0)
    at = int((now / rows - shares).argmax())
    low, high = wilson(now[at], rows)
    value = bins.edges[at] if bins.discrete else (bins.edges[at] + bins.edges[at + 1]) / 2
    about = "" if bins.discrete else "about "
    said = f"`{name}` is stuck" if now[at] >= STUCK * rows else f"`{name}` has one value more often than its neighbours"
    text = f"{said}: {percent(now[at] / rows)} of rows have the value {about}{value:.4g}, {percent(shares[at])} before"
    return Said(float(now[at] / rows - shares[at]), float(low) - shares[at], float(high) - shares[at], text)


def _extreme(name: str, bins: NumericBins, reference: Profile, window: Profile) -> Said:
    """The share of rows beyond the reference's range; and whether they look like another unit."""
    counts = window.of(("feature", name))
    rows = max(int(counts.sum()), 1)
    sides = counts[[0, bins.above]]
    low, high = wilson(int(sides.sum()), rows)
    side = int(sides.argmax())
    place = ("below the lowest", "above the highest")[side]
    text = f"`{name}`: {percent(sides.sum() / rows)} of rows {place} value of the reference"
    if not sides.any():
        text = f"`{name}`: more rows than usual at the ends of the reference's range"
    factor = _factor(name, bins, reference, window, side)
    if factor is not None:
        text += f", about {factor:,.4g} times the usual: another unit?"
    return Said(float(sides.sum() / rows), float(low), float(high), text)


def _factor(name: str, bins: NumericBins, reference: Profile, window: Profile, side: int) -> float | None:
    """The known factor between units that lies between the rows beyond the range and the usual mean, if one does."""
    counts = window.of(("feature", name))
    beyond = int(counts[bins.above if side else 0])
    usual, _, n = feature_moments(reference, name)
    if not beyond or not n or usual == 0:
        return None
    offset = window.total(("above" if side else "below", name)) / beyond
    mean = bins.high + offset if side else bins.low - offset
    ratio = mean / usual
    near = [factor for factor in FACTORS if abs(np.log(max(ratio, 1e-12) / factor)) < CLOSE]
    return min(near, key=lambda factor: abs(np.log(ratio / factor))) if near else None
