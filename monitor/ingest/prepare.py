"""From what a sender gave to batches that can be stored: decoded, and every rule applied."""

from enum import Enum

from monitor.ingest import ndjson
from monitor.ingest.decode import decode_outcomes, decode_predictions
from monitor.ingest.draft import Draft
from monitor.ingest.validate import OutcomeBatch, PredictionBatch, Times, validate_outcomes, validate_predictions
from monitor.store.catalog import Model

Batch = PredictionBatch | OutcomeBatch


class Form(Enum):
    """How JSON lies in a body."""

    WHOLE = "whole"  # one row, rows or columns
    LINES = "lines"  # a row a line


def prepared(form: Form, kind: str, body: bytes, model: Model, times: Times) -> list[Batch]:
    """The rows of a body of JSON, or of a group of its lines; none where there is none.

    Args:
        kind: `predictions` or `outcomes`.

    Raises:
        Unreadable, Invalid, TooLarge: as `decode` and `validate` do.
    """
    if form is Form.LINES:
        drafts = ndjson.drafts(body, model, kind)
    else:
        drafts = [(decode_predictions if kind == "predictions" else decode_outcomes)(body, model)]
    return [validated(draft, model, times, kind) for draft in drafts]


def validated(draft: Draft, model: Model, times: Times, kind: str) -> Batch:
    """A draft of `predictions` or `outcomes`, checked."""
    return (
        validate_predictions(draft, model, times) if kind == "predictions" else validate_outcomes(draft, model, times)
    )
