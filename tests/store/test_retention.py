"""Raw rows go when their time is over, and only when they were profiled."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import blocks, id_index, keys
from monitor.store import tables as t
from monitor.store.session import reading, writing
from monitor.sweep import sweep
from tests.indexed import indexed

OVER = 92 * clock.DAY + clock.HOUR  # retention 90d, label delay 2d


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    with writing(engine) as connection:
        key = keys.create_key(connection, 1, "n", "admin", clock.now())
    app = create_app(settings, engine, Writer(engine, settings))
    headers = {"Authorization": f"Bearer {key}"}
    with TestClient(app, base_url="http://localhost", headers=headers) as running:
        running.put("/v1/models/m", json={"task": "binary"})
        yield running


def send(client: TestClient, ids: str, version: str = "1", ago: int = 0) -> None:
    at = clock.render(clock.now() - ago)
    rows = [{"id": i, "version": version, "timestamp": at, "features": {"x": 1.0}, "prediction": 1} for i in ids]
    assert client.post("/v1/models/m/predictions", json={"rows": rows}).json()["accepted"] == len(ids)


def label(client: TestClient, ids: str) -> None:
    rows = [{"id": i, "actual": 1} for i in ids]
    assert client.post("/v1/models/m/outcomes", json={"rows": rows}).json()["accepted"] == len(ids)


def profiled(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(sa.update(t.watermark).values(next_row=10**6, next_outcome=10**6))


def counts(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        tables = [
            connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in (t.block, t.outcome)
        ]
        model_id = connection.scalar(sa.select(t.model.c.id))
        keys = [key for key, _, _ in indexed(connection, model_id)]
        return [tables[0], len(id_index.rows_of_keys(connection, model_id, sorted(set(keys)))), tables[1]]


def test_rows_go_after_the_retention_and_the_label_delay(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    send(client, "abc")
    label(client, "abx")
    profiled(engine)
    now = clock.now()
    assert sweep(engine, settings, now + OVER - 2 * clock.HOUR) == 0
    assert counts(engine) == [1, 3, 3]
    assert sweep(engine, settings, now + OVER) == 3
    assert counts(engine) == [0, 0, 0]


def test_rows_that_were_not_profiled_stay(client: TestClient, engine: Engine, settings: Settings) -> None:
    send(client, "abc")
    label(client, "a")
    assert sweep(engine, settings, clock.now() + OVER) == 0
    assert counts(engine) == [1, 3, 1]


def test_an_outcome_stays_while_another_version_of_its_row_stays(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    send(client, "ab", "old", ago=10 * clock.DAY)
    send(client, "a", "new")
    label(client, "ab")
    profiled(engine)
    assert sweep(engine, settings, clock.now() + OVER - 5 * clock.DAY) == 2
    assert counts(engine) == [1, 1, 1]


def test_rejected_rows_go_and_stay_counted(client: TestClient, engine: Engine, settings: Settings) -> None:
    answer: dict[str, Any] = client.post("/v1/models/m/outcomes", json={"rows": [{"id": "a"}, {"actual": 1}]}).json()
    assert answer["status"] == 422
    sweep(engine, settings, clock.now() + OVER)
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.quarantine)) == 0
        kept = connection.execute(
            sa.select(
                sa.func.sum(t.quarantine_count.c.rows),
                sa.func.sum(t.quarantine_count.c.kept_rows),
                sa.func.sum(t.quarantine_count.c.kept_bytes),
            )
        ).one()
    assert [int(value) for value in kept] == [2, 0, 0]


def test_a_retry_of_a_removed_row_is_not_counted_again(client: TestClient, engine: Engine, settings: Settings) -> None:
    at = clock.render(clock.now() - 91 * clock.DAY)
    row = {"id": "a", "timestamp": at, "features": {"x": 1.0}, "prediction": 1}
    fresh = {**row, "id": "b", "timestamp": clock.render(clock.now())}
    assert client.post("/v1/models/m/predictions", json=row).json()["accepted"] == 1
    profiled(engine)
    assert sweep(engine, settings, clock.now() + 2 * clock.DAY) == 1
    # By the clock of its retry the row is young enough, and all the more by a longer label delay.
    client.put("/v1/models/m", json={"task": "binary", "label_delay": "60d"})
    answer = client.post("/v1/models/m/predictions", json={"rows": [row, fresh]}).json()
    assert (answer["accepted"], [one["code"] for one in answer["rejected"]]) == (1, ["expired"])
    assert counts(engine) == [1, 1, 0]


def test_rows_go_only_after_their_binning_has_counted_them_again(
    client: TestClient, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "abc")
    profiled(engine)
    expire = blocks.expire_before

    def overtaken(*arguments: Any) -> None:
        expire(*arguments)
        arguments[0].execute(sa.update(t.watermark).values(next_row=0))  # a new binning was made

    monkeypatch.setattr(blocks, "expire_before", overtaken)
    assert sweep(engine, settings, clock.now() + OVER) == 0
    assert counts(engine) == [1, 3, 0]
