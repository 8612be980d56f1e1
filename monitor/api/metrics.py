"""`/metrics`: what the processes counted, how things stand, and the numbers of the models, for Prometheus.

A key sees the models of its project, like everywhere. Gauges are read when they are asked for.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from fastapi import APIRouter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from monitor import clock, telemetry
from monitor.api.deps import Ctx
from monitor.api.exposed import MAX_MODELS
from monitor.store import counted, halves
from monitor.store import tables as t
from monitor.store.session import reading

router = APIRouter(tags=["service"])


@router.get("/metrics", response_class=Response)
def metrics(ctx: Ctx, request: Request) -> Response:
    """What Keepwatch counts, and the numbers of the models of the key's project, for Prometheus."""
    project_id, families, names = ctx.principal.project_id, list[Metric](), list[str]()
    try:
        with reading(ctx.engine) as connection:
            names = _names(connection, project_id)
            families += telemetry.worked_families(counted.totals(connection))
            families += _standing(connection, project_id, names)
            families += request.app.state.exposed.families(connection, project_id)
    except SQLAlchemyError:
        pass  # what the process counted is worth telling while the database is away
    body, content_type = telemetry.exposition(request.headers.get("accept", ""), names, families)
    return Response(body, media_type=content_type)


def _names(connection: Connection, project_id: int) -> list[str]:
    return list(connection.scalars(sa.select(t.model.c.name).where(t.model.c.project_id == project_id)))


def _standing(connection: Connection, project_id: int, names: list[str]) -> Iterator[Metric]:
    """What the database knows better than this process, which is one of several."""
    yield _alerts(connection, project_id)
    pending = sa.select(sa.func.count(), sa.func.min(t.delivery.c.created_at)).where(
        t.delivery.c.project_id == project_id, t.delivery.c.state == "pending"
    )
    waiting, oldest = connection.execute(pending).one()
    yield GaugeMetricFamily("keepwatch_deliveries_pending", "Deliveries that wait for their next attempt.", waiting)
    age = 0.0 if oldest is None else max(0, clock.now() - oldest) / clock.SECOND
    yield GaugeMetricFamily("keepwatch_delivery_oldest_pending_seconds", "Age of the oldest delivery that waits.", age)
    behind = (
        sa.select(t.model.c.name, t.log_position.c.next_row - t.watermark.c.next_row)
        .join(t.log_position, t.log_position.c.model_id == t.model.c.id)
        .join(t.watermark, t.watermark.c.model_id == t.model.c.id)
        .where(t.model.c.project_id == project_id)
        .order_by(t.model.c.id)
        .limit(MAX_MODELS)
    )
    backlog = GaugeMetricFamily(
        "keepwatch_unprofiled_rows", "Rows that were stored and not yet profiled.", labels=("model",)
    )
    for name, rows in connection.execute(behind):
        backlog.add_metric((name,), rows)
    yield backlog
    unpaired = GaugeMetricFamily(
        "keepwatch_unpaired_events",
        "Logged requests and responses that wait for their other half.",
        labels=("model",),
    )
    for name, events in halves.waiting_by_model(connection, project_id, MAX_MODELS):
        unpaired.add_metric((name,), events)
    yield unpaired


def _alerts(connection: Connection, project_id: int) -> Metric:
    family = GaugeMetricFamily("keepwatch_alerts_open", "Alerts that are not resolved.", labels=("state", "severity"))
    query = (
        sa.select(t.alert.c.state, t.alert.c.severity, sa.func.count())
        .where(t.alert.c.project_id == project_id, t.alert.c.state != "resolved")
        .group_by(t.alert.c.state, t.alert.c.severity)
    )
    for state, severity, count in connection.execute(query):
        family.add_metric((state, severity), count)
    return family
