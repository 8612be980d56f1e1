"""The numbers behind a message: the leading cause's metric before and since the first evidence, for a small picture."""

from collections.abc import Callable

import orjson
from sqlalchemy.engine import Connection, Engine

from dashboards import words
from monitor import clock, log
from monitor.alerts.picture import Curve
from monitor.errors import KeepwatchError
from monitor.evaluate.panel import Signal, panel
from monitor.evaluate.series import Point, Query, series
from monitor.store.catalog import Model, get_model
from monitor.store.outbox import Delivery
from monitor.store.session import reading

WINDOWS_BEFORE = 48
MOST = 160  # points; of a longer stretch the latest are drawn
_SIGNALS = {"prediction_drift": Signal.PREDICTION, "score_drift": Signal.SCORE}

_log = log.get(__name__)


def curves(engine: Engine) -> Callable[[Delivery], Curve | None]:
    """A function from a delivery to its curve; None where there is nothing to draw. It never raises: a message without
    a picture is better than none."""

    def curve(delivery: Delivery) -> Curve | None:
        if delivery.alert_id is None:
            return None
        try:
            with reading(engine) as connection:
                return curve_of(connection, delivery)
        except KeepwatchError:
            return None  # the model, or the feature, is gone
        except Exception as error:
            _log.error("no_curve", delivery=delivery.id, exc_info=error)
            return None

    return curve


def curve_of(connection: Connection, delivery: Delivery) -> Curve | None:
    """The curve up to the time of the message, so that a later attempt draws the same.

    Raises:
        KeepwatchError: there is no such model, feature or segment any more.
    """
    body = orjson.loads(delivery.body)
    data = body.get("data") or {}
    causes = data.get("causes") or []
    if not causes or not data.get("first_evidence_at"):
        return None
    leading = causes[0]
    model = get_model(connection, delivery.project_id, data["model"])
    since, until = clock.parse(data["first_evidence_at"]), clock.parse(body["timestamp"])
    window = model.config.window_us
    start = max(since - WINDOWS_BEFORE * window, until - MOST * window)
    points = _points(connection, model, leading, start, until)
    place = sum(point.end <= since for point in points)
    told = words.cause(leading["metric"])
    of = leading.get("feature") or leading.get("segment")
    title = f"{words.metric(told.drawn)}{f' of {of}' if of else ''}, the time since the first evidence shaded"
    return Curve(title, [(point.value, point.low, point.high) for point in points], place)


def _points(connection: Connection, model: Model, cause: dict[str, str | None], start: int, until: int) -> list[Point]:
    metric, window = words.cause(str(cause["metric"])).drawn, model.config.window_us
    signal = _SIGNALS.get(str(cause["metric"]))
    if signal is not None:
        return panel(connection, model, [(metric, signal)], start, until, window, until)[metric, signal]
    asked = Query(
        metric=metric,
        feature=cause.get("feature"),
        segment=cause.get("segment"),
        from_us=start,
        to_us=until,
        step_us=window,
    )
    return series(connection, model, asked, until)
