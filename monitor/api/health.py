"""For orchestrators: does the process live, and can it work."""

import threading

from fastapi import APIRouter
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from monitor import clock
from monitor.store import migrate

router = APIRouter(tags=["service"])

_REMEMBER = 1.0  # seconds


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
