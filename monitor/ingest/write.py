"""Batches into the log: identity, one block, its keys and the quarantine, in the caller's transaction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import columns
from monitor.columns import FEATURE, FILLED_ID, FILLED_KNOWN_AT, FILLED_TIMESTAMP
from monitor.ingest.draft import Rejection, as_json
from monitor.ingest.validate import EXPIRED, OutcomeBatch, PredictionBatch
from monitor.store import blocks, outcomes
from monitor.store.blocks import LogEnd
from monitor.store.catalog import Model, version_ids
from monitor.store.erased import ERASED, erased_among
from monitor.store.quarantine import quarantine_rows
from monitor.store.tables import prediction_key

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
    connection: Connection, model: Model, requests: list[PredictionBatch], arrival: int
) -> list[Answer]:
    """Store the rows of several requests as one block; an answer for each, in order."""
    end = blocks.lock_log(connection, model.id)
    requests = [_without_expired(request, end.expired_before) for request in requests]
    if end.erased:
        requests = [_without_erased(connection, model, request) for request in requests]
    names = {name for request in requests for name in request.versions}
    numbers = version_ids(connection, model, sorted(names))
    answers = [Answer() for _ in requests]
    filled = [_with_versions(request, numbers) for request in requests if request.rows]
    if filled:
        whole = columns.concatenate(filled)
        keys = [key for request in requests for key in request.keys]
        versions = whole.column("version").to_numpy().tolist()
        owner = np.repeat(np.arange(len(requests)), [request.rows for request in requests])
        fresh = _store_new(connection, model, whole, keys, versions, end, arrival)
        if fresh is None:
            fate = _fates(connection, model, whole, keys, versions)
            mask = np.array([one == "new" for one in fate])
            chosen = np.flatnonzero(mask).tolist()
            kept = whole.filter(pa.array(mask))
            if kept.num_rows:
                _store_new(
                    connection, model, kept, [keys[i] for i in chosen], [versions[i] for i in chosen], end, arrival
                )
            _count_fates(answers, requests, whole, fate, owner)
            fresh = kept.num_rows
        else:
            for answer, request in zip(answers, requests, strict=True):
                answer.accepted = request.rows
        known = max(request.max_known_at for request in requests)
        known = known if end.known_at is None else max(known, end.known_at)
        blocks.move_log(connection, model.id, LogEnd(end.next_row + fresh, end.next_outcome, known))
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
        keys=[request.keys[at] for at in chosen],
        index=request.index[kept],
        rejected=request.rejected + rejected,
    )


def _with_versions(request: PredictionBatch, numbers: dict[str, int]) -> pa.RecordBatch:
    at = request.batch.schema.get_field_index("version")
    array = pa.array([numbers[name] for name in request.versions], pa.int32())
    return request.batch.set_column(at, "version", array)


def _store_new(
    connection: Connection,
    model: Model,
    batch: pa.RecordBatch,
    keys: list[bytes],
    versions: list[int],
    end: LogEnd,
    arrival: int,
) -> int | None:
    """Store all rows as new and return their number, or store none and return None if any was there already."""
    nested = connection.begin_nested()
    rows = range(end.next_row, end.next_row + len(keys))
    if blocks.add_keys(connection, model.project_id, model.id, keys, versions, rows) != len(keys):
        nested.rollback()
        return None
    nested.commit()
    blocks.add_block(connection, model.project_id, model.id, end.next_row, batch, arrival)
    return len(keys)


def _fates(
    connection: Connection, model: Model, batch: pa.RecordBatch, keys: list[bytes], versions: list[int]
) -> list[str]:
    """For each row: new, duplicate or conflict, against what is stored and against the rows before it."""
    known = {(key, version): row for key, version, row in blocks.rows_of_keys(connection, model.id, keys)}
    wanted = [known[identity] for identity in zip(keys, versions, strict=True) if identity in known]
    stored = blocks.read_rows(connection, model.id, wanted)
    bodies: dict[tuple[bytes, int], dict[str, Any]] = {}
    fates = []
    for at, identity in enumerate(zip(keys, versions, strict=True)):
        body = body_of(batch, at)
        if identity not in bodies and identity in known:
            row = stored.get(known[identity])
            # A key without its block is a row whose body has expired: it counts as the same.
            bodies[identity] = body if row is None else body_of(row, 0)
        if identity not in bodies:
            bodies[identity] = body
            fates.append("new")
        else:
            fates.append("duplicate" if same_body(bodies[identity], body) else "conflict")
    return fates


def body_of(batch: pa.RecordBatch, at: int) -> dict[str, Any]:
    """A row as its sender gave it: without nulls and without what was filled in here."""
    row = {name: batch.column(i)[at].as_py() for i, name in enumerate(batch.schema.names)}
    bits = row.pop("filled")
    for bit, name in ((FILLED_ID, "id"), (FILLED_TIMESTAMP, "timestamp"), (FILLED_KNOWN_AT, "known_at")):
        if bits & bit:
            row.pop(name)
    row |= _kept_aside(row.pop("extra", None))
    return {name: value for name, value in row.items() if value is not None}


def _kept_aside(extra: str | None) -> dict[str, Any]:
    """The values that did not fit the schema, as the columns that they had while there was none."""
    try:
        return {} if extra is None else {FEATURE + name: value for name, value in orjson.loads(extra).items()}
    except orjson.JSONDecodeError:  # too long, and so cut off
        return {"extra": extra}


def same_body(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows, as their senders gave them, say the same."""
    # known_at beyond the arrival is cut to it, and so differs between tries: it counts only where both have it.
    names = (one.keys() | other.keys()) - ({"known_at"} if ("known_at" in one) != ("known_at" in other) else set())
    return all(name in one and name in other and _equal(one[name], other[name]) for name in names)


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return one == other if type(one) is type(other) else columns.label_text(one) == columns.label_text(other)


def _count_fates(
    answers: list[Answer], requests: list[PredictionBatch], batch: pa.RecordBatch, fates: list[str], owner: np.ndarray
) -> None:
    first = np.concatenate([[0], np.cumsum([request.rows for request in requests])])
    for at, fate in enumerate(fates):
        number = int(owner[at])
        answer, request = answers[number], requests[number]
        if fate == "new":
            answer.accepted += 1
            continue
        place = int(request.index[at - int(first[number])])
        if fate == "duplicate":
            answer.duplicates += 1
            answer.duplicate_places.add(place)
        else:
            row_id = batch.column("id")[at].as_py()
            answer.rejected.append(Rejection(place, row_id, "conflict", _CONFLICT, as_json(body_of(batch, at))))


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
    here = _with_predictions(connection, model.id, keys)
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
    return answers


def _repeats(row: outcomes.NewOutcome, history: Sequence[tuple[int, int, str]]) -> bool:
    """With a time of its own an outcome repeats one of the same time and value; without, one of the same value."""
    if row.observed_given:
        return any(at == row.observed_at and value == row.actual for at, _, value in history)
    return any(value == row.actual for _, _, value in history)


def _with_predictions(connection: Connection, model_id: int, keys: list[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for at in range(0, len(keys), 2000):
        query = sa.select(prediction_key.c.key).where(
            prediction_key.c.model_id == model_id, blocks.key_in(connection, prediction_key.c.key, keys[at : at + 2000])
        )
        found.update(bytes(key) for (key,) in connection.execute(query))
    return found
