"""What share of positives the reference leads one to expect at each score.

Ten groups of scores alone would call a window with more high scores miscalibrated: it lies higher within its groups
too. So the rate runs smoothly through each group: a logistic recalibration of the score (Platt 1999) over all of the
reference, and a shift of its own for each group, which makes the group's sum right.
"""

import numpy as np

from monitor.stats.rows import Floats, Ints

_STEPS = 25
_EDGE = 1e-4


def expected_rates(scores: Floats, groups: Ints, cells: Floats) -> Floats:
    """Share of positives by score bin, [k].

    Args:
        scores: middle of each bin, [k], in [0, 1].
        groups: group of each bin, rising from 0, [k].
        cells: negatives and positives of the reference, [k, 2].
    """
    x = np.log(np.clip(scores, _EDGE, 1 - _EDGE))
    x -= np.log1p(-np.clip(scores, _EDGE, 1 - _EDGE))
    rows, positive = cells.sum(axis=1), cells[:, 1]
    start, slope = 0.0, 1.0
    for _ in range(_STEPS):  # Newton; the prior (slope 1, weight of one row) decides where there is nothing to fit
        rate = _sigmoid(start + slope * x)
        weight = rows * rate * (1 - rate)
        left = positive - rows * rate
        gradient = np.array([left.sum() - start, (left * x).sum() - (slope - 1)])
        curve = np.array([[weight.sum() + 1, (weight * x).sum()], [(weight * x).sum(), (weight * x * x).sum() + 1]])
        start, slope = np.array([start, slope]) + np.clip(np.linalg.solve(curve, gradient), -1, 1)
    line = start + slope * x
    size = int(groups.max()) + 1
    shift = np.zeros(size)
    held = np.bincount(groups, weights=positive, minlength=size)
    for _ in range(_STEPS):
        rate = _sigmoid(line + shift[groups])
        sums = np.bincount(groups, weights=rows * rate, minlength=size)
        weight = np.bincount(groups, weights=rows * rate * (1 - rate), minlength=size)
        shift += np.clip((held - sums - shift) / (weight + 1), -1, 1)
    return _sigmoid(line + shift[groups])


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))
