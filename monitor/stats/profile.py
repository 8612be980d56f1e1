"""From rows to profiles: what came in (`profile_inputs`) and how it turned out (`profile_outcomes`).

Rows are counted in runs that are small enough for the cache, and summed as integers. However the rows are ordered, cut
or spread over machines, the profiles add up to the same integers.
"""

import numpy as np

from monitor.stats.additive import Profile, Segments, empty, merge
from monitor.stats.binning import Binning, top_score
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.edges import LARGEST_UNIT
from monitor.stats.layout import ABSENT, CALIBRATION_BINS, NEGATIVE, POSITIVE, Key
from monitor.stats.pairs import SCALE
from monitor.stats.rows import Codes, Column, Floats, Ints, Numbers, Rows
from monitor.stats.tally import RUN, Tally, runs

__all__ = ["Profile", "Segments", "empty", "merge", "profile_inputs", "profile_outcomes"]

EPSILON = float(np.finfo(np.float64).eps)  # probabilities are clipped to it before the logarithm, as scikit-learn does
_ROOT = 2.0**20  # of a unit's quanta: squares of what is so scaled are quanta too
_FAR = 1e70  # so that fourth powers stay finite


def profile_inputs(binning: Binning, rows: Rows) -> Profile:
    """Everything but outcomes: features, prediction, score, latency, errors, volume.

    TypeError where a column is of another kind than the binning's (labels for a numeric feature, say).
    """
    tally = Tally(binning, rows)
    for run in runs(rows.n):
        tally.add("rows", np.zeros(run.stop - run.start, dtype=np.int64), run)
    normals = _Normals(binning, rows.n)
    numeric: list[tuple[NumericBins, Numbers]] = []
    for bins in binning.features:
        column = rows.features.get(bins.name)
        if column is None:
            tally.add_all(("feature", bins.name), bins.missing)
            normals.skip(bins.name)
        elif isinstance(bins, CategoricalBins) and not tally.groups:
            tally.add_counts(("feature", bins.name), bins.histogram(_codes(column)))
        elif isinstance(bins, CategoricalBins):
            slots = bins.slots(_codes(column))
            for run in runs(rows.n):
                tally.add(("feature", bins.name), slots[run], run)
        else:
            numeric.append((bins, _numbers(column)))
    for run in runs(rows.n):
        for bins, values in numeric:
            _count_numeric(tally, bins, values, run, normals)
        tally.add_products(normals.scores[:, : run.stop - run.start])
    if rows.is_error is None:
        tally.add_all("error", 0)
    else:
        tally.add_whole("error", rows.is_error.astype(np.int64))
    tally.add_numeric("latency", binning.latency, rows.latency_ms)
    if binning.score is not None:
        tally.add_numeric("score", binning.score, top_score(binning.task, rows))
    if binning.prediction is not None:
        predicted = None if rows.prediction is None else _numbers(rows.prediction)
        tally.add_numeric("prediction", binning.prediction, None if predicted is None else predicted.values,
                     None if predicted is None else predicted.missing)  # fmt: skip
    else:
        tally.add_whole("prediction", predicted_classes(binning, rows))
    return tally.profile()


def profile_outcomes(binning: Binning, rows: Rows, sign: int = 1) -> Profile:
    """The labelled part: performance table, exact sums of losses, label delays. Rows without an actual count nothing.

    `sign` -1 takes an earlier outcome back: add it, with the outcome that held before, to undo what that one counted.
    """
    if sign not in (1, -1):
        raise ValueError("sign must be 1 or -1")
    chosen = rows.labelled()
    if not chosen.any():
        return empty(binning)
    if not chosen.all():
        rows = rows.take(chosen)
    tally = Tally(binning, rows)
    tally.add_all("labelled", 0)
    tally.add_numeric("delay", binning.delay, rows.label_delay)
    if binning.task == "regression":
        _count_residuals(tally, rows)
    elif binning.task == "binary":
        _count_binary(tally, rows)
    else:
        _count_multiclass(tally, rows)
    found = tally.profile()
    return found if sign == 1 else -found


def predicted_classes(binning: Binning, rows: Rows) -> Ints:
    """int64[n] slots of the prediction signal: class, (multiclass) other, absent.

    A binary row without a prediction has the class that its score and the threshold give.
    """
    absent = ABSENT if binning.task == "binary" else len(binning.classes) + 1
    if rows.prediction is None:
        found = np.full(rows.n, absent, dtype=np.int64)
    else:
        found = class_slots(binning, _codes(rows.prediction), absent)
    if binning.task == "binary" and rows.score is not None:
        bare = found == ABSENT
        if bare.any():
            score = rows.score[bare]
            found[bare] = np.where(np.isfinite(score), score >= binning.threshold, ABSENT)
    return found


class _Normals:
    """The normal scores of a run of rows, [features, rows]: of those features whose pairs are followed."""

    def __init__(self, binning: Binning, n: int) -> None:
        self.place = {name: (at, np.asarray(of) / SCALE) for at, (name, of) in enumerate(binning.normals)}
        self.scores: Floats = np.empty((len(self.place), min(n, RUN)))

    def skip(self, name: str) -> None:
        """A feature that no row has: its scores are 0."""
        if name in self.place:
            self.scores[self.place[name][0]] = 0.0

    def take(self, name: str, slots: Ints) -> None:
        at, of = self.place[name]
        of.take(slots, out=self.scores[at, : len(slots)], mode="clip")  # other modes copy once more


def _count_numeric(tally: Tally, bins: NumericBins, column: Numbers, run: slice, normals: _Normals) -> None:
    """A run of a numeric feature: its histogram and its sums (mean, square, distances beyond the reference's range)."""
    key: Key = ("feature", bins.name)
    values = column.values[run]
    missing = None if column.missing is None else column.missing[run]
    odd = bins.odd(values, missing)
    usual = values
    if len(odd):
        usual = values.copy()
        usual[odd] = bins.mean
    if tally.groups or bins.name in normals.place:
        slots = bins.locate(usual, within=True)
        if len(odd):
            slots[odd] = bins.slots(values[odd], None if missing is None else missing[odd])
        if bins.name in normals.place:
            normals.take(bins.name, slots)
        counted = tally.add(key, slots, run)
    else:
        counted = bins.histogram(usual)
        if len(odd):
            counted -= np.bincount(bins.locate(usual[odd], within=True), minlength=bins.size)
            counted += np.bincount(
                bins.slots(values[odd], None if missing is None else missing[odd]), minlength=bins.size
            )
        tally.add_counts(key, counted)
    if counted[0] or counted[bins.above]:
        far = odd[np.isfinite(values[odd])] if missing is None else odd[np.isfinite(values[odd]) & ~missing[odd]]
        _add_outside(tally, bins, values[far], far + run.start)
    with np.errstate(over="ignore"):
        units = usual - bins.mean
        units *= _ROOT / bins.unit
    if bins.unit >= LARGEST_UNIT:
        np.clip(units, -_ROOT, _ROOT, out=units)
    squares = units * units
    units *= _ROOT
    tally.add_small(("mean", bins.name), units)
    tally.add_small(("square", bins.name), squares)


def _add_outside(tally: Tally, bins: NumericBins, values: Floats, chosen: Ints) -> None:
    """The sums of finite values beyond the reference's range."""
    for name, outside, edge, side in (
        ("below", values < bins.low, bins.low, -1.0),
        ("above", values > bins.high, bins.high, 1.0),
    ):
        far, at = np.clip(values[outside], -_FAR, _FAR), chosen[outside]
        if len(far):
            offset = far - bins.mean
            tally.add_sum(("mean", bins.name), offset, at)
            tally.add_sum(("square", bins.name), offset * offset, at)
            tally.add_sum((name, bins.name), (far - edge) * side, at)


def _count_binary(tally: Tally, rows: Rows) -> None:
    binning = tally.binning
    assert binning.score is not None
    actual = class_slots(binning, _codes(rows.actual), ABSENT)
    predicted = predicted_classes(binning, rows)
    score = np.full(rows.n, np.nan) if rows.score is None else rows.score
    usable = np.isfinite(score)
    for run in runs(rows.n):
        place = binning.score_rows[binning.score.slots(score[run])]
        tally.add("table", (place * 3 + predicted[run]) * 2 + actual[run], run)
        chosen = np.flatnonzero(usable[run]) + run.start
        positive = (actual[chosen] == POSITIVE).astype(np.float64)
        probability = np.clip(score[chosen], 0.0, 1.0)
        likely = np.where(positive == POSITIVE, probability, 1.0 - probability)
        _add_losses(tally, likely, (probability - positive) ** 2, probability, chosen)


def _count_multiclass(tally: Tally, rows: Rows) -> None:
    binning = tally.binning
    many = len(binning.classes)
    outcome = _codes(rows.actual)
    actual = class_slots(binning, outcome, many)
    predicted = predicted_classes(binning, rows)
    both = (actual == many) & (predicted == many)
    if both.any():  # two labels that the binning does not know may still be the same one
        same = np.equal(_texts(rows.prediction), _texts(outcome)).astype(np.bool_)
        predicted[both & same] = many + 2
    tally.add_whole("table", predicted * (many + 1) + actual)
    if rows.scores is None:
        return
    usable = np.isfinite(rows.scores.sum(axis=1))
    column = {label: place for place, label in enumerate(rows.score_classes)}
    table = np.asarray([*(column.get(level, -1) for level in outcome.levels), -1], dtype=np.int64)[outcome.codes]
    best = rows.scores.argmax(axis=1)
    for run in runs(rows.n):
        chosen = np.flatnonzero(usable[run]) + run.start
        scores, truth = np.clip(rows.scores[chosen], 0.0, 1.0), table[chosen]
        likely = np.where(truth >= 0, scores[np.arange(len(chosen)), truth], 0.0)
        squares = (scores**2).sum(axis=1) - 2 * likely + 1
        confidence = scores.max(axis=1)
        right = (best[chosen] == truth).astype(np.int64)
        place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        tally.add("calibration", place * 2 + right, chosen)
        _add_losses(tally, likely, squares, confidence, chosen)


def _count_residuals(tally: Tally, rows: Rows) -> None:
    binning = tally.binning
    actual = _numbers(rows.actual).present()
    predicted = np.full(rows.n, np.nan) if rows.prediction is None else _numbers(rows.prediction).present()
    with np.errstate(over="ignore", invalid="ignore"):
        residual = predicted - actual
    usable = np.isfinite(residual)
    if binning.residual is not None:
        tally.add_numeric("residual", binning.residual, residual)
    centre = tally.binning.outcome[0]
    for run in runs(rows.n):
        chosen = np.flatnonzero(usable[run]) + run.start
        tally.add("scored", np.zeros(len(chosen), dtype=np.int64), chosen)
        e, y = (np.clip(part, -_FAR, _FAR) for part in (residual[chosen], actual[chosen] - centre))
        terms = {
            "e": e, "abs": np.abs(e), "e2": e**2, "e4": e**4, "y": y, "y2": y**2, "y3": y**3, "y4": y**4,
            "e2y": e**2 * y, "e2y2": e**2 * y**2,
        }  # fmt: skip
        for key, values in terms.items():
            tally.add_sum(key, values, chosen)


def _add_losses(tally: Tally, likely: Floats, squares: Floats, confidence: Floats, chosen: Ints) -> None:
    """Sums of log loss, Brier score, their squares, and the scores within each calibration bin."""
    tally.add("scored", np.zeros(len(chosen), dtype=np.int64), chosen)
    loss = -np.log(np.clip(likely, EPSILON, 1.0 - EPSILON))
    for key, values in (("log_loss", loss), ("log_loss2", loss**2), ("brier", squares), ("brier2", squares**2)):
        tally.add_sum(key, values, chosen)
    place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    for bin_ in np.unique(place).tolist():
        inside = place == bin_
        tally.add_sum(("calibration", str(bin_)), confidence[inside], chosen[inside])


def class_slots(binning: Binning, column: Codes, absent: int) -> Ints:
    """int64[n]: binary: negative, positive; multiclass: place among the classes, or other; `absent` for null."""
    if binning.task == "binary":
        of = [POSITIVE if level == binning.positive_class else NEGATIVE for level in column.levels]
    else:
        place = {label: slot for slot, label in enumerate(binning.classes)}
        of = [place.get(level, len(place)) for level in column.levels]
    return np.asarray([*of, absent], dtype=np.int64)[column.codes]


def _texts(column: Column | None) -> np.ndarray:
    found = _codes(column)
    return np.asarray([*found.levels, ""], dtype=object)[found.codes]


def _codes(column: Column | None) -> Codes:
    if not isinstance(column, Codes):
        raise TypeError("labels were expected, numbers came")
    return column


def _numbers(column: Column | None) -> Numbers:
    if not isinstance(column, Numbers):
        raise TypeError("numbers were expected, labels came")
    return column
