"""What is asked of a model's numbers, checked: metric, feature, segment, version, stretch and step."""

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from monitor.clock import DAY
from monitor.errors import Invalid
from monitor.evaluate import windows
from monitor.evaluate.cuts import Want
from monitor.stats.binning import Binning
from monitor.stats.measure import METRICS, Metric
from monitor.store.catalog import Model, version_names

MAX_POINTS = 10_000
OTHER = "other"


@dataclass(frozen=True)
class Query:
    """A question. Times are microseconds UTC; `segment` is NAME:VALUE; None means the default or all."""

    metric: str
    feature: str | None = None
    segment: str | None = None
    version: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    step_us: int | None = None
    as_of_us: int | None = None


@dataclass(frozen=True)
class Asked:
    """A checked question. `step` is the length of a point; `want` the cut of the rows."""

    metric: Metric
    feature: str | None
    segment: str | None
    from_at: int
    to_at: int
    step: int
    want: Want

    @property
    def is_plain(self) -> bool:
        """Whether stored measurements answer it when the step is the window: all live rows, as they are now."""
        return self.segment is None and self.want.version_id is None and self.want.as_of is None


def check(connection: Connection, model: Model, query: Query, now: int) -> Asked:
    """The question with its defaults: the last 7 days (30 where windows are a day or longer) in steps of a window.

    Args:
        model: with the schema that its profiles use.
        now: the model's clock.

    Raises:
        Invalid: names the field.
    """
    metric = check_metric(model, query.metric)
    if query.feature is not None:
        check_feature(model, metric, query.feature)
    window = model.config.window_us
    to_at = now if query.to_us is None else query.to_us
    from_at = to_at - (30 if window >= DAY else 7) * DAY if query.from_us is None else query.from_us
    if from_at >= to_at:
        raise Invalid.field("from", "must be before to")
    step = window if query.step_us is None else query.step_us
    try:
        windows.check_unit(step)
    except ValueError:
        raise Invalid.field("step", "must be hours that divide a day (1h, 2h, … 12h) or 1d to 31d") from None
    want = Want(
        version_id=_version(connection, model, query.version),
        role=None if query.version is not None else Want.role,
        segments=query.segment is not None,
        as_of=query.as_of_us,
    )
    return Asked(metric, query.feature, query.segment, from_at, to_at, step, want)


def check_length(asked: Asked) -> None:
    """Refuse a series of too many points.

    Raises:
        Invalid: more than 10,000.
    """
    if (asked.to_at - asked.from_at) // asked.step > MAX_POINTS:
        raise Invalid.field("step", f"this would be more than {MAX_POINTS:,} points: ask for less time or longer steps")


def check_metric(model: Model, name: str) -> Metric:
    """The metric of that name.

    Raises:
        Invalid: there is none, or models of this task do not have it.
    """
    metric = METRICS.get(name)
    if metric is None:
        raise Invalid.field("metric", "is not known: GET /v1/models/{model}/metrics lists them")
    if model.task not in metric.tasks:
        raise Invalid.field("metric", f"is not measured for a {model.task} model")
    return metric


def check_feature(model: Model, metric: Metric, feature: str) -> None:
    """Refuse a feature that the model does not have, or that the metric is not measured of.

    Raises:
        Invalid: names what is wrong.
    """
    if not metric.per_feature:
        raise Invalid.field("feature", "this metric is not measured per feature")
    if (model.features or {}).get(feature, "ignored") == "ignored":
        raise Invalid.field("feature", "is not a feature of this model")


def _version(connection: Connection, model: Model, name: str | None) -> int | None:
    if name is None:
        return None
    for number, known in version_names(connection, model.id).items():
        if known == name:
            return number
    raise Invalid.field("version", "is not a version of this model")


def segment_of(binning: Binning, text: str) -> tuple[str, str | None]:
    """(name, value) of NAME:VALUE; both may contain colons. The value `other` is the rest (None).

    Raises:
        Invalid: the model has no such segment.
    """
    parts = text.split(":")
    for cut in range(1, len(parts)):
        name, value = ":".join(parts[:cut]), ":".join(parts[cut:])
        if (name, value) in binning.segment_rows:
            return name, value
        if value == OTHER and (name, None) in binning.segment_rows:
            return name, None
    raise Invalid.field("segment", "is not a segment of this model: NAME:VALUE, or NAME:other for the rest")
