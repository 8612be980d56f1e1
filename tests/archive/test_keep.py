"""Retention with an archive: a row is in the log or in the archive, never in neither, and in the end in one."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock, telemetry
from monitor.archive import erase as erase_module
from monitor.archive import frames, keep
from monitor.archive.alone import alone
from monitor.archive.erase import erase
from monitor.archive.places import Place, place_of
from monitor.errors import SetupError
from monitor.settings import Settings
from monitor.store import blocks, catalog, retention
from monitor.store import tables as t
from monitor.store.session import reading, writing
from monitor.sweep import sweep
from tests.archive.conftest import label, profiled, send
from tests.client.services import eventually

OVER = 92 * clock.DAY + clock.HOUR  # retention 90d, label delay 2d


@pytest.fixture
def kept(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"archive_url": str(tmp_path / "archive")})


def stored(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        found = blocks.read_blocks(connection, 1, 0, 1 << 40, ["id"])
        return [one for _, batch in found for one in batch["id"].to_pylist()]


def archived(tmp_path: Path) -> list[dict[str, Any]]:
    folder = tmp_path / "archive"
    return ds.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist() if folder.exists() else []


def filled(client: TestClient, engine: Engine) -> list[str]:
    """Eight blocks on two days, with outcomes; the ids."""
    ids = [[f"{part}-{i}" for i in range(3)] for part in range(8)]
    for part, of_block in enumerate(ids):
        send(client, of_block, ago=clock.DAY * (part % 2))
    label(client, ids[0])
    profiled(engine)
    return [one for of_block in ids for one in of_block]


def test_expired_rows_are_in_the_archive_with_their_outcomes_and_no_longer_in_the_log(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path
) -> None:
    ids = filled(client, engine)
    assert sweep(engine, kept, clock.now() + OVER) == 24
    rows = archived(tmp_path)
    assert sorted(row["id"] for row in rows) == sorted(ids) and stored(engine) == []
    assert {row["actual"] for row in rows if row["id"].startswith("0-")} == {"1"}
    assert {row["model"] for row in rows} == {"m"} and len({row["day"] for row in rows}) == 2
    assert len(list((tmp_path / "archive").glob("**/*.parquet"))) == 2  # one a day, not one a block
    assert sweep(engine, kept, clock.now() + OVER) == 0


@pytest.mark.parametrize("moment", ["a file", "all files", "the deletion"])
def test_a_crash_between_archive_and_deletion_neither_loses_nor_doubles(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ids = filled(client, engine)
    monkeypatch.setattr(keep, "RUN_ROWS", 7)
    target: Any = {"a file": (frames, "replace_table"), "all files": (retention, "remove_archived")}.get(
        moment, (retention, "_remove_block")
    )
    real, calls = getattr(*target), 0

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(*target, killed)
    with contextlib.suppress(KeyboardInterrupt):
        sweep(engine, kept, clock.now() + OVER)
    assert set(stored(engine)) | {row["id"] for row in archived(tmp_path)} == set(ids)
    monkeypatch.undo()
    monkeypatch.setattr(keep, "RUN_ROWS", 10)  # other runs than before: their files have other names
    sweep(engine, kept, clock.now() + OVER)
    assert Counter(row["id"] for row in archived(tmp_path)) == Counter(ids) and stored(engine) == []


def test_an_outcome_that_comes_while_its_row_is_archived_is_archived_too(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, ["a"])
    profiled(engine)
    remove = retention.remove_archived

    def overtaken(*arguments: Any) -> int:
        monkeypatch.undo()
        label(client, ["a"])
        return remove(*arguments)

    monkeypatch.setattr(retention, "remove_archived", overtaken)
    assert sweep(engine, kept, clock.now() + OVER) == 0
    assert stored(engine) == ["a"] and archived(tmp_path) == []
    assert sweep(engine, kept, clock.now() + OVER) == 1
    assert [row["actual"] for row in archived(tmp_path)] == ["1"]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_outcomes_that_come_after_their_row_was_archived_are_added_to_its_file(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    client.put("/v1/models/late", json={"task": task})
    rows = [{"id": i, "prediction": 1, "features": {"x": 1}} for i in ("a", "b", "c")]
    assert client.post("/v1/models/late/predictions", json={"rows": rows}).json()["accepted"] == 3

    def tell(actual: int, *ids: str) -> None:
        told = [{"id": i, "actual": actual} for i in ids]
        assert client.post("/v1/models/late/outcomes", json={"rows": told}).json()["rejected_count"] == 0

    def profile() -> None:
        with writing(engine) as connection:
            connection.execute(sa.update(t.watermark).values(next_row=10**6, next_outcome=10**6))

    tell(0, "a")
    profile()
    assert sweep(engine, kept, clock.now() + OVER) == 3
    tell(1, "a", "b", "nobody")
    profile()
    assert sweep(engine, kept, clock.now() + OVER - 4 * clock.DAY) == 0  # its time is not over yet

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> int:
        raise Killed

    with monkeypatch.context() as patched:  # between the file and the deletion
        patched.setattr(retention, "remove_outcomes", killed)
        with pytest.raises(Killed):
            sweep(engine, kept, clock.now() + OVER + clock.DAY)
    before = telemetry.EXPIRED_OUTCOMES.labels("alone")._value.get()
    for _ in range(2):
        sweep(engine, kept, clock.now() + OVER + clock.DAY)
    assert telemetry.EXPIRED_OUTCOMES.labels("alone")._value.get() - before == 1
    one, zero = (1.0, 0.0) if task == "regression" else ("1", "0")
    found = {row["id"]: row for row in archived(tmp_path)}
    assert {i: row["actual"] for i, row in found.items()} == {"a": one, "b": one, "c": None}
    assert [each["actual"] for each in found["a"]["outcomes"]] == [zero, one]
    assert [len(found[i]["outcomes"] or []) for i in "abc"] == [2, 1, 0]
    assert found["a"]["observed_at"] == found["a"]["outcomes"][1]["observed_at"] is not None
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.outcome)) == 0


def test_an_outcome_that_is_swept_during_an_erasure_is_not_lost(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, ["a", "b"])
    profiled(engine)
    assert sweep(engine, kept, clock.now() + OVER) == 2
    label(client, ["a"])
    profiled(engine)
    write = frames.replace_table

    def swept_meanwhile(place: Place, path: str, table: pa.Table) -> int:
        monkeypatch.undo()  # the erasure has read the file, and writes it in a moment
        sweep(engine, kept, clock.now() + OVER + clock.DAY)
        return write(place, path, table)

    monkeypatch.setattr(frames, "replace_table", swept_meanwhile)
    done = erase(engine, 1, "m", ["b"], place_of(kept.archive_url), clock.now(), "ann")
    assert done.archived_rows == 1
    sweep(engine, kept, clock.now() + OVER + clock.DAY)
    assert [(row["id"], row["actual"]) for row in archived(tmp_path)] == [("a", "1")]


def test_an_erasure_that_finds_the_archive_taken_says_so(
    client: TestClient, engine: Engine, kept: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, ["a"])
    with reading(engine) as connection:
        model = catalog.get_model(connection, 1, "m")
    monkeypatch.setattr(erase_module, "PATIENCE_SECONDS", 0.2)
    with alone(engine, model, 0.0) as go_on:
        assert go_on is not None
        with pytest.raises(OSError, match="being written by another process"):
            erase(engine, 1, "m", ["a"], place_of(kept.archive_url), clock.now(), "ann")
    assert erase(engine, 1, "m", ["a"], place_of(kept.archive_url), clock.now(), "ann").new_ids == 0


def test_rows_stay_in_the_log_while_the_archive_takes_nothing(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path
) -> None:
    ids = filled(client, engine)
    (tmp_path / "archive").write_text("a file where the directory should be")
    assert sweep(engine, kept, clock.now() + OVER) == 0
    assert sorted(stored(engine)) == sorted(ids)
    (tmp_path / "archive").unlink()
    assert sweep(engine, kept, clock.now() + OVER) == 24


def test_a_model_that_was_made_again_does_not_touch_the_files_of_the_one_before(
    client: TestClient, engine: Engine, kept: Settings, tmp_path: Path
) -> None:
    send(client, ["old"])
    profiled(engine)
    sweep(engine, kept, clock.now() + OVER)
    assert client.delete("/v1/models/m").status_code in (200, 204)
    client.put("/v1/models/m", json={"task": "binary"})
    eventually(lambda: client.post("/v1/models/m/predictions", json={"id": "new", "score": 0.5}).is_success)
    profiled(engine)
    sweep(engine, kept, clock.now() + OVER)
    assert sorted(row["id"] for row in archived(tmp_path)) == ["new", "old"]


def test_an_archive_by_url_goes_through_fsspec(
    client: TestClient, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    ids = filled(client, engine)
    by_url = settings.model_copy(update={"archive_url": f"file://{tmp_path}/archive"})
    assert sweep(engine, by_url, clock.now() + OVER) == 24
    assert sorted(row["id"] for row in archived(tmp_path)) == sorted(ids)
    with pytest.raises(SetupError, match="KEEPWATCH_ARCHIVE_URL"):
        place_of("nosuch://bucket")
