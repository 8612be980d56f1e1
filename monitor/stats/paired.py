"""Metrics of performance as means of one number a row, so that versions can be compared row by row (`compare`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from monitor.stats.profile import EPSILON
from monitor.stats.rows import Bools, Floats, Ints

LEAST = 2  # rows (of each class, for ROC AUC) behind a difference


@dataclass(frozen=True, eq=False)
class Answers:
    """What one version said of n rows, and what was true; both versions in the same order of classes.

    `predicted`, `actual`: int64[n] class numbers, -1 for none (binary: 1 is positive), or float64[n] with NaN for none
    (regression). `score`: float64[n], P(positive) of a binary model, NaN for none. `likely`: float64[n], probability
    that was given to the class that came true, NaN where it is not known.
    """

    predicted: Ints | Floats
    actual: Ints | Floats
    score: Floats | None = None
    likely: Floats | None = None

    def take(self, kept: Bools) -> "Answers":
        def of(column: Floats | None) -> Floats | None:
            return None if column is None else column[kept]

        return Answers(self.predicted[kept], self.actual[kept], of(self.score), of(self.likely))

    @property
    def answered(self) -> Bools:
        return _known(self.predicted)

    @property
    def labelled(self) -> Bools:
        return _known(self.actual)


def _known(column: Ints | Floats) -> Bools:
    return column >= 0 if column.dtype.kind == "i" else np.isfinite(column)


class Parts(NamedTuple):
    """A metric as a mean: its value, one number a row, and the rows that are averaged together (None: all)."""

    value: float
    numbers: Floats
    strata: tuple[Bools, ...] = ()


def _labelled(one: Answers) -> Bools:
    return one.answered & one.labelled


def _scored(one: Answers) -> Bools:
    return one.labelled & (np.isfinite(one.score) if one.score is not None else np.zeros(len(one.actual), np.bool_))


def _likely(one: Answers) -> Bools:
    return one.labelled & (np.isfinite(one.likely) if one.likely is not None else np.zeros(len(one.actual), np.bool_))


def _of_mean(numbers: Floats) -> Parts:
    return Parts(float(numbers.mean()), numbers)


def _accuracy(one: Answers) -> Parts:
    return _of_mean((one.predicted == one.actual).astype(np.float64))


def _ratio(top: Floats, bottom: Floats) -> Parts | None:
    """mean(top) / mean(bottom); a row's influence is (top - value * bottom) / mean(bottom)."""
    whole = float(bottom.mean())
    if not whole:
        return None
    value = float(top.mean()) / whole
    return Parts(value, (top - value * bottom) / whole)


def _hits(one: Answers) -> tuple[Floats, Floats, Floats]:
    said, true = (one.predicted == 1).astype(np.float64), (one.actual == 1).astype(np.float64)
    return said * true, said, true


def _precision(one: Answers) -> Parts | None:
    hit, said, _ = _hits(one)
    return _ratio(hit, said)


def _recall(one: Answers) -> Parts | None:
    hit, _, true = _hits(one)
    return _ratio(hit, true)


def _f1(one: Answers) -> Parts | None:
    hit, said, true = _hits(one)
    return _ratio(2 * hit, said + true)


def _f1_macro(one: Answers) -> Parts | None:
    """The mean of the F1 of every class that occurs: influences add up."""
    each = []
    for label in np.unique(np.concatenate([one.predicted, one.actual])):
        said, true = (one.predicted == label).astype(np.float64), (one.actual == label).astype(np.float64)
        each.append(_ratio(2 * said * true, said + true))
    found = [part for part in each if part is not None]
    if not found:
        return None
    numbers = np.mean([part.numbers for part in found], axis=0)
    return Parts(float(np.mean([part.value for part in found])), numbers)


def _log_loss(one: Answers) -> Parts:
    assert one.likely is not None
    return _of_mean(-np.log(np.clip(one.likely, EPSILON, 1 - EPSILON)))


def _brier(one: Answers) -> Parts:
    assert one.score is not None
    return _of_mean((np.clip(one.score, 0, 1) - one.actual) ** 2)


def _roc_auc(one: Answers) -> Parts | None:
    """Placements: of a positive, the share of negatives below it (equal: half); of a negative, of positives above."""
    assert one.score is not None
    positive = one.actual == 1
    if min(int(positive.sum()), int((~positive).sum())) < LEAST:
        return None
    placed = np.empty(len(positive))
    high, low = np.sort(one.score[positive]), np.sort(one.score[~positive])
    mine = one.score[positive]
    placed[positive] = (np.searchsorted(low, mine, "left") + np.searchsorted(low, mine, "right")) / 2 / len(low)
    mine = one.score[~positive]
    placed[~positive] = 1 - (np.searchsorted(high, mine, "left") + np.searchsorted(high, mine, "right")) / 2 / len(high)
    return Parts(float(placed[positive].mean()), placed, (positive, ~positive))


def _errors(one: Answers) -> Floats:
    return np.asarray(one.predicted - one.actual, dtype=np.float64)


def _rmse(one: Answers) -> Parts:
    """A row's influence on the root of the mean square is (e^2 - mean) / (2 root)."""
    squares = _errors(one) ** 2
    root = float(squares.mean()) ** 0.5
    return Parts(root, (squares - root**2) / (2 * root) if root else squares)


def _r2(one: Answers) -> Parts | None:
    """1 - mean(e^2) / var(y); a row's influence is -(e^2 - (1 - R2) (y - mean y)^2) / var(y)."""
    squares, spread = _errors(one) ** 2, (one.actual - one.actual.mean()) ** 2
    found = _ratio(squares, np.asarray(spread, dtype=np.float64))
    return None if found is None else Parts(1 - found.value, -found.numbers)


PAIRED: dict[str, tuple[Callable[[Answers], Bools], Callable[[Answers], Parts | None]]] = {
    "roc_auc": (_scored, _roc_auc),
    "accuracy": (_labelled, _accuracy),
    "precision": (_labelled, _precision),
    "recall": (_labelled, _recall),
    "f1": (_labelled, _f1),
    "f1_macro": (_labelled, _f1_macro),
    "log_loss": (_likely, _log_loss),
    "brier": (_scored, _brier),
    "mae": (_labelled, lambda one: _of_mean(np.abs(_errors(one)))),
    "rmse": (_labelled, _rmse),
    "bias": (_labelled, lambda one: _of_mean(_errors(one))),
    "r2": (_labelled, _r2),
}
