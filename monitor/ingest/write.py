"""Batches into the log: identity, one block, its keys and the quarantine, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy.engine import Connection

from monitor import columns
from monitor.ingest.draft import Rejection, as_json
from monitor.ingest.fates import CONFLICT, DUPLICATE, NEW, body_of, fates
from monitor.ingest.validate import EXPIRED, OutcomeBatch, PredictionBatch
from monitor.store import blocks, id_index, id_merge, outcomes
from monitor.store.blocks import LogEnd
from monitor.store.catalog import Model, version_ids
from monitor.store.erased import ERASED, erased_among
from monitor.store.id_index import Segment
from monitor.store.quarantine import quarantine_rows

_CONFLICT = "another row with this id and version is stored: a correction needs a new id"
_SHOWN = 1000  # rejections listed in an answer


@dataclass
class Answer:
    """What became of one request; the counts add up to its rows."""

    accepted: int = 0
    duplicates: int = 0
    revised: int = 0
    pending: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    ids: list[str] | None = None
    duplicate_places: set[int] = field(default_factory=set)  # in the request, of predictions
    known_at: int = 0  # where the log's known_at stands since, 0 where nothing moved it

    def shown(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "revised": self.revised,
            "pending": self.pending,
            "rejected": [one.shown() for one in sorted(self.rejected, key=lambda one: one.index)[:_SHOWN]],
            "rejected_count": len(self.rejected),
        }
        return body if self.ids is None else body | {"ids": self.ids}

    @property
    def unusable(self) -> bool:
        """Whether there were rows, and none of them could be used."""
        return bool(self.rejected) and not (self.accepted or self.duplicates or self.revised)


def write_predictions(
    connection: Connection,
    model: Model,
    requests: list[PredictionBatch],
    arrival: int,
    known_versions: Mapping[str, int] = MappingProxyType({}),
) -> list[Answer]:
    """Store the rows of several requests as one block; an answer for each, in order.

    `known_versions`: numbers of versions that were committed before; others are looked up, or get one.
    """
    end = blocks.lock_log(connection, model.id)
    requests = [_without_expired(request, end.expired_before) for request in requests]
    if end.erased:
        requests = [_without_erased(connection, model, request) for request in requests]
    names = {name for request in requests for name in request.versions}
    numbers = known_versions if names <= known_versions.keys() else version_ids(connection, model, sorted(names))
    answers = [Answer() for _ in requests]
    filled = [_with_versions(request, numbers) for request in requests if request.rows]
    if filled:
        whole = columns.concatenate(filled)
        keys = np.concatenate([request.keys for request in requests])
        versions = whole.column("version").to_numpy()
        segments = id_index.segments(connection, model.id)
        fate = fates(connection, model.id, whole, keys, versions, segments)
        fresh = fate == NEW
        _store(connection, model, whole, keys, versions, fresh, segments, end, arrival)
        _count_fates(answers, requests, whole, fate)
        known = max(request.max_known_at for request in requests)
        known = known if end.known_at is None else max(known, end.known_at)
        blocks.move_log(connection, model.id, LogEnd(end.next_row + int(fresh.sum()), end.next_outcome, known))
        for answer in answers:
            answer.known_at = known
    for answer, request in zip(answers, requests, strict=True):
        answer.rejected = request.rejected + answer.rejected
        quarantine_rows(connection, model.project_id, model.id, "predictions", answer.rejected, arrival)
        if request.made_ids:
            answer.ids = _ids_in_places(request)
    return answers


def _without_expired(request: PredictionBatch, before: int | None) -> PredictionBatch:
    """The request without rows whose identity may be forgotten: they could be retries of rows that were counted.

    Validation has looked at their age already, but by a clock and settings of a moment ago.
    """
    if before is None or not request.rows:
        return request
    kept = request.batch.column("timestamp").to_numpy() >= before
    if kept.all():
        return request
    expired = [
        Rejection(
            int(request.index[at]),
            request.batch.column("id")[at].as_py(),
            *EXPIRED,
            as_json(body_of(request.batch, at)),
        )
        for at in np.flatnonzero(~kept).tolist()
    ]
    return _keep(request, kept, expired)


def _without_erased(connection: Connection, model: Model, request: PredictionBatch) -> PredictionBatch:
    """The request without rows of erased ids: they are rejected, and nothing of them is kept."""
    ids = request.batch.column("id").to_pylist()
    gone = erased_among(connection, model.id, ids)
    if not gone:
        return request
    kept = np.array([one not in gone for one in ids])
    refused = [Rejection(int(request.index[at]), ids[at], *ERASED, "") for at in np.flatnonzero(~kept).tolist()]
    return _keep(request, kept, refused)


def _keep(request: PredictionBatch, kept: np.ndarray, rejected: list[Rejection]) -> PredictionBatch:
    chosen = np.flatnonzero(kept).tolist()
    return replace(
        request,
        batch=request.batch.filter(pa.array(kept)),
        versions=[request.versions[at] for at in chosen],
        keys=request.keys[kept],
        index=request.index[kept],
        rejected=request.rejected + rejected,
    )


def _with_versions(request: PredictionBatch, numbers: Mapping[str, int]) -> pa.RecordBatch:
    at = request.batch.schema.get_field_index("version")
    array = pa.array([numbers[name] for name in request.versions], pa.int32())
    return request.batch.set_column(at, "version", array)


def _store(
    connection: Connection,
    model: Model,
    batch: pa.RecordBatch,
    keys: np.ndarray,
    versions: np.ndarray,
    fresh: np.ndarray,
    segments: list[Segment],
    end: LogEnd,
    arrival: int,
) -> None:
    """Store the rows that are new as one block, with their entries in the index."""
    if not fresh.all():
        batch, keys, versions = batch.filter(pa.array(fresh)), keys[fresh], versions[fresh]
    if len(keys):
        added = id_index.add(connection, model.project_id, model.id, keys, versions, end.next_row)
        id_merge.tidy(connection, model.project_id, model.id, [*segments, added], len(keys))
        blocks.add_block(connection, model.project_id, model.id, end.next_row, batch, arrival)


def _count_fates(
    answers: list[Answer], requests: list[PredictionBatch], batch: pa.RecordBatch, fate: np.ndarray
) -> None:
    first = 0
    for answer, request in zip(answers, requests, strict=True):
        own = fate[first : first + request.rows]
        answer.accepted = int((own == NEW).sum())
        if answer.accepted < request.rows:
            repeated = np.flatnonzero(own == DUPLICATE)
            answer.duplicates = len(repeated)
            answer.duplicate_places = set(request.index[repeated].tolist())
            for at in np.flatnonzero(own == CONFLICT).tolist():
                row_id, body = batch.column("id")[first + at].as_py(), as_json(body_of(batch, first + at))
                answer.rejected.append(Rejection(int(request.index[at]), row_id, "conflict", _CONFLICT, body))
        first += request.rows


def _ids_in_places(request: PredictionBatch) -> list[str]:
    """The ids by place in the request; rejected rows have an empty text there."""
    ids = [""] * request.total
    for place, row_id in zip(request.index, request.batch.column("id").to_pylist(), strict=True):
        ids[int(place)] = row_id
    return ids


def write_outcomes(connection: Connection, model: Model, requests: list[OutcomeBatch], arrival: int) -> list[Answer]:
    """Append the outcomes of several requests; an answer for each, in order."""
    end = blocks.lock_log(connection, model.id)
    keys = list(dict.fromkeys(row.key for request in requests for row in request.rows))
    earlier = {
        key: [(held.observed_at, held.observed_given, held.actual) for held in history]
        for key, history in outcomes.history(connection, model.id, keys).items()
    }
    here = id_index.present(connection, model.id, keys)
    answers, fresh = [], []
    gone = erased_among(connection, model.id, [row.id for one in requests for row in one.rows]) if end.erased else ()
    for request in requests:
        answer = Answer(rejected=list(request.rejected))
        for place, row in zip(request.index, request.rows, strict=True):
            if row.id in gone:
                answer.rejected.append(Rejection(int(place), row.id, *ERASED, ""))
                continue
            history = earlier.setdefault(row.key, [])
            if _repeats(row, history):
                answer.duplicates += 1
                continue
            if history:
                answer.revised += 1
            else:
                answer.accepted += 1
                answer.pending += row.key not in here
            history.append((row.observed_at, row.observed_given, row.actual))
            fresh.append(row)
        quarantine_rows(connection, model.project_id, model.id, "outcomes", answer.rejected, arrival)
        answers.append(answer)
    if fresh:
        outcomes.add_outcomes(connection, model.project_id, model.id, end.next_outcome, fresh, arrival)
        known = max(row.known_at for row in fresh)
        known = known if end.known_at is None else max(known, end.known_at)
        blocks.move_log(connection, model.id, LogEnd(end.next_row, end.next_outcome + len(fresh), known))
        for answer in answers:
            answer.known_at = known
    return answers


def _repeats(row: outcomes.NewOutcome, history: Sequence[tuple[int, int, str]]) -> bool:
    """With a time of its own an outcome repeats one of the same time and value; without, one of the same value."""
    if row.observed_given:
        return any(at == row.observed_at and value == row.actual for at, _, value in history)
    return any(value == row.actual for _, _, value in history)
