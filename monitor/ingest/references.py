"""Rows of a reference: decoded and checked as predictions are, but with `actual`, and whenever they happened."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from monitor.columns import concatenate
from monitor.errors import TooLarge
from monitor.ingest.decode import decode_predictions
from monitor.ingest.draft import Draft, Rejection
from monitor.ingest.load import reference_draft
from monitor.ingest.validate import PredictionBatch, Times, validate_predictions
from monitor.store.catalog import Model

MAX_ROWS = 1_000_000
MAX_BYTES = 256 << 20  # as columns, in memory
_FOREVER = 1 << 62


def reference_from_json(body: bytes, model: Model, now: int) -> PredictionBatch:
    """The rows of a reference body, with `actual` where outcomes are given, and those that cannot be used.

    Any age is welcome; a row without a timestamp gets the time of its arrival, and says so in `filled`.

    Raises:
        Unreadable, Invalid, TooLarge: as for predictions.
    """
    return _checked(decode_predictions(body, model, with_actual=True, max_rows=MAX_ROWS), model, now)


def reference_from_file(
    path: Path, file_format: str, model: Model, now: int, zone: tzinfo | None = None
) -> tuple[PredictionBatch, Mapping[str, Any]]:
    """The same of a file of any format that is known, and how it was read: `format`, `columns`, `unused_columns`.

    Raises:
        SetupError: the file cannot be read.
    """
    draft, how = reference_draft(path, file_format, model, zone)
    return _checked(draft, model, now), how


class Gathered:
    """The rows of a reference that comes in pieces, as one; bounded in rows and bytes."""

    def __init__(self) -> None:
        self._drafts: list[Draft] = []
        self._rows = self._bytes = 0

    def add(self, draft: Draft) -> None:
        """Add a piece.

        Raises:
            TooLarge: more than `MAX_ROWS` rows, or than `MAX_BYTES`.
        """
        self._rows += draft.total
        self._bytes += sum(array.nbytes for array in draft.columns.values())
        if self._rows > MAX_ROWS or self._bytes > MAX_BYTES:
            raise TooLarge(f"a reference may have {MAX_ROWS:,} rows and {MAX_BYTES >> 20} MiB: send a sample")
        self._drafts.append(draft)

    def checked(self, model: Model, now: int) -> PredictionBatch:
        """All of it, as `reference_from_json` gives it."""
        first = 0
        index: list[np.ndarray] = [np.zeros(0, np.int64)]
        rejected: list[Rejection] = []
        for draft in self._drafts:
            index.append(draft.index + first)
            rejected += [replace(one, index=one.index + first) for one in draft.rejected]
            first += draft.total
        columns: dict[str, pa.Array] = {}
        if any(draft.rows for draft in self._drafts):
            # A piece without any column counts its rows all the same.
            batches = [
                pa.RecordBatch.from_arrays([pa.array(draft.index), *draft.columns.values()], ["", *draft.columns])
                for draft in self._drafts
            ]
            whole = concatenate(batches)
            columns = dict(zip(whole.schema.names, whole.columns, strict=True))
            del columns[""]
        return _checked(Draft(columns, np.concatenate(index), first, rejected), model, now)


def _checked(draft: Draft, model: Model, now: int) -> PredictionBatch:
    return validate_predictions(draft, model, Times(now, _FOREVER, False, 2 * _FOREVER))
