"""References: what a model's rows looked like when all was well."""

from contextlib import closing
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from sqlalchemy.engine import Engine
from starlette.concurrency import run_in_threadpool

from monitor import clock
from monitor.api.auth import Principal
from monitor.api.bodies import admitted, chunks, whole
from monitor.api.deps import Ctx
from monitor.errors import Invalid
from monitor.evaluate import references
from monitor.ingest import arrow, ndjson
from monitor.ingest.encodings import Encoding, encoding_of, pieces
from monitor.ingest.fairness import Ticket
from monitor.ingest.references import Gathered, reference_from_json
from monitor.ingest.validate import PredictionBatch
from monitor.store import catalog
from monitor.store.model_config import NAME
from monitor.store.quarantine import quarantine_rows
from monitor.store.session import reading, writing

router = APIRouter(tags=["references"])

_STRETCH_BYTES = 1024  # a body that names a stretch is short
_FOREVER = 1 << 62
_SHOWN = 1000

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "prediction rows that may carry `actual`, as {rows: […]} or {columns: {…}}; or "
                    "{from, to}: that stretch of the log",
                },
                "examples": {
                    "stretch": {"value": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}},
                    "rows": {
                        "value": {
                            "rows": [
                                {"timestamp": "2026-01-01T08:00:00Z", "features": {"x": 1.5}, "score": 0.8, "actual": 1}
                            ]
                        }
                    },
                },
            },
            **{
                kind.value: {"schema": {"type": "string", "format": "binary", "description": "the rows alone"}}
                for kind in (Encoding.NDJSON, Encoding.ARROW, Encoding.PARQUET)
            },
        },
    }
}


@router.put("/v1/models/{model}/reference", openapi_extra=_BODY, summary="Set a reference")
async def put_reference(
    ctx: Ctx,
    request: Request,
    model: str,
    version: Annotated[str | None, Query(max_length=128, description="default: every version without its own")] = None,
) -> dict[str, Any]:
    """Make a reference under the next number. References are immutable; the newest one holds."""
    encoding = encoding_of(request.headers.get("content-type"))
    if version is not None and NAME.fullmatch(version) is None:
        raise Invalid.field("version", "is no name of a version")
    state = request.app.state
    limit: int = state.settings.max_body
    with admitted(request, queued=False) as ticket:
        read: bytes | Gathered
        if encoding is Encoding.NDJSON:
            read = await _lines(request, ctx.engine, ctx.principal.project_id, model, ticket)
        else:
            read = await whole(request, limit, ticket)
        async with state.turns.take(ticket.owner):
            put = partial(_put, ctx.engine, ctx.principal, model, version, encoding, limit)
            return await run_in_threadpool(put, read)


async def _lines(request: Request, engine: Engine, project_id: int, name: str, ticket: Ticket) -> Gathered:
    """The rows of a body of lines, decoded as they come."""

    def find() -> catalog.Model:
        with reading(engine) as connection:
            return catalog.get_model(connection, project_id, name)

    model = await run_in_threadpool(find)
    gathered, lines = Gathered(), ndjson.Lines()

    async def add(groups: list[bytes]) -> None:
        for group in groups:
            for draft in await run_in_threadpool(ndjson.drafts, group, model, "reference"):
                gathered.add(draft)

    async for chunk in chunks(request):
        await add(lines.feed(chunk))
        ticket.hold(lines.held + ndjson.GROUP_BYTES)
    await add(lines.rest())
    return gathered


def _put(
    engine: Engine,
    who: Principal,
    name: str,
    version: str | None,
    encoding: Encoding,
    limit: int,
    read: bytes | Gathered,
) -> dict[str, Any]:
    now = clock.now()
    with reading(engine) as connection:
        model = catalog.get_model(connection, who.project_id, name)
    if encoding is Encoding.JSON and isinstance(read, bytes) and (stretch := _stretch(read)) is not None:
        return references.put_reference(engine, model, None, *stretch, version, now, who.name)
    sent = _sent(read, encoding, limit, model, now)
    table, rejected = sent.batch, sent.rejected
    if rejected:
        with writing(engine) as connection:
            quarantine_rows(connection, who.project_id, model.id, "reference", rejected, now)
    if not table.num_rows:
        raise Invalid(
            "no row of this reference can be used",
            errors=[{"field": f"rows[{one.index}]", "detail": one.message} for one in rejected[:100]],
        )
    made = references.put_reference(engine, model, table, None, None, version, now, who.name)
    shown = [one.shown() for one in rejected[:_SHOWN]]
    return {**made, "accepted": table.num_rows, "rejected": shown, "rejected_count": len(rejected)}


def _sent(read: bytes | Gathered, encoding: Encoding, limit: int, model: catalog.Model, now: int) -> PredictionBatch:
    if isinstance(read, Gathered):
        return read.checked(model, now)
    if encoding is Encoding.JSON:
        return reference_from_json(read, model, now)
    gathered = Gathered()
    with closing(pieces(read, encoding, limit)) as found:  # type: ignore[type-var]
        for piece in found:
            gathered.add(arrow.draft_of(piece, model, "reference"))
    return gathered.checked(model, now)


def _stretch(body: bytes) -> tuple[int, int] | None:
    """(from, to) of a body that names a stretch; None for a body of rows."""
    if len(body) > _STRETCH_BYTES:
        return None
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # the decoder of rows says what is wrong with it
    if not isinstance(given, dict) or not given or not set(given) <= {"from", "to"}:
        return None
    return _time(given, "from"), _time(given, "to")


def _time(given: dict[str, Any], field: str) -> int:
    value = given.get(field)
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise Invalid.field(field, str(error)) from None


@router.get("/v1/models/{model}/reference", summary="The references of a model")
def list_references(ctx: Ctx, model: str) -> dict[str, Any]:
    """Oldest first; of those for the same version the last one holds."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        return {"items": references.reference_list(connection, found), "next_cursor": None}
