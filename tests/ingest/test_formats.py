"""Files in the formats that people have: recognised by themselves, and stored as if they had been posted as JSON."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

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
from monitor.store import blocks, catalog
from monitor.store.session import reading, writing
from tests.ingest.conftest import NOW, Send

SAMPLES = Path(__file__).parent / "samples"
CAPTURE = "sagemaker/churn/AllTraffic/2026/02/27/09/15-00-000.jsonl"
CHURN = {"months": {"kind": "numeric"}, "plan": {"kind": "categorical"}, "spent": {"kind": "numeric"}}
IRIS = ["sepal length", "sepal width", "petal length", "petal width"]


def iris(*values: float) -> dict[str, float]:
    return dict(zip(IRIS, values, strict=True))


def churn(months: float, plan: str, spent: float) -> dict[str, Any]:
    return {"months": months, "plan": plan, "spent": spent}


BATCH = "7713930528999883196"
EVENT = "aaaaaaaa-000{}-4603-b098-09c8799950e9"
MICROS = [
    json.loads(line)["timestamp"] + "Z" for line in (SAMPLES / "bentoml/data/data.0.log").read_text().splitlines()
]
FRAUD = {"version": "4", "latency_ms": 15, "timestamp": "2026-02-27T09:15:01Z"}

# file -> the format that must be found, the model, and the rows that must be stored, as our own JSON has them
PREDICTIONS: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    CAPTURE: (
        "sagemaker",
        {"task": "binary", "features": CHURN},
        [
            {
                "id": "customer-17",
                "timestamp": "2026-02-27T09:15:00Z",
                "features": churn(69, "0", 153.7),
                "score": 0.0254,
            },
            {
                "id": EVENT.format(2) + "#0",
                "timestamp": "2026-02-27T09:15:01Z",
                "features": churn(12, "1", 20.5),
                "score": 0.91,
            },
            {
                "id": EVENT.format(2) + "#1",
                "timestamp": "2026-02-27T09:15:01Z",
                "features": churn(30, "0", 99),
                "score": 0.5,
            },
            {
                "id": EVENT.format(3),
                "timestamp": "2026-02-27T09:15:02Z",
                "features": churn(7, "1", 11.25),
                "score": 0.75,
                "prediction": 1,
            },
            {
                "id": EVENT.format(4),
                "timestamp": "2026-02-27T09:15:03Z",
                "features": churn(44, "0", 1.5),
                "score": 0.125,
            },
        ],
    ),
    "bentoml/data/data.0.log": (
        "bentoml",
        {"task": "multiclass"},
        [
            {
                "id": "6413930528999883196",
                "timestamp": MICROS[0],
                "features": iris(5.1, 3.5, 1.4, 0.2),
                "prediction": "setosa",
            },
            {
                "id": "6413930528999883197",
                "timestamp": MICROS[1],
                "features": iris(6.7, 3.1, 4.7, 1.5),
                "prediction": "versicolor",
            },
            {
                "id": "6413930528999883198",
                "timestamp": MICROS[2],
                "features": iris(7.2, 3.6, 6.1, 2.5),
                "prediction": "virginica",
            },
            {
                "id": f"{BATCH}#BATCH0",
                "timestamp": MICROS[3],
                "features": iris(5.1, 3.5, 1.4, 0.2),
                "prediction": "setosa",
            },
            {
                "id": f"{BATCH}#BATCH1",
                "timestamp": MICROS[4],
                "features": iris(6.7, 3.1, 4.7, 1.5),
                "prediction": "versicolor",
            },
            {
                "id": f"{BATCH}#BATCH2",
                "timestamp": MICROS[5],
                "features": iris(7.2, 3.6, 6.1, 2.5),
                "prediction": "virginica",
            },
        ],
    ),
    "mlflow-legacy.csv": (
        "mlflow",
        {"task": "binary"},
        [
            {
                "id": "order-1",
                "timestamp": "2026-02-27T09:15:00Z",
                "version": "4",
                "latency_ms": 12,
                "features": {"amount": 12.5, "country": "FR"},
                "prediction": 1,
            },
            {
                "id": "2" * 8 + "-2222-4222-8222-" + "2" * 12 + "#0",
                **FRAUD,
                "features": {"amount": 3, "country": "IT"},
                "prediction": 0,
            },
            {
                "id": "2" * 8 + "-2222-4222-8222-" + "2" * 12 + "#1",
                **FRAUD,
                "features": {"amount": 4.25},
                "prediction": 1,
            },
            {
                "id": "order-3",
                "timestamp": "2026-02-27T09:15:02Z",
                "version": "4",
                "latency_ms": 3,
                "features": {"amount": 9, "country": "DE"},
                "error": "status 500",
            },
        ],
    ),
    "mlflow-gateway.jsonl": (
        "mlflow",
        {"task": "binary"},
        [
            {
                "id": "order-4",
                "timestamp": "2026-02-27T09:15:03Z",
                "version": "6e1f",
                "latency_ms": 8,
                "features": {"amount": 1.5, "country": "FR"},
                "prediction": 0,
                "score": 0.25,
            }
        ],
    ),
    "nannyml.csv": (
        "nannyml",
        {"task": "binary"},
        [
            {
                "id": str(at),
                "timestamp": stamp,
                "prediction": label,
                "score": score,
                "tags": {"period": "analysis"},
                "features": {"car_value": value, "salary_range": salary},
            }
            for at, (stamp, label, score, value, salary) in enumerate(
                [
                    ("2026-02-27T00:00:00Z", 1, 0.99, 39811, "40K - 60K €"),
                    ("2026-02-27T00:08:43.152Z", 0, 0.07, 12679, "40K - 60K €"),
                    ("2026-02-27T00:17:26.304Z", 1, 1.0, 19847, None),
                ]
            )
        ],
    ),
    "evidently.csv": (
        "evidently",
        {"task": "binary"},
        [
            {"id": f"FILE-{at}", "timestamp": stamp, "features": {"age": age, "city": city}, "score": score}
            for at, (stamp, age, city, score) in enumerate(
                [
                    ("2026-02-27T08:00:00Z", 31, "Lyon", 0.75),
                    ("2026-02-27T09:00:00Z", 47, "Rome", 0.25),
                    ("2026-02-27T10:00:00Z", 19, "Rome", 0.5),
                ]
            )
        ],
    ),
    "animals.ndjson": (
        "evidently",
        {"task": "multiclass"},
        [
            {
                "id": "p1",
                "timestamp": "2026-02-27T07:00:00Z",
                "features": {"legs": 4},
                "prediction": "cat",
                "scores": {"cat": 0.75, "dog": 0.25},
            },
            {
                "id": "p2",
                "timestamp": "2026-02-27T08:00:00Z",
                "features": {"legs": 4},
                "prediction": "dog",
                "scores": {"cat": 0.5, "dog": 0.5},
            },
        ],
    ),
}
for name in ("rows.ndjson", "flat.ndjson"):
    PREDICTIONS[name] = (
        "ndjson",
        {"task": "binary", "features": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}}},
        [json.loads(line) for line in (SAMPLES / "rows.ndjson").read_text().splitlines()],
    )


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """SQLite unless a test names another, and rows are kept for ever: the samples grow older."""
    found: Settings = request.getfixturevalue(getattr(request, "param", "sqlite_settings"))
    return found.model_copy(update={"retention": "36500d"})


ON_POSTGRES = pytest.mark.parametrize("settings", ["postgres_settings"], indirect=True)


@pytest.fixture
def models(engine: Engine, writer: Writer) -> Engine:
    """The database behind the writer that `send` uses."""
    return engine


def make(engine: Engine, name: str, config: dict[str, Any]) -> None:
    with writing(engine) as connection:
        catalog.put_model(connection, 1, name, config, NOW - clock.DAY, "test")


def stored(engine: Engine, settings: Settings, name: str) -> dict[str, dict[str, Any]]:
    """The rows of a model by id: what was sent, without nulls, versions by their names."""
    model, _ = Writer(engine, settings).model(1, name)
    found: dict[str, dict[str, Any]] = {}
    with reading(engine) as connection:
        versions = catalog.version_names(connection, model.id)
        for _, batch in blocks.read_blocks(connection, model.id, 0, 10**9):
            for row in batch.to_pylist():
                kept = {name: value for name, value in row.items() if value is not None and name != "known_at"}
                found[row["id"]] = kept | {"version": versions[row["version"]]}
    return found


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_foreign_file_is_stored_as_our_own_json_is(models: Engine, settings: Settings, send: Send, name: str) -> None:
    import_and_compare(models, settings, send, name, "")


@ON_POSTGRES
def test_foreign_files_are_stored_alike_on_postgresql(models: Engine, settings: Settings, send: Send) -> None:
    for number, name in enumerate(PREDICTIONS):
        import_and_compare(models, settings, send, name, str(number))


def import_and_compare(engine: Engine, settings: Settings, send: Send, name: str, number: str) -> None:
    """A sample imported into one model, and its rows posted to another, leave the same rows behind."""
    expected_format, config, rows = PREDICTIONS[name]
    make(engine, "theirs" + number, config)
    make(engine, "ours" + number, config)
    result = import_file(engine, settings, 1, "theirs" + number, SAMPLES / name, "predictions")
    assert (result["format"], result["accepted"], result["rejected_count"]) == (expected_format, len(rows), 0), result
    theirs = stored(engine, settings, "theirs" + number)
    made = iter(row_id for row_id in theirs if "#" in row_id or len(row_id) > 32)
    sent = [row | ({"id": next(made)} if "BATCH" in row["id"] or "FILE" in row["id"] else {}) for row in rows]
    if name == CAPTURE:
        sent = [row | {"version": "AllTraffic"} for row in sent]
    if name.startswith("bentoml"):
        sent = [row | {"version": "uyzcztqjwkxxqaav"} for row in sent]
    assert send({"rows": sent}, model="ours" + number)["accepted"] == len(rows)
    assert theirs == stored(engine, settings, "ours" + number)
    again = import_file(engine, settings, 1, "theirs" + number, SAMPLES / name, "predictions")
    assert (again["accepted"], again["duplicates"]) == (0, len(rows))


@pytest.mark.parametrize(
    ("predictions", "outcomes", "task", "labels"),
    [
        (CAPTURE, "sagemaker/ground-truth.jsonl", "binary", ["1", "0", "1"]),
        (
            "bentoml/data/data.0.log",
            "",
            "multiclass",
            ["versicolor", "versicolor", "virginica", "setosa", "versicolor", "virginica"],
        ),
        ("nannyml.csv", "nannyml-targets.csv", "binary", ["1", "0"]),
        ("evidently.csv", "", "binary", ["1", "0", "1"]),
        ("animals.ndjson", "", "multiclass", ["cat", "cat"]),
    ],
)
def test_labels_of_a_file_join_its_predictions(
    models: Engine, settings: Settings, predictions: str, outcomes: str, task: str, labels: list[str]
) -> None:
    make(models, "theirs", {"task": task})
    import_file(models, settings, 1, "theirs", SAMPLES / predictions, "predictions")
    file_format = "nannyml" if outcomes.startswith("nannyml") else "auto"
    path = SAMPLES / (outcomes or predictions)
    result = import_file(models, settings, 1, "theirs", path, "outcomes", file_format)
    assert (result["accepted"], result["pending"], result["rejected_count"]) == (len(labels), 0, 0), result
    model, _ = Writer(models, settings).model(1, "theirs")
    with reading(models) as connection:
        query = f"SELECT actual FROM outcome WHERE model_id = {model.id} ORDER BY position"
        assert [row[0] for row in connection.exec_driver_sql(query)] == labels
    again = import_file(models, settings, 1, "theirs", path, "outcomes", file_format)
    assert (again["accepted"], again["duplicates"]) == (0, len(labels))


def test_the_answer_says_what_became_what(models: Engine, settings: Settings) -> None:
    make(models, "theirs", {"task": "binary"})
    result = import_file(models, settings, 1, "theirs", SAMPLES / "nannyml.csv", "predictions")
    assert result["columns"] == {
        "id": "id",
        "timestamp": "timestamp",
        "y_pred": "prediction",
        "y_pred_proba": "score",
        "period": "t:period",
        "car_value": "f:car_value",
        "salary_range": "f:salary_range",
    }
    assert result["unused_columns"] == [""]
    assert "UTC" in result["notes"][0]
    capture = import_file(models, settings, 1, "theirs", SAMPLES / CAPTURE, "predictions")
    assert capture["columns"]["eventMetadata.inferenceId"] == "id"
    assert capture["columns"]["endpointInput[2]"] == "f:f2"


def table_of(rows: int) -> pa.Table:
    stamps = [clock.to_datetime(NOW - clock.DAY + at * clock.SECOND) for at in range(rows)]
    return pa.table(
        {
            "id": [f"row-{at}" for at in range(rows)],
            "timestamp": pa.array(stamps, pa.timestamp("us", "UTC")),
            "features.age": [float(at % 60) for at in range(rows)],
            "features.city": pa.array(["Lyon", "Rome", None] * (rows // 3)).dictionary_encode(),
            "prediction": [at % 2 for at in range(rows)],
        }
    )


def write(table: pa.Table, path: Path) -> None:
    kind = path.name.partition(".")[2]
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    elif kind.startswith("stream"):
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    else:
        text = table.set_column(1, "timestamp", pa.compute.strftime(table["timestamp"], "%Y-%m-%dT%H:%M:%SZ"))
        if kind.startswith("csv"):
            pa.csv.write_csv(text, path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in text.to_pylist()))
    if kind.endswith("gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    if kind.endswith("zst"):
        path.write_bytes(pa.Codec("zstd").compress(path.read_bytes(), asbytes=True))


CONTAINERS = ["rows.csv", "rows.parquet", "rows.arrow", "rows.stream", "rows.ndjson", "rows.csv.gz", "rows.jsonl.gz"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_rows_in_any_container_are_duplicates(
    models: Engine, settings: Settings, tmp_path: Path, name: str
) -> None:
    make(models, "theirs", {"task": "binary"})
    write(table_of(1_200), tmp_path / "first.parquet")
    first = import_file(models, settings, 1, "theirs", tmp_path / "first.parquet", "predictions", history=True)
    assert first["accepted"] == 1_200
    path = tmp_path / name
    write(table_of(1_200), path)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    result = import_file(models, settings, 1, "theirs", path, "predictions", history=True, progress=progress)
    assert (result["duplicates"], result["rejected_count"]) == (1_200, 0), result["rejected"][:3]
    assert seen[-1][0] == seen[-1][1] > 0


def test_one_bad_line_does_not_stop_the_others(models: Engine, settings: Settings, tmp_path: Path) -> None:
    make(models, "theirs", {"task": "binary"})
    lines = (SAMPLES / CAPTURE).read_text().splitlines()
    lines[1:1] = ["{broken", "[1]", '{"captureData": {}, "eventMetadata": {}}', '{"x": 1}', ""]
    path = tmp_path / "capture.jsonl"
    path.write_text("\n".join(lines))
    result = import_file(models, settings, 1, "theirs", path, "predictions")
    assert (result["accepted"], result["rejected_count"]) == (5, 4)
    assert [one["index"] for one in result["rejected"]] == [1, 2, 3, 4]
    assert "inferenceId" in result["rejected"][2]["message"]


def test_ids_of_rows_without_one_come_from_the_file(models: Engine, settings: Settings, tmp_path: Path) -> None:
    make(models, "theirs", {"task": "regression"})
    path = tmp_path / "rows.csv"
    path.write_text("prediction,x\n1.5,1\n2.5,1\n1.5,1\n")
    first = import_file(models, settings, 1, "theirs", path, "predictions")
    again = import_file(models, settings, 1, "theirs", path, "predictions")
    assert (first["accepted"], again["duplicates"]) == (3, 3)


def test_times_without_an_offset_are_taken_in_the_zone_that_was_given(
    models: Engine, settings: Settings, tmp_path: Path
) -> None:
    from zoneinfo import ZoneInfo

    make(models, "theirs", {"task": "binary"})
    result = import_file(
        models, settings, 1, "theirs", SAMPLES / "evidently.csv", "predictions", zone=ZoneInfo("Asia/Tokyo")
    )
    assert result["accepted"] == 3
    stamps = sorted(row["timestamp"] for row in stored(models, settings, "theirs").values())
    assert clock.render(stamps[0]) == "2026-02-26T23:00:00Z"
    # Our own formats ask for an offset, unless a zone is named.
    path = tmp_path / "rows.csv"
    path.write_text("id,timestamp,x\na,2026-02-27T08:00:00,1\n")
    assert import_file(models, settings, 1, "theirs", path, "predictions")["rejected_count"] == 1
    named = import_file(models, settings, 1, "theirs", path, "predictions", zone=ZoneInfo("Asia/Tokyo"))
    assert named["accepted"] == 1


def test_a_reference_may_come_in_any_format(models: Engine, settings: Settings) -> None:
    make(models, "theirs", {"task": "binary"})
    model, _ = Writer(models, settings).model(1, "theirs")
    found, how = reference_from_file(SAMPLES / "evidently.csv", "auto", model, NOW)
    rows = [
        {
            "timestamp": f"2026-02-27T{at:02}:00:00Z",
            "features": {"age": age, "city": city},
            "score": score,
            "actual": label,
        }
        for at, age, city, score, label in (
            (8, 31, "Lyon", 0.75, 1),
            (9, 47, "Rome", 0.25, 0),
            (10, 19, "Rome", 0.5, 1),
        )
    ]
    ours = reference_from_json(json.dumps({"rows": rows}).encode(), model, NOW)
    for name in ("f:age", "f:city", "score", "actual", "timestamp"):
        assert found.batch[name].to_pylist() == ours.batch[name].to_pylist()
    assert how["format"] == "evidently" and how["columns"]["target"] == "actual"


@pytest.mark.parametrize(
    ("name", "content", "kind", "file_format", "words"),
    [
        ("capture.jsonl", '{"captureData": {}}', "outcomes", "auto", "ground-truth file"),
        ("truth.jsonl", '{"groundTruthData": {}}', "predictions", "auto", "--kind outcomes"),
        ("x.log", '{"timestamp": "", "request_id": "", "trace_id": "", "a": 1}', "predictions", "auto", "schema"),
        ("x.bin", "\x00\x01", "predictions", "auto", "--format"),
        ("x.csv", "a,b\n1,2\n", "predictions", "excel", "--format is one of auto"),
        ("x.csv", "id,x,z\n1,2,3\n", "outcomes", "nannyml", "y_true"),
        ("x.csv", "id,x\n1,2\n", "predictions", "mlflow", "request"),
        ("x.gz", "\x1f\x8b broken", "predictions", "auto", "cannot be read"),
        ("x.arrow", "ARROW1 broken", "predictions", "auto", "cannot be read"),
        ("x.parquet", "PAR1 broken", "predictions", "auto", "cannot be read"),
        ("x.csv", "", "predictions", "auto", "cannot be read"),
        ("t.csv", "request,response,timestamp_ms\n{},{},1\n", "outcomes", "auto", "id and actual"),
    ],
)
def test_what_cannot_be_used_says_what_to_do(
    models: Engine, settings: Settings, tmp_path: Path, name: str, content: str, kind: str, file_format: str, words: str
) -> None:
    make(models, "theirs", {"task": "binary"})
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SetupError, match=words) as caught:
        import_file(models, settings, 1, "theirs", path, kind, file_format)
    assert "\n" not in str(caught.value)


def test_bentoml_rows_keep_their_ids_however_the_file_is_cut(
    models: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(models, "theirs", {"task": "multiclass"})
    shutil.copytree(SAMPLES / "bentoml", tmp_path / "iris")
    path = tmp_path / "iris/data/data.0.log"
    import_file(models, settings, 1, "theirs", path, "predictions")
    monkeypatch.setattr("monitor.ingest.formats.source.BATCH_ROWS", 2)
    assert import_file(models, settings, 1, "theirs", path, "predictions")["duplicates"] == 6
