"""Files of history: the same rules, the same identity, each row known at its own time."""

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.archive.export import export
from monitor.errors import SetupError
from monitor.ingest.draft import Draft
from monitor.ingest.load import import_file
from monitor.ingest.references import reference_from_file, reference_from_json
from monitor.ingest.validate import validate_outcomes
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import blocks, outcomes
from monitor.store.catalog import get_model, put_model
from monitor.store.identity import keys_of
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


def rows_of(engine: Engine, settings: Settings, name: str = "replay") -> list[dict[str, object]]:
    model, _ = Writer(engine, settings).model(1, name)
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


@pytest.mark.parametrize("name", ["labels.csv", "quoted.csv", "labels.parquet", "nan.parquet", "large.parquet"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_rows_without_a_label_yet_are_counted_and_the_others_of_their_file_are_stored(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, name: str, task: str
) -> None:
    with writing(replay) as connection:
        put_model(connection, 1, "late", {"task": task}, NOW, "test")
    path = tmp_path / name
    if name == "labels.csv":
        path.write_text("id,actual\nc1,\nc2,1\nc3,\n")
    elif name == "quoted.csv":
        path.write_text('"id","actual"\n"c1",""\n"c2","1"\n"c3"," "\n')
    else:
        kind = {"labels": pa.int64(), "nan": pa.float64(), "large": pa.large_string()}[path.stem]
        values = {"labels": [None, 1, None], "nan": [float("nan"), 1.0, None], "large": ["", "1", None]}[path.stem]
        pa.parquet.write_table(pa.table({"id": ["c1", "c2", "c3"], "actual": pa.array(values, kind)}), path)
    answer = import_file(replay, sqlite_settings, 1, "late", path, "outcomes")
    assert (answer["accepted"], answer["unlabelled"], answer["rejected_count"]) == (1, 2, 0)


def test_a_file_without_any_label_is_no_error(replay: Engine, sqlite_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,actual\nc1,\nc2,\n")
    answer = import_file(replay, sqlite_settings, 1, "replay", path, "outcomes")
    assert (answer["accepted"], answer["unlabelled"], answer["rejected_count"]) == (0, 2, 0)


def test_an_outcome_without_an_id_is_rejected_where_the_file_has_ids(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,actual\n,1\nc2,1\n,\n")
    answer = import_file(replay, sqlite_settings, 1, "replay", path, "outcomes")
    assert (answer["accepted"], answer["unlabelled"]) == (1, 1)
    assert [(one["index"], one["message"]) for one in answer["rejected"]] == [(0, "id: an outcome needs it")]


def test_validation_refuses_outcomes_without_a_label_or_an_id_from_wherever_they_come(
    replay: Engine, sqlite_settings: Settings
) -> None:
    model, times = Writer(replay, sqlite_settings).model(1, "replay")
    columns = {"id": pa.array(["a", None, "c"]), "actual": pa.array([None, "1", "0"])}
    batch = validate_outcomes(Draft(columns, np.arange(3), 3, []), model, times)
    assert [one.id for one in batch.rows] == ["c"]
    assert [one.message for one in batch.rejected] == ["id: an outcome needs it", "actual: an outcome needs it"]
    bare = validate_outcomes(Draft({"id": pa.array(["a"])}, np.arange(1), 1, []), model, times)
    assert (bare.rows, len(bare.rejected)) == ([], 1)


@pytest.mark.parametrize("features", [True, False])
def test_what_an_export_wrote_is_imported_again_as_predictions_and_as_outcomes(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, features: bool
) -> None:
    with writing(replay) as connection:
        put_model(connection, 1, "copy", {"task": "binary", "clock": "events"}, NOW, "test")
    rows, labels = tmp_path / "rows.parquet", tmp_path / "labels.csv"
    pa.parquet.write_table(table(4) if features else table(4).drop_columns(["age", "city"]), rows)
    labels.write_text("id,actual,observed_at\nrow-1,1,2013-03-02T12:00:00Z\nrow-2,0,2013-03-03T12:00:00Z\n")
    import_file(replay, sqlite_settings, 1, "replay", rows, "predictions", history=True)
    import_file(replay, sqlite_settings, 1, "replay", labels, "outcomes", history=True)
    assert export(replay, 1, "replay", 0, clock.LATEST - 1, tmp_path / "out").rows == 4
    (path,) = (tmp_path / "out").glob("**/*.parquet")

    answer = import_file(replay, sqlite_settings, 1, "copy", path, "predictions", history=True)
    assert (answer["accepted"], answer["rejected_count"]) == (4, 0)
    copied, own = ([one | {"version": 0} for one in rows_of(replay, sqlite_settings, n)] for n in ("copy", "replay"))
    assert copied == own
    for history in (False, True):
        answer = import_file(replay, sqlite_settings, 1, "copy", path, "outcomes", history=history)
        assert (answer["accepted"] + answer["duplicates"], answer["pending"]) == (2, 0)
        assert (answer["unlabelled"], answer["rejected_count"]) == (2, 0)
    ids = keys_of([f"row-{i}" for i in range(4)])
    with reading(replay) as connection:
        one, other = (outcomes.history(connection, get_model(connection, 1, n).id, ids) for n in ("replay", "copy"))
    assert set(one) == {ids[1], ids[2]}
    for key, held in one.items():
        told = [[(each.actual, each.observed_at, each.known_at) for each in side] for side in (held, other[key])]
        assert told[0] == told[1]


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
        ("a.csv", "order_id,ts,pred\n7,2026-01-01T00:00:00Z,1\n", "predictions", "`timestamp`.*has order_id, ts, pred"),
        ("a.csv", "order_id,ts,pred\n7,2026-01-01T00:00:00Z,1\n", "predictions", "pred: did you mean prediction"),
        ("a.csv", "\n", "predictions", "no rows in the file"),
        ("a.csv", "id;actual;x\na;1;0,5\n", "outcomes", "got 2.*separated by `;`: .* by commas"),
        ("a.csv", "id\tactual\na\t0,5\n", "outcomes", "separated by tabs"),
        ("a.csv", "id;actual\na;1\n", "outcomes", "separate its values by commas"),
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


@pytest.mark.parametrize("file_format", ["auto", "csv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_told_to_be_saved_as_utf_8(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, encoding: str, file_format: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes((chr(0xFEFF) if encoding == "utf-16-be" else "").encode(encoding) + "id,x\na,1\n".encode(encoding))
    with pytest.raises(SetupError, match="save it as UTF-8"):
        import_file(replay, sqlite_settings, 1, "replay", path, "predictions", file_format)


def test_a_time_that_cannot_be_read_is_told_which_forms_can(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,timestamp,x\na,01/11/2025,1\nb,2025-11-01,1\nc,2025-11-01 12:30:00,1\n")
    zone = ZoneInfo("Europe/Berlin")
    answer = import_file(replay, sqlite_settings, 1, "replay", path, "predictions", zone=zone)
    assert (answer["accepted"], answer["rejected_count"]) == (2, 1)
    assert "with --timezone also 2026-01-31 or 2026-01-31 12:00:00" in answer["rejected"][0]["message"]
    assert [one["timestamp"] for one in rows_of(replay, sqlite_settings)] == [
        clock.parse("2025-11-01T00:00:00+01:00"),
        clock.parse("2025-11-01T12:30:00+01:00"),
    ]


@pytest.mark.parametrize("name", ["header.csv", "empty.parquet", "empty.jsonl"])
@pytest.mark.parametrize("kind", ["predictions", "outcomes"])
def test_a_file_without_rows_says_so(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    path.write_text("id,timestamp,actual\n" if name == "header.csv" else "")
    if name == "empty.parquet":
        pa.parquet.write_table(pa.table({"id": pa.array([], pa.string()), "actual": pa.array([], pa.string())}), path)
    answer = import_file(replay, sqlite_settings, 1, "replay", path, kind)
    assert (answer["accepted"], answer["warnings"]) == (0, ["no rows in the file"])


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("schema", [True, False])
def test_columns_that_the_schema_does_not_know_are_named_with_what_they_may_mean(
    replay: Engine, sqlite_settings: Settings, tmp_path: Path, name: str, schema: bool
) -> None:
    features = {"features": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}}} if schema else {}
    with writing(replay) as connection:
        put_model(connection, 1, "known", {"task": "binary"} | features, NOW, "test")
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("id,age,ctiy,weather,scroe\na,1,Rome,wet,0.5\n")
    else:
        path.write_text('{"id": "a", "age": 1, "ctiy": "Rome", "weather": "wet", "scroe": 0.5}\n')
    answer = import_file(replay, sqlite_settings, 1, "known", path, "predictions")
    assert answer["accepted"] == 1
    new = "new features, which the model's schema does not know: ctiy, weather, scroe"
    if schema:
        assert answer["warnings"] == [new, "ctiy: did you mean city?", "scroe: did you mean score?"]
    else:
        assert answer["warnings"] == ["scroe: did you mean score?"]
    model, _ = Writer(replay, sqlite_settings).model(1, "known")
    reference = tmp_path / f"reference-{name}"
    reference.write_text(path.read_text())
    assert reference_from_file(reference, "auto", model, NOW)[1]["warnings"] == answer["warnings"]


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
