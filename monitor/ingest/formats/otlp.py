"""OTLP log records, in protobuf or JSON, as plain values. https://opentelemetry.io/docs/specs/otlp/"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from monitor.errors import Invalid, TooLarge, Unreadable, UnsupportedEncoding
from monitor.ingest.formats.source import parsed
from monitor.ingest.wording import not_json

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MAX_RECORDS = 10_000


@dataclass(frozen=True)
class LogRecord:
    """One record: its body, and the attributes of the resource that wrote it."""

    body: Any
    resource: Mapping[str, Any]
    time_ns: int


def content_type_of(header: str | None) -> str:
    """`PROTOBUF` or `JSON`.

    Raises:
        UnsupportedEncoding: another.
    """
    kind = (header or JSON).partition(";")[0].strip().lower()
    if kind in (PROTOBUF, "application/protobuf"):
        return PROTOBUF
    if kind != JSON:
        raise UnsupportedEncoding(f"send {PROTOBUF} or {JSON}")
    return JSON


def records(body: bytes, content_type: str) -> list[LogRecord]:
    """The log records of an export request.

    Raises:
        Unreadable: neither of both forms, or nested too deeply.
        Invalid: JSON of another shape.
        TooLarge: more than 10,000 records.
    """
    try:
        found: list[LogRecord] = []
        for one in _of_protobuf(body) if content_type == PROTOBUF else _of_json(body):
            if len(found) == MAX_RECORDS:
                raise TooLarge(f"at most {MAX_RECORDS:,} log records in one request: send the rest in another")
            found.append(one)
        return found
    except RecursionError:
        raise Unreadable("the body is nested too deeply") from None


def response(content_type: str, rejected: int, message: str, counts: Mapping[str, Any]) -> bytes:
    """The answer that an exporter expects. In JSON it has our counts too, which exporters pass over."""
    if content_type == PROTOBUF:
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service

        answer = service.ExportLogsServiceResponse()
        if rejected:
            answer.partial_success.rejected_log_records = rejected
            answer.partial_success.error_message = message
        return bytes(answer.SerializeToString())
    partial = {"rejectedLogRecords": str(rejected), "errorMessage": message} if rejected else {}
    return orjson.dumps({"partialSuccess": partial, **counts})


def _of_protobuf(body: bytes) -> Iterator[LogRecord]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service

    try:
        request = service.ExportLogsServiceRequest.FromString(body)
    except DecodeError:
        raise Unreadable("the body is no ExportLogsServiceRequest in protobuf") from None
    for resource_logs in request.resource_logs:
        resource = {one.key: _value(one.value) for one in resource_logs.resource.attributes}
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield LogRecord(_value(record.body), resource, record.time_unix_nano or record.observed_time_unix_nano)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {one.key: _value(one.value) for one in value.kvlist_value.values}
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind in (None, "bytes_value") else getattr(value, kind)


def _of_json(body: bytes) -> Iterator[LogRecord]:
    request = parsed(body)
    if request is None:
        raise Unreadable(not_json(body))
    for resource_logs in _listed(request, "resourceLogs"):
        attributes = _object(resource_logs, "resource")
        resource = dict(_pairs(_listed(attributes, "attributes")))
        for scope_logs in _listed(resource_logs, "scopeLogs"):
            for record in _listed(scope_logs, "logRecords"):
                at = record.get("timeUnixNano") or record.get("observedTimeUnixNano") if _is_object(record) else 0
                yield LogRecord(_json_value(_object(record, "body")), resource, _integer(at) or 0)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _listed(value: Any, name: str) -> list[Any]:
    if not _is_object(value):
        raise Invalid("this is no export of log records: an object with resourceLogs")
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Invalid.field(name, "must be a list")
    return found


def _object(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if _is_object(value) else None
    return found if isinstance(found, Mapping) else {}


def _pairs(listed: list[Any]) -> Iterator[tuple[str, Any]]:
    for one in listed:
        if isinstance(one, Mapping) and isinstance(one.get("key"), str):
            yield one["key"], _json_value(_object(one, "value"))


def _json_value(value: Mapping[str, Any]) -> Any:
    if "stringValue" in value:
        return value["stringValue"] if isinstance(value["stringValue"], str) else None
    if "boolValue" in value:
        return value["boolValue"] if isinstance(value["boolValue"], bool) else None
    if "intValue" in value:
        return _integer(value["intValue"])
    if "doubleValue" in value:
        try:
            return float(value["doubleValue"])
        except (TypeError, ValueError, OverflowError):
            return None
    if "kvlistValue" in value:
        return dict(_pairs(_listed(_object(value, "kvlistValue"), "values")))
    if "arrayValue" in value:
        listed = _listed(_object(value, "arrayValue"), "values")
        return [_json_value(one) if isinstance(one, Mapping) else None for one in listed]
    return None


def _integer(value: Any) -> int | None:
    """A 64-bit integer, which protobuf's JSON writes as text."""
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if -(1 << 63) <= found < 1 << 63 else None
