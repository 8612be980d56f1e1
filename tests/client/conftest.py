"""A stand-in of the service, and clients that are closed when the test ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.client import Client
from tests.client.services import StandIn


@pytest.fixture
def service() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def problems() -> list[str]:
    """What clients of `make` reported."""
    return []


@pytest.fixture
def make(service: StandIn, tmp_path: Path, problems: list[str]) -> Iterator[Callable[..., Client]]:
    """Makes clients of the stand-in with one queue directory."""
    made: list[Client] = []

    def make(**options: Any) -> Client:
        given = {"url": service.url, "key": "kw_test", "model": "m", "directory": tmp_path / "queue", "version": "3"}
        made.append(Client(**(given | {"on_problem": problems.append} | options)))
        return made[-1]

    yield make
    for client in made:
        client.close(0.5)
