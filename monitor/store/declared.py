"""What files have declared: so that what a file no longer names can be told from what was made by hand."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import tables as t
from monitor.store.upsert import upsert

_d = t.declared.c


def refs(connection: Connection, project_id: int) -> dict[tuple[str, str], str]:
    """The id of what was declared, by section and name."""
    rows = connection.execute(sa.select(_d.section, _d.name, _d.ref).where(_d.project_id == project_id))
    return {(row.section, row.name): row.ref for row in rows}


def note(connection: Connection, project_id: int, section: str, name: str, ref: str) -> None:
    """A file declares this; `ref` is its id, by which another of the same name is told apart."""
    values = {"project_id": project_id, "section": section, "name": name, "ref": ref}
    connection.execute(upsert(connection, t.declared), values)


def forget(connection: Connection, project_id: int, section: str, name: str) -> None:
    """No file declares this any more."""
    same = (_d.project_id == project_id, _d.section == section, _d.name == name)
    connection.execute(sa.delete(t.declared).where(*same))
