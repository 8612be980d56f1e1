"""A model, and a short way to send it bodies as the routes do."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.ingest.decode import decode_outcomes, decode_predictions
from monitor.ingest.validate import validate_outcomes, validate_predictions
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store.catalog import put_model
from monitor.store.session import writing

NOW = clock.parse("2026-03-01T12:00:00Z")
Send = Callable[..., dict[str, Any]]

ODD = ['"', "\\", 'a"b\\c', "é", "__proto__", "x\ny", "😀", "f0", "</script>"]
BINARY = {
    "task": "binary",
    "features": {
        "age": {"kind": "numeric"},
        "city": {"kind": "categorical"},
        "member": {"kind": "boolean"},
        "note": {"kind": "text"},
    },
}


@pytest.fixture
def writer(engine: Engine, settings: Settings) -> Iterator[Writer]:
    """A running writer; the models are `loan` (schema given), `bare` (none), `price` (a regression) and `replay`."""
    with writing(engine) as connection:
        put_model(connection, 1, "loan", BINARY, NOW, "test")
        put_model(connection, 1, "bare", {"task": "binary"}, NOW, "test")
        put_model(connection, 1, "price", {"task": "regression"}, NOW, "test")
        put_model(
            connection, 1, "odd", {"task": "binary", "features": {n: {"kind": "numeric"} for n in ODD}}, NOW, "test"
        )
        put_model(connection, 1, "replay", {"task": "binary", "clock": "events"}, NOW, "test")
    made = Writer(engine, settings, now=lambda: NOW)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def send(writer: Writer) -> Send:
    """Send a body of `kind` to a model and get the answer, as the route would."""

    def send(body: Any, kind: str = "predictions", model: str = "loan") -> dict[str, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        found, times = writer.model(1, model)
        if kind == "predictions":
            batch: Any = validate_predictions(decode_predictions(raw, found), found, times)
        else:
            batch = validate_outcomes(decode_outcomes(raw, found), found, times)
        return writer.submit(found, batch).result(timeout=30).shown()

    return send
