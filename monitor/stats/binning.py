"""A model's binning: every bin edge, level, class and unit that its profiles are counted in, frozen under a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from monitor.stats import pairs
from monitor.stats.bins import Bins, CategoricalBins, NumericBins, by_frequency
from monitor.stats.edges import COARSE, FINE, power_of_two, sorted_finite
from monitor.stats.layout import DELAY_EDGES, LATENCY_EDGES, Key, Layout, lay_out
from monitor.stats.pairs import Cells
from monitor.stats.rows import Codes, Floats, Ints, Numbers, Rows

__all__ = ["COARSE", "FINE", "Binning", "CategoricalBins", "Key", "Layout", "NumericBins"]

FORMAT = 1
SCORE_QUANTILES = SCORE_STEPS = 256
CLASSES = 100
SEGMENT_VALUES, SEGMENTS = 20, 50
_YES = ("1", "true", "yes", "positive", "True", "Yes", "Y", "y")


@dataclass(frozen=True, eq=False)
class Binning:
    """What `Profile`s are counted in. Two profiles add up when their binnings have the same content.

    - `classes`: binary: (negative, positive), every label that is not positive counts as negative. Multiclass: the
      reference's classes by text (at most 100, the most frequent), others are "other". Regression: ().
    - `threshold`: a binary row without a prediction counts as positive from this score on.
    - `features` in a fixed order; `score` (binary: P(positive), multiclass: the largest score); `prediction` and
      `residual` (predicted - actual; None where the reference has no actuals) of a regression.
    - `segments`: (name, values) with the values that have counts of their own; the rest is the value None ("other").
    - `outcome`: centre and unit of actual values, unit of residuals (regression).
    - `normals`: the numeric features whose pairs are followed, with their normal scores by slot.
    """

    number: int
    task: str
    classes: tuple[str, ...]
    threshold: float
    features: tuple[NumericBins | CategoricalBins, ...]
    score: NumericBins | None
    prediction: NumericBins | None
    residual: NumericBins | None
    latency: NumericBins
    delay: NumericBins
    segments: tuple[tuple[str, tuple[str, ...]], ...]
    outcome: tuple[float, float, float]
    normals: tuple[pairs.Normal, ...] = ()

    @property
    def positive_class(self) -> str | None:
        return self.classes[1] if self.task == "binary" else None

    @cached_property
    def whole(self) -> Layout:
        """The layout of whole models: fine bins."""
        return self._layout(coarse=False)

    @cached_property
    def coarse(self) -> Layout:
        """The layout of segments: about ten groups a signal, the fine table of scores, latency and delays kept."""
        return self._layout(coarse=True)

    @property
    def layout(self) -> dict[Key, slice]:
        """Signal -> slice of the whole profile's count vector."""
        return self.whole.slices

    @cached_property
    def coarse_slots(self) -> dict[Key, Ints]:
        """Signal -> int64[fine slots]: the slot in the coarse layout, counted from the signal's own start."""
        found: dict[Key, Ints] = {key: np.arange(where.stop - where.start) for key, where in self.layout.items()}
        found |= {("feature", bins.name): bins.coarse_slots for bins in self.features}
        for key, bins in (("score", self.score), ("prediction", self.prediction), ("residual", self.residual)):
            if bins is not None:
                found[key] = bins.coarse_slots
        return found

    def groups(self, key: Key) -> Ints:
        """int64[fine slots]: the evidence group of each slot, for latency and delay too."""
        if key == "latency":
            return self.latency.coarse_slots
        return self.delay.coarse_slots if key == "delay" else self.coarse_slots[key]

    @cached_property
    def score_rows(self) -> Ints:
        """int64[score slots]: the row of the binary table; out of [0, 1] is the end bin, no score the last row."""
        if self.score is None:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate([np.clip(np.arange(self.score.k + 2) - 1, 0, self.score.k - 1), np.full(3, self.score.k)])

    @cached_property
    def segment_rows(self) -> dict[tuple[str, str | None], int]:
        """(name, value or None for the rest) -> row of the segments' matrix."""
        named = [(name, value) for name, values in self.segments for value in (*values, None)]
        return {key: row for row, key in enumerate(named)}

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of features whose products are summed, in the order of their sums."""
        return pairs.names_of(self.normals)

    @cached_property
    def pair_cells(self) -> Cells:
        """Where the counts of the features whose pairs are followed stand in the whole layout."""
        return Cells.of(self.normals, self.whole.slices)

    def _layout(self, *, coarse: bool) -> Layout:
        def of(bins: NumericBins | None) -> NumericBins | None:
            return bins.coarse if coarse and bins is not None else bins

        return lay_out(
            task=self.task,
            classes=self.classes,
            features=tuple(bins.coarse for bins in self.features) if coarse else self.features,
            score=of(self.score),
            prediction=of(self.prediction),
            residual=of(self.residual),
            latency=self.latency,
            delay=self.delay,
            table_scores=self.score.k if self.score is not None else 0,
            outcome=self.outcome,
            feature_sums=not coarse,
            pairs=0 if coarse else len(self.pairs),
        )

    def dump(self) -> bytes:
        """Deterministic bytes (MessagePack); equal content gives equal bytes."""

        def data(bins: NumericBins | None) -> dict[str, Any] | None:
            return None if bins is None else bins.data()

        return msgspec.msgpack.encode(
            {
                "format": FORMAT, "number": self.number, "task": self.task, "classes": self.classes,
                "threshold": self.threshold, "features": [bins.data() for bins in self.features],
                "score": data(self.score), "prediction": data(self.prediction), "residual": data(self.residual),
                "latency": self.latency.data(), "delay": self.delay.data(), "segments": self.segments,
                "outcome": self.outcome, "normals": self.normals,
            }
        )  # fmt: skip

    @classmethod
    def load(cls, content: bytes) -> "Binning":
        """Reads what `dump` wrote; ValueError for another format."""
        try:
            data = msgspec.msgpack.decode(content)
            if data.pop("format") != FORMAT:
                raise ValueError("a binning of another format")
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:
            raise ValueError("not a binning") from error

        def bins(given: dict[str, Any] | None) -> NumericBins | None:
            return None if given is None else NumericBins.from_data(given)

        features: list[Bins] = [
            NumericBins.from_data(given) if given["kind"] == "numeric" else CategoricalBins.from_data(given)
            for given in data["features"]
        ]
        return cls(
            number=data["number"], task=data["task"], classes=tuple(data["classes"]), threshold=data["threshold"],
            features=tuple(features), score=bins(data["score"]), prediction=bins(data["prediction"]),
            residual=bins(data["residual"]), latency=NumericBins.from_data(data["latency"]),
            delay=NumericBins.from_data(data["delay"]),
            segments=tuple((name, tuple(values)) for name, values in data["segments"]), outcome=tuple(data["outcome"]),
            normals=tuple((name, tuple(scores)) for name, scores in data.get("normals", ())),
        )  # fmt: skip

    @staticmethod
    def build(
        number: int,
        task: str,
        rows: Rows,
        *,
        positive_class: str | None = None,
        threshold: float = 0.5,
        segments: Sequence[str] = (),
    ) -> "Binning":
        """Freezes a binning from reference rows.

        `task` is binary, multiclass or regression. Features keep the order of `rows.features`. `segments` are names of
        tags or categorical features; unknown ones stay, with every row in "other". ValueError for an unknown task.
        """
        if task not in ("binary", "multiclass", "regression"):
            raise ValueError("task must be binary, multiclass or regression")
        features: list[Bins] = [
            CategoricalBins.build(name, column)
            if isinstance(column, Codes)
            else NumericBins.build(name, column.values, column.missing)
            for name, column in rows.features.items()
        ]
        regression = task == "regression"
        prediction, residual, outcome = _regression(rows) if regression else (None, None, (0.0, 1.0, 1.0))
        return Binning(
            number=number,
            task=task,
            classes=() if regression else _classes(task, rows, positive_class),
            threshold=threshold,
            features=tuple(features),
            score=None if regression else _score_bins(task, rows),
            prediction=prediction,
            residual=residual,
            latency=_fixed("latency", LATENCY_EDGES, rows.latency_ms),
            delay=_fixed("delay", DELAY_EDGES, rows.label_delay),
            segments=_segments(rows, segments),
            outcome=outcome,
            normals=pairs.choose(features, rows.features, _output(task, rows)),
        )


def top_score(task: str, rows: Rows) -> Floats | None:
    """float64[n]: the score that is binned: P(positive), or the largest score of a multiclass model."""
    if task == "binary" or rows.scores is None:
        return rows.score if task == "binary" else None
    return rows.scores.max(axis=1, initial=-np.inf) if rows.scores.shape[1] else None


def _output(task: str, rows: Rows) -> Floats | None:
    """float64[n]: what the model says of each row, NaN where it says nothing."""
    if task != "regression":
        return top_score(task, rows)
    return rows.prediction.present() if isinstance(rows.prediction, Numbers) else None


def _fixed(name: str, edges: Floats, values: Floats | None) -> NumericBins:
    return NumericBins.on_edges(name, edges, sorted_finite(values if values is not None else np.zeros(0)))


def _score_bins(task: str, rows: Rows) -> NumericBins:
    """256 equal steps of [0, 1] and 256 quantiles of the reference: fine where scores are, never blind elsewhere."""
    scores = top_score(task, rows)
    finite = sorted_finite(scores) if scores is not None else np.zeros(0)
    equal = np.arange(SCORE_STEPS + 1) / SCORE_STEPS
    inside = finite[(finite >= 0) & (finite <= 1)]
    distinct = np.unique(inside)
    if len(distinct) <= SCORE_QUANTILES:
        quantiles = again = distinct
    else:
        quantiles = inside[(np.arange(SCORE_QUANTILES) * len(inside)) // SCORE_QUANTILES]
        again = quantiles[:-1][np.diff(quantiles) == 0]  # a score that many rows share gets a bin that holds it alone
    ends = np.nextafter(np.concatenate([again, [1.0]]), np.inf)
    edges = np.unique(np.concatenate([equal[:-1], quantiles, ends]))
    return NumericBins.on_edges("score", edges, finite)


def _classes(task: str, rows: Rows, positive_class: str | None) -> tuple[str, ...]:
    counts: dict[str, int] = dict.fromkeys(rows.score_classes, 1)
    for column in (rows.actual, rows.prediction):
        if isinstance(column, Codes):
            for label, count in zip(*by_frequency(column), strict=True):
                counts[label] = counts.get(label, 0) + int(count)
    if task == "multiclass":
        return tuple(sorted(sorted(counts, key=lambda label: (-counts[label], label))[:CLASSES]))
    positive = positive_class
    if positive is None:
        positive = next((label for label in _YES if label in counts), max(counts, default="1"))
    others = sorted((label for label in counts if label != positive), key=lambda label: (-counts[label], label))
    return (others[0] if others else f"not {positive}", positive)


def _regression(rows: Rows) -> tuple[NumericBins, NumericBins | None, tuple[float, float, float]]:
    predicted = rows.prediction.present() if isinstance(rows.prediction, Numbers) else np.zeros(0)
    actual = rows.actual.present() if isinstance(rows.actual, Numbers) else np.full(len(predicted), np.nan)
    prediction = NumericBins.build("prediction", predicted)
    if len(predicted) != len(actual):
        predicted = np.full(len(actual), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        residual = NumericBins.build("residual", predicted - actual)
    known = NumericBins.build("actual", actual)
    like = known if known.count else prediction
    unit = power_of_two(like.high - like.low)
    if not residual.count:
        return prediction, None, (like.mean, unit, unit)
    largest = max(abs(residual.low), abs(residual.high))
    return prediction, residual, (like.mean, unit, power_of_two(largest) if largest else unit)


def _segments(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """20 values a segment and 50 in all, by traffic in the reference."""
    busiest: list[tuple[int, int, str]] = []
    for place, name in enumerate(names):
        column = rows.segment(name)
        if column is not None:
            labels, counts = by_frequency(column)
            busiest += [(-int(counts[at]), place, labels[at]) for at in range(min(len(labels), SEGMENT_VALUES))]
    busiest = sorted(busiest)[:SEGMENTS]
    return tuple((name, tuple(label for _, at, label in busiest if at == place)) for place, name in enumerate(names))
