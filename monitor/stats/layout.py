"""Where everything stands in a profile's flat vectors: one for whole models, a coarser one for their segments."""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from monitor.stats.bins import Bins, NumericBins
from monitor.stats.edges import geometric_edges
from monitor.stats.pairs import UNIT as PAIR_UNIT
from monitor.stats.rows import Floats

# A signal's key. Feature names are data, so they stand in a tuple and cannot collide with ours.
Key = str | tuple[str, str]

LATENCY_EDGES: Floats = geometric_edges(0.01, 3.6e6, 1.04)  # milliseconds: 10 microseconds to an hour
DELAY_EDGES: Floats = geometric_edges(0.1, 3.2e8, 1.04)  # seconds: to ten years
CALIBRATION_BINS = 16

PROBABILITY_SUMS = ("log_loss", "log_loss2", "brier", "brier2")
RESIDUAL_SUMS = ("e", "abs", "e2", "e4", "y", "y2", "y3", "y4", "e2y", "e2y2")
FEATURE_SUMS = ("mean", "square", "below", "above")

# What the table holds, by task (the last axis is the actual class):
# binary      [score bin or none, predicted negative | positive | absent, actual negative | positive]
# multiclass  [predicted class | other | absent | other and right, actual class | other]
NEGATIVE, POSITIVE, ABSENT = 0, 1, 2


@dataclass(frozen=True)
class Quantity:
    """One exact sum: of (x - centre) ** power or the like, counted in unit * 2**-40; `row` is its place in the sums."""

    row: int
    centre: float
    unit: float


@dataclass(frozen=True, eq=False)
class Layout:
    """Slices of the count vector, shapes of those with more than one axis, and the sums, by key."""

    task: str
    classes: tuple[str, ...]
    features: tuple[Bins, ...]
    score: NumericBins | None
    prediction: NumericBins | None
    residual: NumericBins | None
    latency: NumericBins
    delay: NumericBins
    slices: dict[Key, slice]
    shapes: dict[Key, tuple[int, ...]]
    quantities: dict[Key, Quantity]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", max(where.stop for where in self.slices.values()))

    @cached_property
    def signals(self) -> tuple[Key, ...]:
        """The keys that have a distribution to compare with a reference: features, prediction, score."""
        named: list[Key] = [("feature", bins.name) for bins in self.features]
        named.append("prediction")
        return (*named, "score") if self.score is not None else tuple(named)

    @cached_property
    def by_name(self) -> dict[str, Bins]:
        return {bins.name: bins for bins in self.features}

    def bins_of(self, key: Key) -> Bins | None:
        """The bins of a signal; None for the prediction of a classifier (its slots are classes)."""
        if isinstance(key, tuple):
            return self.by_name[key[1]]
        found: Bins | None = getattr(self, key, None) if key in ("score", "prediction", "latency", "delay") else None
        return found

    def prediction_labels(self) -> tuple[str, ...]:
        """Labels of a classifier's prediction slots (the last: absent)."""
        if self.task == "binary":
            return (*self.classes, "")
        return (*self.classes, "other", "")


def lay_out(
    *,
    task: str,
    classes: tuple[str, ...],
    features: tuple[Bins, ...],
    score: NumericBins | None,
    prediction: NumericBins | None,
    residual: NumericBins | None,
    latency: NumericBins,
    delay: NumericBins,
    table_scores: int,
    outcome: tuple[float, float, float],
    feature_sums: bool,
    pairs: int = 0,
) -> Layout:
    """Builds a layout. `table_scores`: score bins of the table; `outcome`: centre and unit of the actual values and
    unit of the residuals (regression); `feature_sums` False leaves out the features' own sums (segments); `pairs`:
    number of pairs of features whose products are summed."""
    shapes: dict[Key, tuple[int, ...]] = {"rows": (1,), "labelled": (1,), "scored": (1,), "error": (2,)}
    shapes |= {("feature", bins.name): (bins.size,) for bins in features}
    shapes["latency"], shapes["delay"] = (latency.size,), (delay.size,)
    if score is not None:
        shapes["score"] = (score.size,)
    sums: dict[Key, tuple[float, float]] = {}
    if task == "regression" and prediction is not None:
        shapes["prediction"] = (prediction.size,)
        if residual is not None:
            shapes["residual"] = (residual.size,)
        centre, y_unit, e_unit = outcome
        for name in RESIDUAL_SUMS:
            powers = {"abs": (1, 0)}.get(name) or _powers(name)
            sums[name] = (centre, e_unit ** powers[0] * y_unit ** powers[1])
    else:
        many = len(classes)
        if task == "binary":
            shapes["prediction"], shapes["table"] = (3,), (table_scores + 1, 3, 2)
        else:
            shapes["prediction"], shapes["table"] = (many + 2,), (many + 3, many + 1)
            shapes["calibration"] = (CALIBRATION_BINS, 2)
        sums |= dict.fromkeys(PROBABILITY_SUMS, (0.0, 1.0))
        sums |= {("calibration", str(i)): (0.0, 1.0) for i in range(CALIBRATION_BINS)}
    if feature_sums:
        for bins in features:
            if isinstance(bins, NumericBins):
                for name in FEATURE_SUMS:
                    sums[name, bins.name] = (bins.mean, bins.unit**2 if name == "square" else bins.unit)
    sums |= {("pair", str(place)): (0.0, PAIR_UNIT) for place in range(pairs)}
    slices: dict[Key, slice] = {}
    at = 0
    for key, shape in shapes.items():
        slices[key] = slice(at, at + prod(shape))
        at += prod(shape)
    return Layout(
        task, classes, features, score, prediction, residual, latency, delay, slices, shapes,
        {key: Quantity(row, *given) for row, (key, given) in enumerate(sums.items())},
    )  # fmt: skip


def _powers(name: str) -> tuple[int, int]:
    """Powers of residual and outcome in a sum's name: e2y -> (2, 1)."""
    e = int(name[1]) if name[:2] in ("e2", "e4") else int(name[0] == "e")
    rest = name.partition("y")
    return e, (int(rest[2] or 1) if rest[1] else 0)
