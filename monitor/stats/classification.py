"""Performance of classifiers from counts. Each function gives (value, low, high, n); value None where it is undefined.

Binary functions take counts by score bin (rising) and class; with a bin for every distinct score they are exact.
"""

import numpy as np

from monitor.stats.intervals import around, multinomial_variance, of_mean, on_logit, wilson
from monitor.stats.rows import Bools, Floats, Ints
from monitor.stats.values import Result


def nothing(n: int = 0) -> Result:
    """An undefined value."""
    return None, None, None, n


def share(hits: int, n: int) -> Result:
    """hits / n with Wilson's interval."""
    if n <= 0:
        return nothing()
    low, high = wilson(hits, n)
    return hits / n, float(low), float(high), n


def f1(confusion: Ints) -> Result:
    """F1 = 2 TP / (2 TP + FP + FN) of the positive class; `confusion` int64[predicted 2, actual 2].

    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), which is a share of the rows where either is positive: Wilson's
    interval of J, carried over (van Rijsbergen, Information Retrieval, 1979; Jaccard's index).
    """
    hits, union = int(confusion[1, 1]), int(confusion.sum() - confusion[0, 0])
    value, low, high, _ = share(hits, union)
    if value is None or low is None or high is None:
        return nothing()
    return 2 * value / (1 + value), 2 * low / (1 + low), 2 * high / (1 + high), int(confusion.sum())


def f1_macro(confusion: Ints, classes: int) -> Result:
    """Mean of the F1 of every class that occurs, predicted or actual; `confusion` int64[C, C] (predicted, actual).

    The first `classes` are averaged; a last row and column for all other labels only counts as errors of theirs.
    Interval by the delta method on the multinomial table (Takahashi et al., Applied Intelligence 52, 2022).
    """
    n = int(confusion.sum())
    margins = confusion.sum(axis=0) + confusion.sum(axis=1)
    present = (margins > 0) & (np.arange(len(margins)) < classes)
    many = int(present.sum())
    if not n or not many:
        return nothing()
    scale = np.where(present, 1.0 / np.maximum(margins, 1), 0.0)
    each = 2 * np.diagonal(confusion) * scale
    pull = each * scale
    gradient = (np.diag(2 * scale) - pull[:, None] - pull[None, :]) * n / many
    value = float(each.sum() / many)
    return value, *around(value, multinomial_variance(confusion, gradient), 0.0, 1.0), n


def roc_auc(positive: Ints, negative: Ints) -> Result:
    """Area under the ROC curve: P(score of a positive > of a negative) + P(equal) / 2, from counts by rising score.

    Variance by DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), from the same counts: the placement of each
    row among the other class. Interval on the logit scale.
    """
    many, others = int(positive.sum()), int(negative.sum())
    if not many or not others:
        return nothing(many + others)
    below = (np.cumsum(negative) - negative / 2) / others  # of a positive in each bin: negatives it beats
    above = (many - np.cumsum(positive) + positive / 2) / many  # of a negative in each bin: positives that beat it
    value = float(positive @ below / many)
    spread = 0.0
    for counts, placed, n in ((positive, below, many), (negative, above, others)):
        spread += float(counts @ (placed - value) ** 2) / max(n - 1, 1) / n
    return value, *on_logit(value, spread, min(many, others)), many + others


def average_precision(positive: Ints, negative: Ints, tied: Bools | None = None) -> Result:
    """AP = sum (R_i - R_(i-1)) P_i over falling scores, as scikit-learn defines it.

    `tied` bool[bins]: all rows of the bin have one score (default: every bin), so it is one step of the sum. In other
    bins the scores are different but unknown: then AP is its expectation over their orders. With H positives among
    the A rows above and p among the bin's m rows, it is the mean over r = 1..m of
    (H + 1 + (r - 1)(p - 1)/(m - 1)) / (A + r).
    Interval: logit, variance AP (1 - AP) / positives (Boyd, Eng and Page, ECML 2013).
    """
    many = int(positive.sum())
    if not many:
        return nothing(int(negative.sum()))
    p, m = positive[::-1].astype(np.float64), (positive + negative)[::-1].astype(np.float64)
    hits, rows = np.cumsum(p), np.cumsum(m)
    precision = np.divide(hits, rows, out=np.zeros(len(p)), where=rows > 0)
    loose = (p > 0) & (m > 1) & (np.zeros(len(p), dtype=np.bool_) if tied is None else ~tied[::-1])
    if loose.any():
        h, a, inside = (hits - p)[loose], (rows - m)[loose], m[loose]
        rise = (p[loose] - 1) / (inside - 1)
        steps = _harmonic(a + inside) - _harmonic(a)
        precision[loose] = ((h + 1 - rise * (a + 1)) * steps + rise * inside) / inside
    value = min(float(p @ precision / many), 1.0)
    return value, *on_logit(value, value * (1 - value) / many, many), many + int(negative.sum())


def _harmonic(n: Floats) -> Floats:
    """1 + 1/2 + ... + 1/n, to 1e-12 (Euler and Maclaurin's series from 64 on)."""
    exact = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 65))])
    large = np.maximum(n, 64.0)
    series = np.log(large) + np.euler_gamma + 1 / (2 * large) - 1 / (12 * large**2) + 1 / (120 * large**4)
    return np.where(n <= 64, exact[np.minimum(n, 64).astype(np.int64)], series)


def mean_loss(total: float, squares: float, n: int) -> Result:
    """A mean loss (log loss, Brier score, absolute error) with its normal interval, from sums of losses and squares."""
    if not n:
        return nothing()
    low, high = of_mean(total / n, squares / n, n)
    return total / n, max(low, 0.0) if low == low else None, high if high == high else None, n


def calibration_error(hits: Ints, rows: Ints, scores: Floats) -> Result:
    """Expected calibration error: sum over 16 equal bins of the score of n_b / n |share of hits - mean score|.

    Naeini, Cooper and Hauskrecht (AAAI 2015). `hits`, `rows`: int64[16]; `scores`: sums of the scores in each bin.
    Biased upward by about sqrt(bins / n) in small windows (Kumar, Liang and Ma, NeurIPS 2019). Interval: normal, with
    the binomial variance of the hits in each bin.
    """
    n = int(rows.sum())
    if not n:
        return nothing()
    value = float(np.abs(hits - scores).sum() / n)
    observed = hits / np.maximum(rows, 1)
    return value, *around(value, float((rows * observed * (1 - observed)).sum()) / n**2, 0.0, 1.0), n
