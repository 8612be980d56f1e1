"""How long a connection may be idle."""

from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import server
from monitor.settings import Settings


def test_an_idle_connection_outlives_the_pools_and_proxies_in_front(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives it up first is not surprised. After a stall, uvicorn's own 5 seconds end it under a coming request."""
    seen: list[Any] = []

    class Captured:
        def __init__(self, config: Any, *_: Any) -> None:
            seen.append(config)

        def run(self, sockets: Any) -> None:
            pass

    monkeypatch.setattr(server, "_Server", Captured)
    bound = server.listen("127.0.0.1", 0)
    server.run_api(sqlite_settings, sqlite_engine, bound, "127.0.0.1", "")
    bound.close()
    assert seen[0].timeout_keep_alive > 60
