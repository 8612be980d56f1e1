"""What a client sent and what it was told, compared with what is stored: the judge of every fault test of ingest.

Every request is sent until it is acknowledged, the same bytes each time, and some of them again afterwards. An
acknowledged row that comes back as new was lost; one that is stored twice was doubled.
"""

import http.client
import json
import random
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store import blocks, catalog, id_index
from monitor.store.identity import keys_of
from monitor.store.tables import outcome

_ROUTES = {
    "predictions": "/v1/models/{}/predictions",
    "outcomes": "/v1/models/{}/outcomes",
    "events": "/v1/kserve?model={}",
}
_JSON, _LINES = "application/json", "application/x-ndjson"
_EVENTS = "application/cloudevents-batch+json"


@dataclass
class Sent:
    """One request: its body, the tokens of its rows, and what is known of its fate."""

    kind: str
    content_type: str
    body: bytes
    tokens: list[str]
    tries: int = 0
    acknowledged: bool = False


@dataclass
class Found:
    """Of acknowledged rows: how many are gone, stored twice, or other than they were sent; and kinds of answers."""

    lost: int = 0
    doubled: int = 0
    changed: int = 0
    acknowledged: int = 0
    retried: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.changed or self.unexpected)


def value_of(token: str) -> float:
    """The feature of the row with that token: it tells whether a row is stored as it was sent."""
    return random.Random(token).randrange(1 << 20) / 64


class Ledger:
    """The requests to one model. Threads may share it.

    Args:
        with_ids: whether rows carry ids; without them no retry is safe, which is a control.
    """

    def __init__(self, model: str, seed: int, *, with_ids: bool = True) -> None:
        self.model = model
        self.found = Found()
        self._chance = random.Random(seed)
        self._with_ids = with_ids
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._answers = 0
        self._open: deque[Sent] = deque()  # sent, and not answered
        self._done: list[Sent] = []
        self.told: list[Sent] = []  # what a 200 was answered to, in order
        self._number = 0

    def next(self, size: int | None = None) -> Sent:
        """The next request: an open one again, one that was answered again, or a new one."""
        with self._lock:
            if self._open:
                return self._open.popleft()
            if self._done and self._chance.random() < 0.15:
                return self._chance.choice(self._done)
            return self._new(size)

    def _new(self, size: int | None) -> Sent:
        """Predictions by row or by line, outcomes of earlier ones and of ones to come, and pairs of events."""
        self._number += 1
        count = size or self._chance.choice([1, 1, 3, 20])
        tokens = [f"{self._number}-{i}" for i in range(count)]
        kind = self._chance.random()
        if kind < 0.6:
            rows = [self._row(token) for token in tokens]
            if kind < 0.1:
                return Sent("predictions", _LINES, b"\n".join(json.dumps(row).encode() for row in rows), tokens)
            body = rows[0] if count == 1 else {"rows": rows}
            return Sent("predictions", _JSON, json.dumps(body).encode(), tokens)
        if kind < 0.8:
            return Sent(
                "outcomes", _JSON, json.dumps({"rows": [{"id": t, "actual": 1} for t in tokens]}).encode(), tokens
            )
        # Both halves in requests of their own: they meet in the database, in whatever order they arrive.
        tokens = [f"e{token}" for token in tokens]
        halves = [
            Sent("events", _EVENTS, json.dumps([_event(token, side) for token in tokens]).encode(), tokens)
            for side in ("request", "response")
        ]
        self._chance.shuffle(halves)
        self._open.append(halves[0])
        return halves[1]

    def _row(self, token: str) -> dict[str, Any]:
        row = {"features": {"x": value_of(token)}, "prediction": 1, "tags": {"token": token}}
        return row | ({"id": token} if self._with_ids else {})

    def send(self, connection: http.client.HTTPConnection, key: str, size: int | None = None) -> bool:
        """Send the next request and note the answer; False when none came."""
        sent = self.next(size)
        sent.tries += 1
        headers = {"authorization": f"Bearer {key}", "content-type": sent.content_type}
        try:
            connection.request("POST", _ROUTES[sent.kind].format(self.model), sent.body, headers)
            answer = connection.getresponse()
            content = answer.read()
            told = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            self._give_back(sent)
            return False
        with self._lock:
            self._answers += 1
            self._answered.notify_all()
            if answer.status == 200:
                self.told.append(sent)
                self._settle(sent, told)
                return True
            if answer.status not in (429, 503) or "retry-after" not in answer.headers:
                self.found.unexpected[f"{answer.status} {sent.kind}"] += 1
        self._give_back(sent)
        return True

    def _give_back(self, sent: Sent) -> None:
        with self._lock:
            if not sent.acknowledged:
                self._open.append(sent)

    def _settle(self, sent: Sent, told: dict[str, Any]) -> None:
        stored = told["accepted"] + told["revised"]
        if told["rejected_count"] or stored + told["duplicates"] != len(sent.tokens):
            self.found.unexpected[f"counts of {sent.kind}: {told}"] += 1
        self.found.retried += len(sent.tokens) if sent.tries > 1 else 0
        if sent.acknowledged:
            self.found.lost += stored  # it was told that these are stored, and they were not
        else:
            sent.acknowledged = True
            self._done.append(sent)
            self.found.acknowledged += len(sent.tokens)

    def wait_for(self, answers: int, timeout: float) -> None:
        """Wait until so many more answers have come."""
        with self._answered:
            wanted = self._answers + answers
            self._answered.wait_for(lambda: self._answers >= wanted, timeout)

    @property
    def open(self) -> bool:
        """Whether something was sent and not answered yet."""
        return bool(self._open)

    def compare(self, connection: Connection) -> Found:
        """Add what is gone, doubled or changed, now that everything was acknowledged or nothing will be any more."""
        there = compared(connection, self.model, self._done)
        for name in ("lost", "doubled", "changed"):
            setattr(self.found, name, getattr(self.found, name) + getattr(there, name))
        return self.found


def compared(connection: Connection, name: str, acknowledged: Sequence[Sent]) -> Found:
    """What is stored of a model, against the requests that were acknowledged."""
    found = Found()
    model = catalog.get_model(connection, 1, name)
    rows: Counter[str] = Counter()
    numbers: dict[str, int] = {}
    for first, batch in blocks.read_blocks(connection, model.id, 0, blocks.log_end(connection, model.id).next_row):
        for at, row in enumerate(batch.to_pylist()):
            token = row.get("t:token") or row["id"]
            rows[token] += 1
            numbers[row["id"]] = first + at
            # A half whose other half never came is no row yet: what is a row has all of its values.
            found.changed += row["f:x"] != value_of(token) or row["prediction"] != "1"
    keys = keys_of(list(numbers))
    places = {key: row for key, _, row in id_index.rows_of_keys(connection, model.id, keys)}
    # Every row is found by its id, and there.
    found.changed += sum(places.get(key) != at for key, at in zip(keys, numbers.values(), strict=True))
    told = sa.select(outcome.c.id).where(outcome.c.model_id == model.id)
    outcomes = Counter(connection.execute(told).scalars().all())
    halves = Counter(token for sent in acknowledged if sent.kind == "events" for token in sent.tokens)
    for sent in acknowledged:
        there = outcomes if sent.kind == "outcomes" else rows
        found.lost += sum(token not in there for token in sent.tokens if halves.get(token, 2) == 2)
    found.doubled = sum(count - 1 for count in rows.values()) + sum(count - 1 for count in outcomes.values())
    return found


def _event(token: str, side: str) -> dict[str, Any]:
    data = {"instances": [{"x": value_of(token)}]} if side == "request" else {"predictions": [1]}
    named = {"specversion": "1.0", "id": token, "source": "test", "type": f"org.kubeflow.serving.inference.{side}"}
    return {**named, "data": data}
