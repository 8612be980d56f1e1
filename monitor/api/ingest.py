"""The two ingest routes: read the body, decode, validate, wait for the commit, answer.

Small bodies are decoded where they are; large ones in a thread, so that they do not hold up small ones.
"""

import asyncio
from collections.abc import Callable

import orjson
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from monitor import telemetry
from monitor.api import problems
from monitor.errors import Invalid
from monitor.ingest.decode import check_content_type, decode_outcomes, decode_predictions, holds_one_row
from monitor.ingest.draft import Draft
from monitor.ingest.singles import MAX_BYTES, Singles
from monitor.ingest.validate import OutcomeBatch, PredictionBatch, Times, validate_outcomes, validate_predictions
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.store.catalog import Model

router = APIRouter(tags=["ingest"])

SMALL = 32 * 1024  # bytes that are decoded in the event loop
Batch = PredictionBatch | OutcomeBatch

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


def _documented(kind: str) -> dict[str, object]:
    """What OpenAPI says of a body that is read without pydantic."""
    row = _ROW[kind]
    examples = {
        "row": {"summary": "one row", "value": row},
        "rows": {"summary": "up to 10,000 rows", "value": {"rows": [row]}},
    }
    schema = {"type": "object", "description": "one row, or {rows: [row, …]}, or {columns: {field: [value, …]}}"}
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


@router.post("/v1/models/{model}/predictions", openapi_extra=_documented("predictions"), summary="Log predictions")
async def post_predictions(model: str, request: Request) -> Response:
    """Answers 200 with the counts once the rows are committed and synced."""
    check_content_type(request.headers.get("content-type"), request.headers.get("content-encoding"))
    body = await request.body()
    if len(body) > MAX_BYTES or not holds_one_row(body):
        return await _ingest(request, model, "predictions", decode_predictions, validate_predictions)
    singles: Singles = request.app.state.singles
    answer = await asyncio.wrap_future(singles.submit(request.scope["principal"].project_id, model, body))
    telemetry.count_ingested(model, "predictions", answer)
    return _respond(answer)


@router.post("/v1/models/{model}/outcomes", openapi_extra=_documented("outcomes"), summary="Log outcomes")
async def post_outcomes(model: str, request: Request) -> Response:
    """Before or after their predictions, once or again with a correction."""
    return await _ingest(request, model, "outcomes", decode_outcomes, validate_outcomes)


async def _ingest(
    request: Request,
    name: str,
    kind: str,
    decode: Callable[[bytes, Model], Draft],
    validate: Callable[[Draft, Model, Times], Batch],
) -> Response:
    check_content_type(request.headers.get("content-type"), request.headers.get("content-encoding"))
    writer: Writer = request.app.state.writer
    body = await request.body()
    project_id = request.scope["principal"].project_id

    def prepare() -> tuple[Model, Batch]:
        model, times = writer.model(project_id, name)
        return model, validate(decode(body, model), model, times)

    model, batch = prepare() if len(body) <= SMALL else await run_in_threadpool(prepare)
    answer = await asyncio.wrap_future(writer.submit(model, batch))
    telemetry.count_ingested(name, kind, answer)
    return _respond(answer)


def _respond(answer: Answer) -> Response:
    shown = answer.shown()
    if answer.unusable:
        errors = [{"field": f"rows[{one.index}]", "detail": one.message} for one in answer.rejected[:100]]
        problem = Invalid("no row of this request could be stored: `rejected` says why", errors=errors)
        return problems.answer(problem, **shown)
    return Response(orjson.dumps(shown), media_type="application/json")
