"""Any order and repetition of arrivals gives the same alerts within the grace, and the same measurements after it."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import jobs
from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate.references import put_reference
from monitor.ingest.files import draft_of, map_columns
from monitor.ingest.validate import validate_outcomes, validate_predictions
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog, evaluations
from monitor.store import tables as t
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, reading, writing
from tests.evaluate.small import START, actuals, binary_rows, to_batch

HOURS, CHANGE, PER_HOUR = 7, 3, 60


def story() -> tuple[list[dict[str, Any]], list[tuple[str, str, int]]]:
    """Hours of rows whose feature moves after the third, and their outcomes half an hour later."""
    rows = binary_rows(CHANGE * PER_HOUR, seed=3)
    rows += binary_rows((HOURS - CHANGE) * PER_HOUR, start=START + CHANGE * HOUR, seed=4, shift=1.5, prefix="s")
    return rows, actuals(rows, delay=30 * MINUTE)


ROWS, OUTCOMES = story()
LATE = binary_rows(HOURS * PER_HOUR // 3, step=3 * MINUTE, seed=6, shift=-3.0, prefix="late")
LATENESS = 90 * MINUTE  # from a late row to when it is known: its window has given its evidence by then
REFERENCE = to_batch(binary_rows(20 * PER_HOUR, start=START - DAY, seed=2), "binary", {"": 0})


Rows = list[tuple[Any, ...]]


def told_by(folder: Path, seed: int, again: float, late: bool, lag: bool) -> tuple[Rows, Rows]:
    """The alerts and measurements after the story came in some order, a part of it more than once.

    late: with rows that come when their windows have given their evidence; lag: evaluated once, when all has come, and
    not hour by hour.
    """
    random = np.random.default_rng(seed)
    found = Settings(database_url=f"sqlite:///{folder}/arrivals.db")
    engine = make_engine(found, create=True)
    upgrade(engine)
    body = {"task": "binary", "positive_class": "1", "clock": "events", "grace": "10m", "label_delay": "1h"}
    features = {"x": {"kind": "numeric"}, "carrier": {"kind": "categorical"}}
    with writing(engine) as connection:
        model, _ = catalog.put_model(connection, 1, "m", {**body, "features": features}, START, "test")
    put_reference(engine, model, REFERENCE.append_column("actual", REFERENCE.column("prediction")), None, None, None, 0)
    writer = Writer(engine, found)
    writer.start()

    def send(kind: str, table: pa.Table) -> None:
        chosen = random.permutation(table.num_rows)
        chosen = np.concatenate([chosen, random.choice(chosen, int(again * table.num_rows))]).astype(np.int64)
        check: Any = validate_predictions if kind == "predictions" else validate_outcomes
        for part in np.array_split(chosen, random.integers(1, 4)):
            if part.size:
                of, times = writer.model(1, "m")
                piece = table.take(pa.array(part))
                draft = draft_of(piece, map_columns(piece.schema, kind), of, kind, history=True)
                writer.submit(of, check(draft, of, times)).result()

    try:
        for hour in range(HOURS + 2):
            end = START + (hour + 1) * HOUR
            now = [row for row in ROWS if end - HOUR <= row["timestamp"] < end]
            if late:
                now += [row for row in LATE if end - HOUR <= row["timestamp"] + LATENESS < end]
            came = [row for row in OUTCOMES if end - HOUR <= row[2] < end]
            parts = [("predictions", _predictions(now)), ("outcomes", _outcomes(came))]
            for place in random.permutation(2).tolist():
                if parts[place][1].num_rows:
                    send(*parts[place])
            if not lag or hour == HOURS + 1:
                jobs.evaluate_fully(engine, found, model.id, 0, until=end + 10 * MINUTE)
    finally:
        writer.stop()
    columns = [t.alert.c[name] for name in ("family", "state", "opened_at", "evidence", "causes", "text")]
    with reading(engine) as connection:
        alerts = [tuple(row) for row in connection.execute(sa.select(*columns).order_by(t.alert.c.family))]
        latest = evaluations.latest_measurements(connection, model.id, 0, 1 << 62)
    engine.dispose()
    return alerts, [(one.start, one.rows, one.labelled, one.payload) for one in latest]


def _predictions(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.table(
        {
            "id": [row["id"] for row in rows],
            "timestamp": pa.array([row["timestamp"] for row in rows], pa.timestamp("us", "UTC")),
            "known_at": pa.array(
                [row["timestamp"] + LATENESS * row["id"].startswith("late") for row in rows], pa.timestamp("us", "UTC")
            ),
            "prediction": [row["prediction"] for row in rows],
            "score": [row["score"] for row in rows],
            **{f"features.{name}": [row["features"][name] for row in rows] for name in ("x", "carrier")},
        }
    )


def _outcomes(rows: list[tuple[str, str, int]]) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "actual": pa.array([row[1] for row in rows], pa.string()),
            "observed_at": pa.array([row[2] for row in rows], pa.timestamp("us", "UTC")),
        }
    )


def _run(seed: int, again: float, late: bool = False, lag: bool = False) -> tuple[Rows, Rows]:
    with tempfile.TemporaryDirectory() as folder:
        return told_by(Path(folder), seed, again, late, lag)


@cache
def _straight(late: bool = False) -> tuple[Rows, Rows]:
    return _run(0, 0.0, late)


@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), again=st.sampled_from([0.0, 0.3, 1.0]))
def test_any_order_and_repetition_within_the_grace_gives_the_same_alerts(seed: int, again: float) -> None:
    straight = _straight()
    assert straight[0] and "features" in {row[0] for row in straight[0]}
    assert _run(seed, again) == straight


@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), again=st.sampled_from([0.0, 0.5]), lag=st.booleans())
def test_what_comes_after_the_grace_restates_numbers_and_changes_no_alert(seed: int, again: float, lag: bool) -> None:
    alerts, measurements = _run(seed, again, late=True, lag=lag)
    assert alerts == _straight()[0]
    assert measurements == _straight(late=True)[1] != _straight()[1]


def test_an_evaluation_that_lags_gives_the_alerts_of_one_in_time() -> None:
    assert _run(1, 0.0, late=True, lag=True) == _straight(late=True)
