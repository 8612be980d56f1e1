"""A small model written straight through the store."""

from collections.abc import Callable

import pytest
from sqlalchemy.engine import Engine

from tests.evaluate.small import Log


@pytest.fixture
def make_log(sqlite_engine: Engine) -> Callable[..., Log]:
    return lambda **settings: Log.make(sqlite_engine, **settings)


@pytest.fixture
def log(make_log: Callable[..., Log]) -> Log:
    """A binary model in hourly windows whose clock is its events, with a schema."""
    return make_log(features={"x": "numeric", "carrier": "categorical"})
