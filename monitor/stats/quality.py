"""What profiles say about data quality and speed: missing, unseen and out-of-range shares, latency and label delay."""

from functools import lru_cache
from typing import Literal

import numpy as np

from monitor.stats.additive import Profile
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.intervals import quantile_shares, wilson
from monitor.stats.layout import Layout
from monitor.stats.rows import Bools, Floats, Ints
from monitor.stats.values import Columns, Result


def feature_moments(profile: Profile, feature: str) -> tuple[float, float, int]:
    """Mean, standard deviation and number of the finite values of a numeric feature (whole profiles only); exact."""
    bins = profile.layout.by_name[feature]
    assert isinstance(bins, NumericBins)
    n = int(profile.of(("feature", feature))[: bins.missing].sum())
    if not n:
        return float("nan"), float("nan"), 0
    shift, square = profile.total(("mean", feature)) / n, profile.total(("square", feature)) / n
    return bins.mean + shift, float(np.sqrt(max(square - shift**2, 0.0))), n


def latency_quantile(profile: Profile, q: float, key: Literal["latency", "delay"] = "latency") -> Result:
    """A quantile from geometric bins (ratio 1.04: within 2 %), interpolated within the bin on the logarithmic scale."""
    counts = profile.of(key)
    bins = profile.layout.latency if key == "latency" else profile.layout.delay
    inside = counts[: bins.k + 2].astype(np.float64)
    n = int(inside.sum())
    if not n:
        return (None, None, None, 0)
    inside[1] += inside[0]
    inside[bins.k] += inside[bins.above]
    reached = np.cumsum(inside[1 : bins.k + 1])
    low, high = quantile_shares(q, n)
    value, left, right = (_at_rank(reached, bins.edges, wanted * n) for wanted in (q, low, high))
    return value, left, right, n


def missing(profile: Profile, _: Profile | None) -> Columns:
    """Share of rows whose value is null or NaN."""
    layout, counts = profile.layout, profile.counts
    plan = _slots(layout, "missing")
    hits = counts[plan] + np.where(_numeric(layout), counts[_slots(layout, "nan")], 0)
    return _share_columns(profile, hits, np.ones(len(layout.features), dtype=np.bool_))


def unseen(profile: Profile, _: Profile | None) -> Columns:
    """Share of rows whose level the reference has never shown; categorical features only."""
    return _share_columns(profile, profile.counts[_slots(profile.layout, "unseen")], ~_numeric(profile.layout))


def out_of_range(profile: Profile, _: Profile | None) -> Columns:
    """Share of rows below or above the reference's range, or infinite; numeric features that the reference filled."""
    layout, counts = profile.layout, profile.counts
    hits = counts[_slots(layout, "below")] + counts[_slots(layout, "above")] + counts[_slots(layout, "infinite")]
    filled = np.asarray([bins.count > 0 for bins in layout.features], dtype=np.bool_)
    return _share_columns(profile, hits, _numeric(layout) & filled)


def _share_columns(profile: Profile, hits: Ints, defined: Bools) -> Columns:
    n = np.full(len(hits), profile.rows)
    low, high = wilson(hits, n)
    value = hits / np.maximum(n, 1)
    value, low, high = (np.where(defined & (n > 0), part, np.nan) for part in (value, low, high))
    return Columns(value, low, high, n)


def _at_rank(reached: Floats, edges: Floats, rank: float) -> float:
    place = min(int(np.searchsorted(reached, rank, side="left")), len(reached) - 1)
    before = float(reached[place - 1]) if place else 0.0
    part = min(max((rank - before) / max(float(reached[place]) - before, 1e-12), 0.0), 1.0)
    return float(edges[place] * (edges[place + 1] / edges[place]) ** part)


@lru_cache(maxsize=64)
def _numeric(layout: Layout) -> Bools:
    return np.asarray([isinstance(bins, NumericBins) for bins in layout.features], dtype=np.bool_)


@lru_cache(maxsize=256)
def _slots(layout: Layout, slot: str) -> Ints:
    """int64[F]: the place of a special slot of every feature (of its first slot, where its kind has none)."""
    of = {CategoricalBins: ("unseen", "missing"), NumericBins: ("above", "missing", "nan", "infinite")}
    return np.asarray(
        [
            layout.slices["feature", bins.name].start + (getattr(bins, slot) if slot in of[type(bins)] else 0)
            for bins in layout.features
        ],
        dtype=np.int64,
    )
