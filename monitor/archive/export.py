"""The log of a model as hive-partitioned Parquet: DIR/model=M/day=2026-01-31/part-0000.parquet.

An export shows the log as it was when it began. A day appears whole: its folder is made under a hidden name and
renamed. One that was broken off leaves a note of where the log ended and which days are done; the same command goes on
from there. One that was finished is made anew, from the log of now.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.archive import frames
from monitor.archive.places import LocalPlace, sync_folder
from monitor.errors import SetupError
from monitor.store import blocks, catalog
from monitor.store.catalog import Model
from monitor.store.session import reading

PART_ROWS = 200_000  # of one file, and what is held in memory at a time
_NOTE = "_unfinished.json"


@dataclass(frozen=True)
class Done:
    """What an export wrote; `resumed` days were there from an earlier run that was broken off."""

    days: int
    rows: int
    files: int
    bytes: int
    resumed: int


def export(
    engine: Engine,
    project_id: int,
    model_name: str,
    from_at: int,
    to_at: int,
    target: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Done:
    """Write the predictions with from_at <= timestamp < to_at, with their outcomes.

    Raises:
        NotFound: there is no such model.
        SetupError: the stretch is empty, or the directory holds something else.
    """
    if from_at >= to_at:
        raise SetupError("--from must lie before --to")
    with reading(engine) as connection:
        model = catalog.get_model(connection, project_id, model_name)
        end = blocks.log_end(connection, model.id)
        spans = list(blocks.spans_between(connection, model.id, from_at, to_at))
    root = target / frames.folder_of(model)
    if target.exists() and not target.is_dir():
        raise SetupError(f"{target}: not a directory")
    root.mkdir(parents=True, exist_ok=True)
    note = _begin(root, {"from": from_at, "to": to_at, "next_row": end.next_row, "next_outcome": end.next_outcome})
    days = sorted({day for low, high in spans for day in _days(max(low, from_at), min(high, to_at - 1))})
    totals, resumed = [0, 0, 0, 0], 0
    for number, day in enumerate(days):
        progress(number, len(days))
        date = frames.date_of(day)
        if date in note["done"]:
            counts, resumed = note["done"][date], resumed + 1
        else:
            low, high = max(from_at, day * clock.DAY), min(to_at, (day + 1) * clock.DAY)
            counts = _export_day(engine, model, low, high, note, root / f"day={date}")
            note["done"][date] = counts
            _write_note(root, note)
        totals = [a + b for a, b in zip(totals, [int(counts[1] > 0), *counts[1:]], strict=True)]
    progress(len(days), len(days))
    (root / _NOTE).unlink()
    return Done(totals[0], totals[1], totals[2], totals[3], resumed)


def _days(low: int, high: int) -> range:
    return range(low // clock.DAY, high // clock.DAY + 1)


def _begin(root: Path, wanted: dict[str, int]) -> dict[str, Any]:
    """The note of an export of this stretch that was broken off, else a new one; what a kill left is removed."""
    for leftover in [*root.glob(".day=*"), *root.glob("." + _NOTE + "*")]:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    try:
        note: dict[str, Any] = json.loads((root / _NOTE).read_text())
        if (note["from"], note["to"]) == (wanted["from"], wanted["to"]):
            # Files of finished days that somebody removed since are written again.
            note["done"] = {
                date: counts
                for date, counts in note["done"].items()
                if not counts[1] or (root / f"day={date}").is_dir()
            }
            return note
    except (OSError, ValueError, KeyError):
        pass
    note = wanted | {"done": {}}
    _write_note(root, note)
    return note


def _write_note(root: Path, note: dict[str, Any]) -> None:
    LocalPlace(root).write(_NOTE, lambda file: file.write(json.dumps(note).encode()))


def _export_day(engine: Engine, model: Model, low: int, high: int, note: dict[str, Any], folder: Path) -> list[int]:
    """Write one day's folder; [1, rows, files, bytes]. A day without rows has none."""
    hidden = folder.with_name("." + folder.name)
    rows = files = size = 0
    with reading(engine) as connection:
        versions = catalog.version_names(connection, model.id)
        for batches in _gathered(
            blocks.read_blocks_between(connection, model.id, low, high, None, note["next_row"]), low, high
        ):
            table = frames.table_of(connection, model, batches, versions, note["next_outcome"])
            hidden.mkdir(exist_ok=True)
            name = f"part-{files:04d}.parquet"
            size += frames.replace_table(LocalPlace(hidden), name, table)
            rows, files = rows + table.num_rows, files + 1
    if files:  # else what an earlier export left stays: its rows may have expired since
        if folder.exists():
            shutil.rmtree(folder)
        hidden.rename(folder)
        sync_folder(folder.parent)
    return [1, rows, files, size]


def _gathered(found: Iterator[tuple[int, pa.RecordBatch]], low: int, high: int) -> Iterator[list[pa.RecordBatch]]:
    """The rows of the stretch, in lists of about PART_ROWS."""
    batches: list[pa.RecordBatch] = []
    rows = 0
    for _, batch in found:
        at = batch.column("timestamp")
        chosen = batch.filter(pc.and_(pc.greater_equal(at, low), pc.less(at, high)))
        if chosen.num_rows:
            batches.append(chosen)
            rows += chosen.num_rows
        if rows >= PART_ROWS:
            yield batches
            batches, rows = [], 0
    if batches:
        yield batches
