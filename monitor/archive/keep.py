"""Retention with an archive: rows are written as Parquet before their blocks are deleted.

A run of expired blocks becomes a file for each day in it, named by the positions in the log that it covers:
model=M/day=2026-01-31/rows-MODEL-000000001000-000000002000.parquet, where MODEL tells a model from one that was deleted
and made again. Only then are the blocks deleted, in one transaction. A
crash between the two leaves files of rows that are still in the log: the next run writes them again, under these names
or others, and removes every other file that covers positions of its own.
"""

import re
from collections.abc import Iterator

import pyarrow as pa
from sqlalchemy.engine import Engine

from monitor.archive import frames
from monitor.archive.places import Place
from monitor.store import blocks, catalog, retention
from monitor.store.catalog import Model
from monitor.store.session import reading

RUN_ROWS = 50_000  # rows of a run of blocks, at most one block more
_NAME = re.compile(r".*/rows-(\d+_\d+)-(\d+)-(\d+)\.parquet")


def archive_and_expire(engine: Engine, model: Model, before: int, place: Place, below_row: int | None = None) -> int:
    """Archive and delete what is over (`retention.expired_blocks`); returns the rows, 0 when none is left.

    Raises:
        OSError: the archive does not take them; they stay in the log.
    """
    expired = retention.expired_blocks(engine, model.id, before, below_row)
    removed = 0
    for run in _runs(expired):
        first, following = run[0].first_row, run[-1].first_row + run[-1].rows
        with reading(engine) as connection:
            end = blocks.log_end(connection, model.id)
            versions = catalog.version_names(connection, model.id)
            batches = [batch for _, batch in blocks.read_blocks(connection, model.id, first, following)]
            days: dict[str, list[pa.RecordBatch]] = {}
            for batch in batches:
                for date, part in frames.by_day(batch):
                    days.setdefault(date, []).append(part)
            tables = {date: frames.table_of(connection, model, parts, versions) for date, parts in days.items()}
        name = f"rows-{_incarnation(model)}-{first:012d}-{following:012d}.parquet"
        written = set()
        for date, table in tables.items():
            path = f"{frames.archive_of(model, date)}/{name}"
            frames.replace_table(place, path, table)
            written.add(path)
        for path in overlapping(place, model, first, following):
            if path not in written:
                place.remove(path)
        starts = [one.first_row for one in run]
        rows = sum(batch.num_rows for batch in batches)
        gone = retention.remove_archived(engine, model.id, starts, rows, end.next_outcome, before)
        if gone == 0:
            # Something changed since it was read: an erasure, a new outcome, a new binning. Nothing of it stays here,
            # unless another sweeper has meanwhile kept the very same rows under the same name, and removed them there.
            if not _kept_by_another(engine, model, first, following, end.erased):
                for path in written:
                    place.remove(path)
            return removed
        removed += gone
    return removed


def _kept_by_another(engine: Engine, model: Model, first: int, following: int, erased: int | None) -> bool:
    """Whether the rows first … following - 1 are in the log no more, and not by an erasure."""
    with reading(engine) as connection:
        left = any(True for _ in blocks.read_blocks(connection, model.id, first, following, ["timestamp"]))
        return not left and blocks.log_end(connection, model.id).erased == erased


def _runs(expired: list[retention.Expired]) -> Iterator[list[retention.Expired]]:
    """Neighbouring blocks, together up to about RUN_ROWS rows."""
    run: list[retention.Expired] = []
    for one in expired:
        apart = run and one.first_row != run[-1].first_row + run[-1].rows
        if run and (apart or sum(each.rows for each in run) >= RUN_ROWS):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def overlapping(place: Place, model: Model, first: int, following: int) -> list[str]:
    """The archive files of a model that cover any of the positions first … following - 1."""
    return [path for path, start, end in _files(place, model) if start < following and end > first]


def files_of(place: Place, model: Model) -> list[str]:
    """All archive files of a model, but those of one of its name that was deleted."""
    return [path for path, _, _ in _files(place, model)]


def _files(place: Place, model: Model) -> Iterator[tuple[str, int, int]]:
    """(path, first position, position after the last)."""
    for path in place.files(frames.archive_of(model)):
        match = _NAME.fullmatch(path)
        if match is not None and match[1] == _incarnation(model):
            yield path, int(match[2]), int(match[3])


def _incarnation(model: Model) -> str:
    return f"{model.id}_{model.created_at}"
