"""The commands on PostgreSQL, where several processes share the work."""

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from monitor.commands import run
from monitor.settings import Settings
from monitor.store.session import make_engine
from tests.cli.test_serve import Served, serve

__all__ = ["serve"]

Run = Callable[..., tuple[int, str, str]]
SECRET = "0123456789abcdef" * 4
KEY = "kw_" + "qZ7w3Lr9sK1xV5tB2nM8pD4fH6jG0y"


@pytest.fixture
def fresh_url(postgres_url: str) -> str:
    """An empty database of its own on the test server; it goes with the server."""
    name = f"commands_{secrets.token_hex(4)}"
    server = make_engine(Settings(database_url=postgres_url))
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    server.dispose()
    return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)


def test_an_old_schema_is_refused_by_name_and_migrated_once(
    keepwatch: Run, fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", fresh_url)
    for command in (("serve", "--port", "0"), ("api", "--port", "0"), ("keys", "list"), ("login",)):
        code, out, err = keepwatch(*command)
        assert code == 2 and out == "" and "keepwatch migrate" in err, command
    assert "now" in keepwatch("migrate")[1] and "now" not in keepwatch("migrate")[1]
    code, _, err = keepwatch("serve", "--port", "0")
    assert code == 2 and "KEEPWATCH_SECRET_KEY" in err
    monkeypatch.setenv("KEEPWATCH_SECRET_KEY", SECRET)
    code, _, err = keepwatch("serve", "--port", "0", "--host", "0.0.0.0")
    assert code == 2 and "no key exists" in err
    assert keepwatch("keys", "create", "--name", "n", "--scope", "admin")[0] == 0
    assert "/login?token=" in keepwatch("login")[1]


def test_serve_works_on_a_server(
    keepwatch: Run, fresh_url: str, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Served], tmp_path: Path
) -> None:
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", fresh_url)
    keepwatch("migrate")
    served = serve(KEEPWATCH_DATABASE_URL=fresh_url, KEEPWATCH_SECRET_KEY=SECRET, KEEPWATCH_ADMIN_KEY=KEY)
    headers = {"Authorization": f"Bearer {KEY}"}
    assert httpx.put(f"{served.url}/v1/models/m", json={"task": "binary"}, headers=headers).status_code == 201
    row = {"id": "a", "features": {"x": 1}, "prediction": 1}
    sent = httpx.post(f"{served.url}/v1/models/m/predictions", json=row, headers=headers)
    assert sent.json()["accepted"] == 1
    served.wait_for(lambda: served.worker() is not None)
    worker = served.worker()
    many = len(os.sched_getaffinity(0)) > 1
    assert worker is not None and os.sched_getscheduler(worker) == (os.SCHED_IDLE if many else os.SCHED_OTHER)
    assert os.sched_getscheduler(served.process.pid) == os.SCHED_OTHER
    assert served.end() == 0
    assert "Traceback" not in served.log.read_text() and KEY not in served.log.read_text()
    assert not (tmp_path / "kw.db").exists()


@pytest.mark.parametrize("reason", [errno.EPERM, errno.EINVAL, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_worker_that_may_not_be_idle_is_nice(monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    """A C library or a sandbox may know the call and yet refuse it."""
    nice: list[int] = []

    def refused(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    monkeypatch.setattr(os, "nice", nice.append)
    run._give_way(Settings(database_url="postgresql+psycopg://localhost/none"))
    assert nice == [15]


def test_on_one_processor_a_worker_is_nice_and_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a lock that it has would wait until nobody else wants the processor."""
    nice: list[int] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("it is idle"))
    monkeypatch.setattr(os, "nice", nice.append)
    run._give_way(Settings(database_url="postgresql+psycopg://localhost/none"))
    assert nice == [15]
