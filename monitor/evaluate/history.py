"""The stored history of a model, window by window, as its evaluation met it: what was known then, and what is now.

A window's evidence came from what was known when it was due. Most windows have not changed since, and their stored
profile serves for both; of the others, the rows that were known by then are counted again, as far as they are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from monitor.clock import SECOND
from monitor.errors import Invalid
from monitor.evaluate import windows
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.due import EMPTY_WINDOWS, due_at
from monitor.stats.profile import Profile
from monitor.store import blocks, events, profiles
from monitor.store.catalog import Model
from monitor.store.evaluations import PERFORMANCE
from monitor.store.profiles import StoredProfile

MOST_WINDOWS = 20_000
CHUNK = 240  # windows whose profiles are read at once


@dataclass(frozen=True, eq=False)
class Past:
    """A window that gave, or would have given, its evidence at `at`. `rows`: whether it has live rows.

    `late`: something of it became known after that; `kept`: its rows are, so that it can be told what.
    """

    start: int
    end: int
    at: int
    rows: bool
    late: bool
    kept: bool
    shelf: Shelf
    kind: str = PERFORMANCE

    def late_from(self, start: int) -> bool:
        """Whether something of the stretch from `start` to the window's end became known after `at`."""
        met: list[StoredProfile] = []
        self.shelf.profile(start, self.end, met=met)
        return any(known_at(one, self.kind) > self.at for one in met)

    def now(self) -> Profile | None:
        """What is known of it now."""
        return self.shelf.profile(self.start, self.end)

    def then(self, connection: Connection) -> Profile | None:
        """What was known of it at `at`; what is known now where nothing has changed, or its rows are gone."""
        if not self.late or not self.kept:
            return self.now()
        return Shelf(connection, self.shelf.model, Want(as_of=self.at)).profile(self.start, self.end)


def known_at(stored: StoredProfile, kind: str) -> int:
    """When all was known of a profile that evidence of a kind is made of: its rows, for performance outcomes too."""
    if kind == PERFORMANCE or stored.rows_known_at is None:
        return stored.max_known_at
    return stored.rows_known_at


def spans(connection: Connection, model: Model, kind: str, from_at: int, to_at: int, now: int) -> list[tuple[int, int]]:
    """The windows of a stretch whose evidence of that kind was due by `now`, ascending; whole ones alone.

    Raises:
        Invalid: more than MOST_WINDOWS.
    """
    unit = model.config.window_us
    first = profiles.first_start(connection, model.id, windows.profile_span(unit))
    if first is None:
        return []
    last = profiles.last_labelled(connection, model.id) if kind == PERFORMANCE else None
    if kind == PERFORMANCE and last is None:
        return []
    from_at = max(from_at, windows.start_of(first, unit, model.config.timezone))
    to_at = min(to_at, now)
    if (to_at - from_at) // unit > MOST_WINDOWS:
        raise Invalid.field("from", f"this would be more than {MOST_WINDOWS:,} windows: choose a shorter stretch")
    return [
        (start, end)
        for start, end in windows.spans(from_at, to_at, unit, model.config.timezone)
        if start >= from_at and end <= to_at and due_at(model, kind, end) <= now and (last is None or start <= last)
    ]


def walk(connection: Connection, model: Model, kind: str, listed: list[tuple[int, int]]) -> Iterator[Past]:
    """The windows that an evaluation would have judged, in order: not those that are known to be bad, nor those of a
    silence of more than 60 windows."""
    bad = events.known_bad(connection, model.id)
    expired = blocks.log_end(connection, model.id).expired_before
    span = windows.profile_span(model.config.window_us)
    empty = 0
    for first in range(0, len(listed), CHUNK):
        chunk = listed[first : first + CHUNK]
        low, high = chunk[0][0], chunk[-1][1]
        shelf = Shelf(connection, model)
        shelf.fetch(span, low, high)
        known = profiles.latest_known(connection, model.id, span, low, high, outcomes=kind == PERFORMANCE)
        for start, end in chunk:
            inside = _inside(known, start, end, span)
            rows = any(one[0] for one in inside)
            empty = 0 if rows else empty + 1
            if empty > EMPTY_WINDOWS or events.touches(bad, start, end):
                continue
            at = due_at(model, kind, end)
            late = any(one[1] > at for one in inside)
            yield Past(start, end, at, rows, late, expired is None or start >= expired, shelf, kind)


def _inside(known: dict[int, tuple[int, int]], start: int, end: int, span: int) -> list[tuple[int, int]]:
    """What is known of the hours or days of a window."""
    if start + span * SECOND >= end:
        return [known[start]] if start in known else []
    return [one for at, one in known.items() if start <= at < end]
