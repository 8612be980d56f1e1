"""Two corpora of what breaks parsers and programs: no answer is a 5xx, and what is accepted reads back the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog, keys
from monitor.store.blocks import log_end, read_blocks
from monitor.store.session import reading, writing

CORPORA = Path(__file__).parents[1] / "corpora"
NAUGHTY: list[str] = json.loads((CORPORA / "blns.json").read_text())
JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}


def documents() -> list[tuple[str, bytes]]:
    """(name, content) of JSONTestSuite: y_ must be read, n_ must be refused, i_ is ours to decide."""
    listed = json.loads((CORPORA / "json_test_suite.json").read_text())
    return [(name, (text * times).encode().replace("\ufffd".encode(), b"\xff")) for name, text, times in listed]


@pytest.fixture
def client(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    app = create_app(settings, engine, Writer(engine, settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as running:
        with writing(engine) as connection:
            key = keys.create_key(connection, 1, "corpora", "admin", clock.now())
        running.headers["Authorization"] = f"Bearer {key}"
        assert running.put("/v1/models/m", json={"task": "binary"}).status_code == 201
        yield running


def test_json_documents_are_read_or_refused_but_never_break_anything(client: TestClient, settings: Settings) -> None:
    found = documents()
    assert len(found) == 318
    # What a body is does not depend on the database: on PostgreSQL the route that is asked the most is enough.
    urls = ["/v1/models/m/predictions"]
    if settings.embedded:
        urls += ["/v1/models/m/outcomes", "/v1/models/m/reference", "/v1/kserve", "/v1/logs"]
    for url in urls:
        for name, document in found:
            answer = client.request("PUT" if "reference" in url else "POST", url, content=document, headers=JSON)
            assert answer.status_code < 500, (url, name, answer.text[:200])
            if name.startswith("n_"):
                assert answer.status_code in (400, 422), (url, name, answer.text[:200])
            if url != "/v1/logs":  # where an empty object is an empty log
                assert answer.status_code >= 400, (url, name, answer.text[:200])


def test_bytes_that_are_no_text_are_unreadable_wherever_they_stand(client: TestClient) -> None:
    row = b'{"id": "\xff", "features": {"\xff": 1}}'
    bodies = [row, b'{"rows": [%s]}' % row, b'{"columns": {"id": ["\xff"]}}', b'{"id": "a", "actual": "\xff"}']
    for url in ("/v1/models/m/predictions", "/v1/models/m/outcomes", "/v1/models/m/reference"):
        for body in bodies:
            answer = client.request("PUT" if "reference" in url else "POST", url, content=body, headers=JSON)
            assert answer.status_code in (400, 422), (url, body, answer.text)
            lines = client.request("PUT" if "reference" in url else "POST", url, content=body, headers=LINES)
            assert lines.status_code == 422, (url, body, lines.text)


def test_json_documents_as_values_are_kept_or_rejected_by_row(client: TestClient, engine: Engine) -> None:
    found = [one for one in documents() if b"\n" not in one[1].strip()]
    body = b"".join(b'{"id": "%s", "features": {"x": %s}}\n' % (name.encode(), text.strip()) for name, text in found)
    answer = client.post("/v1/models/m/predictions", content=body, headers=LINES)
    assert answer.status_code == 200, answer.text[:300]
    rejected = {found[one["index"]][0] for one in answer.json()["rejected"]}
    # What fits into a row is a row, whatever the suite thinks of it as a document.
    whole = {name for name, text in found if is_json(b'{"id": "a", "features": {"x": %s}}' % text.strip())}
    assert {name for name, _ in found if name.startswith("y_")} - whole == set()
    assert rejected & {name for name in whole if name.startswith("y_")} <= {
        "y_string_null_escape",
        "y_object_escaped_null_in_key",
        "y_structure_lonely_null",  # a row without any value
    }
    assert {name for name, _ in found if name.startswith("n_")} - rejected <= whole
    for name in ("y_array_with_several_null", "y_structure_lonely_string", "y_number_negative_zero"):
        assert client.get(f"/v1/models/m/predictions/{name}").status_code == 200
    again = client.post("/v1/models/m/predictions", content=body, headers=LINES).json()
    assert (again["accepted"], again["duplicates"]) == (0, answer.json()["accepted"])


def is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def stored(engine: Engine, name: str) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        model = catalog.get_model(connection, 1, name)
        batches = read_blocks(connection, model.id, 0, log_end(connection, model.id).next_row)
        return [row for _, batch in batches for row in batch.to_pylist()]


FIELDS: dict[str, Any] = {
    "id": lambda text: {"id": text, "prediction": 1},
    "prediction": lambda text: {"prediction": text},
    "error": lambda text: {"prediction": 1, "error": text},
    "environment": lambda text: {"prediction": 1, "environment": text},
    "f:c": lambda text: {"features": {"c": text}},
    "t:a": lambda text: {"prediction": 1, "tags": {"a": text}},
}


def test_naughty_strings_read_back_the_same_from_every_field(client: TestClient, engine: Engine) -> None:
    assert len(NAUGHTY) > 480
    for number, (field, make) in enumerate(FIELDS.items()):
        model = f"m{number}"
        assert client.put(f"/v1/models/{model}", json={"task": "multiclass"}).status_code == 201
        rows = [{"id": f"{at}", **make(text)} for at, text in enumerate(NAUGHTY)]
        answer = client.post(f"/v1/models/{model}/predictions", json={"rows": rows})
        assert answer.status_code == 200, answer.text[:300]
        gone = {one["index"] for one in answer.json()["rejected"]}
        assert all(not NAUGHTY[at] or len(NAUGHTY[at].encode()) > 256 or field == "id" for at in gone), field
        kept = [text for at, text in enumerate(NAUGHTY) if at not in gone]
        back = [row[field] for row in stored(engine, model)]
        assert back == kept or (field == "id" and set(back) == set(kept)), field
        again = client.post(f"/v1/models/{model}/predictions", json={"rows": rows}).json()
        assert again["accepted"] == 0 and again["duplicates"] >= len(back)
    outcomes = [{"id": text, "actual": text} for text in NAUGHTY]
    answer = client.post("/v1/models/m0/outcomes", json={"rows": outcomes}).json()
    assert answer["accepted"] > 450


def test_naughty_names_of_features_tags_and_classes_read_back_the_same(client: TestClient, engine: Engine) -> None:
    names = [text for text in dict.fromkeys(NAUGHTY) if text and len(text.encode()) <= 256]
    rows = [{"id": f"{at}", "features": {name: "level"}} for at, name in enumerate(names)]
    rows += [{"id": f"s{at}", "prediction": 1, "scores": {name: 0.5}} for at, name in enumerate(names)]
    parts = [rows]
    for first in range(0, len(names), 50):  # so many different tags may be in a request
        tagged = enumerate(names[first : first + 50], first)
        parts.append([{"id": f"t{at}", "prediction": 1, "tags": {name: "v"}} for at, name in tagged])
    for part in parts:
        answer = client.post("/v1/models/m/predictions", json={"rows": part})
        assert answer.status_code == 200 and answer.json()["accepted"] == len(part), answer.text[:300]
    rows = [row for part in parts for row in part]
    for row, sent in zip(stored(engine, "m"), rows, strict=True):
        prefix, group = next((p, g) for p, g in (("f:", "features"), ("t:", "tags"), ("s:", "scores")) if g in sent)
        given = [name for name, value in row.items() if name.startswith(prefix) and value is not None]
        assert given == [prefix + name for name in sent[group]]


def test_naughty_strings_find_nothing_and_break_nothing_as_addresses(client: TestClient) -> None:
    for text in NAUGHTY[::4]:
        answer = client.get(f"/v1/models/m/predictions/{quote(text, safe='')}")
        assert answer.status_code < 500, text
        assert client.post(f"/v1/models/{quote(text, safe='')}/predictions", json={"id": "a"}).status_code in (
            *(400, 404, 405),
            422,
        ), text
