"""How good a binary model probably is before any outcome is known: its scores, calibrated by the reference.

Each score says how likely the positive class is, once the reference has shown what such scores are worth
(`calibration.expected_rates`). With p the calibrated probability of a row and d whether it was predicted positive,
E[true positives] is the sum of d p, E[positives] the sum of p, and so on: the expected confusion table gives the metric
(Confidence-based performance estimation: Bialek, Kuberski, Perrakis and Bifet, Estimating Model Performance Under
Covariate Shift Without Labels, 2024; NannyML's CBPE). It is right as long as a score means what it meant in the
reference. When that is what changes, the estimate does not see it; outcomes do.

Intervals say where the realized value falls if the estimate is right: each row's outcome is a Bernoulli draw of its p
(delta method; ROC AUC: DeLong's variance of the expected counts). The uncertainty of the calibration is left out.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from monitor.stats.additive import Profile
from monitor.stats.calibration import expected_rates
from monitor.stats.classification import nothing
from monitor.stats.intervals import around, on_logit
from monitor.stats.layout import NEGATIVE, POSITIVE
from monitor.stats.rows import Floats
from monitor.stats.values import Result

LEAST = 200  # labelled rows of the reference behind a calibration, with at least ten of each class
_LEAST_EACH = 10

Expected = tuple[Floats, Floats, Floats]  # rows, calibrated probability and share predicted positive, by score bin


def expected(profile: Profile, reference: Profile | None) -> Expected | None:
    """None where nothing can be said: no scores, a reference with too few outcomes, a segment (its scores are counted
    too coarsely)."""
    binning = profile.binning
    if reference is None or binning.score is None or profile.layout is not binning.whole:
        return None
    counts = np.bincount(binning.score_rows, weights=profile.of("score"), minlength=binning.score.k + 1)[:-1]
    rows: Floats = counts.astype(np.float64)
    if not rows.sum():
        return None
    table = reference.of("table")[:-1]
    by_class = table.sum(axis=(0, 1))
    if by_class.sum() < LEAST or by_class.min() < _LEAST_EACH:
        return None
    edges = np.clip(binning.score.edges, 0.0, 1.0)
    middles = (edges[:-1] + edges[1:]) / 2
    rate, said = _learned(table.tobytes(), middles.tobytes(), binning.score.groups.tobytes(), binning.threshold)
    return rows, rate, said


@lru_cache(maxsize=64)
def _learned(table: bytes, middles: bytes, groups: bytes, threshold: float) -> tuple[Floats, Floats]:
    """What the reference teaches of each score bin: P(positive), and the share that is predicted positive.

    Groups of scores are cut where the prediction turns, so that the reference's own table is what is expected of it.
    """
    cells = np.frombuffer(table, dtype=np.int64).reshape(-1, 3, 2)
    scores = np.frombuffer(middles, dtype=np.float64)
    answers = cells.sum(axis=2)[:, [NEGATIVE, POSITIVE]]
    known = answers.sum(axis=1)
    said = np.where(known > 0, answers[:, 1] / np.maximum(known, 1), scores >= threshold)
    cut = np.unique(np.frombuffer(groups, dtype=np.int64) * 2 + (said >= 0.5), return_inverse=True)[1].astype(np.int64)
    return expected_rates(scores, cut, cells.sum(axis=1).astype(np.float64)), said


def of(formula: Callable[[Expected], Result]) -> Callable[[Profile, Profile | None], Result]:
    """A metric from what is expected of a profile's scores."""

    def estimated(profile: Profile, reference: Profile | None) -> Result:
        found = expected(profile, reference)
        return nothing() if found is None else formula(found)

    return estimated


def roc_auc(found: Expected) -> Result:
    """P(score of a positive > of a negative), from expected positives and negatives by score."""
    rows, rate, _ = found
    positive, negative = rows * rate, rows * (1 - rate)
    many, others = float(positive.sum()), float(negative.sum())
    n = int(rows.sum())
    if min(many, others) <= 1:
        return nothing(n)
    below = (np.cumsum(negative) - negative / 2) / others
    above = (many - np.cumsum(positive) + positive / 2) / many
    value = float(positive @ below / many)
    spread = 0.0
    for counts, placed, total in ((positive, below, many), (negative, above, others)):
        spread += float(counts @ (placed - value) ** 2) / (total - 1) / total
    return value, *on_logit(value, spread, max(1, int(min(many, others)))), n


def accuracy(found: Expected) -> Result:
    """Expected share of right predictions."""
    rows, rate, said = found
    n = float(rows.sum())
    value = float((rows * (said * rate + (1 - said) * (1 - rate))).sum()) / n
    return _with_interval(found, value, (2 * said - 1) / n)


def precision(found: Expected) -> Result:
    """Expected true positives among rows predicted positive."""
    rows, rate, said = found
    predicted = float((rows * said).sum())
    if not predicted:
        return nothing(int(rows.sum()))
    return _with_interval(found, float((rows * said * rate).sum()) / predicted, said / predicted)


def recall(found: Expected) -> Result:
    """Expected true positives among expected positives."""
    rows, rate, said = found
    many = float((rows * rate).sum())
    if not many:
        return nothing(int(rows.sum()))
    value = float((rows * said * rate).sum()) / many
    return _with_interval(found, value, (said - value) / many)


def f1(found: Expected) -> Result:
    """2 TP / (predicted positives + positives), all of them expected."""
    rows, rate, said = found
    both = float((rows * said).sum() + (rows * rate).sum())
    if not both:
        return nothing(int(rows.sum()))
    value = 2 * float((rows * said * rate).sum()) / both
    return _with_interval(found, value, (2 * said - value) / both)


def _with_interval(found: Expected, value: float, pull: Floats) -> Result:
    """The value, and 95 % of what outcomes make of it; `pull`: how far one positive in each bin moves the metric."""
    rows, rate, _ = found
    return value, *around(value, float((rows * rate * (1 - rate) * pull**2).sum()), 0.0, 1.0), int(rows.sum())
