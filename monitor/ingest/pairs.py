"""Calls that are logged as two events: a request and its response, under one id, in any order.

The half that comes first is stored, in the transaction that acknowledges it; with the other one it becomes rows, in the
transaction that acknowledges that. So a restart in between loses nothing. A half whose other half does not come within
`WAIT` becomes rows of what it knows, with the tag `unpaired`: a request has features, a response predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.columns import FEATURE, SCORE
from monitor.errors import KeepwatchError
from monitor.ingest.decode import MAX_ROWS, decode_predictions
from monitor.ingest.draft import Rejection, as_json, clip
from monitor.ingest.fates import body_of, same_body
from monitor.ingest.validate import PredictionBatch, Times, validate_predictions
from monitor.ingest.write import Answer, write_predictions
from monitor.store import blocks, halves, id_index
from monitor.store.catalog import Model
from monitor.store.halves import Waiting
from monitor.store.identity import key_of
from monitor.store.quarantine import quarantine_rows
from monitor.store.session import writing

REQUEST, RESPONSE = "request", "response"
OTHER = {REQUEST: RESPONSE, RESPONSE: REQUEST}
WAIT = clock.HOUR
TURN = 500  # halves that are given up in one transaction

_CONFLICT = "another event of this id is stored: it holds other values, or its pair was given up after an hour"


@dataclass(frozen=True)
class Half:
    """One event. `content` is what it knows of its rows: `rows` (features, or predictions), and what they share."""

    place: int  # in the request, or in the file
    id: str
    side: str
    content: dict[str, Any]

    @property
    def waiting(self) -> Waiting:
        body = msgspec.json.encode(self.content, order="sorted", enc_hook=str).decode()
        return Waiting(key_of(self.id), self.side, self.id, body)


@dataclass
class Halves:
    """Events that are ready to be stored, and those that are not."""

    halves: list[Half]
    times: Times
    total: int
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(len(half.content["rows"]) for half in self.halves)


@dataclass
class EventAnswer(Answer):
    """Counts of events; `pending` wait for their other half. `stored` counts the rows that came of them."""

    stored: Answer = field(default_factory=Answer)

    def shown(self) -> dict[str, Any]:
        rows = {"accepted": self.stored.accepted, "duplicates": self.stored.duplicates}
        return {**super().shown(), "rows": {**rows, "rejected": len(self.stored.rejected)}}


def numbered(event_id: str, at: int, rows: int) -> str:
    """The id of one row of a call: the call's own when it had one row, `id#0`, `id#1`, … when it had several."""
    return event_id if rows == 1 else f"{event_id}#{at}"


def checked(found: Sequence[Half], rejected: list[Rejection], total: int, model: Model, times: Times) -> Halves:
    """Events with those rejected that could never become a row, while their sender still listens."""
    good = []
    for half in found:
        reason = _reason(half, model, times)
        if reason is None:
            good.append(half)
        else:
            rejected.append(Rejection(half.place, half.id, reason[0], reason[1], as_json(half.content)))
    return Halves(good, times, total, rejected)


def _reason(half: Half, model: Model, times: Times) -> tuple[str, str] | None:
    """Why nothing of an event can be stored: a code and a text."""
    count = len(half.content["rows"])
    if not 1 <= count <= MAX_ROWS:
        return "invalid", f"an event must hold 1 to {MAX_ROWS:,} rows"
    try:
        batch = _batch(_alone(half.waiting), model, times)
    except KeepwatchError as error:
        return "invalid", str(error)
    return None if batch.rows else (batch.rejected[0].code, batch.rejected[0].message)


def _batch(rows: list[dict[str, Any]], model: Model, times: Times) -> PredictionBatch:
    body = msgspec.json.encode({"rows": rows})
    return validate_predictions(decode_predictions(body, model, max_rows=len(rows)), model, times)


def _alone(half: Waiting, unpaired: bool = False) -> list[dict[str, Any]]:
    """The rows of one half."""
    content = msgspec.json.decode(half.body)
    rows = content.pop("rows")
    if unpaired:
        content["tags"] = {**content.get("tags", {}), "unpaired": half.side}
    return [{**content, **row, "id": numbered(half.event_id, at, len(rows))} for at, row in enumerate(rows)]


def _together(one: Waiting, other: Waiting) -> list[dict[str, Any]] | None:
    """The rows of a pair; None when its halves have different numbers of rows."""
    by_side = {one.side: msgspec.json.decode(one.body), other.side: msgspec.json.decode(other.body)}
    request, response = by_side[REQUEST], by_side[RESPONSE]
    given, answers = request.pop("rows"), response.pop("rows")
    if len(given) != len(answers):
        return None
    # A row happened when it was asked for; what else both know, the response knows better.
    shared = {**request, **response, "tags": {**request.get("tags", {}), **response.get("tags", {})}}
    for name in ("timestamp", "known_at"):
        if name in request:
            shared[name] = request[name]
    if not shared["tags"]:
        del shared["tags"]
    latency = _latency(request.get("timestamp"), response.get("timestamp"))
    if latency is not None:
        shared["latency_ms"] = latency
    return [
        {**shared, **row, **answer, "id": numbered(one.event_id, at, len(given))}
        for at, (row, answer) in enumerate(zip(given, answers, strict=True))
    ]


def _latency(asked: Any, answered: Any) -> float | None:
    """Milliseconds between two times, where both are known and in order."""
    try:
        spent = clock.parse(answered) - clock.parse(asked)
    except (ValueError, TypeError, OverflowError):
        return None
    return spent / 1000 if spent >= 0 else None


@dataclass
class _Ready:
    """Rows that are complete, whose event they answer, and the event itself when its fate hangs on them."""

    rows: list[dict[str, Any]]
    answer: EventAnswer
    half: Half | None
    times: Times


def write_halves(connection: Connection, model: Model, requests: list[Halves], arrival: int) -> list[EventAnswer]:
    """Store events, and the rows of those that are complete; an answer for each request, in order."""
    blocks.lock_log(connection, model.id)
    keys = list(dict.fromkeys(half.waiting.key for request in requests for half in request.halves))
    waiting = halves.find(connection, model.id, keys)
    stored = set(waiting)
    complete = _complete(connection, model, requests)
    paired: dict[halves.Place, str] = {}
    fresh: dict[halves.Place, tuple[Waiting, EventAnswer]] = {}
    ready: list[_Ready] = []
    answers = [EventAnswer(rejected=list(request.rejected)) for request in requests]
    for request, answer in zip(requests, answers, strict=True):
        for half in request.halves:
            mine = half.waiting
            other = waiting.get((mine.key, OTHER[half.side]))
            known = waiting[mine.place].body if mine.place in waiting else paired.get(mine.place)
            if known is not None:
                _repeat(answer, half, known == mine.body)
            elif other is not None:
                rows = _together(mine, other)
                if rows is None:
                    _reject(answer, half, "invalid", "request and response of this id have different numbers of rows")
                    continue
                ready.append(_Ready(rows, answer, half, request.times))
                del waiting[other.place]
                if other.place in fresh:
                    fresh.pop(other.place)[1].pending -= 1
                paired |= {mine.place: mine.body, other.place: other.body}
            elif half.id in complete:
                _repeat(answer, half, _agrees(connection, model, half, request.times))
            else:
                waiting[mine.place] = mine
                fresh[mine.place] = mine, answer
                answer.accepted += 1
                answer.pending += 1
    halves.remove(connection, model.id, stored - set(waiting))
    halves.add(connection, model.project_id, model.id, [one for one, _ in fresh.values()], arrival)
    for answer in answers:  # rows that are rejected below are quarantined as rows
        quarantine_rows(connection, model.project_id, model.id, "predictions", answer.rejected, arrival)
    known_at = _write(connection, model, ready, arrival)
    for answer in answers:
        answer.known_at = known_at
    return answers


def _repeat(answer: EventAnswer, half: Half, same: bool) -> None:
    if same:
        answer.duplicates += 1
    else:
        _reject(answer, half, "conflict", _CONFLICT)


def _reject(answer: EventAnswer, half: Half, code: str, message: str) -> None:
    answer.rejected.append(Rejection(half.place, half.id, code, message, clip(half.waiting.body.encode())))


def _ids(half: Half) -> tuple[str, str]:
    """The ids under which an event's first row may be stored."""
    return half.id, numbered(half.id, 0, 2)


def _complete(connection: Connection, model: Model, requests: list[Halves]) -> set[str]:
    """The events that have become rows already."""
    every = {half.id: _ids(half) for request in requests for half in request.halves}
    keys = {key_of(one): event_id for event_id, ids in every.items() for one in ids}
    return {keys[key] for key, _, _ in id_index.rows_of_keys(connection, model.id, list(keys))}


def _agrees(connection: Connection, model: Model, half: Half, times: Times) -> bool:
    """Whether what an event says is what the stored rows of its id say."""
    batch = _batch(_alone(half.waiting), model, times)
    places: dict[int, int] = {}
    stored = id_index.find(connection, model.id, batch.keys)
    for at, number in zip(stored.at.tolist(), stored.row.tolist(), strict=True):
        places.setdefault(at, number)
    found = blocks.read_rows(connection, model.id, list(places.values()))
    for at in range(batch.rows):
        if at not in places:
            return False
        row = found.get(places[at])  # None: its body has expired, and counts as the same
        given = _side(body_of(batch.batch, at), half.side)
        if row is not None and not same_body(_side(body_of(row, 0), half.side), given):
            return False
    return True


def _side(body: dict[str, Any], side: str) -> dict[str, Any]:
    if side == REQUEST:
        return {name: value for name, value in body.items() if name.startswith(FEATURE)}
    return {name: value for name, value in body.items() if name in ("prediction", "score") or name.startswith(SCORE)}


def _write(connection: Connection, model: Model, ready: list[_Ready], arrival: int) -> int:
    """Store the rows of complete events, count what became of them; the log's known_at since, 0 if none came."""
    batches: list[PredictionBatch] = []
    for one in ready:
        try:
            batches.append(_batch(one.rows, model, one.times))
        except KeepwatchError as error:  # what each half may have, and both together may not
            whole = [Rejection(0, str(one.rows[0]["id"]), "invalid", str(error), as_json(one.rows[0]))]
            batches.append(replace(_batch([], model, one.times), rejected=whole, total=1))
    if not batches:
        return 0
    results = write_predictions(connection, model, batches, arrival)
    for one, result in zip(ready, results, strict=True):
        counts = one.answer.stored
        counts.accepted += result.accepted
        counts.duplicates += result.duplicates
        counts.rejected += result.rejected
        if one.half is None or (result.accepted or result.duplicates):
            one.answer.accepted += 1
        elif result.rejected:
            first = result.rejected[0]
            one.answer.rejected.append(replace(first, index=one.half.place, id=one.half.id))
    return max(result.known_at for result in results)


def give_up(engine: Engine, model: Model, times: Times, before: int) -> int:
    """Make rows of the halves that came before `before`, at most `TURN`; returns how many halves these were.

    The other half, should it still come, is then told that its pair was given up.
    """
    with writing(engine) as connection:
        blocks.lock_log(connection, model.id)
        late = halves.overdue(connection, model.id, before, TURN)
        if late:
            answer = EventAnswer()
            ready = [_Ready(_alone(one, unpaired=True), answer, None, times) for one in late]
            _write(connection, model, ready, times.arrival)
            halves.remove(connection, model.id, [one.place for one in late])
    return len(late)
