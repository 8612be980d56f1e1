"""Rows of a reference: decoded and checked as predictions are, but with `actual`, and whenever they happened."""

from pathlib import Path

import pyarrow as pa

from monitor.errors import Invalid
from monitor.ingest.decode import decode_predictions
from monitor.ingest.draft import Draft
from monitor.ingest.files import reference_draft
from monitor.ingest.validate import Times, validate_predictions
from monitor.store.catalog import Model

MAX_ROWS = 1_000_000
_FOREVER = 1 << 62


def reference_from_json(body: bytes, model: Model, now: int) -> pa.Table:
    """The rows of a reference body as columns of monitor.columns and `actual`.

    Raises:
        Unreadable, Invalid, TooLarge: as for predictions; one bad row refuses the reference, since it is immutable.
    """
    return _checked(decode_predictions(body, model, with_actual=True, max_rows=MAX_ROWS), model, now)


def reference_from_file(path: Path, file_format: str, model: Model, now: int) -> pa.Table:
    """The rows of a CSV or Parquet file as a reference.

    Raises:
        SetupError: the file cannot be read.
        Invalid: a row is not valid.
    """
    return _checked(reference_draft(path, file_format, model), model, now)


def _checked(draft: Draft, model: Model, now: int) -> pa.Table:
    batch = validate_predictions(draft, model, Times(now, _FOREVER, False, 2 * _FOREVER))
    if batch.rejected:
        first = min(batch.rejected, key=lambda one: one.index)
        raise Invalid(
            f"{len(batch.rejected)} of {batch.total} rows are not valid, and a reference is stored whole or not at all",
            errors=[{"field": f"rows[{first.index}]", "detail": first.message}],
        )
    if not batch.rows:
        raise Invalid.field("rows", "a reference needs rows")
    return pa.Table.from_batches([batch.batch])
