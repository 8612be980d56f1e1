"""Which windows give their evidence next: one line a kind, in order, each window once."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy.engine import Connection

from monitor.evaluate import windows
from monitor.store import evaluations, profiles
from monitor.store.catalog import Model
from monitor.store.evaluations import INPUTS, PERFORMANCE

Kind = Literal["inputs", "performance"]  # as monitor.evaluate.judge has it, without loading the detectors
KINDS: tuple[Kind, ...] = ("inputs", "performance")
EMPTY_WINDOWS = 60  # consecutive windows without rows that are evaluated; then comes the next one with rows


class Due(NamedTuple):
    """A window that gives its evidence at `at`; `previous` is the one of the same kind before it, if any."""

    at: int
    kind: Kind
    start: int
    end: int
    previous: int | None


@dataclass
class Line:
    """The windows of one kind, and the last of them that gave its evidence."""

    kind: Kind
    start: int | None
    end: int

    @classmethod
    def read(cls, connection: Connection, model_id: int, kind: Kind) -> "Line":
        last = evaluations.last_evaluated(connection, model_id, kind)
        return cls(kind, None, 0) if last is None else cls(kind, last.start, last.end)

    def next(self, connection: Connection, model: Model) -> Due | None:
        """The window after the last one; None before there are rows, and while a long silence goes on."""
        unit, timezone = model.config.window_us, model.config.timezone
        span = windows.profile_span(unit)
        if self.start is None or self._silent(connection, model, span):
            first = profiles.first_start(connection, model.id, span, None if self.start is None else self.end)
            if first is None:
                return None
            start = windows.start_of(first, unit, timezone)
        else:
            start = self.end
        if (self.start is not None and start < self.end) or not windows.is_boundary(start, unit, timezone):
            start = windows.next_start(max(start, self.end), unit, timezone)  # the window's length has changed
        end = windows.next_start(start, unit, timezone)
        return Due(due_at(model, self.kind, end), self.kind, start, end, self.start)

    def _silent(self, connection: Connection, model: Model, span: int) -> bool:
        """Whether the last windows are a long silence: by the rows that are known now, so that late ones end it too."""
        recent = profiles.last_start(connection, model.id, span, before=self.end)
        if recent is None:
            return True
        since = windows.between(recent + 1, self.end, model.config.window_us, model.config.timezone)
        return since.size >= EMPTY_WINDOWS

    def took(self, due: Due) -> None:
        """The window has given its evidence."""
        self.start, self.end = due.start, due.end


def undecided_from(connection: Connection, model: Model) -> int | None:
    """The start of the earliest window that has evidence to give yet; None when none has.

    Its rows must be kept: what was known when its labels were due is counted from them.
    """
    return min((due.start for due in _next(connection, model, _lines(connection, model))), default=None)


def _lines(connection: Connection, model: Model) -> list[Line]:
    return [Line.read(connection, model.id, kind) for kind in KINDS]


def _next(connection: Connection, model: Model, lines: list[Line]) -> list[Due]:
    """The next window of each kind that can give evidence.

    Performance gives none before a row of that window or of a later one has an outcome. So a history whose
    predictions are loaded before its outcomes is judged when they have come, not before; and a model that is never
    told outcomes does not go through its windows for nothing.
    """
    found = [due for line in lines if (due := line.next(connection, model)) is not None]
    if any(due.kind == PERFORMANCE for due in found):
        latest = profiles.last_labelled(connection, model.id)
        found = [due for due in found if due.kind != PERFORMANCE or (latest is not None and latest >= due.start)]
    return found


def due_at(model: Model, kind: str, end: int) -> int:
    """When a window that ends at `end` gives its evidence."""
    config = model.config
    wait = config.grace_us if kind == INPUTS else max(config.grace_us, config.label_delay_us)
    return end + wait


def next_due(connection: Connection, model: Model, lines: list[Line], now: int) -> Due | None:
    """The window whose evidence was due first, inputs before performance; None when nothing is due by `now`."""
    candidates = [due for due in _next(connection, model, lines) if due.at <= now]
    return min(candidates, key=lambda due: (due.at, due.kind != INPUTS), default=None)
