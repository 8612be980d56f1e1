"""The index of ids becomes sorted segments in pages (docs/decisions/0012).

Revision: 0010
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op

from monitor.store import id_pages
from monitor.store.id_keys import Entries, numbers

revision = "0010"
down_revision = "0013"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LARGEST = 1 << 21  # entries of a segment
_LIVE = 1
_READ = 64 * id_pages.PAGE


def upgrade() -> None:
    """Make the tables and move what the old index says into them."""
    segment = op.create_table(
        "id_segment",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("id", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("state", Int, nullable=False),
        sa.Column("level", Int, nullable=False),
        sa.Column("entries", Int, nullable=False),
        sa.Column("pages", Int, nullable=False),
        sa.Column("first_key", sa.LargeBinary(), nullable=False),
        sa.Column("last_key", sa.LargeBinary(), nullable=False),
        sa.Column("next_row", Int, nullable=False),
        sa.Column("changes", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "id", name=op.f("pk_id_segment")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    page = op.create_table(
        "id_page",
        sa.Column("segment_id", Int, autoincrement=False, nullable=False),
        sa.Column("page", Int, autoincrement=False, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("first_key", sa.LargeBinary(), nullable=False),
        sa.Column("filter", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("segment_id", "page", name=op.f("pk_id_page")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_id_page_model_id"), "id_page", ["model_id"], unique=False)
    connection = op.get_bind()
    old = sa.text("SELECT DISTINCT model_id, project_id FROM prediction_key")
    for model_id, project_id in connection.execute(old).all():
        _move(connection, segment, page, model_id, project_id)
    op.drop_table("prediction_key")


def _move(connection: sa.Connection, segment: sa.Table, page: sa.Table, model_id: int, project_id: int) -> None:
    own: dict[str, Any] = {"model_id": model_id, "project_id": project_id}
    segment_id, pages, entries, next_row, first, last = 0, 0, 0, 0, b"", b""

    def finish() -> None:
        if entries:
            whole = {"state": _LIVE, "level": 4, "entries": entries, "pages": pages, "next_row": next_row, "changes": 0}
            ends = {"id": segment_id, "first_key": first, "last_key": last}
            connection.execute(sa.insert(segment), own | whole | ends)

    for rows in _entries(connection, model_id):
        if not entries or entries >= _LARGEST:
            finish()
            segment_id, pages, entries, next_row = int.from_bytes(os.urandom(8), "big") >> 2, 0, 0, 0
            first = bytes(rows[0][0])
        values = []
        for start in range(0, len(rows), id_pages.PAGE):
            keys, versions, numbered = zip(*rows[start : start + id_pages.PAGE], strict=True)
            part = Entries(
                numbers([bytes(key) for key in keys]), np.array(versions, np.int32), np.array(numbered, np.int64)
            )
            place = {"segment_id": segment_id, "page": pages, "first_key": bytes(keys[0])}
            values.append(own | place | {"filter": id_pages.filters(part.keys)[0], "payload": id_pages.encode(part)})
            pages, next_row = pages + 1, max(next_row, max(numbered) + 1)
        connection.execute(sa.insert(page), values)
        entries, last = entries + len(rows), bytes(rows[-1][0])
    finish()


def _entries(connection: sa.Connection, model_id: int) -> Iterator[list[Any]]:
    """What the old index says, ascending, some at a time."""
    key, version = b"", -1
    query = sa.text(
        'SELECT key, version_id, "row" FROM prediction_key WHERE model_id = :model AND key >= :key'
        " AND (key > :key OR version_id > :version) ORDER BY key, version_id LIMIT :most"
    )
    while rows := connection.execute(query, {"model": model_id, "key": key, "version": version, "most": _READ}).all():
        yield list(rows)
        key, version = bytes(rows[-1][0]), rows[-1][1]


def downgrade() -> None:
    """Put the entries back into a table, without those of rows that are gone."""
    op.create_table(
        "prediction_key",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("version_id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("row", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "key", "version_id", name=op.f("pk_prediction_key")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    kept = sa.text(
        "SELECT 1 FROM block WHERE model_id = :model AND first_row <= :row AND first_row + rows > :row LIMIT 1"
    )
    put = sa.text(
        'INSERT INTO prediction_key (model_id, key, version_id, project_id, "row")'
        " VALUES (:model, :key, :version, :project, :row)"
    )
    pages = sa.text(
        "SELECT p.model_id, p.project_id, p.payload FROM id_page p JOIN id_segment s ON s.id = p.segment_id"
        f" WHERE s.state = {_LIVE}"
    )
    for model_id, project_id, payload in connection.execute(pages).all():
        entries = id_pages.decode(bytes(payload))
        keys = entries.keys.astype(">u8").tobytes()
        for at, (version, row) in enumerate(zip(entries.version.tolist(), entries.row.tolist(), strict=True)):
            if connection.execute(kept, {"model": model_id, "row": row}).first():
                key = keys[16 * at : 16 * at + 16]
                values = {"model": model_id, "key": key, "version": version, "project": project_id, "row": row}
                connection.execute(put, values)
    op.drop_index(op.f("ix_id_page_model_id"), table_name="id_page")
    op.drop_table("id_page")
    op.drop_table("id_segment")
