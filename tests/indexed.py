"""What the id index says, all of it."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.id_index import LIVE
from monitor.store.id_keys import raw
from monitor.store.id_pages import decode
from monitor.store.tables import id_page, id_segment


def indexed(connection: Connection, model_id: int | None = None) -> list[tuple[bytes, int, int]]:
    """(key, version id, row number) of every entry of live segments, of rows that are gone too, ascending."""
    query = sa.select(id_page.c.payload).join(id_segment, id_segment.c.id == id_page.c.segment_id)
    query = query.where(id_segment.c.state == LIVE)
    if model_id is not None:
        query = query.where(id_segment.c.model_id == model_id)
    found: list[tuple[bytes, int, int]] = []
    for payload in connection.scalars(query):
        page = decode(payload)
        found += zip(raw(page.keys), page.version.tolist(), page.row.tolist(), strict=True)
    return sorted(found)
