"""Pairs of numeric features: how they go together, whatever each of them does alone.

A value becomes its normal score: the rank of its bin in the reference, as a standard normal quantile (van der Waerden
1952). A profile keeps the sum of products of every two such scores; with the means and variances that follow from the
bins' counts they give the correlation of normal scores, which a shift or another spread of one feature leaves alone.
Scores are multiples of 1/1024, so that sums of products are exact in float64 and profiles add up to the same integers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np

from monitor.stats.bins import Bins, NumericBins
from monitor.stats.rows import Column, Floats, Ints, Numbers

MOST = 30  # features: 435 pairs
UNIT = 16.0  # no product of two scores is larger
SCALE = 1024  # scores are multiples of 1/SCALE
_LARGEST = 4 * SCALE - 1
_SAMPLE = 20_000  # reference rows that choose the features
_ABSENT = 3  # the last slots: missing, NaN, infinite

Normal = tuple[str, tuple[int, ...]]  # a feature's name, and the score of each of its slots in 1/SCALE


def names_of(normals: Sequence[Normal]) -> list[tuple[str, str]]:
    """The pairs, in the order of their sums."""
    return list(combinations([name for name, _ in normals], 2))


def choose(features: Sequence[Bins], columns: Mapping[str, Column], output: Floats | None) -> tuple[Normal, ...]:
    """The numeric features whose pairs are followed, with their scores by slot.

    At most 30: those whose normal scores go most with the model's output (its score, or the prediction of a
    regression), in the features' order.
    """
    found: list[tuple[float, int, Normal]] = []
    for place, bins in enumerate(features):
        column = columns.get(bins.name)
        if not isinstance(bins, NumericBins) or not isinstance(column, Numbers) or bins.k < 2:
            continue
        slots = bins.slots(column.values, column.missing)
        scores = _scores(np.bincount(slots, minlength=bins.size).astype(float))
        if scores.any():
            weight = _together(scores[slots].astype(float), output)
            found.append((-weight, place, (bins.name, tuple(scores.tolist()))))
    chosen = sorted(sorted(found, key=lambda one: one[:2])[:MOST], key=lambda one: one[1])
    return tuple(normal for _, _, normal in chosen)


def _scores(counts: Floats) -> Ints:
    """int64[slots]: normal quantile of the middle rank of each slot's reference rows; 0 for absent values."""
    present = counts[:-_ABSENT]
    rows = present.sum()
    found = np.zeros(counts.size, np.int64)
    if rows <= 0:
        return found
    middle = np.clip((np.cumsum(present) - present / 2) / rows, 0.5 / rows, 1 - 0.5 / rows)
    quantile = NormalDist().inv_cdf
    scores = np.rint(np.array([quantile(rank) for rank in middle.tolist()]) * SCALE)
    found[:-_ABSENT] = np.clip(scores, -_LARGEST, _LARGEST).astype(np.int64)
    return found


def _together(scores: Floats, output: Floats | None) -> float:
    """The absolute correlation of a feature's scores with the model's output, over a sample of the rows."""
    if output is None or output.size != scores.size:
        return 0.0
    step = max(1, scores.size // _SAMPLE)
    x, y = scores[::step], output[::step]
    usable = np.isfinite(y)
    x, y = x[usable], y[usable]
    with np.errstate(over="ignore", invalid="ignore"):
        if x.size < 3 or not x.std() > 0 or not 0 < y.std() < np.inf:
            return 0.0
        found = abs(float(np.corrcoef(x, y)[0, 1]))
    return found if np.isfinite(found) else 0.0


@dataclass(frozen=True, eq=False)
class Cells:
    """The slots of the followed features in a profile's counts: their places and scores, and each one's first."""

    where: Ints
    scores: Floats
    firsts: Ints

    @classmethod
    def of(cls, normals: Sequence[Normal], slices: Mapping[Any, slice]) -> "Cells":
        spans = [slices["feature", name] for name, _ in normals]
        sizes = [span.stop - span.start for span in spans]
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(np.arange(span.start, span.stop) for span in spans)]),
            np.concatenate([np.zeros(0), *(np.asarray(scores, float) / SCALE for _, scores in normals)]),
            np.concatenate([[0], np.cumsum(sizes)])[: len(spans)].astype(np.int64),
        )


def correlations(sums: Floats, counts: Ints, cells: Cells, rows: int) -> Floats:
    """Fisher's z of each pair's correlation of normal scores, float64[pairs]; NaN where a feature does not vary.

    sums: of products, [pairs]; counts: of a profile. Rows in which a value is absent count with score 0.
    """
    first, second = np.triu_indices(cells.firsts.size, 1)
    if rows < 3 or not first.size:
        return np.full(first.size, np.nan)
    weighted = counts[cells.where] * cells.scores
    mean = np.add.reduceat(weighted, cells.firsts) / rows
    variance = np.add.reduceat(weighted * cells.scores, cells.firsts) / rows - mean * mean
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (sums / rows - mean[first] * mean[second]) / np.sqrt(variance[first] * variance[second])
    r[(variance[first] < 1e-6) | (variance[second] < 1e-6)] = np.nan
    return np.asarray(np.arctanh(np.clip(r, -0.999, 0.999)))
