"""Signals of segments: each feature within each segment, and whether the segment's scores still mean what they did."""

from dataclasses import replace

import numpy as np

from monitor.stats import wide
from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins
from monitor.stats.families import Gather, Signal
from monitor.stats.layout import Key
from monitor.stats.rows import Ints

LEAST_ROWS = 200  # of the reference: thinner segments have numbers, not alarms


def _chosen(binning: Binning, counts: Ints) -> list[tuple[str, str]]:
    """The segments with enough reference rows; counts: the reference's wide vector."""
    found = []
    for name, values in binning.segments:
        for value in values:
            rows = int(counts[wide.places(binning, (name, value), "rows")][0])
            if rows >= LEAST_ROWS:
                found.append((name, value))
    return found


def features(binning: Binning, counts: Ints, share: float) -> list[Gather]:
    """A shape signal for each segment and feature but the one that the segment is made of; weights sum to `share`."""
    found = []
    for segment in _chosen(binning, counts):
        for bins in binning.features:
            if bins.name == segment[0]:
                continue
            key: Key = ("feature", bins.name)
            groups = np.arange(bins.coarse.size)
            if isinstance(bins, CategoricalBins):
                groups[bins.coarse.unseen] = groups[bins.coarse.other]
            _, target = np.unique(groups, return_inverse=True)
            source = wide.places(binning, segment, key)
            signal = Signal("psi", "shape", bins.name, segment=f"{segment[0]}:{segment[1]}")
            found.append(Gather(signal, source, target.astype(np.int64), int(target.max()) + 1))
    return [replace(gather, weight=share / len(found)) for gather in found]


def performance(binning: Binning, counts: Ints, share: float) -> list[Gather]:
    """Binary: positives given the score group; multiclass: wrong predictions; regression: the residuals."""
    found = []
    for segment in _chosen(binning, counts):
        gather = _outcomes(binning, segment)
        if gather is not None and counts[gather.source].sum() >= LEAST_ROWS:
            found.append(gather)
    return [replace(gather, weight=share / len(found)) for gather in found]


def _outcomes(binning: Binning, segment: tuple[str, str]) -> Gather | None:
    name = f"{segment[0]}:{segment[1]}"
    if binning.task == "regression":
        bins = binning.residual
        if bins is None or not bins.count:
            return None
        source = wide.places(binning, segment, "residual")
        kept = np.arange(source.size) < bins.coarse.missing
        target = np.flatnonzero(kept).astype(np.int64)
        return Gather(Signal("residual", "shape", segment=name), source[kept], target, target.size)
    source = wide.places(binning, segment, "table")
    row, *_, actual = (axis.ravel() for axis in np.indices(binning.coarse.shapes["table"]))
    if binning.task == "multiclass":
        many = len(binning.classes)
        wrong = ((row != actual) & (row != many + 2)).astype(np.int64)
        known = row != many + 1
        signal = Signal("accuracy", "share", about="wrong predictions", segment=name)
        return Gather(signal, source[known], wrong[known], 2, direction=1)
    if binning.score is None:
        return None
    groups = np.append(binning.score.groups, int(binning.score.groups[-1]) + 1)
    signal = Signal("calibration_error", "calibration", about=binning.positive_class or "positive", segment=name)
    return Gather(signal, source, groups[row] * 2 + actual, 2, int(groups[-1]) + 1)
