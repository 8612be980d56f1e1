"""Files of history: the same rules, the same identity, each row known at its own time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.errors import SetupError
from monitor.ingest.load import import_file
from monitor.ingest.references import reference_from_file, reference_from_json
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import blocks
from monitor.store.catalog import put_model
from monitor.store.session import reading, writing

NOW = clock.parse("2026-03-01T12:00:00Z")


@pytest.fixture
def replay(sqlite_engine: Engine) -> Engine:
    with writing(sqlite_engine) as connection:
        put_model(connection, 1, "replay", {"task": "binary", "clock": "events"}, NOW, "test")
    return sqlite_engine


def table(rows: int) -> pa.Table:
    start = np.datetime64("2013-03-01T00:00:00")
    return pa.table(
        {
            "id": [f"row-{i}" for i in range(rows)],
            "timestamp": pa.array(start + np.arange(rows).astype("timedelta64[m]"), pa.timestamp("us", "UTC")),
            "age": np.arange(rows) % 60,
            "city": ["Lyon", "Rome"] * (rows // 2),
            "prediction": [1.0, 0.0] * (rows // 2),
            "score": [0.75, 0.25] * (rows // 2),
        }
    )


def rows_of(engine: Engine, settings: Settings) -> list[dict[str, object]]:
    model, _ = Writer(engine, settings).model(1, "replay")
    with reading(engine) as connection:
        return [one for _, batch in blocks.read_blocks(connection, model.id, 0, 10**9) for one in batch.to_pylist()]


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_file_is_imported_once_however_often_it_is_loaded(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name.endswith("csv"):
        content = table(12_000)
        text = pa.compute.strftime(content["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
        pa.csv.write_csv(content.set_column(1, "timestamp", text), path)
    else:
        pa.parquet.write_table(table(12_000), path)
    seen: list[tuple[int, int]] = []
    arguments = (replay, sqlite_settings, 1, "replay", path, "predictions", "auto", True)
    first = import_file(*arguments, progress=lambda done, total: seen.append((done, total)))
    assert first["accepted"] == 12_000
    assert first["columns"]["age"] == "f:age"
    assert seen[-1][1] > 0
    again = import_file(*arguments)
    assert (again["accepted"], again["duplicates"]) == (0, 12_000)
    kept = rows_of(replay, sqlite_settings)
    assert len(kept) == 12_000
    assert all(one["known_at"] == one["timestamp"] for one in kept)
    assert kept[0]["prediction"] == "1"


def test_outcomes_come_from_a_file_too(replay: Engine, sqlite_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.csv"
    path.write_text("id,actual,observed_at\na,1,2013-03-01T12:00:00Z\nb,0,2013-03-01 13:00:00+01:00\nc,1,noon\n")
    answer = import_file(replay, sqlite_settings, 1, "replay", path, "outcomes", history=True)
    assert (answer["accepted"], answer["pending"], answer["rejected_count"]) == (2, 2, 1)
    assert "observed_at" in answer["rejected"][0]["message"]


def test_a_nested_file_keeps_its_features(replay: Engine, sqlite_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    at = pa.array([clock.to_datetime(NOW)], pa.timestamp("us", "UTC"))
    nested = pa.table({"id": ["a"], "timestamp": at, "features": [{"x": 1.5, "y": "u"}], "tags": [{"shop": "s1"}]})
    pa.parquet.write_table(nested, path)
    import_file(replay, sqlite_settings, 1, "replay", path, "predictions", history=True)
    (kept,) = rows_of(replay, sqlite_settings)
    assert (kept["f:x"], kept["f:y"], kept["t:shop"]) == (1.5, "u", "s1")


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("a.csv", None, "predictions", "no such file"),
        ("a.txt", "id\n1\n", "predictions", "--format"),
        ("a.parquet", "not parquet", "predictions", "cannot be read"),
        ("a.csv", "id,value\na,1\n", "outcomes", "actual"),
        ("a.csv", "id,x\na,1\n", "predictions", "--history"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, name: str, content: str | None, kind: str, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(SetupError, match=message):
        import_file(replay, sqlite_settings, 1, "replay", path, kind, history=True)


def test_a_reference_is_read_from_json_and_from_a_file_alike(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path
) -> None:
    model, _ = Writer(replay, sqlite_settings).model(1, "replay")
    body = b'{"rows": [{"features": {"x": 1.5}, "prediction": 1, "score": 0.9, "actual": 1}]}'
    path = tmp_path / "reference.csv"
    path.write_text("x,prediction,score,actual\n1.5,1,0.9,1\n")
    one, other = reference_from_json(body, model, NOW), reference_from_file(path, "auto", model, NOW)[0]
    for name in ("f:x", "prediction", "score", "actual", "filled"):
        assert one.batch[name].to_pylist() == other.batch[name].to_pylist()
