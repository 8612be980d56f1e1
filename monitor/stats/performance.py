"""Performance of a profile: its table and sums, handed to the formulas of classification and regression."""

from collections.abc import Callable

import numpy as np

from monitor.stats import classification, regression
from monitor.stats.additive import Profile
from monitor.stats.classification import share
from monitor.stats.layout import ABSENT, CALIBRATION_BINS, RESIDUAL_SUMS
from monitor.stats.rows import Ints
from monitor.stats.values import Result

Measured = Callable[[Profile, Profile | None], Result]


def confusion(profile: Profile) -> tuple[Ints, int, int]:
    """int64[C, C] (predicted, actual) over labelled rows with a prediction, the last class "other" where the task is
    multiclass; the number of right ones; the number of classes without "other"."""
    table = profile.of("table")
    if profile.layout.task == "binary":
        found = table.sum(axis=0)[:ABSENT]
        return found, int(np.trace(found)), 2
    many = len(profile.layout.classes)
    found = table[: many + 1].copy()
    found[many] += table[many + 2]
    return found, int(np.trace(table[:many, :many]) + table[many + 2].sum()), many


def accuracy(profile: Profile, _: Profile | None) -> Result:
    """Share of right predictions among labelled rows with a prediction."""
    found, right, _classes = confusion(profile)
    return share(right, int(found.sum()))


def precision(profile: Profile, _: Profile | None) -> Result:
    """TP / (TP + FP)."""
    found = confusion(profile)[0]
    return share(int(found[1, 1]), int(found[1].sum()))


def recall(profile: Profile, _: Profile | None) -> Result:
    """TP / (TP + FN)."""
    found = confusion(profile)[0]
    return share(int(found[1, 1]), int(found[:, 1].sum()))


def f1(profile: Profile, _: Profile | None) -> Result:
    """F1 of the positive class."""
    return classification.f1(confusion(profile)[0])


def f1_macro(profile: Profile, _: Profile | None) -> Result:
    """Mean F1 over classes."""
    found, _right, classes = confusion(profile)
    return classification.f1_macro(found, classes)


def roc_auc(profile: Profile, _: Profile | None) -> Result:
    """Area under the ROC curve over labelled rows with a score."""
    negative, positive = _by_score(profile)
    return classification.roc_auc(positive, negative)


def average_precision(profile: Profile, _: Profile | None) -> Result:
    """Average precision over labelled rows with a score."""
    negative, positive = _by_score(profile)
    bins = profile.binning.score
    tied = None if bins is None else np.nextafter(bins.edges[:-1], np.inf) >= bins.edges[1:]
    return classification.average_precision(positive, negative, tied)


def _by_score(profile: Profile) -> tuple[Ints, Ints]:
    """Negatives and positives by score bin; the table's last row, those without a score, stays out."""
    table = profile.of("table")[:-1].sum(axis=1)
    return table[:, 0], table[:, 1]


def mean_loss(key: str) -> Measured:
    """A mean from the exact sums of a loss and of its square."""

    def measured(profile: Profile, _: Profile | None) -> Result:
        return classification.mean_loss(profile.total(key), profile.total(key + "2"), profile.scored)

    return measured


def calibration(profile: Profile, _: Profile | None) -> Result:
    """Expected calibration error of P(positive), or of the largest score of a multiclass model."""
    scores = np.asarray([profile.total(("calibration", str(i))) for i in range(CALIBRATION_BINS)])
    if profile.layout.task == "multiclass":
        wrong_right = profile.of("calibration")
        return classification.calibration_error(wrong_right[:, 1], wrong_right.sum(axis=1), scores)
    edges = profile.binning.score.edges[:-1] if profile.binning.score is not None else np.zeros(0)
    table = profile.of("table")[:-1].sum(axis=1)
    place = np.minimum((edges * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    folded = np.zeros((CALIBRATION_BINS, 2), dtype=np.int64)
    np.add.at(folded, place, table)
    return classification.calibration_error(folded[:, 1], folded.sum(axis=1), scores)


def residuals(of: Callable[[regression.Moments], Result]) -> Measured:
    """A metric from the moments of residuals and outcomes."""

    def measured(profile: Profile, _: Profile | None) -> Result:
        n = profile.scored
        return of(regression.Moments(n, *(profile.total(name) / max(n, 1) for name in RESIDUAL_SUMS)))

    return measured
