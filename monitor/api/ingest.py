"""The two ingest routes: read the body, decode, validate, wait for the commit, answer.

Small bodies are decoded where they are; large ones in a thread, a few at once and in turns of keys, so that they do not
hold up small ones. Lines, Arrow and Parquet are decoded and committed group by group.
"""

from contextlib import closing
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from monitor import telemetry
from monitor.api import problems
from monitor.api.bodies import admitted, chunks, whole
from monitor.api.hot import Handler
from monitor.errors import Invalid, Problem
from monitor.ingest import arrow, ndjson
from monitor.ingest.arrivals import awaited
from monitor.ingest.decode import holds_one_row
from monitor.ingest.decoders import Decoders
from monitor.ingest.draft import Rejection
from monitor.ingest.encodings import Encoding, encoding_of, pieces
from monitor.ingest.fairness import Ticket
from monitor.ingest.flow import Flow
from monitor.ingest.prepare import Batch, Form, prepared, validated
from monitor.ingest.singles import MAX_BYTES, Singles
from monitor.ingest.totals import Totals
from monitor.ingest.validate import Times
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.store.catalog import Model

router = APIRouter(tags=["ingest"])

SMALL = 32 * 1024  # bytes that are decoded in the event loop

_ROW = {
    "predictions": {
        "id": "ride-1",
        "timestamp": "2026-01-31T12:00:00Z",
        "version": "3",
        "features": {"distance_km": 12.4, "city": "Lyon"},
        "prediction": 1,
        "score": 0.83,
        "latency_ms": 12.5,
    },
    "outcomes": {"id": "ride-1", "actual": 1, "observed_at": "2026-01-31T13:10:00Z"},
}


_TABLE = (
    "the same rows as columns: features in a struct `features` or as columns `features.NAME`, likewise tags, scores"
)


def _documented(kind: str) -> dict[str, object]:
    """What OpenAPI says of a body that is read without pydantic."""
    row = _ROW[kind]
    examples = {
        "row": {"summary": "one row", "value": row},
        "rows": {"summary": "up to 10,000 rows", "value": {"rows": [row]}},
        "columns": {"summary": "the same by column, the fast JSON", "value": {"columns": _columns(row)}},
    }
    schema = {"type": "object", "description": "one row, or {rows: [row, …]}, or {columns: {field: [value, …]}}"}
    binary = {"schema": {"type": "string", "format": "binary", "description": _TABLE}}
    lines = {"type": "string", "description": "a row a line, of any length"}
    content: dict[str, object] = {
        Encoding.JSON.value: {"schema": schema, "examples": examples},
        Encoding.NDJSON.value: {"schema": lines, "example": orjson.dumps(row).decode() + "\n"},
        Encoding.ARROW.value: binary,
        Encoding.PARQUET.value: binary,
    }
    return {"requestBody": {"required": True, "content": content}}


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {inner: [one] for inner, one in value.items()} if isinstance(value, dict) else [value]
        for name, value in row.items()
    }


@router.post("/v1/models/{model}/predictions", openapi_extra=_documented("predictions"), summary="Log predictions")
async def post_predictions(model: str, request: Request) -> Response:
    """Answers 200 with the counts once the rows are committed and synced."""
    return await _ingest(request, model, "predictions")


@router.post("/v1/models/{model}/outcomes", openapi_extra=_documented("outcomes"), summary="Log outcomes")
async def post_outcomes(model: str, request: Request) -> Response:
    """Before or after their predictions, once or again with a correction."""
    return await _ingest(request, model, "outcomes")


HANDLERS: dict[str, Handler] = {"predictions": post_predictions, "outcomes": post_outcomes}


def hot_handlers() -> dict[str, tuple[BaseRoute, Handler]]:
    """The routes of this file for `api/hot`, by the last part of their paths."""
    declared = {getattr(route, "endpoint", None): route for route in router.routes}
    return {name: (declared[handler], handler) for name, handler in HANDLERS.items()}


async def _ingest(request: Request, name: str, kind: str) -> Response:
    encoding = encoding_of(request.headers.get("content-type"))
    state = request.app.state
    writer: Writer = state.writer
    project_id: int = request.scope["principal"].project_id
    limit: int = state.settings.max_body
    with admitted(request) as ticket:
        if encoding is not Encoding.JSON:
            flow = Flow(writer, state.turns, project_id, name, ticket.owner)
            return await _grouped(request, flow, encoding, ticket, limit, name, kind)
        body = await whole(request, limit, ticket)
        if kind == "predictions" and len(body) <= MAX_BYTES and holds_one_row(body):
            singles: Singles = state.singles
            answer = await awaited(singles.submit(project_id, name, body, ticket.owner))
        else:
            answer = await _whole_body(request, body, name, kind, ticket.owner)
    telemetry.count_ingested(name, kind, answer)
    return _respond(answer)


async def _whole_body(request: Request, body: bytes, name: str, kind: str, owner: str) -> Answer:
    """A body of JSON: decoded at once, and answered when it is committed."""
    state = request.app.state
    writer: Writer = state.writer
    which: tuple[int, str] = request.scope["principal"].project_id, name
    if len(body) <= SMALL and writer.knows(*which):
        model, times = writer.model(*which)
        (batch,) = prepared(Form.WHOLE, kind, body, model, times)
    else:

        def prepare() -> tuple[Model, Batch]:
            model, times = writer.model(*which)
            (batch,) = state.decoders.prepare(Form.WHOLE, kind, body, model, times)
            return model, batch

        async with state.turns.take(owner):
            model, batch = await run_in_threadpool(prepare)
    return await awaited(writer.submit(model, batch, owner))


async def _grouped(
    request: Request, flow: Flow, encoding: Encoding, ticket: Ticket, limit: int, name: str, kind: str
) -> Response:
    """Lines, Arrow or Parquet: what was committed before an error is counted in the answer."""
    try:
        if encoding is Encoding.NDJSON:
            await _lines(request, flow, ticket, kind)
        else:
            await _table(await whole(request, limit, ticket), flow, encoding, limit, kind)
        await flow.finish()
    except Problem as problem:
        await flow.settle()
        telemetry.count_totals(name, kind, flow.totals)
        flow.totals.close()
        if not flow.totals.rows:
            raise
        stored = f"{flow.totals.rows:,} rows before that were taken in, as counted here"
        return problems.answer(_adding(problem, stored), **flow.totals.shown())
    telemetry.count_totals(name, kind, flow.totals)
    if flow.totals.unusable:
        return _refused(flow.totals.rejected, flow.totals.shown())
    return _streamed(flow.totals)


async def _lines(request: Request, flow: Flow, ticket: Ticket, kind: str) -> None:
    decoders: Decoders = request.app.state.decoders
    lines = ndjson.Lines()

    async def add(groups: list[bytes]) -> None:
        for group in groups:
            await flow.add(partial(decoders.prepare, Form.LINES, kind, group))

    async for chunk in chunks(request):
        await add(lines.feed(chunk))
        ticket.hold(lines.held + ndjson.GROUP_BYTES)
    await add(lines.rest())


async def _table(body: bytes, flow: Flow, encoding: Encoding, limit: int, kind: str) -> None:
    with closing(pieces(body, encoding, limit)) as read:  # type: ignore[type-var]

        def prepare(model: Model, times: Times) -> list[Batch]:
            piece = next(read, None)
            return [] if piece is None else [validated(arrow.draft_of(piece, model, kind), model, times, kind)]

        while await flow.add(prepare):
            pass


def _adding(problem: Problem, stored: str) -> Problem:
    made = Problem(f"{problem.detail}; {stored}", errors=problem.errors, retry_after=problem.retry_after)
    made.status, made.title = problem.status, problem.title
    return made


def _streamed(totals: Totals) -> Response:
    read = totals.pieces()
    first = next(read)
    if not first.endswith(b"["):
        return Response(first, media_type="application/json")

    async def body() -> Any:
        yield first
        async for piece in iterate_in_threadpool(read):
            yield piece
        totals.close()

    return StreamingResponse(body(), media_type="application/json")


def _respond(answer: Answer) -> Response:
    shown = answer.shown()
    if answer.unusable:
        return _refused(answer.rejected, shown)
    return Response(orjson.dumps(shown), media_type="application/json")


def _refused(rejected: list[Rejection], shown: dict[str, Any]) -> Response:
    errors = [{"field": f"rows[{one.index}]", "detail": one.message} for one in rejected[:100]]
    problem = Invalid("no row of this request could be stored: `rejected` says why", errors=errors)
    return problems.answer(problem, **shown)
