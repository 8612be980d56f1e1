"""A seeded installation, made once; every test looks at a copy of it through a client with an admin's key."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor.app import create_app
from monitor.settings import Settings
from monitor.store.session import make_engine
from tests.dashboards.seeded import BASE, Seeded, seed
from tests.keys import SECRET_KEY


@pytest.fixture(scope="session")
def seeded_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seeded]:
    path = tmp_path_factory.mktemp("seeded") / "keepwatch.db"
    shutil.copy(migrated_file, path)
    settings = Settings(database_url=f"sqlite:///{path}")
    engine = make_engine(settings)
    seeded = seed(engine, settings)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path, seeded


@pytest.fixture
def seeded(seeded_file: tuple[Path, Seeded]) -> Seeded:
    return seeded_file[1]


@pytest.fixture
def seeded_engine(seeded_file: tuple[Path, Seeded], tmp_path: Path) -> Iterator[Engine]:
    path = tmp_path / "keepwatch.db"
    shutil.copy(seeded_file[0], path)
    engine = make_engine(Settings(database_url=f"sqlite:///{path}"))
    yield engine
    engine.dispose()


@pytest.fixture
def pages(seeded_engine: Engine, seeded: Seeded) -> Iterator[TestClient]:
    """A client that may see and change everything."""
    settings = Settings(database_url=str(seeded_engine.url), secret_key=SECRET_KEY)
    headers = {**seeded.admin, "sec-fetch-site": "same-origin"}
    with TestClient(
        create_app(settings, seeded_engine), base_url=BASE, headers=headers, follow_redirects=False
    ) as client:
        yield client


def settings_of(engine: Engine) -> Settings:
    """The settings of a seeded installation."""
    return Settings(database_url=str(engine.url), secret_key=SECRET_KEY)
