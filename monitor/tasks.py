"""The kinds of background work that can be asked for, and how a worker does them: one queue for all (`store/tasks`).

A kind is a function that is given its task and says what came of it. It tells how far it is, which also keeps its
lease; when the lease is lost, the model gone, or the worker about to stop, telling raises `Overtaken` and the work ends
there.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.engine import Engine

from monitor import backtests, clock, log, monthly, reports, slices
from monitor.errors import KeepwatchError, NotFound
from monitor.store import tasks
from monitor.store.session import writing
from monitor.store.tasks import Claim
from monitor.work import Done, Overtaken, Work

_log = log.get(__name__)


class Kind(NamedTuple):
    """How a kind is done, and how long a worker may be silent over it, in microseconds."""

    do: Callable[[Work], Done]
    life: int = 120 * clock.SECOND


KINDS: dict[str, Kind] = {
    "report": Kind(reports.make, reports.LEASE),  # its child says nothing until it is done
    "backtest": Kind(backtests.make),
    "slices": Kind(slices.make, 600 * clock.SECOND),  # a round of the search over many rows takes its time
    "monthly": Kind(monthly.make),
}


@dataclass
class _Line:
    """What a worker needs to say to the queue about the task that it is at."""

    engine: Engine
    taken: Claim
    life: int
    stopping: Callable[[], bool]
    lost: bool = False

    def tell(self, stage: str, progress: float) -> None:
        if self.stopping():
            raise Overtaken
        with writing(self.engine) as connection:
            self.lost = not tasks.tell(connection, self.taken, self.life, stage, progress)
        if self.lost:
            raise Overtaken


def run_pending(engine: Engine, kind: str, stopping: Callable[[], bool] = lambda: False) -> int:
    """Do the tasks of a kind that wait, oldest first; returns how many were finished or failed."""
    count = 0
    while not stopping():
        with writing(engine) as connection:
            taken = tasks.claim(connection, kind, f"pid-{os.getpid()}", clock.now(), KINDS[kind].life)
        if taken is None:
            return count
        count += _do(engine, taken, stopping)
    return count


def _do(engine: Engine, taken: Claim, stopping: Callable[[], bool]) -> bool:
    """Do one task; whether its end was written."""
    kind, done, error = KINDS[taken.task.kind], Done(), None
    line = _Line(engine, taken, kind.life, stopping)
    try:
        done = kind.do(Work(engine, taken.task, line.tell))
    except Overtaken:
        if not line.lost:
            with writing(engine) as connection:
                tasks.hand_back(connection, taken)
        return False
    except NotFound:
        return False  # the model was deleted, and the task with it
    except KeepwatchError as reason:
        error = str(reason)
    except Exception as unforeseen:
        _log.error("task_failed", kind=taken.task.kind, task=taken.task.id, exc_info=unforeseen)
        error = "an unforeseen error; the log of the server has it under this task's id"
    with writing(engine) as connection:
        return tasks.finish(connection, taken, clock.now(), result=done.result, document=done.document, error=error)
