"""The audit log: who did what."""

from typing import Any

from fastapi import APIRouter

from monitor import clock
from monitor.api.deps import Ctx, Cursor, Limit
from monitor.api.paging import place, token
from monitor.store import audit
from monitor.store.audit import Deed
from monitor.store.session import reading

router = APIRouter(tags=["audit"])


def deed_json(deed: Deed) -> dict[str, Any]:
    """A deed as the API shows it."""
    return {
        "id": deed.id,
        "at": clock.render(deed.at),
        "actor": deed.actor or None,
        "what": deed.what,
        "subject": deed.subject or None,
        "detail": deed.detail or None,
        "alert_id": deed.alert,
    }


@router.get("/v1/audit")
def list_deeds(ctx: Ctx, limit: Limit = 100, cursor: Cursor = None) -> dict[str, Any]:
    """Who did what to models, references, rows, monitors, alerts, events, silences, channels, routes, keys and shared
    links, the newest first; needs an admin key.

    `what` is a noun and what became of it, for instance channel.made or key.revoked. `actor` is the name of the key or
    of the session, `command line` for whoever has the machine, `keepwatch` for the service itself, and null where it
    was not kept. `at` is the wall clock. Deeds are kept for good, and hold no secret and no id of a row.
    """
    after = place(cursor)
    with reading(ctx.engine) as connection:
        found, following = audit.deeds(connection, ctx.principal.project_id, limit, after)
    return {"items": [deed_json(one) for one in found], "next_cursor": token(following)}
