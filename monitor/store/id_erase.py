"""Taking keys out of the id index for good: a key can be the id itself, so that nothing of an erased one may stay."""

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.id_index import LIVE, Segment, new_number, pages_of, read_pages, segments
from monitor.store.id_keys import Entries, match, numbers, order_of, raw
from monitor.store.id_pages import FILTER_BYTES, decode, encode, filters
from monitor.store.tables import id_page, id_segment


def erase(connection: Connection, model_id: int, keys: Sequence[bytes]) -> None:
    """Remove every entry of these keys; the model's log is locked, and their rows are removed already.

    A process that reads just now may have such an entry in memory, which says nothing without its row. For its sake
    pages keep their numbers, and one that becomes empty stays.
    """
    unseen = (id_segment.c.model_id == model_id, id_segment.c.state != LIVE)
    # First the segment, which waits for a builder to end its transaction: its pages are seen only then. Who goes on
    # building finds it gone, and writes no more.
    removed = connection.scalars(sa.delete(id_segment).where(*unseen).returning(id_segment.c.id)).all()
    for segment_id in removed:
        connection.execute(sa.delete(id_page).where(id_page.c.segment_id == segment_id))
    wanted = numbers(keys)
    wanted = wanted[order_of(wanted)]
    for segment in segments(connection, model_id):
        _erase_from(connection, segment, wanted)


def _erase_from(connection: Connection, segment: Segment, wanted: np.ndarray) -> None:
    query = sa.select(id_page.c.page, id_page.c.first_key).where(id_page.c.segment_id == segment.id)
    listed = connection.execute(query.order_by(id_page.c.page)).all()
    _, pages = pages_of(numbers([row.first_key for row in listed]), wanted)
    changed = False
    for at in sorted(set(pages.tolist()), reverse=True):
        (entries,) = read_pages(connection, segment, [listed[at].page])
        _, where = match(entries, wanted)
        if len(where):
            after = _first_key(connection, segment.id, listed[at].page)
            _rewrite(connection, segment.id, listed[at].page, entries.part(_but(len(entries), where)), after)
            changed = True
    if changed:
        _describe_again(connection, segment)


def _but(count: int, where: np.ndarray) -> np.ndarray:
    stays = np.ones(count, bool)
    stays[where] = False
    return stays


def _first_key(connection: Connection, segment_id: int, page: int) -> bytes:
    """With which key the page after this one begins; the greatest of all where there is none."""
    query = sa.select(id_page.c.first_key).where(id_page.c.segment_id == segment_id, id_page.c.page > page)
    found = connection.scalar(query.order_by(id_page.c.page).limit(1))
    return b"\xff" * 16 if found is None else bytes(found)


def _rewrite(connection: Connection, segment_id: int, page: int, entries: Entries, after: bytes) -> None:
    first = raw(entries.keys[:1])[0] if len(entries) else after
    bits = filters(entries.keys)[0] if len(entries) else bytes(FILTER_BYTES)
    connection.execute(
        sa.update(id_page)
        .where(id_page.c.segment_id == segment_id, id_page.c.page == page)
        .values(first_key=first, filter=bits, payload=encode(entries))
    )


def _describe_again(connection: Connection, segment: Segment) -> None:
    """The segment's own first and last key may have been of an erased one: they are its pages' now."""
    filled = sa.select(id_page.c.payload).where(
        id_page.c.segment_id == segment.id,
        id_page.c.filter != bytes(FILTER_BYTES),  # any key sets bits of its page's
    )
    lowest = connection.scalar(filled.order_by(id_page.c.page).limit(1))
    highest = connection.scalar(filled.order_by(id_page.c.page.desc()).limit(1))
    here = id_segment.c.id == segment.id
    if lowest is None or highest is None:
        connection.execute(sa.delete(id_page).where(id_page.c.segment_id == segment.id))
        connection.execute(sa.delete(id_segment).where(here))
    else:
        (first,), (last,) = raw(decode(lowest).keys[:1]), raw(decode(highest).keys[-1:])
        values = {"first_key": first, "last_key": last, "changes": new_number()}
        connection.execute(sa.update(id_segment).where(here).values(values))
