"""Files into the log, whatever their format: bounded batches, through the same rules and the same commit as requests.

Rows without an id get one made of the file's content and their place in it, so that a second import changes nothing,
and the labels of a file join its predictions. Outcomes get such ids only where the file has no ids at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy.engine import Engine

from monitor import columns
from monitor.errors import SetupError
from monitor.ingest import formats, names
from monitor.ingest.draft import Draft, Rejection
from monitor.ingest.formats.base import DEFAULT_ZONE, Format, Piece, Wanted
from monitor.ingest.formats.source import Source
from monitor.ingest.pairs import Halves
from monitor.ingest.validate import OutcomeBatch, PredictionBatch, validate_outcomes, validate_predictions
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store.catalog import Model

SHOWN = 100  # rejected rows that are listed
_COUNTS = ("accepted", "duplicates", "revised", "pending")
_OURS = ("csv", "parquet", "arrow", "ndjson")  # their times need an offset: we say so in our own documentation

Progress = Callable[[int, int], None]


@dataclass
class _Totals:
    """What became of a file so far."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    rejected: list[dict[str, Any]] = field(default_factory=list)
    rejected_count: int = 0
    unlabelled: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    unused: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    rows: int = 0

    def add_mapping(self, piece: Piece) -> None:
        self.rows += 1 if isinstance(piece.rows, Halves) else piece.rows.total + piece.unlabelled
        self.unlabelled += piece.unlabelled
        self.columns |= piece.columns
        self.unused |= dict.fromkeys(piece.unused)
        self.notes |= dict.fromkeys(piece.notes)

    def add(self, answer: Answer, first: int) -> None:
        for name in _COUNTS:
            self.counts[name] += getattr(answer, name)
        self.add_rejected(answer.rejected, first)

    def add_rejected(self, rejected: list[Rejection], first: int) -> None:
        self.rejected_count += len(rejected)
        room = SHOWN - len(self.rejected)
        self.rejected += [one.shown() | {"index": one.index + first} for one in rejected[:room]]

    def shown(self, model: Model) -> dict[str, Any]:
        """All of it; `model` as it was before the file."""
        return {
            **self.counts,
            "rejected_count": self.rejected_count,
            "rejected": self.rejected,
            "unlabelled": self.unlabelled,
            "columns": self.columns,
            "unused_columns": [name for name in self.unused if name not in self.columns],
            "notes": list(self.notes),
            "warnings": names.warnings(self.columns, model) if self.rows else ["no rows in the file"],
        }


def import_file(
    engine: Engine,
    settings: Settings,
    project_id: int,
    model_name: str,
    path: Path,
    kind: str,
    file_format: str = "auto",
    history: bool = False,
    progress: Progress = lambda done, total: None,
    zone: tzinfo | None = None,
) -> dict[str, Any]:
    """Load a file of predictions or outcomes; importing it again changes nothing.

    Args:
        kind: `predictions` or `outcomes`.
        file_format: one of `formats.NAMES`.
        history: take each row's own time (`timestamp`; `observed_at` of outcomes) as the time it was known.
        progress: called with the bytes or rows done and their total.
        zone: of times without an offset; default: none in our own formats, where they are refused, UTC in others.

    Returns:
        The counts of an ingest answer, `rejected` being the first 100, `unlabelled` (rows of a table of outcomes that
        have no label and were left out), and how the file was read: `format`, `columns` (what became what),
        `unused_columns`, `notes`, `warnings` (columns whose names look like mistakes).

    Raises:
        SetupError: the file cannot be read, or lacks a column that is needed.
        NotFound: there is no such model.
    """
    writer = Writer(engine, settings)
    before, _ = writer.model(project_id, model_name)

    def model() -> Model:
        return writer.model(project_id, model_name)[0]

    found, source = formats.choose(path, file_format)
    wanted = Wanted(model, kind, lambda: writer.model(project_id, model_name)[1], history, _zone(found, zone))
    totals = _Totals()
    writer.start()
    total = 0
    try:
        for piece in found.read(source, wanted):
            totals.add_mapping(piece)
            current, times = writer.model(project_id, model_name)
            batch: PredictionBatch | OutcomeBatch | Halves
            if isinstance(piece.rows, Halves):
                batch = piece.rows
            else:
                check: Any = validate_predictions if kind == "predictions" else validate_outcomes
                # An outcome that lacks its id beside others that have theirs would wait for ever: it is rejected.
                own_ids = kind == "outcomes" and "id" in piece.columns.values()
                draft = piece.rows if own_ids else _with_ids(piece.rows, source, piece.first)
                batch = check(draft, current, times)
            totals.add(writer.submit(current, batch).result(), piece.first)
            total = piece.total
            progress(piece.done, total)
        progress(total, total)
    finally:
        writer.stop()
    return {"format": found.name, **totals.shown(before)}


def _zone(found: Format, zone: tzinfo | None) -> tzinfo | None:
    return zone if zone is not None or found.name in _OURS else DEFAULT_ZONE


def _with_ids(draft: Draft, source: Source, first: int) -> Draft:
    """The draft with an id for each row that has none: the file's fingerprint and the row's place in it."""
    ids = draft.columns.get("id")
    if draft.rows == 0 or (ids is not None and ids.null_count == 0):
        return draft
    made = [f"{source.fingerprint}-{first + place}" for place in draft.index.tolist()]
    given = [None] * draft.rows if ids is None else ids.to_pylist()
    filled = [own if one is None else one for one, own in zip(given, made, strict=True)]
    draft.columns = {**draft.columns, "id": pa.array(filled, pa.string())}
    return draft


def reference_draft(
    path: Path, file_format: str, model: Model, zone: tzinfo | None = None
) -> tuple[Draft, Mapping[str, Any]]:
    """A whole file as one draft of reference rows, which may carry `actual`; and how it was read.

    Raises:
        SetupError: the file cannot be read, or has no rows.
    """
    found, source = formats.choose(path, file_format)
    wanted = Wanted(lambda: model, "reference", zone=_zone(found, zone))
    totals = _Totals()
    parts: list[Draft] = []
    for piece in found.read(source, wanted):
        totals.add_mapping(piece)
        draft = piece.rows
        if isinstance(draft, Halves):
            raise SetupError(f"{path}: logged events are loaded with --kind predictions; make a reference of their log")
        draft.index = draft.index + piece.first
        parts.append(draft)
    if not parts:
        raise SetupError(f"{path}: the file has no rows")
    shown = totals.shown(model)
    how = {name: shown[name] for name in ("columns", "unused_columns", "notes", "warnings")}
    return _joined(parts), {"format": found.name, **how}


def _joined(parts: list[Draft]) -> Draft:
    rows = [one for one in parts if one.rows]
    made: dict[str, pa.Array] = {}
    if rows:
        batches = [pa.RecordBatch.from_arrays(list(one.columns.values()), names=list(one.columns)) for one in rows]
        whole = columns.concatenate(batches)
        made = dict(zip(whole.schema.names, whole.columns, strict=True))
    return Draft(
        made,
        np.concatenate([one.index for one in parts]),
        sum(one.total for one in parts),
        [rejection for one in parts for rejection in one.rejected],
    )
