"""Reading single rows back: a prediction with its outcomes, and what was rejected."""

from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Query

from monitor import clock
from monitor.api.deps import Ctx
from monitor.columns import FEATURE, FILLED_ID, FILLED_KNOWN_AT, FILLED_TIMESTAMP, SCORE, TAG
from monitor.errors import Invalid, NotFound
from monitor.evaluate.windows import next_start, start_of
from monitor.store import blocks, catalog, id_index, outcomes
from monitor.store.erased import erased_among
from monitor.store.identity import key_of
from monitor.store.quarantine import read_quarantine, rejected_counts
from monitor.store.session import reading

router = APIRouter(tags=["ingest"])

_TIMES = ("timestamp", "known_at", "computed_at")
_GROUPS = {FEATURE: "features", TAG: "tags", SCORE: "scores"}
_FILLED = {"id": FILLED_ID, "timestamp": FILLED_TIMESTAMP, "known_at": FILLED_KNOWN_AT}


@router.get("/v1/models/{model}/predictions/{row_id:path}", summary="One prediction by id")
def get_prediction(model: str, row_id: str, ctx: Ctx) -> dict[str, Any]:
    """The rows of that id, one a version, every outcome it ever had, and the window that it belongs to."""
    key = key_of(row_id)
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        indexed = id_index.rows_of_keys(connection, found.id, [key])
        stored = blocks.read_rows(connection, found.id, [row for _, _, row in indexed])
        history = outcomes.history(connection, found.id, [key]).get(key, [])
        names = catalog.version_names(connection, found.id)
        erased = not stored and not history and bool(erased_among(connection, found.id, [row_id]))
    if erased:
        raise NotFound("all that was stored under that id was erased on request; it is not taken in again")
    if not stored and not history:
        raise NotFound("no prediction and no outcome of that id is stored")
    held = max(history, key=lambda one: outcomes.rank(one, found.task == "regression"), default=None)
    rows = []
    for number in sorted(stored):
        row = shown_row(stored[number], names)
        start = start_of(stored[number].column("timestamp")[0].as_py(), found.config.window_us, found.config.timezone)
        end = next_start(start, found.config.window_us, found.config.timezone)
        rows.append(row | {"window": {"start": clock.render(start), "end": clock.render(end)}})
    return {"id": row_id, "predictions": rows, "outcomes": [_outcome(one, one is held) for one in history]}


def shown_row(batch: pa.RecordBatch, versions: dict[int, str]) -> dict[str, Any]:
    """A batch of one row as the API shows rows."""
    shown: dict[str, Any] = {}
    bits = batch.column("filled")[0].as_py()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        value = column[0].as_py()
        if value is None or name == "filled":
            continue
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            value = str(value)  # JSON carries no NaN: it is shown by its name
        if name[:2] in _GROUPS:
            shown.setdefault(_GROUPS[name[:2]], {})[name[2:]] = value
        elif name == "version":
            shown["version"] = versions.get(value) or None
        elif name == "extra":
            shown["not_in_schema"] = value
        else:
            shown[name] = clock.render(value) if name in _TIMES else value
    return shown | {"filled_in": [name for name, bit in _FILLED.items() if bits & bit]}


def _outcome(one: outcomes.Held, holds: bool) -> dict[str, Any]:
    return {
        "actual": one.actual,
        "observed_at": clock.render(one.observed_at),
        "known_at": clock.render(one.known_at),
        "arrived_at": clock.render(one.arrived_at),
        "holds": holds,
    }


@router.get("/v1/models/{model}/quarantine", summary="Rejected rows with their reasons")
def get_quarantine(
    model: str,
    ctx: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The newest first, and how many were ever rejected, by code."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Invalid.field("cursor", "take it from next_cursor of the page before")
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        items = read_quarantine(connection, found.id, limit, None if cursor is None else int(cursor))
        counts = rejected_counts(connection, found.id)
    following = str(items[-1]["quarantine_id"]) if len(items) == limit else None
    return {"items": items, "next_cursor": following, "rejected": counts}
