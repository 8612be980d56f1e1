"""Numbers of a model: what can be asked for, over time, and as one value."""

import math
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from monitor import clock
from monitor.api.deps import Ctx
from monitor.errors import Invalid
from monitor.evaluate import series as data
from monitor.evaluate.loaded import with_schema
from monitor.stats.measure import METRICS
from monitor.store import catalog
from monitor.store.session import reading

router = APIRouter(tags=["numbers"])

_TIME = "RFC 3339 with an offset, for instance 2026-01-31T12:00:00Z"

Metric = Annotated[str, Query(max_length=100, description="a name of GET …/metrics")]
Feature = Annotated[str | None, Query(max_length=256, description="for metrics per feature")]
Segment = Annotated[str | None, Query(max_length=600, description="NAME:VALUE, or NAME:other for the rest")]
Version = Annotated[str | None, Query(max_length=128, description="live and shadow rows of this version")]
From = Annotated[str | None, Query(alias="from", max_length=40, description=f"{_TIME}; default: the last 7 days")]
To = Annotated[str | None, Query(max_length=40, description=f"{_TIME}; default: the model's now")]
Step = Annotated[str | None, Query(max_length=8, description="1h 2h … 12h, 1d … 31d; default: the window")]
AsOf = Annotated[str | None, Query(max_length=40, description=f"what was known by then: {_TIME}")]


@router.get("/v1/models/{model}/metrics", summary="What can be asked for")
def list_metrics(ctx: Ctx, model: str) -> dict[str, Any]:
    """The metrics of the model's task. `direction` says which way is better; `per_feature` ones take `feature`."""
    with reading(ctx.engine) as connection:
        found = with_schema(connection, catalog.get_model(connection, ctx.principal.project_id, model))
    items = [
        {
            "name": metric.name,
            "family": metric.family,
            "unit": metric.unit,
            "direction": metric.direction,
            "per_feature": metric.per_feature,
            "needs_outcomes": metric.labels,
            "needs_reference": metric.reference,
        }
        for metric in METRICS.values()
        if found.task in metric.tasks
    ]
    features = [name for name, kind in (found.features or {}).items() if kind != "ignored"]
    return {"items": items, "features": features, "next_cursor": None}


@router.get("/v1/models/{model}/series", summary="A metric over time")
def get_series(
    ctx: Ctx,
    model: str,
    metric: Metric,
    feature: Feature = None,
    segment: Segment = None,
    version: Version = None,
    start: From = None,
    to: To = None,
    step: Step = None,
    as_of: AsOf = None,
) -> dict[str, Any]:
    """Points of one step each, with 95 % intervals. Live rows only, unless a version is named."""
    query = _query(metric, feature, segment, version, start, to, step, as_of)
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        now = catalog.model_now(connection, found, clock.now())
        points = data.series(connection, found, query, now)
    return {"model": model, **_echo(query), "points": [_point(point) for point in points]}


@router.get("/v1/models/{model}/summary", summary="A metric over a whole stretch")
def get_summary(
    ctx: Ctx,
    model: str,
    metric: Metric,
    feature: Feature = None,
    segment: Segment = None,
    version: Version = None,
    start: From = None,
    to: To = None,
    as_of: AsOf = None,
    exact: Annotated[bool, Query(description="read the rows instead of merging profiles")] = False,
) -> dict[str, Any]:
    """One value of all rows with from <= timestamp < to."""
    query = _query(metric, feature, segment, version, start, to, None, as_of)
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        now = catalog.model_now(connection, found, clock.now())
        value = data.summary(connection, found, query, now, exact)
    return {"model": model, **_echo(query), **{name: _number(one) for name, one in asdict(value).items()}}


def _query(
    metric: str,
    feature: str | None,
    segment: str | None,
    version: str | None,
    start: str | None,
    to: str | None,
    step: str | None,
    as_of: str | None,
) -> data.Query:
    return data.Query(
        metric=metric,
        feature=feature,
        segment=segment,
        version=version,
        from_us=read_time("from", start),
        to_us=read_time("to", to),
        step_us=_span(step),
        as_of_us=read_time("as_of", as_of),
    )


def read_time(field: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return clock.parse(text)
    except ValueError as error:
        raise Invalid.field(field, str(error)) from None


def _span(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return clock.parse_span(text)
    except ValueError as error:
        raise Invalid.field("step", str(error)) from None


def _echo(query: data.Query) -> dict[str, Any]:
    return {"metric": query.metric, "feature": query.feature}


def _point(point: data.Point) -> dict[str, Any]:
    shown = {name: _number(value) for name, value in asdict(point).items()}
    return {**shown, "start": clock.render(point.start), "end": clock.render(point.end)}


def _number(value: object) -> object:
    """JSON carries no NaN: a number that is not defined is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
