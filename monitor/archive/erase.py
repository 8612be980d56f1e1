"""Erasing what is stored under some ids: from the log, the quarantine, reports, references and the archive.

The database changes in one transaction, then the archive, file by file. A run that was broken off is done by the same
command again: what is gone already is no obstacle, and the archive is searched as a whole. Counts (profiles,
measurements, alerts) stay as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor.archive import frames
from monitor.archive.alone import alone
from monitor.archive.places import Place
from monitor.store import audit, blocks, catalog, erased, id_erase, id_index, profiles, two_sample
from monitor.store import tables as t
from monitor.store.catalog import Model
from monitor.store.codec import decode, encode
from monitor.store.identity import keys_of
from monitor.store.session import is_sqlite, reading, writing

PATIENCE_SECONDS = 60.0  # with a sweep that adds outcomes to the archive


@dataclass(frozen=True)
class Erased:
    """What went. `ids` were asked for, `new_ids` of them had not been erased before."""

    ids: int
    new_ids: int
    rows: int
    outcomes: int
    quarantined: int
    reports: int
    reference_rows: int
    archived_rows: int
    archive_files: int
    traces_left: bool


def erase(
    engine: Engine,
    project_id: int,
    model_name: str,
    ids: Sequence[str],
    place: Place | None,
    now: int,
    actor: str,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Erased:
    """Erase everything that is stored under these ids, and refuse them from now on.

    Raises:
        NotFound: there is no such model.
        OSError: the archive could not be rewritten; the database was. Run it again.
    """
    with reading(engine) as connection:
        model = catalog.get_model(connection, project_id, model_name)
    wanted = list(dict.fromkeys(ids))
    found = _erase_stored(engine, model, wanted, now, actor)
    rows = files = 0
    if place is not None:
        with alone(engine, model, PATIENCE_SECONDS) as go_on:
            if go_on is None:
                raise OSError("the archive files of this model are being written by another process")
            rows, files = _erase_archived(place, model, wanted, go_on, progress)
    return Erased(len(wanted), *found, rows, files, not _sweep_traces(engine))


def _erase_stored(
    engine: Engine, model: Model, ids: list[str], now: int, actor: str
) -> tuple[int, int, int, int, int, int]:
    keys = keys_of(ids)
    with writing(engine) as connection:
        if is_sqlite(connection):
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what is freed is overwritten with zeros
        blocks.lock_log(connection, model.id)  # whoever writes waits, and finds the ids refused
        profiles.lock_watermark(connection, model.id)  # and whoever counts or removes blocks
        new = erased.note_erased(connection, model.project_id, model.id, ids, now)
        numbers = [row for _, _, row in id_index.rows_of_keys(connection, model.id, keys)]
        gone = blocks.remove_rows(connection, model.id, numbers)
        stamps = [batch.column("timestamp")[0].as_py() for batch in gone]
        id_erase.erase(connection, model.id, keys)
        outcomes = erased.erase_outcomes(connection, model.id, keys)
        quarantined = erased.erase_quarantined(connection, model.id, set(ids))
        reports = erased.erase_reports(connection, model.id, stamps)
        references = _erase_references(connection, model, ids)
        two_sample.forget_rows(connection, model.id)
        told = f"{len(ids):,} ids ({new:,} of them not before): {len(gone):,} rows, {outcomes:,} outcomes"
        audit.note(connection, model.project_id, now, actor, "rows.erased", model.name, told)
    return new, len(gone), outcomes, quarantined, reports, references


def _erase_references(connection: Connection, model: Model, ids: list[str]) -> int:
    """Take the rows of these ids out of references that were sent as rows; their counts stay."""
    table, gone = t.reference_rows, 0
    parts = connection.execute(sa.select(table.c.reference_id, table.c.part).where(table.c.model_id == model.id)).all()
    for part in parts:
        place = (table.c.reference_id == part.reference_id, table.c.part == part.part)
        batch = decode(connection.execute(sa.select(table.c.payload).where(*place)).scalar_one())
        if "id" not in batch.schema.names:
            continue
        kept = batch.filter(pc.invert(_named(batch.column("id"), ids)))
        if kept.num_rows < batch.num_rows:
            gone += batch.num_rows - kept.num_rows
            change = sa.update(table).where(*place).values(rows=kept.num_rows, payload=encode(kept))
            connection.execute(change)
    return gone


def _erase_archived(
    place: Place, model: Model, ids: list[str], go_on: Callable[[], None], progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """Write the archive files that hold such rows again without them; (rows, files)."""
    rows = changed = 0
    paths = list(place.files(frames.archive_of(model)))
    for done, path in enumerate(paths):
        progress(done, len(paths))
        go_on()
        with place.open(path) as file:
            if not pc.any(_named(pyarrow.parquet.read_table(file, columns=["id"]).column("id"), ids)).as_py():
                continue
        with place.open(path) as file:
            table = pyarrow.parquet.read_table(file)
        kept = table.filter(pc.invert(_named(table.column("id"), ids)))
        rows, changed = rows + table.num_rows - kept.num_rows, changed + 1
        if kept.num_rows:
            frames.replace_table(place, path, kept)
        else:
            place.remove(path)
    progress(len(paths), len(paths))
    return rows, changed


def _named(column: pa.Array | pa.ChunkedArray, ids: list[str]) -> pa.Array | pa.ChunkedArray:
    return pc.fill_null(pc.is_in(column, pa.array(ids, pa.string())), False)


def _sweep_traces(engine: Engine) -> bool:
    """Take old versions of the rows out of the database's files; whether that was possible now."""
    with engine.connect() as connection:
        if is_sqlite(connection):
            # The log of writes holds pages as they were; it is emptied unless somebody reads from it.
            busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            return not busy
        names = "block, id_segment, id_page, outcome, quarantine, task, two_sample, reference_rows"
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"VACUUM {names}")
        return True
