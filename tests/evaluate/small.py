"""Models and logs for tests, written through the store as ingest does, without its validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.clock import HOUR, MINUTE
from monitor.evaluate import run
from monitor.evaluate.build import Built, build
from monitor.evaluate.references import put_reference
from monitor.stats.verdict import Verdict
from monitor.store import blocks, catalog, evaluations, id_index, outcomes, profiles
from monitor.store.catalog import Model
from monitor.store.identity import key_numbers, key_of
from monitor.store.session import reading, writing

START = clock.parse("2026-03-02T00:00:00Z")  # a Monday


@dataclass
class Log:
    """One model and what it received."""

    engine: Engine
    model_id: int

    @classmethod
    def make(cls, engine: Engine, name: str = "small", features: Mapping[str, str] | None = None, **body: Any) -> "Log":
        body = {"task": "binary", "positive_class": "1", "clock": "events", **body}
        if features is not None:
            body["features"] = {feature: {"kind": kind} for feature, kind in features.items()}
        with writing(engine) as connection:
            model, _ = catalog.put_model(connection, 1, name, body, START, "test")
        return cls(engine, model.id)

    @property
    def model(self) -> Model:
        with reading(self.engine) as connection:
            return catalog.get_model_by_id(connection, self.model_id)

    def build(self, **limits: int) -> Built:
        return build(self.engine, self.model_id, START, **limits)

    def evaluate(self, wall: int = START) -> tuple[run.Progress, list[Verdict]]:
        """One evaluation, and the verdicts that it gave."""
        given: list[Verdict] = []
        progress = run.evaluate_model(
            self.engine, self.model_id, wall, lambda _connection, _model, verdicts, _now: given.extend(verdicts)
        )
        return progress, given

    def reference(self, rows: Sequence[Mapping[str, Any]], actual: Sequence[str] | None = None) -> dict[str, Any]:
        """PUT these rows as the reference."""
        batch = to_batch(rows, self.model.task, {"": 0})
        if actual is not None:
            batch = batch.append_column("actual", pa.array(actual))
        return put_reference(self.engine, self.model, batch, None, None, None, START)

    def profiles(self) -> dict[tuple[int, int, str], tuple[int, int, bytes, bytes | None]]:
        """(span, start, role) -> (rows, labelled, payload, segments) of the current binning."""
        with reading(self.engine) as connection:
            number = profiles.current_number(connection, self.model_id)
            return {
                (one.span, one.start, one.role): (one.rows, one.labelled, one.payload, one.segments)
                for span in (3600, 86400)
                for one in profiles.profiles_between(
                    connection, self.model_id, span, 0, 1 << 62, role=None, binning_number=number
                )
            }

    def measurements(self) -> list[evaluations.Measurement]:
        with reading(self.engine) as connection:
            return evaluations.latest_measurements(connection, self.model_id, 0, 1 << 62)

    def evaluated(self) -> list[evaluations.Evaluated]:
        with reading(self.engine) as connection:
            return evaluations.evaluations(connection, self.model_id, 0, 1 << 62)

    def predictions(self, rows: Sequence[Mapping[str, Any]], block: int = 1000) -> None:
        """Append rows: id, timestamp, and any of known_at, version, prediction, score, latency_ms, error, role,
        features, tags."""
        with writing(self.engine) as connection:
            model = catalog.get_model_by_id(connection, self.model_id)
            names = sorted({str(row.get("version", "")) for row in rows})
            versions = catalog.version_ids(connection, model, names)
            end = blocks.lock_log(connection, self.model_id)
            first = end.next_row
            known = end.known_at
            for at in range(0, len(rows), block):
                batch = to_batch(rows[at : at + block], model.task, versions)
                blocks.add_block(connection, 1, self.model_id, first + at, batch, START)
                keys, version = key_numbers(batch.column("id")), batch.column("version").to_numpy()
                id_index.add(connection, 1, self.model_id, keys, version, first + at)
                known = max(known or 0, *batch.column("known_at").to_pylist())
            blocks.move_log(connection, self.model_id, blocks.LogEnd(first + len(rows), end.next_outcome, known))

    def outcomes(self, rows: Sequence[tuple[str, str, int]] | Sequence[tuple[str, str, int, int]]) -> None:
        """Append outcomes: (id, actual, observed_at[, known_at])."""
        with writing(self.engine) as connection:
            end = blocks.lock_log(connection, self.model_id)
            made = [
                outcomes.NewOutcome(key_of(row[0]), row[0], row[1], row[2], True, row[3] if len(row) > 3 else row[2])
                for row in rows
            ]
            outcomes.add_outcomes(connection, 1, self.model_id, end.next_outcome, made, START)
            known = max([end.known_at or 0, *(one.known_at for one in made)])
            blocks.move_log(connection, self.model_id, blocks.LogEnd(end.next_row, end.next_outcome + len(rows), known))


def to_batch(rows: Sequence[Mapping[str, Any]], task: str, versions: Mapping[str, int]) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {
        "id": pa.array([row["id"] for row in rows], pa.string()),
        "timestamp": pa.array([row["timestamp"] for row in rows], pa.int64()),
        "known_at": pa.array([row.get("known_at", row["timestamp"]) for row in rows], pa.int64()),
        "filled": pa.array([0] * len(rows), pa.uint8()),
        "version": pa.array([versions[str(row.get("version", ""))] for row in rows], pa.int32()),
        "prediction": pa.array(
            [row.get("prediction") for row in rows], pa.float64() if task == "regression" else pa.string()
        ),
        "score": pa.array([row.get("score") for row in rows], pa.float64()),
        "latency_ms": pa.array([row.get("latency_ms") for row in rows], pa.float64()),
        "error": pa.array([row.get("error") for row in rows], pa.string()),
        "role": pa.array([row.get("role", "live") for row in rows], pa.string()),
    }
    for prefix, field in (("f:", "features"), ("t:", "tags"), ("s:", "scores")):
        for name in sorted({name for row in rows for name in row.get(field, {})}):
            values = [row.get(field, {}).get(name) for row in rows]
            columns[prefix + name] = pa.array(values)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def binary_rows(
    count: int, start: int = START, step: int = MINUTE, seed: int = 0, shift: float = 0.0, prefix: str = "r"
) -> list[dict[str, Any]]:
    """Rows of a binary model with one numeric and one categorical feature, one a minute unless said."""
    random = np.random.default_rng(seed)
    x = random.normal(shift, 1.0, count)
    scores = 1 / (1 + np.exp(-x))
    carriers = random.choice(["AA", "BB", "CC"], count)
    return [
        {
            "id": f"{prefix}{i}",
            "timestamp": start + i * step,
            "prediction": "1" if scores[i] >= 0.5 else "0",
            "score": float(scores[i]),
            "latency_ms": float(5 + abs(random.normal())),
            "features": {"x": float(x[i]), "carrier": str(carriers[i])},
        }
        for i in range(count)
    ]


def actuals(rows: Sequence[Mapping[str, Any]], delay: int = HOUR, seed: int = 1) -> list[tuple[str, str, int]]:
    """An outcome for each row, right about four times of five."""
    random = np.random.default_rng(seed)
    flips = random.random(len(rows)) < 0.2
    return [
        (
            str(row["id"]),
            str(row["prediction"]) if not flip else ("0" if row["prediction"] == "1" else "1"),
            int(row["timestamp"]) + delay,
        )
        for row, flip in zip(rows, flips, strict=True)
    ]
