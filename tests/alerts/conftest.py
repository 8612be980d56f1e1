from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import Engine

from tests.alerts.house import House
from tests.alerts.receivers import Receiver


@pytest.fixture
def house(engine: Engine) -> House:
    return House(engine)


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """receiver(habit): a running receiver, closed after the test."""
    made: list[Receiver] = []

    def make(*arguments: object) -> Receiver:
        made.append(Receiver(*arguments))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()
