"""The routes for what other systems send by themselves: KServe's and Seldon's inference loggers, and OTLP log records.

As on the routes of rows, a request is let in by what waits and what its key holds, and the answer comes after the
commit. What is rejected stands in the answer with its reason.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from monitor import clock, telemetry
from monitor.api import problems
from monitor.api.auth import Principal
from monitor.api.bodies import admitted, whole
from monitor.errors import Conflict, Invalid, NotFound
from monitor.ingest.arrivals import awaited
from monitor.ingest.draft import Rejection, as_json
from monitor.ingest.fairness import Ticket
from monitor.ingest.formats import bento_logs, cloudevents, otlp
from monitor.ingest.formats.base import Row, Unmapped, Wanted, draft_of_rows, version_name
from monitor.ingest.formats.bentoml import Schema
from monitor.ingest.formats.kserve import KSERVE
from monitor.ingest.formats.seldon import SELDON
from monitor.ingest.pairs import EventAnswer, Halves, checked
from monitor.ingest.validate import OutcomeBatch, Times, validate_outcomes, validate_predictions
from monitor.ingest.write import Answer
from monitor.ingest.writer import Batch, NotAtHand, Writer
from monitor.store.catalog import Model, put_model
from monitor.store.session import writing

router = APIRouter(tags=["ingest"])
T = TypeVar("T")
Find = Callable[[int, str], tuple[Model, Times]]

SMALL = 32 * 1024  # bytes that are decoded in the event loop
_CALLS = (KSERVE.call, SELDON.call)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_OBJECT = {"type": "object", "additionalProperties": True}
_EVENT = {
    "specversion": "1.0",
    "id": "0009174a-24a8-4603-b098-09c8799950e9",
    "type": "org.kubeflow.serving.inference.request",
    "source": "http://localhost:9081/",
    "inferenceservicename": "iris",
    "data": {"instances": [[6.8, 2.8, 4.8, 1.4]]},
}
_BODY = "a body of the v1 or v2 protocol, with the attributes in ce-… headers"
_KSERVE_DOC = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {**_OBJECT, "description": _BODY}},
            cloudevents.STRUCTURED: {"schema": _OBJECT, "example": _EVENT},
            cloudevents.BATCH: {"schema": {"type": "array", "items": _OBJECT}, "example": [_EVENT]},
        },
    }
}
_LOGS_DOC = {
    "requestBody": {
        "required": True,
        "content": {
            otlp.JSON: {"schema": {**_OBJECT, "properties": {"resourceLogs": {"type": "array", "items": _OBJECT}}}},
            otlp.PROTOBUF: {"schema": {**_BINARY["schema"], "description": "an ExportLogsServiceRequest"}},
        },
    }
}

ModelName = Annotated[str | None, Query(max_length=128, description="the model, instead of the one named inside")]
Version = Annotated[str | None, Query(max_length=128, description="the version, instead of the one named inside")]


@router.post("/v1/kserve", openapi_extra=_KSERVE_DOC, summary="Log calls as CloudEvents")
async def post_kserve(request: Request, model: ModelName = None, version: Version = None) -> Response:
    """Inference-logger events of KServe and Seldon Core 1: a request and its response, in any order, become rows.

    Counts are of events; `pending` ones wait for their other half, an hour at most, and `rows` counts what became of
    complete pairs. In binary or structured mode, or as a batch.
    """
    if version is not None and version_name(version) is None:
        raise Invalid.field("version", "letters, digits, dot, dash and underscore, at most 128")
    writer: Writer = request.app.state.writer
    principal: Principal = request.scope["principal"]
    headers = dict(request.headers)

    def prepare(body: bytes, find: Find) -> tuple[list[tuple[Model, Halves]], list[Rejection]]:
        events = cloudevents.from_http(headers, body)
        return _sorted_events(find, principal, events, model, version)

    with admitted(request) as ticket:
        groups, rejected = await _prepared(request, ticket, prepare)
        answers = await _written(writer, groups, ticket.owner)
    whole = EventAnswer(rejected=rejected)
    for (found, _), answer in zip(groups, answers, strict=True):
        _add(whole, answer)
        if isinstance(answer, EventAnswer):
            _add(whole.stored, answer.stored)
            telemetry.count_ingested(found.name, "predictions", answer.stored)
        telemetry.count_ingested(found.name, "events", Answer(rejected=answer.rejected))
    if whole.unusable:
        return _refused(whole)
    return Response(orjson.dumps(whole.shown()), media_type="application/json")


def _sorted_events(
    find: Find, principal: Principal, events: list[cloudevents.Event], model: str | None, version: str | None
) -> tuple[list[tuple[Model, Halves]], list[Rejection]]:
    """Events by their model, as halves of calls."""
    named: dict[str, list[tuple[int, cloudevents.Event, cloudevents.Call]]] = {}
    rejected: list[Rejection] = []
    for place, event in enumerate(events):
        try:
            call = cloudevents.call_of(event, _CALLS)
            name = model or call.model(event)
            if name is None:
                raise Unmapped("the event names no model: send ce-inferenceservicename, or add ?model=NAME to the URL")
            named.setdefault(name, []).append((place, event, call))
        except Unmapped as error:
            rejected.append(_rejection(place, event.get("id"), str(error), event.data))
    groups: list[tuple[Model, Halves]] = []
    for name, listed in named.items():
        try:
            found, times = find(principal.project_id, name)
        except NotFound as error:
            if len(named) == 1:
                raise
            rejected += [_rejection(place, event.get("id"), str(error), event.data) for place, event, _ in listed]
            continue
        halves, bad = [], []
        for place, event, call in listed:
            try:
                halves.append(cloudevents.half_of(event, call, found, place, version))
            except Unmapped as error:
                bad.append(_rejection(place, event.get("id"), str(error), event.data))
        groups.append((found, checked(halves, bad, len(listed), found, times)))
    return groups, rejected


@router.post("/v1/logs", openapi_extra=_LOGS_DOC, summary="Log predictions as OTLP log records")
async def post_logs(request: Request, model: ModelName = None) -> Response:
    """Log records of BentoML's monitoring, as any OTLP/HTTP exporter sends them.

    The model is the monitor's name. With an admin key a model that does not exist yet is made from the schema that
    comes with the records.
    """
    kind = otlp.content_type_of(request.headers.get("content-type"))
    writer: Writer = request.app.state.writer
    principal: Principal = request.scope["principal"]

    def prepare(body: bytes, _: Find) -> tuple[list[tuple[Model, Batch]], list[Rejection]]:
        groups, rejected = bento_logs.grouped(otlp.records(body, kind), model)
        batches: list[tuple[Model, Batch]] = []
        for name, group in groups.items():
            try:
                found, times = _model(request, principal, name, group.schema)
            except (NotFound, Invalid) as error:
                if len(groups) == 1:
                    raise
                listed = zip(group.places, group.records, strict=True)
                rejected += [_rejection(place, None, str(error), record) for place, record in listed]
                continue
            predictions, outcomes, bad = bento_logs.rows_of(group, found)
            rejected += bad
            batches += _batches(found, times, predictions, outcomes)
        return batches, rejected

    with admitted(request) as ticket:
        groups, rejected = await _prepared(request, ticket, prepare, small=0)  # it may have to make the model
        answers = await _written(writer, groups, ticket.owner)
    whole = Answer(rejected=rejected)
    for (found, batch), answer in zip(groups, answers, strict=True):
        _add(whole, answer)
        kind_of_rows = "outcomes" if isinstance(batch, OutcomeBatch) else "predictions"
        telemetry.count_ingested(found.name, kind_of_rows, answer)
    if whole.unusable:
        return _refused(whole)
    shown = whole.shown()
    message = whole.rejected[0].message if whole.rejected else ""
    return Response(otlp.response(kind, shown["rejected_count"], message, shown), media_type=kind)


def _batches(
    model: Model, times: Times, predictions: list[tuple[int, Row]], outcomes: list[tuple[int, Row]]
) -> Iterable[tuple[Model, Batch]]:
    for kind, listed in (("predictions", predictions), ("outcomes", outcomes)):
        if listed:
            places = [place for place, _ in listed]
            draft = draft_of_rows([row for _, row in listed], Wanted(lambda: model, kind), model, places)
            check: Callable[..., Batch] = validate_predictions if kind == "predictions" else validate_outcomes
            yield model, check(draft, model, times)


def _model(request: Request, principal: Principal, name: str, schema: Schema | None) -> tuple[Model, Times]:
    """The model of that name; an admin's records make it from their schema.

    Raises:
        NotFound: there is none, and it cannot be made.
        Invalid: the schema makes no model.
    """
    writer: Writer = request.app.state.writer
    try:
        return writer.model(principal.project_id, name)
    except NotFound as error:
        if schema is None:
            raise
        if not principal.may("admin"):
            hint = "; these records make it by their schema, when an admin key sends them"
            raise NotFound(error.detail + hint) from None
    try:
        with writing(request.app.state.engine) as connection:
            put_model(connection, principal.project_id, name, schema.settings, clock.now(), principal.name)
    except Conflict:
        pass  # another request has just made it
    return writer.model(principal.project_id, name)


async def _prepared(request: Request, ticket: Ticket, prepare: Callable[[bytes, Find], T], small: int = SMALL) -> T:
    """What `prepare` makes of the body with what finds a model; in a thread, a few at once and in turns of keys, where
    the body has more than `small` bytes or the database must be asked."""
    state = request.app.state
    writer: Writer = state.writer
    body = await whole(request, state.settings.max_body, ticket)
    if len(body) <= small:
        with suppress(NotAtHand):
            return prepare(body, writer.model_at_hand)
    async with state.turns.take(ticket.owner):
        return await run_in_threadpool(prepare, body, writer.model)


async def _written(writer: Writer, groups: Iterable[tuple[Model, Batch]], owner: str) -> list[Answer]:
    """The answers, once all of it is committed.

    Raises:
        Overloaded, QuotaExceeded: not all of it was taken in; what was is a duplicate when it comes again.
    """
    waiting = [awaited(writer.submit(model, batch, owner)) for model, batch in groups]
    return list(await asyncio.gather(*waiting))


def _add(whole: Answer, part: Answer) -> None:
    whole.accepted += part.accepted
    whole.duplicates += part.duplicates
    whole.revised += part.revised
    whole.pending += part.pending
    whole.rejected += part.rejected


def _rejection(place: int, row_id: str | None, message: str, content: Any) -> Rejection:
    return Rejection(place, None if row_id is None else row_id[:256], "invalid", message, as_json(content))


def _refused(answer: Answer) -> Response:
    errors = [{"field": f"[{one.index}]", "detail": one.message} for one in answer.rejected[:100]]
    problem = Invalid("nothing of this request could be stored: `rejected` says why", errors=errors)
    return problems.answer(problem, **answer.shown())
