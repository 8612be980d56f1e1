"""Every metric of a profile, by name. A new metric is one function here or beside, and one line in METRICS."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from monitor.stats import distances, estimated, performance, quality, regression
from monitor.stats.additive import Profile
from monitor.stats.classification import nothing, share
from monitor.stats.intervals import wilson
from monitor.stats.layout import Key, Layout
from monitor.stats.quality import feature_moments, latency_quantile
from monitor.stats.rows import Floats
from monitor.stats.values import Columns, Result, Value, to_value

__all__ = ["FIRST", "METRICS", "Columns", "Measures", "Metric", "Value", "feature_moments", "latency_quantile",
           "measure", "measure_one"]  # fmt: skip

Task = Literal["binary", "multiclass", "regression"]
FIRST = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "mae"}  # what lists show of performance
ALL: tuple[Task, ...] = ("binary", "multiclass", "regression")
CLASSIFIERS: tuple[Task, ...] = ("binary", "multiclass")


@dataclass(frozen=True)
class Metric:
    """What can be asked for. `direction`: which way is better; `of` gives a Result or Columns; `overall` folds Columns
    into one number where no feature is named; `labels`, `reference`: what the metric needs besides rows."""

    name: str
    family: Literal["features", "performance", "volume", "latency", "quality"]
    unit: str
    direction: Literal["higher", "lower", "none"]
    tasks: tuple[Task, ...]
    of: Callable[[Profile, Profile | None], Result | Columns]
    overall: Callable[[Columns, int], Result] | None = None
    labels: bool = False
    reference: bool = False

    @property
    def per_feature(self) -> bool:
        return self.overall is not None


@dataclass(frozen=True)
class Measures:
    """Metrics of one profile. `values` by metric; `features` float64[F] and `columns` (features, prediction, score) by
    metric for those per feature; `names` the features' names."""

    rows: int
    labelled: int
    names: tuple[str, ...]
    values: dict[str, Value] = field(default_factory=dict)
    columns: dict[str, Columns] = field(default_factory=dict)

    @property
    def features(self) -> dict[str, Floats]:
        return {name: found.value[: len(self.names)] for name, found in self.columns.items()}

    @property
    def coverage(self) -> float | None:
        return self.labelled / self.rows if self.rows else None


def measure(profile: Profile, reference: Profile | None = None, metrics: Iterable[str] | None = None) -> Measures:
    """The metrics (default: all of the task) of a profile. `reference` in the same layout; without one, distances are
    not defined. Metrics of another task are left out. KeyError for an unknown name."""
    layout = profile.layout
    found = Measures(profile.rows, profile.labelled, tuple(bins.name for bins in layout.features))
    for name in METRICS if metrics is None else metrics:
        metric = METRICS[name]
        if layout.task not in metric.tasks:
            continue
        result = metric.of(profile, reference)
        if isinstance(result, Columns):
            found.columns[name] = result
            assert metric.overall is not None
            result = metric.overall(_only_features(result, len(layout.features)), profile.rows)
        found.values[name] = to_value(result)
    return found


def measure_one(profile: Profile, reference: Profile | None, name: str, feature: str | None = None) -> Value:
    """One metric, of one feature where one is named (then the metric must be per feature, else ValueError).

    KeyError for an unknown metric or feature. A metric of another task has no value.
    """
    metric = METRICS[name]
    if feature is None:
        return measure(profile, reference, (name,)).values.get(name, Value())
    result = metric.of(profile, reference)
    if not isinstance(result, Columns):
        raise ValueError(f"{name} is not measured per feature")
    return result.at(_place(profile.layout, feature))


def _distance(of: Callable[[Profile, Profile], Floats]) -> Callable[[Profile, Profile | None], Columns]:
    def measured(profile: Profile, reference: Profile | None) -> Columns:
        many = len(profile.layout.signals)
        nan = np.full(many, np.nan)
        return Columns(nan if reference is None else of(profile, reference), nan, nan, np.full(many, profile.rows))

    return measured


def _worst(found: Columns, rows: int) -> Result:
    """Where no feature is named: the feature that moved most."""
    if np.isnan(found.value).all():
        return nothing(rows)
    return found.at(int(np.nanargmax(found.value))).value, None, None, rows


def _mean_share(found: Columns, rows: int) -> Result:
    """Where no feature is named: the share of cells; its interval takes a row's cells as one (never too narrow)."""
    defined = found.value[~np.isnan(found.value)]
    return share_of(float(defined.mean()), rows) if len(defined) and rows else nothing(rows)


def share_of(value: float, n: int) -> Result:
    """A share that need not be a whole number of n, with Wilson's interval."""
    low, high = wilson(value * n, n)
    return value, float(low), float(high), n


def _volume(profile: Profile, _: Profile | None) -> Result:
    return float(profile.rows), float(profile.rows), float(profile.rows), profile.rows


def _latency(q: float) -> Callable[[Profile, Profile | None], Result]:
    return lambda profile, _: latency_quantile(profile, q)


def _place(layout: Layout, feature: str) -> int:
    key: Key = ("feature", feature)
    if key not in layout.slices:
        raise KeyError(feature)
    return layout.signals.index(key)


def _only_features(found: Columns, many: int) -> Columns:
    return Columns(found.value[:many], found.low[:many], found.high[:many], found.n[:many])


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("volume", "volume", "rows", "none", ALL, _volume),
        Metric("latency_p50", "latency", "ms", "lower", ALL, _latency(0.5)),
        Metric("latency_p95", "latency", "ms", "lower", ALL, _latency(0.95)),
        Metric("latency_p99", "latency", "ms", "lower", ALL, _latency(0.99)),
        Metric("error_rate", "quality", "share", "lower", ALL, lambda p, _: share(int(p.of("error")[1]), p.rows)),
        Metric("missing_share", "quality", "share", "lower", ALL, quality.missing, _mean_share),
        Metric("unseen_share", "quality", "share", "lower", ALL, quality.unseen, _mean_share),
        Metric("out_of_range_share", "quality", "share", "lower", ALL, quality.out_of_range, _mean_share),
        Metric("psi", "features", "psi", "lower", ALL, _distance(distances.psi), _worst, reference=True),
        Metric("jensen_shannon", "features", "distance", "lower", ALL,
               _distance(distances.jensen_shannon), _worst, reference=True),
        Metric("ks", "features", "statistic", "lower", ALL, _distance(distances.ks), _worst, reference=True),
        Metric("wasserstein", "features", "sd", "lower", ALL,
               _distance(distances.wasserstein), _worst, reference=True),
        Metric("accuracy", "performance", "share", "higher", CLASSIFIERS, performance.accuracy, labels=True),
        Metric("precision", "performance", "share", "higher", ("binary",), performance.precision, labels=True),
        Metric("recall", "performance", "share", "higher", ("binary",), performance.recall, labels=True),
        Metric("f1", "performance", "score", "higher", ("binary",), performance.f1, labels=True),
        Metric("f1_macro", "performance", "score", "higher", CLASSIFIERS, performance.f1_macro, labels=True),
        Metric("roc_auc", "performance", "area", "higher", ("binary",),
               performance.roc_auc, labels=True),
        Metric("average_precision", "performance", "area", "higher", ("binary",),
               performance.average_precision, labels=True),
        Metric("log_loss", "performance", "nats", "lower", CLASSIFIERS, performance.mean_loss("log_loss"), labels=True),
        Metric("brier", "performance", "score", "lower", CLASSIFIERS, performance.mean_loss("brier"), labels=True),
        Metric("calibration_error", "performance", "share", "lower", CLASSIFIERS,
               performance.calibration, labels=True),
        Metric("mae", "performance", "target", "lower", ("regression",),
               performance.residuals(regression.mae), labels=True),
        Metric("rmse", "performance", "target", "lower", ("regression",),
               performance.residuals(regression.rmse), labels=True),
        Metric("bias", "performance", "target", "none", ("regression",),
               performance.residuals(regression.bias), labels=True),
        Metric("r2", "performance", "share", "higher", ("regression",),
               performance.residuals(regression.r2), labels=True),
        Metric("coverage", "performance", "share", "higher", ALL, lambda p, _: share(p.labelled, p.rows), labels=True),
        Metric("label_delay_p50", "performance", "s", "lower", ALL,
               lambda p, _: latency_quantile(p, 0.5, "delay"), labels=True),
        *(
            Metric(f"estimated_{name}", "performance", unit, "higher", ("binary",),
                   estimated.of(formula), reference=True)
            for name, unit, formula in (
                ("roc_auc", "area", estimated.roc_auc), ("accuracy", "share", estimated.accuracy),
                ("precision", "share", estimated.precision), ("recall", "share", estimated.recall),
                ("f1", "score", estimated.f1),
            )
        ),
    )
}  # fmt: skip
