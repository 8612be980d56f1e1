"""The index that finds any id: sorted segments of keys, in pages that are read only where they may hold what is asked.

A commit adds its rows as one segment; small segments are merged into larger ones (store/id_merge), so that there are a
few dozen whatever their number of rows. A segment never changes, but by erasing: what is read of it is kept in memory,
small segments whole, of large ones where each page begins and a filter of three bytes a key.

An entry counts as long as its row is kept: retention removes blocks, and with them what their entries say. So every
answer is of rows that are there. Whoever adds holds the model's log (`blocks.lock_log`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import blocks
from monitor.store.id_cache import Cache
from monitor.store.id_keys import NONE, Entries, match, numbers, order_of, raw, side_by_side
from monitor.store.id_pages import FILTER_BYTES, PAGE, decode, encode, filters, hashes, may_hold
from monitor.store.tables import id_page, id_segment

BUILDING, LIVE, DEAD = 0, 1, 2  # states of a segment; only live ones are looked into
WHOLE = 16  # pages of a segment that is kept in memory as it is
CACHE_BYTES = 256 << 20  # in each process: what is kept of some 80 million keys
_READ = 256  # pages at a time
_TRIES = 5


class Segment(NamedTuple):
    """A sorted segment. `level` grows by one with each merge, `changes` is another number after each erasing from it;
    `first` and `last` are first halves of keys."""

    id: int
    level: int
    entries: int
    pages: int
    changes: int
    first: int
    last: int

    @classmethod
    def of(cls, id_: int, level: int, entries: int, pages: int, changes: int, first: bytes, last: bytes) -> "Segment":
        return cls(id_, level, entries, pages, changes, *(int.from_bytes(key[:8], "big") for key in (first, last)))

    @property
    def content(self) -> tuple[int, int]:
        """What is in it never changes under this name, which no other segment has, though it be rolled back."""
        return self.id, self.changes


@dataclass(frozen=True)
class Found:
    """Rows that are kept, by the place of their key in the question."""

    at: np.ndarray  # int64[m]
    version: np.ndarray  # int32[m]
    row: np.ndarray  # int64[m]


@dataclass(frozen=True)
class _Guide:
    """Where the pages of a large segment begin, and their filters."""

    number: np.ndarray  # int64[pages], the pages' numbers
    first: np.ndarray  # uint64[pages, 2], their first keys
    bits: np.ndarray  # uint8[pages * FILTER_BYTES]

    @property
    def size(self) -> int:
        return int(self.bits.nbytes + self.first.nbytes + self.number.nbytes)


class Moved(Exception):
    """A segment is not what it was when it was listed."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment


# Built once: every commit runs these.
_ADD_SEGMENT, _ADD_PAGES = sa.insert(id_segment), sa.insert(id_page)
_SEGMENTS = sa.select(
    id_segment.c.id,
    id_segment.c.level,
    id_segment.c.entries,
    id_segment.c.pages,
    id_segment.c.changes,
    id_segment.c.first_key,
    id_segment.c.last_key,
).where(id_segment.c.model_id == sa.bindparam("mine"), id_segment.c.state == LIVE)

_cache: Cache[Entries | _Guide] = Cache(CACHE_BYTES)


def level_of(entries: int) -> int:
    """Which segments are of a size: each level is of eight times the one before; the first holds a page."""
    level, most = 0, PAGE
    while entries > most:
        level, most = level + 1, 8 * most
    return level


def add(
    connection: Connection, project_id: int, model_id: int, keys: np.ndarray, versions: np.ndarray, first_row: int
) -> Segment:
    """Index new rows, at least one; they are a segment of their own.

    Args:
        keys: uint64[n, 2], see store/id_keys.
        versions: int32[n], model_version.id.
        first_row: the number of the first; the others follow.
    """
    rows = np.arange(first_row, first_row + len(keys))
    return write_segment(connection, project_id, model_id, Entries.of(keys, versions, rows), level_of(len(keys)))


def write_segment(connection: Connection, project_id: int, model_id: int, entries: Entries, level: int) -> Segment:
    """Store a segment of sorted entries, at least one, for everybody to see."""
    segment_id = new_number()
    write_pages(connection, project_id, model_id, segment_id, 0, entries)
    pages = -(-len(entries) // PAGE)
    first, last = raw(entries.keys[[0, -1]])
    values = {
        "model_id": model_id,
        "id": segment_id,
        "project_id": project_id,
        "state": LIVE,
        "level": level,
        "entries": len(entries),
        "pages": pages,
        "first_key": first,
        "last_key": last,
        "next_row": int(entries.row.max()) + 1,
        "changes": 0,
    }
    connection.execute(_ADD_SEGMENT, values)
    if pages <= WHOLE:
        _cache.put((segment_id, 0), entries, 32 * len(entries))
    return Segment.of(segment_id, level, len(entries), pages, 0, first, last)


def new_number() -> int:
    """A number that no segment, and no change of one, ever had."""
    return int.from_bytes(os.urandom(8), "big") >> 2


def write_pages(
    connection: Connection, project_id: int, model_id: int, segment_id: int, first_page: int, entries: Entries
) -> None:
    """Store sorted entries as the pages first_page, first_page + 1, …"""
    made = filters(entries.keys)
    firsts = raw(entries.keys[::PAGE])
    values = [
        {
            "segment_id": segment_id,
            "page": first_page + at,
            "project_id": project_id,
            "model_id": model_id,
            "first_key": first,
            "filter": bits,
            "payload": encode(entries.part(slice(at * PAGE, (at + 1) * PAGE))),
        }
        for at, (first, bits) in enumerate(zip(firsts, made, strict=True))
    ]
    connection.execute(_ADD_PAGES, values)


def segments(connection: Connection, model_id: int) -> list[Segment]:
    """The segments of a model that are looked into; they stay these while its log is locked."""
    return [Segment.of(*row) for row in connection.execute(_SEGMENTS, {"mine": model_id})]


def find(connection: Connection, model_id: int, keys: np.ndarray, listed: Sequence[Segment] | None = None) -> Found:
    """Every kept row that has one of these keys (uint64[n, 2]); `listed`: the segments, by who has locked the log."""
    order = order_of(keys)
    for _ in range(_TRIES):
        try:
            among = segments(connection, model_id) if listed is None and len(keys) else listed or ()
            at, entries = _search(connection, among, keys[order])
            break
        except Moved as moved:  # merged since it was listed, by another process
            _cache.drop(moved.segment.content)
    else:
        raise RuntimeError("the id index changes faster than it can be read")
    kept = blocks.kept(connection, model_id, entries.row)
    return Found(order[at[kept]], entries.version[kept], entries.row[kept])


def rows_of_keys(connection: Connection, model_id: int, keys: Sequence[bytes]) -> list[tuple[bytes, int, int]]:
    """(key, version id, row number) of every kept row with one of these keys."""
    found = find(connection, model_id, numbers(keys))
    listed = zip(found.at.tolist(), found.version.tolist(), found.row.tolist(), strict=True)
    return [(keys[at], version, row) for at, version, row in listed]


def present(connection: Connection, model_id: int, keys: Sequence[bytes]) -> set[bytes]:
    """Those of the keys under which a row is kept."""
    return {key for key, _, _ in rows_of_keys(connection, model_id, keys)}


def _search(connection: Connection, among: Sequence[Segment], keys: np.ndarray) -> tuple[np.ndarray, Entries]:
    """The entries of ascending keys, with the keys' places; those of rows that are gone too."""
    places: list[np.ndarray] = [np.zeros(0, np.int64)]
    entries = [NONE]
    hashed: np.ndarray | None = None
    within = []
    for segment in among if len(keys) else ():
        first = int(np.searchsorted(keys[:, 0], np.uint64(segment.first), "left"))
        end = int(np.searchsorted(keys[:, 0], np.uint64(segment.last), "right"))
        if first < end:
            within.append((segment, first, end))
    small = [one for one, _, _ in within if one.pages <= WHOLE]
    held_whole = dict(zip(small, whole(connection, small), strict=True))
    for segment, first, end in within:
        if segment in held_whole:
            found = [(np.arange(first, end), held_whole[segment])]
        else:
            hashed = hashes(keys) if hashed is None else hashed
            found = _in_pages(connection, segment, keys[first:end], hashed[first:end], first)
        for chosen, held in found:
            at, where = match(held, keys[chosen])
            if len(at):
                places.append(chosen[at])
                entries.append(held.part(where))
    return np.concatenate(places), side_by_side(entries)


def whole(connection: Connection, wanted: Sequence[Segment]) -> list[Entries]:
    """All entries of some segments, a list item each; small ones are kept in memory."""
    held = {one.id: _cache.get(one.content) for one in wanted}
    missing = [number for number, entries in held.items() if not isinstance(entries, Entries)]
    parts: dict[int, list[Entries]] = {}
    for start in range(0, len(missing), _READ):
        query = (
            sa.select(id_page.c.segment_id, id_page.c.payload)
            .where(id_page.c.segment_id.in_(missing[start : start + _READ]))
            .order_by(id_page.c.segment_id, id_page.c.page)
        )
        for segment_id, payload in connection.execute(query):
            parts.setdefault(segment_id, []).append(decode(payload))
    found = []
    for one in wanted:
        entries = held[one.id]
        if not isinstance(entries, Entries):
            if one.id not in parts:
                raise Moved(one)
            entries = side_by_side(parts[one.id])
            if one.pages <= WHOLE:
                _cache.put(one.content, entries, 32 * len(entries))
        found.append(entries)
    return found


def _in_pages(
    connection: Connection, segment: Segment, keys: np.ndarray, hashed: np.ndarray, offset: int
) -> list[tuple[np.ndarray, Entries]]:
    """Pages of a large segment that may hold some of the keys: (places of these keys, entries of the pages)."""
    guide = _guide(connection, segment)
    place, page = pages_of(guide.first, keys)
    passed = may_hold(guide.bits, page, hashed[place])
    place, page = place[passed], page[passed]
    found = []
    wanted = np.unique(page)
    for start in range(0, len(wanted), _READ):
        some = wanted[start : start + _READ]
        entries = Entries.joined(read_pages(connection, segment, guide.number[some].tolist()))
        mine = np.unique(place[(page >= some[0]) & (page <= some[-1])])
        found.append((mine + offset, entries))
    return found


def pages_of(first: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pages, by their first keys, that keys would stand in: pairs (place of the key, place of the page)."""
    page = np.searchsorted(first[:, 0], keys[:, 0], "right") - 1
    place = np.arange(len(keys))
    border = np.flatnonzero((page >= 0) & (first[np.maximum(page, 0), 0] == keys[:, 0]))
    before: list[tuple[int, int]] = []  # versions of a key may begin on the page before the one that begins with it
    for at in border.tolist():  # the first half does not tell: pages begin with it
        low = int(np.searchsorted(first[:, 0], keys[at, 0], "left"))
        page[at] = low - 1 + np.searchsorted(first[low : page[at] + 1, 1], keys[at, 1], "right")
        if page[at] > 0 and (first[page[at]] == keys[at]).all():
            earlier = low - 1 + int(np.searchsorted(first[low : page[at] + 1, 1], keys[at, 1], "left"))
            before += [(at, one) for one in range(max(earlier, 0), page[at])]
    place = np.concatenate([place, np.array([at for at, _ in before], np.int64)])
    page = np.concatenate([page, np.array([one for _, one in before], np.int64)])
    inside = page >= 0
    return place[inside], page[inside]


def _guide(connection: Connection, segment: Segment) -> _Guide:
    held = _cache.get(segment.content)
    if isinstance(held, _Guide):
        return held
    query = sa.select(id_page.c.page, id_page.c.first_key, id_page.c.filter)
    rows = connection.execute(query.where(id_page.c.segment_id == segment.id).order_by(id_page.c.page)).all()
    if not rows:
        raise Moved(segment)
    bits = np.frombuffer(b"".join([row[2] for row in rows]), np.uint8)
    assert len(bits) == len(rows) * FILTER_BYTES
    guide = _Guide(np.array([row[0] for row in rows]), numbers([row[1] for row in rows]), bits)
    _cache.put(segment.content, guide, guide.size)
    return guide


def forget(gone: Sequence[Segment]) -> None:
    """Keep these in memory no longer; should they stay, they are read again."""
    for one in gone:
        _cache.drop(one.content)


def read_pages(connection: Connection, segment: Segment, pages: Sequence[int]) -> list[Entries]:
    """The entries of some pages, in order.

    Raises:
        Moved: one is not there any more.
    """
    query = (
        sa.select(id_page.c.payload)
        .where(id_page.c.segment_id == segment.id, id_page.c.page.in_(list(pages)))
        .order_by(id_page.c.page)
    )
    found = [decode(payload) for payload in connection.scalars(query)]
    if len(found) != len(pages):
        raise Moved(segment)
    return found
