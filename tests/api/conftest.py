"""An application on a real, empty database, and clients with keys of each scope."""

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing

BASE = "http://127.0.0.1:8000"


@pytest.fixture
def app(sqlite_settings: Settings, sqlite_engine: Engine) -> FastAPI:
    return create_app(sqlite_settings, sqlite_engine, Writer(sqlite_engine, sqlite_settings))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client without a key; the application runs while the test does."""
    with TestClient(app, base_url=BASE, follow_redirects=False) as running:
        yield running


@pytest.fixture
def make_key(sqlite_engine: Engine) -> Callable[..., str]:
    """make_key(scope, project=1): a new key."""

    def make(scope: str, project: int = 1) -> str:
        with writing(sqlite_engine) as connection:
            return keys.create_key(connection, project, f"test {scope}", scope, clock.now())

    return make


@pytest.fixture
def admin(client: TestClient, make_key: Callable[..., str]) -> dict[str, str]:
    """The headers of an admin."""
    return {"Authorization": f"Bearer {make_key('admin')}"}


@pytest.fixture
def reader(client: TestClient, make_key: Callable[..., str]) -> dict[str, str]:
    """The headers of one who may read."""
    return {"Authorization": f"Bearer {make_key('read')}"}
