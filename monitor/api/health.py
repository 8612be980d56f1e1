"""For orchestrators and Prometheus: does the process live, can it work, and what did it count."""

import threading

import sqlalchemy as sa
from fastapi import APIRouter
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from monitor import clock, telemetry
from monitor.api.deps import Ctx
from monitor.store import halves, migrate
from monitor.store import tables as t
from monitor.store.session import reading

router = APIRouter(tags=["service"])

_REMEMBER = 1.0  # seconds
_MOST_MODELS = 200


class Readiness:
    """Asks the database at most once a second, and never twice at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        self._reason: str | None = "starting"

    def reason(self) -> str | None:
        """Why the service is not ready, in a word; None when it is."""
        if clock.monotonic() - self._asked_at < _REMEMBER or not self._asking.acquire(blocking=False):
            return self._reason
        try:
            self._reason = None if migrate.is_current(self._engine) else "schema"
        except SQLAlchemyError:
            self._reason = "database"
        finally:
            self._asked_at = clock.monotonic()
            self._asking.release()
        return self._reason


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """The database answers, has the schema of this version, and the process is not about to stop."""
    state = request.app.state
    reason = "stopping" if state.draining else await run_in_threadpool(state.readiness.reason)
    if reason is not None:
        return JSONResponse({"status": "not ready", "reason": reason}, 503, {"retry-after": "2"})
    return JSONResponse({"status": "ok"})


@router.get("/metrics", response_class=Response)
def metrics(ctx: Ctx, request: Request) -> Response:
    """What Keepwatch counts about itself, for Prometheus."""
    try:
        with reading(ctx.engine) as connection:
            _gauges(connection)
    except SQLAlchemyError:
        pass  # what the process counted is worth telling while the database is away
    body, content_type = telemetry.exposition(request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _gauges(connection: Connection) -> None:
    """Set what the database knows better than this process, which is one of several."""
    open_alerts = (
        sa.select(t.alert.c.state, t.alert.c.severity, sa.func.count())
        .where(t.alert.c.state != "resolved")
        .group_by(t.alert.c.state, t.alert.c.severity)
    )
    telemetry.ALERTS.clear()
    for state, severity, count in connection.execute(open_alerts):
        telemetry.ALERTS.labels(state, severity).set(count)
    pending = sa.select(sa.func.count(), sa.func.min(t.delivery.c.created_at)).where(t.delivery.c.state == "pending")
    waiting, oldest = connection.execute(pending).one()
    telemetry.PENDING.set(waiting)
    telemetry.OLDEST.set(0 if oldest is None else max(0, clock.now() - oldest) / clock.SECOND)
    behind = (
        sa.select(t.model.c.name, t.log_position.c.next_row - t.watermark.c.next_row)
        .join(t.log_position, t.log_position.c.model_id == t.model.c.id)
        .join(t.watermark, t.watermark.c.model_id == t.model.c.id)
        .order_by(t.model.c.id)
        .limit(_MOST_MODELS)
    )
    telemetry.BACKLOG.clear()
    for name, rows in connection.execute(behind):
        telemetry.BACKLOG.labels(telemetry.model_label(name)).set(rows)
    telemetry.UNPAIRED.clear()
    for name, events in halves.waiting_by_model(connection, _MOST_MODELS):
        telemetry.UNPAIRED.labels(telemetry.model_label(name)).set(events)
