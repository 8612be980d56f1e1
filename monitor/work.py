"""What a piece of background work is given, and what it gives back."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy.engine import Engine

from monitor.store.tasks import Task


class Overtaken(Exception):
    """The task went to another worker, its model is gone, or the worker is about to stop: leave it."""


class Done(NamedTuple):
    """What came of a task: JSON, and a document where there is one."""

    result: str | None = None
    document: bytes | None = None


class Work(NamedTuple):
    """A task to do. `tell(stage, progress)` says how far it is and keeps the lease; it raises `Overtaken`."""

    engine: Engine
    task: Task
    tell: Callable[[str, float], None]
