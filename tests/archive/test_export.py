"""The log as Parquet: whole, with its outcomes, and never half a day."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor import settings as settings_module
from monitor.archive import export as module
from monitor.archive import frames
from monitor.archive.export import export
from monitor.cli import run_command
from monitor.errors import NotFound, SetupError
from monitor.settings import Settings
from tests.archive.conftest import label, send

HERE = (0, clock.LATEST - 1)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def read(folder: Path) -> list[dict[str, Any]]:
    """Rows as a reader of hive partitions sees them."""
    found = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    return sorted(found.to_pylist(), key=lambda row: row["id"])


def test_rows_come_out_by_day_with_the_outcome_that_holds_and_all_that_were_there(
    client: TestClient, engine: Engine, out: Path
) -> None:
    send(client, ["a", "b"], ago=2 * clock.DAY, latency_ms=3.5, tags={"region": "north"}, prediction=1)
    send(client, ["c"], features={"x": 7, "new": "level"})
    label(client, ["a"], 0)
    label(client, ["a", "c"], 1)
    done = export(engine, 1, "m", *HERE, out)
    assert (done.rows, done.days, done.files, done.resumed) == (3, 2, 2, 0)
    a, b, c = read(out)
    assert (a["model"], a["version"], a["features.x"], a["features.who"]) == ("m", "1", 1.5, "p-a")
    assert (a["tags.region"], a["latency_ms"], a["prediction"], a["score"]) == ("north", 3.5, "1", 0.25)
    assert str(a["day"]) == a["timestamp"].date().isoformat() and a["timestamp"].tzinfo is not None
    assert a["actual"] == "1" and [one["actual"] for one in a["outcomes"]] == ["0", "1"]
    assert b["actual"] is None and b["outcomes"] == []
    assert c["actual"] == "1" and c["features.x"] == 7.0
    assert not list(out.glob("**/_*")) and not list(out.glob("**/.*"))


def test_the_stretch_is_from_inclusive_to_exclusive(client: TestClient, engine: Engine, out: Path) -> None:
    at = clock.now() // clock.DAY * clock.DAY - clock.DAY
    rows = [
        {"id": str(i), "timestamp": clock.render(at + i * clock.HOUR), "features": {"x": 1.0}, "score": 0.1}
        for i in range(5)
    ]
    client.post("/v1/models/m/predictions", json={"rows": rows})
    assert export(engine, 1, "m", at + clock.HOUR, at + 3 * clock.HOUR, out).rows == 2
    assert [row["id"] for row in read(out)] == ["1", "2"]


def test_an_export_that_was_killed_goes_on_from_there_and_shows_the_log_of_its_beginning(
    client: TestClient, engine: Engine, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ago in range(4):
        send(client, [f"{ago}-{i}" for i in range(3)], ago=ago * clock.DAY)
    write, calls = frames.replace_table, 0

    def killed(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            (out / "model=m" / ".day=2000-01-01").mkdir()  # what a kill in the middle of a day leaves
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(frames, "replace_table", killed)
    with pytest.raises(KeyboardInterrupt):
        export(engine, 1, "m", *HERE, out)
    assert len(read(out)) == 6  # whole days only
    monkeypatch.undo()
    send(client, ["later"])
    label(client, ["0-0"])
    done = export(engine, 1, "m", *HERE, out)
    assert (done.rows, done.days, done.resumed) == (12, 4, 2)
    rows = read(out)
    assert len(rows) == 12 and {row["actual"] for row in rows} == {None}
    again = export(engine, 1, "m", *HERE, out)  # finished before: everything anew
    assert (again.rows, again.resumed) == (13, 0)
    assert [row["actual"] for row in read(out) if row["id"] == "0-0"] == ["1"]
    assert not list(out.glob("**/.*")) and not list(out.glob("**/_*"))


def test_a_relative_directory_is_one_of_the_current_folder(
    client: TestClient, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, ["a"])
    monkeypatch.chdir(tmp_path)
    assert export(engine, 1, "m", *HERE, Path("out")).rows == 1 == len(read(tmp_path / "out"))


def test_large_days_become_several_files(
    client: TestClient, engine: Engine, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 4)
    for part in range(5):
        send(client, [f"{part}-{i}" for i in range(3)])
    done = export(engine, 1, "m", *HERE, out)
    assert done.rows == 15 == len(read(out)) and done.files == 3


def test_what_was_exported_can_be_imported_and_nothing_changes(
    client: TestClient, engine: Engine, settings_of_process: None, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(client, ["a", "b"])
    export(engine, 1, "m", *HERE, out)
    (path,) = out.glob("**/*.parquet")
    assert run_command(["import", str(path), "--model", "m", "--kind", "predictions", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["accepted"], answer["duplicates"]) == (0, 2), answer


def test_the_command_prints_json_and_says_what_is_wrong(
    client: TestClient, engine: Engine, settings_of_process: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(client, ["a"])
    given = ["export", "--model", "m", "--out", str(tmp_path / "out")]
    today = clock.render(clock.now())[:10]
    assert run_command([*given, "--from", today, "--to", "2199-01-01", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rows"], shown["days"], shown["from"]) == (1, 1, today + "T00:00:00Z")
    for wrong, says in (
        (["--from", "2026-02-01", "--to", "2026-01-01"], "must lie before"),
        (["--from", "yesterday", "--to", "2026-01-01"], "--from: not a time"),
    ):
        assert run_command([*given, *wrong]) == 2
        assert says in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("a file")
    assert run_command([*given, "--from", today, "--to", "2199-01-01"]) == 2
    assert "not a directory" in capsys.readouterr().err


def test_an_unknown_model_or_an_empty_stretch_is_told(engine: Engine, out: Path) -> None:
    with pytest.raises(NotFound):
        export(engine, 1, "absent", *HERE, out)
    with pytest.raises(SetupError):
        export(engine, 1, "m", 5, 5, out)


@pytest.fixture
def settings_of_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands work on the test's database."""
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", settings.url)
    settings_module.load.cache_clear()
    monkeypatch.setattr("monitor.log.setup", lambda _level: None)
