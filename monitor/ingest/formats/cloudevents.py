"""CloudEvents 1.0 over HTTP and in files: the binary mode (attributes in headers), the structured one, and batches.

What inference loggers send are two events for each call, its request and its response; `Call` says how one kind of
logger names them. The rows that they become are made in `ingest/pairs.py`.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from monitor.columns import FEATURE, TAG
from monitor.errors import Invalid, TooLarge, Unreadable, UnsupportedEncoding
from monitor.ingest.draft import Rejection, clip
from monitor.ingest.formats import payload
from monitor.ingest.formats.base import Piece, Row, Unmapped, Wanted, nothing_of, version_name
from monitor.ingest.formats.source import Source, parsed
from monitor.ingest.pairs import REQUEST, RESPONSE, Half, checked
from monitor.ingest.wording import not_json
from monitor.store.catalog import Model

MAX_EVENTS = 10_000
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_TAGS = ("endpoint", "component", "predictor")


@dataclass(frozen=True)
class Event:
    """One event; `attributes` are all of its context attributes, in lower case, as texts."""

    attributes: Mapping[str, str]
    data: Any

    def get(self, *names: str) -> str | None:
        """The first of these attributes that has a value."""
        return next((self.attributes[name] for name in names if self.attributes.get(name)), None)


class Call(Protocol):
    """How one kind of logger names a call's two events."""

    @property
    def types(self) -> str: ...  # what the types of its events begin with

    def call_id(self, event: Event) -> str | None: ...

    def model(self, event: Event) -> str | None: ...

    def version(self, event: Event) -> str | None: ...


def from_http(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """The events of a request; header names in lower case.

    Raises:
        UnsupportedEncoding: another content type.
        Unreadable: no JSON.
        Invalid: JSON, but no event.
        TooLarge: more than 10,000 events.
    """
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in (STRUCTURED, BATCH, "application/json") and not kind.endswith("+json"):
        raise UnsupportedEncoding(f"send JSON: a binary-mode CloudEvent, {STRUCTURED} or {BATCH}")
    content = parsed_or_unreadable(body)
    if kind == BATCH:
        if not isinstance(content, list) or not content:
            raise Invalid("a batch must be a list of events")
        if len(content) > MAX_EVENTS:
            raise TooLarge(f"at most {MAX_EVENTS:,} events in one request: send the rest in another")
        return [structured(one) for one in content]
    if kind == STRUCTURED or (isinstance(content, Mapping) and "specversion" in content and "ce-id" not in headers):
        return [structured(content)]
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    if "type" not in attributes:
        raise Invalid("this is no CloudEvent: the header ce-type is missing")
    return [Event(attributes, content)]


def parsed_or_unreadable(body: bytes) -> Any:
    """A body's JSON.

    Raises:
        Unreadable: it is none.
    """
    content = parsed(body)
    if content is None:
        raise Unreadable(not_json(body))
    return content


def structured(content: Any) -> Event:
    """An event of the structured mode.

    Raises:
        Invalid: it is no event.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("type"), str):
        raise Invalid("this is no CloudEvent: an object with specversion, id, type and data")
    attributes = {
        str(name).lower(): value if isinstance(value, str) else str(value)
        for name, value in content.items()
        if name not in ("data", "data_base64") and isinstance(value, str | int | bool)
    }
    data = content.get("data")
    if isinstance(content.get("data_base64"), str):
        try:
            data = parsed(base64.b64decode(content["data_base64"], validate=True))
        except (binascii.Error, ValueError):
            raise Invalid("data_base64 is not base64") from None
    elif isinstance(data, str):  # a sender that took its JSON for text
        data = parsed(data.encode("utf-8", "replace"))
    return Event(attributes, data)


def call_of(event: Event, calls: Sequence[Call]) -> Call:
    """Which logger an event is from.

    Raises:
        Unmapped: none that is known.
    """
    kind = event.get("type") or ""
    found = next((one for one in calls if kind.startswith(one.types)), None)
    if found is None or kind.removeprefix(found.types) not in (REQUEST, RESPONSE):
        known = ", ".join(one.types + "request|response" for one in calls)
        raise Unmapped(f"an event of another type than {known}")
    return found


def half_of(event: Event, call: Call, model: Model, place: int, version: str | None = None) -> Half:
    """An event as half of a call.

    Raises:
        Unmapped: it has no id, or its body is of a protocol that is not known.
    """
    call_id = call.call_id(event)
    if call_id is None:
        raise Unmapped("the event has no id")
    side = (event.get("type") or "").removeprefix(call.types)
    content: Row = {"rows": (payload.inputs if side == REQUEST else payload.outputs)(event.data, model)}
    if side == REQUEST:
        content["rows"] = [{"features": one} for one in content["rows"]]
    else:
        named = version or call.version(event)
        if named is not None:
            content["version"] = named
    at = event.get("time")
    if at is not None:
        content["timestamp"] = at
    tags = {name: value for name in _TAGS if (value := event.get(name)) is not None}
    if tags:
        content["tags"] = tags
    environment = event.get("namespace")
    if environment is not None:
        content["environment"] = environment
    return Half(place, call_id, side, content)


def version_in(event: Event) -> str | None:
    """The version that a v2 response names."""
    data = event.data
    return version_name(data.get("model_version")) if isinstance(data, Mapping) else None


@dataclass(frozen=True)
class EventFile:
    """A file of structured events, one a line, as brokers and sinks keep them."""

    name: str
    title: str
    call: Call

    def detects(self, source: Source) -> bool:
        first = source.first or {}
        return "specversion" in first and str(first.get("type", "")).startswith(self.call.types)

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        if wanted.kind != "predictions" or wanted.times is None:
            raise nothing_of(wanted.kind, source, self.title, "load it with --kind predictions")
        for lines, done, total in source.lines():
            model = wanted.model()
            found: list[Half] = []
            rejected: list[Rejection] = []
            columns: dict[str, str] = {}
            for number, line in lines:
                try:
                    event = structured(parsed(line))
                    half = half_of(event, call_of(event, (self.call,)), model, number)
                except (Unmapped, Invalid) as error:
                    rejected.append(Rejection(number, None, "invalid", str(error), clip(line)))
                    continue
                if wanted.history and "timestamp" in half.content:
                    half.content["known_at"] = half.content["timestamp"]
                found.append(half)
                columns |= _columns(half)
            yield Piece(checked(found, rejected, len(lines), model, wanted.times()), 0, done, total, columns)


def _columns(half: Half) -> dict[str, str]:
    columns = {"time": "timestamp", "id": "id", "namespace": "environment"}
    columns |= {name: TAG + name for name in half.content.get("tags", ())}
    rows = half.content["rows"]
    first = rows[0] if rows else {}
    if half.side == REQUEST:
        return columns | {f"request.{name}": FEATURE + str(name) for name in first.get("features", ())}
    return columns | {f"response.{name}": str(name) for name in first}
