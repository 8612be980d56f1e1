"""Two versions of a model beside each other: on the same rows where they answered the same ids, else apart.

On the same rows a difference is far better known than either number, since what is hard for one version is hard for
the other. Every metric here is written as a mean of one number a row (or a row of each class): its value in `value`,
the numbers in `parts`. The variance of a difference is then the variance of the rows' differences:

- means (accuracy, losses, absolute error, bias): the row's own loss; this is the paired t interval with normal
  quantiles (accuracy: Agresti and Min's, which also holds where the versions hardly differ);
- ratios and roots of means (precision, recall, F1, RMSE, R2): the row's influence on the metric, that is the
  infinitesimal jackknife (Jaeckel, Bell Laboratories MM 72-1215-11, 1972; Efron, The Jackknife, 1982, ch. 6);
- ROC AUC: the row's placement among the other class (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).
"""

import math
from dataclasses import dataclass

import numpy as np

from monitor.stats.intervals import Z, wilson
from monitor.stats.paired import LEAST, PAIRED, Answers, Parts
from monitor.stats.rows import Bools, Floats
from monitor.stats.values import Result, Value, to_value

__all__ = ["PAIRED", "Answers", "Contrast", "Flips", "agreement", "answers_apart", "apart", "flips", "mcnemar",
           "on_the_same_rows"]  # fmt: skip

EXACT_MOST = 2_000_000  # discordant pairs up to which McNemar's test is summed


@dataclass(frozen=True)
class Contrast:
    """A metric of both versions, and candidate minus baseline with its 95 % interval.

    `paired`: both were measured on the same rows; then `difference.n` is their number.
    """

    metric: str
    baseline: Value
    candidate: Value
    difference: Value
    paired: bool


@dataclass(frozen=True)
class Flips:
    """Pairs with an outcome and both answers, by which version was right; `p`: McNemar's test, None without pairs."""

    both_right: int
    only_baseline: int
    only_candidate: int
    both_wrong: int
    p: float | None


# ---------------------------------------------------------------- on the same rows


def agreement(baseline: Answers, candidate: Answers) -> Result:
    """Share of rows that got the same answer, with Wilson's interval; regression has none (see `answers_apart`)."""
    both = baseline.answered & candidate.answered
    n = int(both.sum())
    if not n or baseline.predicted.dtype.kind != "i":
        return None, None, None, n
    same = int((baseline.predicted[both] == candidate.predicted[both]).sum())
    low, high = wilson(same, n)
    return same / n, float(low), float(high), n


def answers_apart(baseline: Answers, candidate: Answers) -> Result:
    """Mean of candidate's answer minus baseline's (regression), normal interval."""
    both = baseline.answered & candidate.answered
    apart = (candidate.predicted - baseline.predicted)[both].astype(np.float64)
    return _mean(apart)


def _mean(numbers: Floats) -> Result:
    n = len(numbers)
    if n < LEAST:
        return (float(numbers.mean()) if n else None), None, None, n
    half = Z * float(numbers.std(ddof=1)) / n**0.5
    return float(numbers.mean()), float(numbers.mean()) - half, float(numbers.mean()) + half, n


def flips(baseline: Answers, candidate: Answers) -> Flips:
    """Who was right where, for classifiers."""
    kept = baseline.answered & candidate.answered & baseline.labelled
    mine = (baseline.predicted == baseline.actual)[kept]
    theirs = (candidate.predicted == candidate.actual)[kept]
    lost, won = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    p = mcnemar(lost, won) if len(mine) else None
    return Flips(int((mine & theirs).sum()), lost, won, int((~mine & ~theirs).sum()), p)


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p-value that neither version is right more often, from the pairs that only one got right.

    Binomial(lost + won, 1/2), twice the smaller tail (McNemar, Psychometrika 12, 1947; exact form: Fay, The R Journal
    2, 2010). Beyond two million such pairs the chi-square form with continuity correction.
    """
    n, few = lost + won, min(lost, won)
    if not n or 2 * few == n:
        return 1.0
    if n > EXACT_MOST:
        return math.erfc(math.sqrt((abs(lost - won) - 1) ** 2 / n / 2))
    steps = np.arange(1, few + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(n - steps + 1) - np.log(steps))]) - n * np.log(2)
    return float(min(1.0, 2 * np.exp(logs).sum()))


def on_the_same_rows(metric: str, baseline: Answers, candidate: Answers) -> Contrast:
    """A metric of both versions on the rows that both can be measured on. KeyError for a metric without a paired form
    (see PAIRED); values are None where it is not defined."""
    usable, parts = PAIRED[metric]
    kept = usable(baseline) & usable(candidate)
    n = int(kept.sum())
    nothing = Value(n=n)
    if n < LEAST:
        return Contrast(metric, nothing, nothing, nothing, True)
    mine, theirs = parts(baseline.take(kept)), parts(candidate.take(kept))
    if mine is None or theirs is None:
        return Contrast(metric, nothing, nothing, nothing, True)
    if metric == "accuracy":
        difference = _accuracy_apart(mine.numbers, theirs.numbers)
    else:
        change = theirs.value - mine.value
        half = Z * _variance(theirs.numbers - mine.numbers, mine.strata) ** 0.5
        difference = change, change - half, change + half, n
    return Contrast(metric, _alone(mine, n), _alone(theirs, n), to_value(difference), True)


def _variance(numbers: Floats, strata: tuple[Bools, ...]) -> float:
    """Variance of the sum over strata of their means."""
    parts = [numbers[one] for one in strata] if strata else [numbers]
    return sum(float(one.var(ddof=1)) / len(one) for one in parts)


def _alone(parts: Parts, n: int) -> Value:
    half = Z * _variance(parts.numbers, parts.strata) ** 0.5
    return to_value((parts.value, parts.value - half, parts.value + half, n))


def _accuracy_apart(mine: Floats, theirs: Floats) -> Result:
    """Difference of paired shares after half a row is added to each of the four cells (Agresti and Min, Statistics in
    Medicine 24, 2005): an interval that does not vanish where no answer differs. The value itself stays as it is."""
    n = len(mine)
    lost, won = float((mine > theirs).sum()), float((theirs > mine).sum())
    many, b, c = n + 2, lost + 0.5, won + 0.5
    centre = (c - b) / many
    half = Z * ((b + c - (c - b) ** 2 / many) ** 0.5) / many
    return (won - lost) / n, max(-1.0, centre - half), min(1.0, centre + half), n


# ---------------------------------------------------------------- apart


def apart(metric: str, baseline: Value, candidate: Value) -> Contrast:
    """Two numbers that rest on different rows. The interval of the difference comes from both intervals: each side's
    distance to its bound, added as squares (MOVER: Zou and Donner, Statistics in Medicine 27, 2008). On the same rows
    it is too wide, never too narrow, as long as the versions are not right where the other is wrong."""
    if baseline.value is None or candidate.value is None:
        return Contrast(metric, baseline, candidate, Value(), False)
    change = candidate.value - baseline.value
    n = min(baseline.n, candidate.n)
    if baseline.low is None or baseline.high is None or candidate.low is None or candidate.high is None:
        return Contrast(metric, baseline, candidate, Value(change, None, None, n), False)
    low = change - ((candidate.value - candidate.low) ** 2 + (baseline.high - baseline.value) ** 2) ** 0.5
    high = change + ((candidate.high - candidate.value) ** 2 + (baseline.value - baseline.low) ** 2) ** 0.5
    return Contrast(metric, baseline, candidate, Value(change, low, high, n), False)
