"""History from files answers what was known at any instant: counts to the row, metrics within 0.001."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.evaluate.series import Query, summary
from monitor.ingest.load import import_file
from monitor.settings import Settings
from monitor.store.catalog import get_model, put_model
from monitor.store.session import reading, writing

START = clock.parse("2026-01-05T00:00:00Z")
ROWS, DAYS = 6000, 5
METRICS = ("volume", "accuracy", "roc_auc", "log_loss", "brier")


class History:
    """Predictions over five days; outcomes hours to days later, some never, some corrected, in no order."""

    def __init__(self, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.at = START + np.sort(rng.integers(0, DAYS * clock.DAY // 1000, ROWS)) * 1000
        self.score = rng.beta(1.2, 2.5, ROWS).round(5)
        self.truth = (rng.random(ROWS) < self.score).astype(int)
        has = rng.random(ROWS) < 0.93
        owner = np.concatenate([np.flatnonzero(has), rng.choice(np.flatnonzero(has), 400, replace=False)])
        self.owner = owner
        self.known = self.at[owner] + (rng.exponential(9, len(owner)) * clock.HOUR).astype(np.int64) // 1000 * 1000
        self.actual = np.where(np.arange(len(owner)) < has.sum(), self.truth[owner], 1 - self.truth[owner])
        order = rng.permutation(len(owner))
        self.owner, self.known, self.actual = owner[order], self.known[order], self.actual[order]

    def files(self, folder: Path) -> tuple[Path, Path]:
        def times(at: np.ndarray) -> pa.Array:
            return pa.array(at, pa.timestamp("us", "UTC"))

        rows = {"id": [f"r{i}" for i in range(ROWS)], "timestamp": times(self.at), "score": self.score}
        rows |= {"prediction": (self.score >= 0.5).astype(int), "amount": self.score * 10}
        outcomes = {"id": [f"r{i}" for i in self.owner], "actual": self.actual, "observed_at": times(self.known)}
        pa.parquet.write_table(pa.table(rows), folder / "rows.parquet")
        pa.parquet.write_table(pa.table(outcomes), folder / "outcomes.parquet")
        return folder / "rows.parquet", folder / "outcomes.parquet"

    def known_by(self, at: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Which rows of a stretch were known at an instant, and their outcomes then (-1: none)."""
        held = np.full(ROWS, -1)
        latest = np.full(ROWS, -1, np.int64)
        for owner, known, actual in zip(self.owner, self.known, self.actual, strict=True):
            if known <= at and (known, actual) > (latest[owner], held[owner]):
                latest[owner], held[owner] = known, actual
        chosen = (self.at >= low) & (self.at < high) & (self.at <= at)
        return chosen, np.where(chosen, held, -1)

    def expected(self, at: int, low: int, high: int) -> dict[str, Any]:
        chosen, held = self.known_by(at, low, high)
        labelled = held >= 0
        found: dict[str, Any] = {"rows": int(chosen.sum()), "labelled": int(labelled.sum()), "volume": chosen.sum()}
        y, p = held[labelled], self.score[labelled]
        if len(set(y)) == 2:
            found |= {"accuracy": accuracy_score(y, p >= 0.5), "roc_auc": roc_auc_score(y, p)}
            found |= {"log_loss": log_loss(y, p, labels=[0, 1]), "brier": brier_score_loss(y, p)}
        return found


@pytest.fixture(scope="module")
def history() -> History:
    return History()


@pytest.fixture
def imported(sqlite_engine: Engine, sqlite_settings: Settings, tmp_path: Path, history: History) -> Engine:
    body = {"task": "binary", "clock": "events", "window": "6h", "label_delay": "1d"}
    with writing(sqlite_engine) as connection:
        model, _ = put_model(connection, 1, "past", body, START, "test")
    rows, outcomes = history.files(tmp_path)
    import_file(sqlite_engine, sqlite_settings, 1, "past", rows, "predictions", history=True)
    answer = import_file(sqlite_engine, sqlite_settings, 1, "past", outcomes, "outcomes", history=True)
    assert (answer["revised"], answer["rejected_count"]) == (400, 0)
    assert jobs.evaluate_fully(sqlite_engine, sqlite_settings, model.id, START).complete
    return sqlite_engine


def test_what_was_known_at_any_instant_is_answered_exactly(imported: Engine, history: History) -> None:
    rng = np.random.default_rng(5)
    instants = [START + int(part) for part in rng.integers(clock.HOUR, (DAYS + 2) * clock.DAY, 12)]
    # The very instants at which something became known, and whole hours and days.
    instants += [int(history.known[7]), int(history.known[7]) - 1, int(history.at[900]), START + 2 * clock.DAY]
    instants += [START + 30 * clock.HOUR, START + 40 * clock.DAY]
    with reading(imported) as connection:
        model = get_model(connection, 1, "past")
        for at in instants:
            low = START + int(rng.integers(0, 3 * clock.DAY))
            high = low + int(rng.integers(clock.HOUR, 4 * clock.DAY))
            expected = history.expected(at, low, high)
            for metric in METRICS:
                query = Query(metric, from_us=low, to_us=high, as_of_us=at)
                got = summary(connection, model, query, START + 60 * clock.DAY)
                assert got.labelled == expected["labelled"], (metric, at)
                if metric == "volume":
                    assert (got.value or 0) == expected["rows"]
                elif metric in expected:
                    assert got.value == pytest.approx(expected[metric], abs=1e-3), (metric, at)
                    assert got.n == expected["labelled"]
