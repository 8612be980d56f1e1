"""Small blocks become large ones; every row stays the same row."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.app import create_app
from monitor.evaluate.build import build
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import blocks, compaction, keys, retention
from monitor.store import tables as t
from monitor.store.session import is_sqlite, reading, writing

MODEL = {"task": "binary", "features": {"x": {"kind": "numeric"}, "c": {"kind": "categorical"}}, "segments": []}


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    with writing(engine) as connection:
        key = keys.create_key(connection, 1, "n", "admin", clock.now())
    app = create_app(settings, engine, Writer(engine, settings))
    with TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"}) as running:
        running.put("/v1/models/m", json=MODEL)
        yield running


@pytest.fixture(autouse=True)
def soon_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FULL", 10)
    monkeypatch.setattr(compaction, "SMALL", 6)


def send(client: TestClient, ids: list[str], ago: int = 0, **more: Any) -> None:
    at = clock.render(clock.now() // clock.DAY * clock.DAY - ago)
    rows = [{"id": one, "timestamp": at, "features": {"x": 1.5, "c": "a"}, **more} for one in ids]
    assert client.post("/v1/models/m/predictions", json={"rows": rows}).json()["accepted"] == len(ids)


def stored(engine: Engine) -> tuple[list[int], list[dict[str, Any]]]:
    """The number of rows of each block, and all rows without what is absent, in order."""
    with reading(engine) as connection:
        model_id = connection.scalar(sa.select(t.model.c.id))
        found = list(blocks.read_blocks(connection, model_id, 0, 10**6))
    rows = [
        {"row": first + at} | {name: value for name, value in row.items() if value is not None}
        for first, batch in found
        for at, row in enumerate(batch.to_pylist())
    ]
    return [batch.num_rows for _, batch in found], rows


def compacted(engine: Engine) -> int:
    with reading(engine) as connection:
        model_id = connection.scalar(sa.select(t.model.c.id))
    fewer = 0
    while now := compaction.compact(engine, model_id):
        fewer += now
    return fewer


def test_rows_that_came_one_by_one_lie_in_few_blocks_afterwards(client: TestClient, engine: Engine) -> None:
    for number in range(25):
        send(client, [f"r{number}"], tags={"route": "a"} if number % 3 else None, version=str(number % 2 + 1))
    sizes, before = stored(engine)
    assert sizes == [1] * 25
    assert compacted(engine) == 18
    sizes, after = stored(engine)
    assert sizes == [10, 10, 1, 1, 1, 1, 1]  # the newest wait for more
    assert after == before
    send(client, [f"more{number}" for number in range(5)])
    assert compacted(engine) == 5
    assert stored(engine)[0] == [10, 10, 10]


def test_senders_do_not_wait_while_blocks_are_read_and_put_together(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever merges holds SQLite's write lock for the exchange alone, and the model's log not at all."""
    for number in range(20):
        send(client, [f"r{number}"])
    real, decode, writes = compaction.writing, compaction.decode, list[bool]()
    decoded: list[bool] = []
    exchanged: list[bool] = []

    @contextmanager
    def watched(engine: Engine) -> Iterator[Connection]:
        with real(engine) as connection:
            writes.append(True)
            yield connection
            writes.clear()
            if not exchanged and not is_sqlite(engine):
                with real(engine) as sender:
                    sender.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
                    blocks.lock_log(sender, sender.scalar(sa.select(t.model.c.id)))
            exchanged.append(True)

    monkeypatch.setattr(compaction, "writing", watched)
    monkeypatch.setattr(compaction, "decode", lambda payload: decoded.append(bool(writes)) or decode(payload))
    assert compacted(engine) == 18
    assert decoded == [False] * 20


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)  # with SQLite nobody else writes meanwhile
@pytest.mark.parametrize("rows", [range(5, 15), range(5, 25)], ids=["few rows", "many rows"])
def test_rows_that_are_sent_again_are_found_while_their_blocks_are_merged(
    client: TestClient, engine: Engine, rows: range
) -> None:
    """Who looks for them holds the log, not the blocks: each look may see other ones."""
    for number in range(25):
        send(client, [f"r{number}"])
    merging = threading.Thread(target=compacted, args=(engine,))
    count = sa.select(sa.func.count()).select_from(t.block)

    def merge_now(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "FROM block" in statement and merging.ident is None:
            merging.start()
            for _ in range(1000):
                with reading(engine) as connection:
                    if connection.scalar(count) == 7:
                        return
                time.sleep(0.01)

    sa.event.listen(engine, "after_cursor_execute", merge_now)
    at = clock.render(clock.now() // clock.DAY * clock.DAY)
    again = [{"id": f"r{number}", "timestamp": at, "features": {"x": 1.5, "c": "a"}} for number in rows]
    answer = client.post("/v1/models/m/predictions", json={"rows": again}).json()
    merging.join()
    assert (answer["accepted"], answer["duplicates"]) == (0, len(rows))
    assert stored(engine)[0] == [10, 10, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("rows", [[3], [0, 9], list(range(10))], ids=["one", "the first and last", "all"])
def test_rows_that_are_erased_between_the_look_and_the_exchange_stay_erased(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch, rows: list[int]
) -> None:
    for number in range(10):
        send(client, [f"r{number}"])
    _, before = stored(engine)
    real = compaction.writing

    @contextmanager
    def late(engine: Engine) -> Iterator[Connection]:
        monkeypatch.setattr(compaction, "writing", real)
        with real(engine) as connection:
            model_id = connection.scalar(sa.select(t.model.c.id))
            blocks.lock_log(connection, model_id)
            assert len(blocks.remove_rows(connection, model_id, rows)) == len(rows)
        with real(engine) as connection:
            yield connection

    monkeypatch.setattr(compaction, "writing", late)
    compacted(engine)
    assert stored(engine)[1] == [row for row in before if row["row"] not in rows]


def test_large_blocks_and_blocks_of_other_days_are_left_alone(client: TestClient, engine: Engine) -> None:
    send(client, ["a"], ago=clock.DAY)
    send(client, ["b"], ago=clock.DAY)
    send(client, ["c"])
    send(client, [f"big{number}" for number in range(8)])
    send(client, ["d"])
    assert compacted(engine) == 1
    assert stored(engine)[0] == [2, 1, 8, 1]


def test_blocks_in_which_a_column_has_another_type_stay_apart(client: TestClient, engine: Engine) -> None:
    client.put("/v1/models/m", json={"task": "binary", "segments": []})
    for number in range(12):
        value: Any = f"text {number}" if number in (4, 5) else number
        at = clock.render(clock.now() // clock.DAY * clock.DAY)
        row = {"id": f"{number}", "timestamp": at, "features": {"free": value}, "prediction": 1}
        assert client.post("/v1/models/m/predictions", json=row).json()["accepted"] == 1
    _, before = stored(engine)
    compacted(engine)
    sizes, after = stored(engine)
    assert after == before
    assert sum(sizes) == 12
    assert len(sizes) < 12


def test_ids_are_found_retries_known_and_profiles_the_same(client: TestClient, engine: Engine) -> None:
    for number in range(20):
        send(client, [f"r{number}"])
    with reading(engine) as connection:
        model_id = connection.scalar(sa.select(t.model.c.id))
    assert compacted(engine) == 18
    row = client.get("/v1/models/m/predictions/r13").json()
    assert row["predictions"][0]["features"] == {"x": 1.5, "c": "a"}
    at = clock.render(clock.now() // clock.DAY * clock.DAY)
    again = {"id": "r13", "timestamp": at, "features": {"x": 1.5, "c": "a"}}
    assert client.post("/v1/models/m/predictions", json=again).json()["duplicates"] == 1
    again["features"]["x"] = 2
    assert client.post("/v1/models/m/predictions", json=again).json()["rejected"][0]["code"] == "conflict"
    assert build(engine, model_id, clock.now()).rows == 20


def test_a_block_that_was_merged_meanwhile_is_not_removed_with_its_younger_rows(
    client: TestClient, engine: Engine
) -> None:
    """The sweep looks first and removes later; between the two its block has become a larger one."""
    for number in range(10):
        send(client, [f"r{number}"], ago=clock.DAY)
    with reading(engine) as connection:
        model_id = connection.scalar(sa.select(t.model.c.id))
        oldest = connection.scalar(sa.select(sa.func.min(t.block.c.max_timestamp)))
    with writing(engine) as connection:
        connection.execute(sa.update(t.watermark).values(next_row=10**6))
    compacted(engine)
    with writing(engine) as connection:
        assert retention._remove_block(connection, model_id, 0, oldest) == 0
        assert retention._remove_block(connection, model_id, 0, oldest + 1) == 10
