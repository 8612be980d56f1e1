"""A running API with one model, and the rows that tests send to it."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store import tables as t
from monitor.store.session import writing


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    with writing(engine) as connection:
        key = keys.create_key(connection, 1, "n", "admin", clock.now())
    app = create_app(settings, engine, Writer(engine, settings))
    headers = {"Authorization": f"Bearer {key}"}
    with TestClient(app, base_url="http://localhost", headers=headers) as running:
        running.put("/v1/models/m", json={"task": "binary"})
        yield running


def send(client: TestClient, ids: list[str], ago: int = 0, **fields: object) -> None:
    """One block of rows."""
    at = clock.render(clock.now() - ago)
    rows = [
        {"id": i, "version": "1", "timestamp": at, "features": {"x": 1.5, "who": "p-" + i}, "score": 0.25} | fields
        for i in ids
    ]
    assert client.post("/v1/models/m/predictions", json={"rows": rows}).json()["accepted"] == len(ids)


def label(client: TestClient, ids: list[str], actual: int = 1) -> None:
    rows = [{"id": i, "actual": actual} for i in ids]
    assert client.post("/v1/models/m/outcomes", json={"rows": rows}).json()["rejected_count"] == 0


def profiled(engine: Engine) -> None:
    """As if all of it had been evaluated."""
    with writing(engine) as connection:
        connection.execute(sa.update(t.watermark).values(next_row=10**6, next_outcome=10**6))
