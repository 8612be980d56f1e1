"""The two ingest routes that go beside FastAPI's routing are as every other route to whoever looks."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock, telemetry
from monitor.api import auth
from monitor.api.auth import KeyRing
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing

ROW = {"id": "a", "features": {"x": 1.0}}
PATH = "/v1/models/m/predictions"


@pytest.fixture
def key(sqlite_engine: Engine) -> str:
    with writing(sqlite_engine) as connection:
        return keys.create_key(connection, 1, "n", "admin", clock.now())


@pytest.fixture
def client(sqlite_engine: Engine, sqlite_settings: Settings, key: str) -> Iterator[TestClient]:
    app = create_app(sqlite_settings, sqlite_engine, Writer(sqlite_engine, sqlite_settings))
    with TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"}) as running:
        running.put("/v1/models/m", json={"task": "binary"})
        yield running


def test_they_are_described_and_measured_under_their_names(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]
    for kind in ("predictions", "outcomes"):
        assert "application/x-ndjson" in described[f"/v1/models/{{model}}/{kind}"]["post"]["requestBody"]["content"]
    before = requests_of("/v1/models/{model}/predictions")
    assert client.post(PATH, json=ROW).json()["accepted"] == 1
    assert requests_of("/v1/models/{model}/predictions") == before + 1


def requests_of(route: str) -> float:
    labels = {"method": "POST", "route": route, "status": "200"}
    return telemetry.REGISTRY.get_sample_value("keepwatch_request_duration_seconds_count", labels) or 0


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        (PATH, {"json": {"features": 7}}, 422),
        (PATH, {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        (PATH, {"content": b"a,b", "headers": {"content-type": "text/csv"}}, 415),
        ("/v1/models/none/predictions", {"json": ROW}, 404),
        ("/v1/models/none/outcomes", {"json": {"id": "a", "actual": 1}}, 404),
        (PATH + "/", {"json": ROW}, 405),  # that is the address of a prediction with an empty id
    ],
)
def test_what_they_refuse_is_a_problem(client: TestClient, path: str, sent: dict[str, Any], status: int) -> None:
    answer = client.post(path, **sent)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert answer.headers["x-request-id"]


def test_another_method_finds_the_other_routes(client: TestClient) -> None:
    assert client.get(PATH).status_code in (404, 405)
    assert client.put(PATH, json=ROW).status_code == 405


def test_a_revoked_key_is_refused_within_seconds(
    client: TestClient, sqlite_engine: Engine, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on the short way, on which a key that was just found good is not looked up again."""
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    assert client.post(PATH, json=ROW).status_code == 200
    with writing(sqlite_engine) as connection:
        keys.revoke_key(connection, key.split("_")[1], clock.now(), "n")
    assert client.post(PATH, json=ROW).status_code == 200
    now += auth.CACHE_SECONDS
    assert client.post(PATH, json=ROW).status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, ROW),
        (PATH, {"rows": [ROW]}),
        ("/v1/models/m/outcomes", {"id": "a", "actual": 1}),
        (
            "/v1/kserve?model=m",
            {
                "specversion": "1.0",
                "id": "a",
                "type": "org.kubeflow.serving.inference.request",
                "source": "s",
                "data": {},
            },
        ),
    ],
    ids=["a row", "rows", "outcomes", "an event"],
)
def test_nothing_else_waits_while_the_database_is_asked_for_a_model(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    """Every other request is served by the thread in which it would wait."""
    serving: list[int] = []
    asking: list[int] = []
    app: Any = client.app
    look, receive = app.state.writer._look, KeyRing.recent

    def looked(which: tuple[int, str]) -> Any:
        asking.append(threading.get_ident())
        return look(which)

    def received(ring: KeyRing, authorization: str) -> Any:
        serving.append(threading.get_ident())
        return receive(ring, authorization)

    monkeypatch.setattr(app.state.writer._models, "_ask", looked)
    monkeypatch.setattr(KeyRing, "recent", received)
    headers = {"content-type": "application/cloudevents+json"} if "kserve" in path else {}
    client.post(path, json=body, headers=headers)
    assert asking and serving
    assert not set(asking) & set(serving)


def test_a_key_with_another_secret_is_refused_beside_the_good_one(client: TestClient, key: str) -> None:
    assert client.post(PATH, json=ROW).status_code == 200
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert client.post(PATH, json=ROW, headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
