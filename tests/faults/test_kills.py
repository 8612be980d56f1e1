"""`kill -9` at any moment: no acknowledged row is lost, no window is evaluated twice, no alert gets two ids.

The same stream runs twice, once in peace and once with the service killed again and again. What is stored, measured and
alerted must be the same.
"""

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitor.settings import Settings
from monitor.store import blocks
from monitor.store.session import make_engine, reading
from tests.faults.service import Receiver, Service

START = datetime(2026, 1, 5, tzinfo=UTC)
HOURS, ROWS, CHANGE = 30, 120, 12
MODEL = "/v1/models/loan"


def rows_of(hour: int, reference: bool = False) -> list[dict[str, Any]]:
    """The predictions of an hour; from hour CHANGE on their feature has moved by two standard deviations."""
    rng = np.random.default_rng([7, hour, int(reference)])
    shift = 2.0 if hour >= CHANGE and not reference else 0.0
    values = rng.normal(shift, 1, ROWS).round(4)
    scores = (1 / (1 + np.exp(-rng.normal(0, 1, ROWS)))).round(4)
    start = START + timedelta(hours=hour - (200 if reference else 0))
    made = []
    for i in range(ROWS):
        at = (start + timedelta(seconds=i * 3600 / ROWS)).isoformat()
        actual = int(rng.random() < scores[i])
        row = {"id": f"{hour}-{i}", "timestamp": at, "known_at": at, "score": float(scores[i])}
        row |= {"prediction": int(scores[i] >= 0.5), "features": {"amount": float(values[i])}, "actual": actual}
        made.append(row)
    return made


def prepare(service: Service, receiver: Receiver) -> None:
    service.persist("PUT", MODEL, {"task": "binary", "clock": "events", "window": "1h", "label_delay": "2h"})
    reference = [row for hour in range(60) for row in rows_of(hour, reference=True)]
    for row in reference:
        del row["id"]
    service.persist("PUT", f"{MODEL}/reference", {"rows": reference})
    service.persist("POST", "/v1/channels", {"kind": "webhook", "name": "test", "url": receiver.url})


def replay(service: Service, acknowledged: set[str]) -> None:
    """Send the stream in order, each hour's outcomes an hour later; note what was acknowledged."""
    for hour in range(HOURS):
        rows = rows_of(hour)
        sent = [{name: value for name, value in row.items() if name != "actual"} for row in rows]
        for part in range(0, ROWS, 40):
            service.persist("POST", f"{MODEL}/predictions", {"rows": sent[part : part + 40]})
            acknowledged.update(row["id"] for row in sent[part : part + 40])
        if hour:
            known = (START + timedelta(hours=hour, minutes=59, seconds=59)).isoformat()
            outcomes = [{"id": row["id"], "actual": row["actual"], "known_at": known} for row in rows_of(hour - 1)]
            service.persist("POST", f"{MODEL}/outcomes", {"rows": outcomes})


def settle(service: Service) -> None:
    """Wait until all that is due was evaluated and every message delivered."""
    service.run("evaluate")
    engine = make_engine(Settings(database_url=service._environment["KEEPWATCH_DATABASE_URL"]))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with reading(engine) as connection:
            if not connection.execute(sa.text("SELECT count(*) FROM delivery WHERE state = 'pending'")).scalar_one():
                break
        time.sleep(0.1)
    engine.dispose()


def state_of(url: str) -> dict[str, Any]:
    """Everything that must not depend on how often the service was killed."""
    engine = make_engine(Settings(database_url=url))

    def all_of(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(sa.text(query))]

    with reading(engine) as connection:
        (model_id,) = all_of("SELECT id FROM model")[0]
        ids = [i for _, b in blocks.read_blocks(connection, model_id, 0, 10**9, ["id"]) for i in b["id"].to_pylist()]
        state = {
            "ids": sorted(ids),
            "outcomes": all_of("SELECT id, actual FROM outcome ORDER BY id, position"),
            "profiles": all_of("SELECT span, start, role, rows, labelled, payload FROM profile ORDER BY 1, 2, 3"),
            "evaluations": all_of("SELECT kind, start, rows FROM evaluation ORDER BY 1, 2"),
            "measurements": all_of(
                "SELECT start, revision, inputs_state, performance_state, rows, labelled, payload FROM measurement"
                " ORDER BY 1, 2"
            ),
            "alerts": all_of("SELECT family, opened_at, first_evidence_at, evidence FROM alert ORDER BY 1, 2"),
            "deliveries": all_of(
                "SELECT a.family, d.type, count(*) FROM delivery d JOIN alert a ON a.id = d.alert_id"
                " GROUP BY a.family, d.type, a.opened_at ORDER BY a.opened_at, 1, 2"
            ),
        }
    engine.dispose()
    return {
        name: [tuple(bytes(x) if isinstance(x, memoryview) else x for x in row) for row in rows]
        if name != "ids"
        else rows
        for name, rows in state.items()
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def run(url: str, folder: Path, receiver: Receiver, kills: int) -> tuple[dict[str, Any], set[str]]:
    """The whole stream on one database, killed so many times; its state in the end and what was acknowledged."""
    folder.mkdir()
    service = Service(url, folder)
    service.start()
    acknowledged: set[str] = set()
    try:
        prepare(service, receiver)
        client = threading.Thread(target=replay, args=(service, acknowledged), daemon=True)
        client.start()
        chance = random.Random(11)
        for _ in range(kills):
            client.join(chance.uniform(0.15, 1.2))
            before = set(acknowledged)
            service.kill()
            lost = before - set(state_of(url)["ids"])
            assert not lost, f"{len(lost)} acknowledged rows are gone, for instance {sorted(lost)[:3]}"
            service.start()
        client.join(120)
        assert not client.is_alive()
        settle(service)
        return state_of(url), acknowledged
    finally:
        service.stop()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed service comes to."""
    folder, undisturbed = tmp_path_factory.mktemp("quiet"), Receiver()
    state, _ = run(f"sqlite:///{folder}/quiet.db", folder / "service", undisturbed, kills=0)
    undisturbed.close()
    return state


@pytest.mark.timeout(240)
def test_a_service_killed_again_and_again_ends_where_an_undisturbed_one_does(
    settings: Settings, engine: sa.Engine, tmp_path: Path, receiver: Receiver, quiet: dict[str, Any]
) -> None:
    killed, acknowledged = run(settings.url, tmp_path / "killed", receiver, kills=6)
    messages = list(receiver.received)
    assert len(killed["ids"]) == len(set(killed["ids"])) == HOURS * ROWS
    assert set(killed["ids"]) == acknowledged
    for name in quiet:
        assert killed[name] == quiet[name], name
    assert killed["alerts"], "the stream holds a change: without an alert this test would show nothing"
    # At least once, and never under a second id.
    ids_of: dict[tuple[str, str], set[str]] = {}
    for webhook_id, body in messages:
        ids_of.setdefault((body["data"]["id"], body["type"]), set()).add(webhook_id)
    firing = {alert for alert, kind in ids_of if kind == "alert.firing"}
    assert len(firing) == len(killed["alerts"])
    assert all(len(ids) == 1 for (_, kind), ids in ids_of.items() if kind == "alert.firing")
