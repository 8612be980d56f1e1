"""Keeping the id index small in number: segments of a level are merged into one of the next, and left when empty.

Those that are small beside a commit are merged by it when it makes one too many, others in the background: their pages
are written a few at a time, so that nobody waits for long, into a segment that nobody sees until it is whole.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor.errors import NotFound
from monitor.store import id_index
from monitor.store.blocks import lock_log
from monitor.store.id_index import BUILDING, DEAD, LIVE, Segment, read_pages
from monitor.store.id_keys import NONE, Entries, raw
from monitor.store.id_pages import PAGE
from monitor.store.session import reading, writing
from monitor.store.tables import block, id_page, id_segment, log_position

FANOUT = 8  # segments of a level that become one
AT_ONCE = 1 << 12  # entries that any commit merges
SHARE = 64  # and that it merges for each that it adds: it takes as long as itself then
MOST = 1 << 18  # and no commit more than these
BEHIND = 4 * FANOUT  # segments of a level: nobody merges them in the background
LARGEST = 1 << 24  # entries of a segment that is merged no further
STEP = 64  # pages that are written in one transaction


def tidy(connection: Connection, project_id: int, model_id: int, segments: Sequence[Segment], added: int) -> None:
    """After adding entries: merge the smallest of the model's segments that have become too many and are not too large
    for it; the model's log is locked."""
    for group in _too_many(segments):
        most = min(MOST, max(AT_ONCE, SHARE * added))
        if len(group) >= BEHIND:
            group, most = group[:FANOUT], MOST
        if _size(group) <= most:
            merged = Entries.joined(id_index.whole(connection, group))
            _remove(connection, [one.id for one in group])
            id_index.forget(group)
            id_index.write_segment(connection, project_id, model_id, merged, group[0].level + 1)
            return


def drop_gone(connection: Connection, model_id: int) -> None:
    """Look no more into segments whose rows are all gone, because what is kept begins after them.

    The model's log is locked: a block that came after the look would lose its segment, a merge one that it has listed.
    """
    lowest = connection.scalar(sa.select(sa.func.min(block.c.first_row)).where(block.c.model_id == model_id))
    gone = [id_segment.c.model_id == model_id, id_segment.c.state == LIVE]
    if lowest is not None:
        gone.append(id_segment.c.next_row <= lowest)
    connection.execute(sa.update(id_segment).where(*gone).values(state=DEAD))


def waiting(connection: Connection) -> list[int]:
    """The models for which `compact` has something to do, or may have."""
    unseen = sa.select(id_segment.c.model_id).where(id_segment.c.state != LIVE)
    level = (id_segment.c.model_id, id_segment.c.level)
    full = sa.select(id_segment.c.model_id).where(id_segment.c.state == LIVE).group_by(*level)
    full = full.having(sa.func.count() >= FANOUT, sa.func.sum(id_segment.c.entries) > AT_ONCE)
    return sorted(connection.scalars(sa.union(unseen, full)))


def compact(engine: Engine, model_id: int) -> bool:
    """Merge large segments if there are too many of a size; whether there may be more to do."""
    _clean(engine, model_id)
    with reading(engine) as connection:
        groups = _too_many(id_index.segments(connection, model_id))
        group = next((one for one in groups if _size(one) > AT_ONCE), None)
        project_id = connection.scalar(sa.select(log_position.c.project_id).where(log_position.c.model_id == model_id))
    if group is None or project_id is None:
        return False
    try:
        merged = _build(engine, project_id, model_id, group)
    except NotFound:  # the model was deleted meanwhile
        merged = False
    _clean(engine, model_id)
    return merged


def _size(group: Sequence[Segment]) -> int:
    return sum(one.entries for one in group)


def _too_many(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Of each level that has `FANOUT` segments, from the lowest on: those that may become one."""
    for level in sorted({one.level for one in segments}):
        group = [one for one in segments if one.level == level]
        if len(group) >= FANOUT:
            while _size(group) > LARGEST:
                group.pop()
            if len(group) > 1 and _size(group):
                yield group


def _numbers(connection: Connection, segment_id: int) -> list[int]:
    """The numbers of a segment's pages."""
    query = sa.select(id_page.c.page).where(id_page.c.segment_id == segment_id).order_by(id_page.c.page)
    return list(connection.scalars(query))


def _remove(connection: Connection, segment_ids: Sequence[int]) -> None:
    # The segments first, as erasing does: in two orders they would wait for each other.
    connection.execute(sa.delete(id_segment).where(id_segment.c.id.in_(segment_ids)))
    connection.execute(sa.delete(id_page).where(id_page.c.segment_id.in_(segment_ids)))


def _clean(engine: Engine, model_id: int) -> None:
    """Remove segments that were merged, or whose building was broken off."""
    unseen = sa.and_(id_segment.c.model_id == model_id, id_segment.c.state != LIVE)
    with reading(engine) as connection:
        gone = list(connection.scalars(sa.select(id_segment.c.id).where(unseen)))
    for segment_id in gone:
        with writing(engine) as connection:  # whoever still builds it will find that it is given up
            giving_up = sa.update(id_segment).where(unseen, id_segment.c.id == segment_id).values(state=DEAD)
            given_up = connection.execute(giving_up).rowcount
        if not given_up:  # its builder was not dead, and has just made it whole: it is looked into from now on
            continue
        with reading(engine) as connection:
            pages = _numbers(connection, segment_id)
        for start in range(0, len(pages), STEP):
            with writing(engine) as connection:
                some = pages[start : start + STEP]
                connection.execute(
                    sa.delete(id_page).where(id_page.c.segment_id == segment_id, id_page.c.page.in_(some))
                )
        with writing(engine) as connection:
            _remove(connection, [segment_id])


def _build(engine: Engine, project_id: int, model_id: int, group: Sequence[Segment]) -> bool:
    """Make one segment of several; False when they changed meanwhile, and nothing came of it."""
    target = id_index.new_number()
    place = (id_segment.c.model_id == model_id, id_segment.c.id == target, id_segment.c.state == BUILDING)
    with writing(engine) as connection:
        lock_log(connection, model_id)  # who erases either finds this, or is done before the first source is read
        connection.execute(
            sa.insert(id_segment).values(
                model_id=model_id,
                id=target,
                project_id=project_id,
                state=BUILDING,
                level=group[0].level + 1,
                entries=0,
                pages=0,
                first_key=b"",
                last_key=b"",
                next_row=0,
                changes=0,
            )
        )
    first, last, next_row, entries, pages = b"", b"", 0, 0, 0
    try:
        for part in _merged(engine, group):
            with writing(engine) as connection:
                if not connection.execute(sa.update(id_segment).where(*place).values(entries=entries)).rowcount:
                    return False
                id_index.write_pages(connection, project_id, model_id, target, pages, part)
            low, last = raw(part.keys[[0, -1]])
            first = first or low
            next_row = max(next_row, int(part.row.max()) + 1)
            entries, pages = entries + len(part), pages + -(-len(part) // PAGE)
    except id_index.Moved:
        return False
    if not entries:  # a segment that has become empty goes when it does, so that these have something
        return False
    with writing(engine) as connection:
        lock_log(connection, model_id)
        sources = (id_segment.c.model_id == model_id, id_segment.c.id.in_([one.id for one in group]))
        query = sa.select(id_segment.c.id, id_segment.c.changes).where(*sources, id_segment.c.state == LIVE)
        unchanged = {tuple(row) for row in connection.execute(query)} == {(one.id, one.changes) for one in group}
        whole: dict[str, Any] = {"state": LIVE, "entries": entries, "pages": pages, "next_row": next_row}
        whole |= {"first_key": first, "last_key": last}
        if not unchanged or not connection.execute(sa.update(id_segment).where(*place).values(whole)).rowcount:
            return False
        connection.execute(sa.update(id_segment).where(*sources).values(state=DEAD))
    return True


class _Source:
    """A segment that is read from its beginning, some pages at a time."""

    def __init__(self, engine: Engine, segment: Segment) -> None:
        self._engine = engine
        self._segment = segment
        with reading(engine) as connection:
            self._pages = _numbers(connection, segment.id)
        self.held = NONE
        self._fill()

    def _next(self) -> Entries:
        """The next pages; each time in a transaction of its own, since a long one would hold up checkpoints."""
        some, self._pages = self._pages[: STEP // 4], self._pages[STEP // 4 :]
        with reading(self._engine) as connection:
            return Entries.joined([NONE, *read_pages(connection, self._segment, some)])

    def _fill(self) -> None:
        """Nothing is at hand only where nothing is left: pages that erasing has emptied are passed over."""
        while not len(self.held) and self._pages:
            self.held = self._next()

    @property
    def last(self) -> np.ndarray | None:
        """Up to which key everything is at hand; None: all of it."""
        return self.held.keys[-1] if self._pages else None

    def take(self, limit: np.ndarray | None) -> Entries:
        """The entries up to a key; None: all that are at hand."""
        upto = len(self.held) if limit is None else self.held.upto(limit)
        taken, self.held = self.held.part(slice(0, upto)), self.held.part(slice(upto, None))
        self._fill()
        return taken


def _merged(engine: Engine, group: Sequence[Segment]) -> Iterator[Entries]:
    """All entries of some segments in order, in parts of whole pages."""
    sources = [_Source(engine, one) for one in group]
    rest = NONE
    while any(len(one.held) for one in sources):
        bounds = [tuple(one.last.tolist()) for one in sources if one.last is not None]
        limit = np.array(min(bounds), np.uint64) if bounds else None
        rest = Entries.joined([rest, *(one.take(limit) for one in sources)])
        while len(rest) >= STEP * PAGE:
            yield rest.part(slice(0, STEP * PAGE))
            rest = rest.part(slice(STEP * PAGE, None))
    if len(rest):
        yield rest
