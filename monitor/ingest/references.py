"""Rows of a reference: decoded and checked as predictions are, but with `actual`, and whenever they happened."""

from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any

from monitor.ingest.decode import decode_predictions
from monitor.ingest.draft import Draft
from monitor.ingest.load import reference_draft
from monitor.ingest.validate import PredictionBatch, Times, validate_predictions
from monitor.store.catalog import Model

MAX_ROWS = 1_000_000
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


def _checked(draft: Draft, model: Model, now: int) -> PredictionBatch:
    return validate_predictions(draft, model, Times(now, _FOREVER, False, 2 * _FOREVER))
