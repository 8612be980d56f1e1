"""A small installation with something to see: a model that drifts, one that learns, one without rows."""

import threading
from dataclasses import dataclass

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog, keys
from monitor.store.session import reading, writing

BASE = "http://127.0.0.1:8000"
START = clock.parse("2026-03-02T00:00:00Z")  # a Monday
WINDOW = 6 * clock.HOUR
REFERENCE, DRIFTED, WINDOWS = 28, 52, 72  # windows until the reference ends, until it drifts, in all
ROWS = 60  # of a window
HOSTILE = "<img src=x onerror=alert(1)>"
FEATURES = {
    "amount": {"kind": "numeric"},
    "plan": {"kind": "categorical"},
    HOSTILE: {"kind": "numeric"},
    "a/b %41": {"kind": "numeric"},
    "..": {"kind": "numeric"},
    "2013-01-01": {"kind": "numeric"},
    "</script><b>$x$</b>": {"kind": "categorical"},
}


@dataclass(frozen=True)
class Seeded:
    """What was made; `admin` are the headers of an admin's key."""

    drifting: str
    learning: str
    empty: str
    admin: dict[str, str]


def seed(engine: Engine, settings: Settings) -> Seeded:
    """Send everything through the API, then evaluate what is due."""
    with writing(engine) as connection:
        key = keys.create_key(connection, 1, "seed", "admin", clock.now())
    admin = {"Authorization": f"Bearer {key}"}
    app = create_app(settings, engine, Writer(engine, settings))
    common = {"task": "binary", "positive_class": "yes", "clock": "events", "window": "6h", "label_delay": "1d"}
    with TestClient(app, base_url=BASE, headers=admin) as client:
        _ok(client.put("/v1/models/churn", json={**common, "features": FEATURES, "timezone": "Europe/Berlin"}))
        _ok(client.put("/v1/models/fresh", json={**common, "features": {"age": {"kind": "numeric"}}}))
        _ok(client.put("/v1/models/shell", json={"task": "regression"}))
        random = np.random.default_rng(7)
        _send(client, "churn", range(REFERENCE), random)
        jobs_until(engine, settings)
        stretch = {"from": clock.render(START), "to": clock.render(START + REFERENCE * WINDOW)}
        _ok(client.put("/v1/models/churn/reference", json=stretch))
        _send(client, "churn", range(REFERENCE, WINDOWS), random)
        stamps = [clock.render(START + i * clock.HOUR) for i in range(20)]
        columns = {
            "id": [f"n{i}" for i in range(20)],
            "timestamp": stamps,
            "known_at": stamps,
            "features": {"age": [float(i) for i in range(20)]},
        }
        _ok(client.post("/v1/models/fresh/predictions", json={"columns": columns}))
    jobs_until(engine, settings)
    return Seeded("churn", "fresh", "shell", admin)


def jobs_until(engine: Engine, settings: Settings) -> None:
    """Evaluate every model until nothing is due."""
    with reading(engine) as connection:
        ids = catalog.model_ids(connection)
    for model_id in ids:
        jobs.evaluate_fully(engine, settings, model_id, clock.now())


def _send(client: TestClient, model: str, windows: range, random: np.random.Generator) -> None:
    rows, outcomes = [], []
    for window in windows:
        drifted = window >= DRIFTED
        for i, second in enumerate(np.sort(random.integers(0, WINDOW // clock.SECOND, ROWS))):
            at = START + window * WINDOW + int(second) * clock.SECOND
            score = float(random.beta(2, 3))
            yes = random.random() < (1 - score if drifted else score)
            features = {
                name: float(random.normal()) if kind["kind"] == "numeric" else "<i>x</i>"
                for name, kind in FEATURES.items()
            }
            features["amount"] = float(random.normal(70 if drifted else 50, 10))
            features["plan"] = str(
                random.choice(["basic", "plus", "pro"], p=[0.2, 0.2, 0.6] if drifted else [0.6, 0.3, 0.1])
            )
            one = {"id": f"{window}-{i}", "timestamp": clock.render(at), "known_at": clock.render(at)}
            said = {
                "score": score,
                "prediction": "yes" if score >= 0.5 else "no",
                "latency_ms": float(random.gamma(4, 5)),
            }
            rows.append({**one, **said, "features": features})
            seen = {"actual": "yes" if yes else "no", "observed_at": clock.render(at + 2 * clock.HOUR)}
            outcomes.append({"id": one["id"], **seen})
    _ok(client.post(f"/v1/models/{model}/predictions", json={"rows": rows}))
    _ok(client.post(f"/v1/models/{model}/outcomes", json={"rows": outcomes}))


def _ok(answer: object) -> None:
    assert getattr(answer, "status_code") < 300, getattr(answer, "text")  # noqa: B009


def statements(engine: Engine) -> list[str]:
    """What is sent to the database from now on, but for who is asking: that is remembered for seconds and then asked
    for in a thread of its own, so whether it is looked up depends on how fast the machine is."""
    found: list[str] = []

    def take(*call: object) -> None:
        text = str(call[2])
        renewal = threading.current_thread().name == "remembered"
        if not renewal and "FROM api_key" not in text and "FROM login_session" not in text:
            found.append(text)

    event.listen(engine, "before_cursor_execute", take)
    return found
