"""Performance over time, or in words why there is none; and any number over the whole stretch."""

from collections.abc import Mapping, Sequence

from dashboards import formats, words
from dashboards.formats import Zone
from dashboards.pages import charts
from dashboards.pages.charts import Chart, Empty
from dashboards.pages.stretch import Stretch
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.series import Point
from monitor.stats.measure import METRICS, Value
from monitor.store.catalog import Model

FROM_SCORES = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error"),
    "multiclass": ("log_loss", "brier", "calibration_error"),
}
NO_SCORE = Empty(
    "No scores sent",
    "This number needs `score` with each prediction: the probability of the positive class.",
)
NO_SCORES = Empty(
    "No scores sent",
    "This number needs `scores` with each prediction: a probability for each class.",
)


def whole(shelf: KeptShelf, metrics: Sequence[str], stretch: Stretch) -> Mapping[str, Value]:
    """Each metric once over the whole stretch, merged from its profiles."""
    found = shelf.measures(stretch.from_us, stretch.to_us, metrics)
    return {} if found is None else found.values


def is_enough(metric: str, value: Value | None) -> bool:
    """Whether a number rests on rows enough to be shown."""
    if value is None or not charts.usable(value.value):
        return False
    return not charts.is_performance(metric) or value.n >= charts.LEAST_LABELLED


def headline(metric: str, value: Value | None) -> str:
    """A number over the stretch as it stands beside a chart's title; empty when there is none."""
    return formats.number(value.value, words.unit(metric)) if value is not None and is_enough(metric, value) else ""


def estimate_of(task: str, metric: str) -> str | None:
    """The metric that says what to expect of this one before outcomes come, where the task has one."""
    name = f"estimated_{metric}"
    return name if name in METRICS and task in METRICS[name].tasks else None


def chart(
    key: str,
    model: Model,
    metric: str,
    points: Sequence[Point],
    zone: Zone,
    stretch: Stretch,
    over: Value | None,
    estimate: Sequence[Point] = (),
) -> Chart:
    """A metric of performance with its label coverage; `over`: its value over the whole stretch; `estimate`: what was
    expected of each step."""
    return charts.of_metric(
        key,
        metric,
        points,
        zone,
        stretch.step_us,
        empty=why_none(model.task, metric, points),
        labelled=True,
        headline=headline(metric, over),
        estimate=estimate,
    )


def why_none(task: str, metric: str, points: Sequence[Point]) -> Empty:
    """Why no point has a value that is worth drawing, in the order in which one would mend it."""
    if not any(point.coverage is not None for point in points):
        return charts.NO_ROWS
    if not any(point.coverage for point in points):
        return charts.NO_LABELS
    if metric in FROM_SCORES.get(task, ()) and not any(point.n for point in points):
        return NO_SCORES if task == "multiclass" else NO_SCORE
    return charts.TOO_FEW_LABELLED
