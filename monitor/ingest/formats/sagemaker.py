"""SageMaker: the JSON lines that data capture writes to S3, and its ground-truth files.

A capture pairs `endpointInput` with `endpointOutput`; the caller's `inferenceId` is the row's id, or else `eventId`.
Ground truth names the same id and holds the label.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from monitor.ingest.formats import payload
from monitor.ingest.formats.base import Converted, Piece, Row, Unmapped, Wanted, drafts_of_records, nothing_of
from monitor.ingest.formats.source import Source, parsed
from monitor.ingest.pairs import numbered
from monitor.store.catalog import Model

_FOLDERS = re.compile(r"\d{4}/\d{2}/\d{2}/\d{2}")


class SageMaker:
    name = "sagemaker"
    title = "SageMaker data capture"

    def detects(self, source: Source) -> bool:
        first = source.first or {}
        return "captureData" in first or "groundTruthData" in first

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        truth = "groundTruthData" in (source.first or {})
        if wanted.kind == "outcomes" and not truth:
            raise nothing_of("outcomes", source, "a data capture", "load the ground-truth file with --kind outcomes")
        if wanted.kind != "outcomes" and truth:
            raise nothing_of("predictions", source, "a ground-truth file", "load it with --kind outcomes")
        if truth:
            yield from drafts_of_records(source, wanted, _outcomes)
            return
        variant = _variant(source)

        def convert(record: Any, model: Model) -> Converted:
            made = _captured(record, model)
            if variant:
                made.columns["folder of the variant"] = "version"
                for row in made.rows:
                    row["version"] = variant
            return made

        yield from drafts_of_records(source, wanted, convert)


def _variant(source: Source) -> str | None:
    """The variant, from the path that SageMaker writes: endpoint/variant/yyyy/mm/dd/hh/file."""
    parts = source.path.resolve().parts
    return parts[-6] if len(parts) > 6 and _FOLDERS.fullmatch("/".join(parts[-5:-1])) else None


def _captured(record: Mapping[str, Any], model: Model) -> Converted:
    capture, event = _object(record, "captureData"), _object(record, "eventMetadata")
    event_id, named = _id(event)
    features = _content(_object(capture, "endpointInput"), model, payload.csv_inputs, payload.inputs)
    answers: list[Row] = [{} for _ in features]
    if isinstance(capture.get("endpointOutput"), Mapping):
        answers = _content(capture["endpointOutput"], model, payload.csv_outputs, payload.outputs)
    if len(answers) != len(features):
        raise Unmapped(f"the input has {len(features)} rows and the output {len(answers)}")
    rows = []
    for at, (given, answer) in enumerate(zip(features, answers, strict=True)):
        row: Row = {"id": numbered(event_id, at, len(features)), "features": given, **answer}
        if isinstance(event.get("inferenceTime"), str):
            row["timestamp"] = event["inferenceTime"]
        rows.append(row)
    columns = {f"eventMetadata.{named}": "id", "eventMetadata.inferenceTime": "timestamp"}
    columns |= {f"endpointInput[{at}]": f"f:{name}" for at, name in enumerate(features[0] if features else ())}
    columns |= {f"endpointOutput.{name}": name for name in (answers[0] if answers else ())}
    return Converted(rows, columns)


def _outcomes(record: Mapping[str, Any], model: Model) -> Converted:
    truth, event = _object(record, "groundTruthData"), _object(record, "eventMetadata")
    event_id, named = _id(event)
    labels = _labels(truth)
    columns = {f"eventMetadata.{named}": "id", "groundTruthData.data": "actual"}
    ids = [numbered(event_id, at, len(labels)) for at in range(len(labels))]
    rows = [{"id": one, "actual": _number(label, model)} for one, label in zip(ids, labels, strict=True)]
    return Converted(rows, columns)


def _number(label: Any, model: Model) -> Any:
    """A label; of a regression the number that its text is."""
    if model.task != "regression" or not isinstance(label, str):
        return label
    try:
        return float(label)
    except ValueError:
        raise Unmapped("the ground truth is no number") from None


def _labels(truth: Mapping[str, Any]) -> list[Any]:
    text = _text(truth)
    if str(truth.get("encoding", "CSV")).upper() != "JSON":
        return [label.strip() for label in payload.csv_labels(text)]
    value = parsed(text.encode())
    return value if isinstance(value, list) else [value]


def _id(event: Mapping[str, Any]) -> tuple[str, str]:
    for name in ("inferenceId", "eventId"):
        if isinstance(event.get(name), str) and event[name]:
            return event[name], name
    raise Unmapped("eventMetadata has neither inferenceId nor eventId")


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    if not isinstance(value, Mapping):
        raise Unmapped(f"{name} is missing")
    return value


def _content(part: Mapping[str, Any], model: Model, from_csv: Any, from_json: Any) -> list[Row]:
    """One side of a capture, by its encoding, or by its content type where that is BASE64."""
    text = _text(part)
    encoding = str(part.get("encoding", "BASE64")).upper()
    content_type = str(part.get("observedContentType", "")).lower()
    if encoding == "CSV" or (encoding == "BASE64" and "json" not in content_type):
        made = from_csv(text, model)
    else:
        value = parsed(text.encode())
        if value is None and "\n" in text.strip():  # JSON lines in one capture
            made = [
                row for line in text.splitlines() if line.strip() for row in from_json(parsed(line.encode()), model)
            ]
        elif value is None:
            raise Unmapped("the captured data is no JSON")
        else:
            made = from_json(value, model)
    return list(made)


def _text(part: Mapping[str, Any]) -> str:
    data = part.get("data")
    if not isinstance(data, str):
        raise Unmapped("the captured data is missing")
    if str(part.get("encoding", "BASE64")).upper() != "BASE64":
        return data
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unmapped("the captured data is neither text nor text in base64: capture it as CSV or JSON") from None
