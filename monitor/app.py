"""The web half, put together: one gate in front, the routers of every noun, the pages, one writer behind."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import APIRouter, FastAPI
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from dashboards import routes as dashboards
from dashboards.mistakes import error_page
from monitor.api import (
    alerts,
    audit,
    badge,
    channels,
    docs,
    events,
    exposed,
    foreign,
    health,
    ingest,
    metrics,
    models,
    monitors,
    predictions,
    problems,
    references,
    reports,
    routing,
    series,
    silences,
    slices,
    versions,
)
from monitor.api.auth import KeyRing
from monitor.api.gate import Gate
from monitor.api.hot import HotRoutes
from monitor.api.parameters import STRICT
from monitor.ingest import tables
from monitor.ingest.decoders import Decoders
from monitor.ingest.fairness import Admission, Turns
from monitor.ingest.singles import Singles
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.telemetry import own_version

BODIES = 192 << 20  # bytes of all request bodies that may be here at once
DECODED_AT_ONCE = 4  # large ones

ROUTERS: tuple[APIRouter, ...] = (
    ingest.router,  # first: it is asked the most
    foreign.router,
    health.router,
    metrics.router,
    docs.router,
    models.router,
    badge.router,
    predictions.router,
    alerts.router,
    channels.router,
    silences.router,
    routing.router,
    audit.router,
    references.router,
    series.router,
    versions.router,
    events.router,
    monitors.router,
    reports.router,
    slices.router,
    dashboards.router,
)
OPEN = (foreign.router, health.router, metrics.router, docs.router, dashboards.router)  # to parameters of any name


def create_app(
    settings: Settings, engine: Engine, writer: Writer | None = None, *, hosts: Iterable[str] = ()
) -> FastAPI:
    """The application.

    Args:
        settings: as `settings.load()` gives them.
        engine: of a migrated database.
        writer: the ingest queue; started and stopped with the application.
        hosts: names under which people may reach it, beside localhost, addresses and the one of the public URL.
    """
    ring = KeyRing(engine)
    singles = None if writer is None else Singles(writer)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if writer is not None and singles is not None:
            writer.start()
            singles.start()
        try:
            yield
        finally:
            app.state.draining = True
            if writer is not None and singles is not None:
                await run_in_threadpool(singles.stop)
                await run_in_threadpool(writer.stop)
            await run_in_threadpool(tables.close)
            await run_in_threadpool(app.state.decoders.close)
            with suppress(SQLAlchemyError):
                await run_in_threadpool(ring.stop)

    def in_front(inner: ASGIApp) -> ASGIApp:
        hot = HotRoutes(inner, ingest.hot_handlers())
        return Gate(hot, ring, settings, tuple(hosts))

    app = _Application(
        in_front,
        title="Keepwatch",
        summary="Production model monitoring",
        version=own_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    state = app.state
    state.settings, state.engine, state.ring = settings, engine, ring
    state.writer, state.singles = writer, singles
    state.decoders = Decoders()
    state.readiness, state.draining = health.Readiness(engine), False
    state.exposed = exposed.Kept()
    state.admission, state.turns = Admission(max(BODIES, 6 * settings.max_body)), Turns(DECODED_AT_ONCE)
    problems.install(app, error_page)
    for router in ROUTERS:
        app.include_router(router, dependencies=None if router in OPEN else STRICT)
    return app


class _Application(FastAPI):
    """FastAPI with layers of ours in front of all of its own.

    The gate answers whatever is raised, so Starlette's last resort, the outermost of its layers, is left out.
    """

    def __init__(self, in_front: Callable[[ASGIApp], ASGIApp], **named: Any) -> None:
        super().__init__(**named)
        self._in_front = in_front

    def build_middleware_stack(self) -> ASGIApp:
        last_resort = super().build_middleware_stack()
        if not isinstance(last_resort, ServerErrorMiddleware):
            raise TypeError("Starlette's outermost layer is another one now: see what it does before leaving it out")
        return self._in_front(last_resort.app)
