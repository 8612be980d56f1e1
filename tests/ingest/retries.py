"""A state machine of senders that retry, reorder, contradict themselves and send at once, and the oracle it is held to.

The oracle is two dictionaries. After each step its counts must be the answer's; at the end what is stored must be what
the oracle holds, and profiles and measurements those of a model that got the same rows once and in order.
"""

import json
import random
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.clock import HOUR, MINUTE
from monitor.evaluate.references import put_reference
from monitor.ingest.decode import decode_outcomes, decode_predictions
from monitor.ingest.prepare import validated
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import blocks, catalog, evaluations, profiles
from monitor.store.session import reading, writing
from monitor.store.tables import outcome
from tests.evaluate.small import START, binary_rows, to_batch

NOW = START + 30 * HOUR
IDS = 60  # few, so that most of what is sent was sent before
REFERENCE = to_batch(binary_rows(400, start=START - 24 * HOUR, seed=2), "binary", {"": 0})
BODY = {
    "task": "binary",
    "positive_class": "1",
    "window": "4h",
    "label_delay": "1h",
    "features": {"x": {"kind": "numeric"}, "carrier": {"kind": "categorical"}},
}
_DECODE = {"predictions": decode_predictions, "outcomes": decode_outcomes}
_names = count(1)

rows = st.lists(
    st.tuples(st.integers(0, IDS - 1), st.sampled_from(["1", "2"]), st.sampled_from([0, 0, 0, 1])),
    min_size=1,
    max_size=30,
)
labels = st.lists(
    st.tuples(st.integers(0, IDS - 1), st.sampled_from([0, 1]), st.sampled_from([None, 0, 1, 2])),
    min_size=1,
    max_size=30,
)


def prediction(number: int, version: str, variant: int) -> dict[str, Any]:
    """The row of that number as its sender makes it; another variant contradicts it."""
    chance = random.Random(f"{number} {version} {variant}")
    at = clock.render(START + number * 20 * MINUTE)
    score = chance.randrange(1000) / 1000
    features = {"x": chance.gauss(0, 1), "carrier": chance.choice(["AA", "BB", "CC"])}
    return {
        "id": f"r{number}",
        "version": version,
        "timestamp": at,
        "known_at": at,
        "prediction": int(score >= 0.5),
        "score": score,
        "features": features,
    }


def label(number: int, actual: int, observed: int | None) -> dict[str, Any]:
    """An outcome; `observed`: hours after its row at which it was seen, None: not said."""
    at = START + number * 20 * MINUTE + (observed or 0) * HOUR
    row = {"id": f"r{number}", "actual": actual, "known_at": clock.render(at)}
    return row if observed is None else row | {"observed_at": clock.render(at)}


@dataclass
class Oracle:
    """What must be stored, and what each request must be answered."""

    stored: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def predictions(self, sent: list[dict[str, Any]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for row in sent:
            identity = row["id"], row["version"]
            known = identity in self.stored
            same = self.stored.setdefault(identity, row) == row
            counts["accepted" if not known else "duplicates" if same else "rejected"] += 1
        return counts

    def labels(self, sent: list[dict[str, Any]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for row in sent:
            history = self.outcomes.setdefault(row["id"], [])
            names = ("actual", "observed_at") if "observed_at" in row else ("actual",)
            if any(all(held.get(name, held["known_at"]) == row[name] for name in names) for held in history):
                counts["duplicates"] += 1
                continue
            counts["revised" if history else "accepted"] += 1
            counts["pending"] += not history and not any(id_ == row["id"] for id_, _ in self.stored)
            history.append(row)
        return counts


@dataclass
class Tally:
    """How much was tried in all."""

    rows: int = 0
    repeated: int = 0  # rows that were sent before, the same or another, alone or at once
    at_once: int = 0  # of them beside others of the same moment
    reports: int = 0


@dataclass
class Bench:
    """A database with two writers, as two processes have."""

    engine: Engine
    settings: Settings
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.writers = [Writer(self.engine, self.settings, now=lambda: NOW) for _ in range(2)]
        for one in self.writers:
            one.start()
        self.pool = ThreadPoolExecutor(8)

    def close(self) -> None:
        self.pool.shutdown()
        for one in self.writers:
            one.stop()

    def model(self, name: str) -> None:
        with writing(self.engine) as connection:
            model, _ = catalog.put_model(connection, 1, name, BODY, START, "test")
        put_reference(self.engine, model, REFERENCE, None, None, None, START)

    def submit(self, name: str, kind: str, body: bytes, writer: int = 0) -> "Future[Answer]":
        model, times = self.writers[writer].model(1, name)
        draft = _DECODE[kind](body, model)
        return self.writers[writer].submit(model, validated(draft, model, times, kind))

    def send(self, name: str, kind: str, sent: list[dict[str, Any]]) -> Answer:
        return self.submit(name, kind, json.dumps({"rows": sent}).encode()).result(30)

    def evaluate(self, name: str) -> None:
        with reading(self.engine) as connection:
            model = catalog.get_model(connection, 1, name)
        while not jobs.evaluate_fully(self.engine, self.settings, model.id, NOW).complete:
            pass

    def report(self, name: str) -> dict[str, Any]:
        """Everything that a page or an answer shows of a model's windows is made of this."""
        with reading(self.engine) as connection:
            model = catalog.get_model(connection, 1, name)
            number = profiles.current_number(connection, model.id)
            counted = [
                (
                    span,
                    one.start,
                    one.role,
                    one.rows,
                    one.labelled,
                    bytes(one.payload),
                    one.segments and bytes(one.segments),
                )
                for span in (3600, 86400)
                for one in profiles.profiles_between(
                    connection, model.id, span, 0, 1 << 62, role=None, binning_number=number
                )
            ]
            measured = [
                (one.start, one.rows, one.labelled, bytes(one.payload or b""))
                for one in evaluations.latest_measurements(connection, model.id, 0, 1 << 62)
            ]
        return {"profiles": sorted(counted), "measurements": measured}

    def kept(self, name: str) -> tuple[dict[tuple[str, str], dict[str, Any]], dict[str, list[str]]]:
        """The rows by identity, and the outcomes by id, as the log has them; a row that is there twice fails."""
        with reading(self.engine) as connection:
            model = catalog.get_model(connection, 1, name)
            versions = catalog.version_names(connection, model.id)
            found: dict[tuple[str, str], dict[str, Any]] = {}
            for _, batch in blocks.read_blocks(connection, model.id, 0, blocks.log_end(connection, model.id).next_row):
                for row in batch.to_pylist():
                    identity = row["id"], versions[row["version"]]
                    assert identity not in found, f"{identity} is stored twice"
                    found[identity] = row
            query = sa.select(outcome.c.id, outcome.c.actual).where(outcome.c.model_id == model.id)
            told: dict[str, list[str]] = {}
            for id_, actual in connection.execute(query.order_by(outcome.c.position)):
                told.setdefault(id_, []).append(actual)
        return found, told


class Retries(RuleBasedStateMachine):
    """Senders of one model. A subclass says on which `bench`."""

    bench: Bench

    @initialize()
    def begin(self) -> None:
        self.name = f"m{next(_names)}"
        self.bench.model(self.name)
        self.oracle = Oracle()
        self.sent: list[tuple[str, list[dict[str, Any]]]] = []

    def _send(self, kind: str, sent: list[dict[str, Any]]) -> None:
        self.sent.append((kind, sent))
        expected = self.oracle.predictions(sent) if kind == "predictions" else self.oracle.labels(sent)
        answer = self.bench.send(self.name, kind, sent)
        self._count(len(sent), expected)
        assert _counts(answer) == expected, (kind, sent)

    def _count(self, rows: int, expected: Counter[str], at_once: bool = False) -> None:
        tally = self.bench.tally
        tally.rows += rows
        tally.repeated += rows - expected["accepted"]
        tally.at_once += rows if at_once else 0

    @rule(chosen=rows)
    def predict(self, chosen: list[tuple[int, str, int]]) -> None:
        self._send("predictions", [prediction(*one) for one in chosen])

    @rule(chosen=labels)
    def tell(self, chosen: list[tuple[int, int, int | None]]) -> None:
        self._send("outcomes", [label(*one) for one in chosen])

    @rule(data=st.data(), times=st.integers(1, 3))
    def retry(self, data: st.DataObject, times: int) -> None:
        """An earlier request again, its rows in another order."""
        if self.sent:
            kind, sent = data.draw(st.sampled_from(self.sent))
            for _ in range(times):
                self._send(kind, data.draw(st.permutations(sent)))

    @rule(chosen=rows, times=st.sampled_from([2, 5, 50]))
    def predict_at_once(self, chosen: list[tuple[int, str, int]], times: int) -> None:
        """The same rows many times at once, through both writers: together they are one."""
        sent = list({(row["id"], row["version"]): row for row in (prediction(*one) for one in chosen[:10])}.values())
        expected = sum((self.oracle.predictions(sent) for _ in range(times)), Counter())
        body = json.dumps({"rows": sent}).encode()
        futures = list(
            self.bench.pool.map(lambda n: self.bench.submit(self.name, "predictions", body, n % 2), range(times))
        )
        found = sum((_counts(one.result(60)) for one in futures), Counter())
        self._count(len(sent) * times, expected, at_once=True)
        assert found == expected, (sent, times)

    @rule()
    def evaluate(self) -> None:
        """Windows are measured in between: what comes later restates them."""
        self.bench.evaluate(self.name)

    def teardown(self) -> None:
        if not hasattr(self, "oracle"):
            return
        self.bench.evaluate(self.name)
        found, told = self.bench.kept(self.name)
        assert found.keys() == self.oracle.stored.keys()
        for identity, row in self.oracle.stored.items():
            kept = found[identity]
            assert (kept["f:x"], kept["f:carrier"]) == (row["features"]["x"], row["features"]["carrier"]), identity
            assert (kept["score"], kept["prediction"]) == (row["score"], str(row["prediction"])), identity
        assert told == {one: [str(row["actual"]) for row in all_] for one, all_ in self.oracle.outcomes.items()}
        twin = f"m{next(_names)}"
        self.bench.model(twin)
        in_order = sorted(self.oracle.stored.values(), key=lambda row: (row["timestamp"], row["version"]))
        if in_order:
            self.bench.send(twin, "predictions", in_order)
        history = [row for id_ in sorted(self.oracle.outcomes) for row in self.oracle.outcomes[id_]]
        if history:
            self.bench.send(twin, "outcomes", history)
        self.bench.evaluate(twin)
        self.bench.tally.reports += 1
        assert self.bench.report(self.name) == self.bench.report(twin)


def _counts(answer: Answer) -> Counter[str]:
    """The counts of an answer that are not zero; what is rejected must be a conflict."""
    assert {one.code for one in answer.rejected} <= {"conflict"}
    names = ("accepted", "duplicates", "revised", "pending")
    return +Counter({name: getattr(answer, name) for name in names} | {"rejected": len(answer.rejected)})
