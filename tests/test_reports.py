"""Reports: what they read, and how they end."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy.engine import Engine

from monitor import clock, reports, tasks
from monitor.store import catalog
from monitor.store import tasks as store
from monitor.store.blocks import LogEnd, add_block, encode, lock_log, move_log
from monitor.store.catalog import Model
from monitor.store.identity import key_of
from monitor.store.outcomes import NewOutcome, add_outcomes
from monitor.store.references import add_part, add_reference
from monitor.store.session import reading, writing

START = clock.parse("2026-03-02T00:00:00Z")
NOW = START + 30 * clock.DAY
N = 100


def batch(version: int, *, start: int, live: bool = True, actual: bool = False) -> pa.RecordBatch:
    """N rows, one a minute."""
    names = {
        "id": pa.array([f"{start}-{i}" for i in range(N)]),
        "timestamp": pa.array(start + np.arange(N) * clock.MINUTE, pa.int64()),
        "known_at": pa.array(start + np.arange(N) * clock.MINUTE, pa.int64()),
        "filled": pa.array([0] * N, pa.uint8()),
        "version": pa.array([version] * N, pa.int32()),
        "prediction": pa.array(["1", "0"] * (N // 2)),
        "score": pa.array(np.linspace(0, 1, N)),
        "role": pa.array(["live" if live else "shadow"] * N),
        "f:x": pa.array(np.arange(N, dtype=float)),
    }
    if actual:
        names["actual"] = pa.array(["1", None] * (N // 2))
    return pa.RecordBatch.from_pydict(names)


@pytest.fixture
def model(engine: Engine) -> Model:
    """A model with a reference of rows, a day of live rows, shadow rows beside them, and a few outcomes."""
    body = {"task": "binary", "positive_class": "1", "features": {"x": {"kind": "numeric"}}}
    with writing(engine) as connection:
        made, _ = catalog.put_model(connection, 1, "m", body, NOW, "test")
        version = catalog.version_ids(connection, made, ["1"])["1"]
        lock_log(connection, made.id)
        live = batch(version, start=START)
        add_block(connection, 1, made.id, 0, live, NOW)
        add_block(connection, 1, made.id, N, batch(version, start=START, live=False), NOW)
        outcomes = [NewOutcome(key_of(one), one, "1", START, True, START) for one in live.column("id").to_pylist()[:40]]
        add_outcomes(connection, 1, made.id, 0, outcomes, NOW)
        move_log(connection, made.id, LogEnd(2 * N, len(outcomes), NOW))
        reference_id, _ = add_reference(
            connection, 1, made.id, version_id=None, binning=1, provisional=False, created_at=NOW, rows=N,
            source={"rows": N}, profile=b"", windows=b"",
        )  # fmt: skip
        old = batch(version, start=START - 7 * clock.DAY, actual=True)
        add_part(connection, 1, made.id, reference_id, 0, N, encode(old))
    return made


def ask(engine: Engine, model: Model, from_at: int = START, to_at: int = START + clock.DAY) -> reports.Report:
    with writing(engine) as connection:
        return reports.ask(connection, model, from_at, to_at, NOW)


def look(engine: Engine, model: Model, report: reports.Report) -> reports.Report:
    with reading(engine) as connection:
        return reports.get(connection, model.id, report.id)


def run(engine: Engine) -> int:
    return tasks.run_pending(engine, "report")


def test_a_report_gets_the_live_rows_of_its_stretch_with_their_outcomes(
    engine: Engine, model: Model, monkeypatch: pytest.MonkeyPatch
):
    seen = {}

    def compute(folder: Path) -> bytes:
        for name in ("reference", "current"):
            with pa.ipc.open_stream((folder / f"{name}.arrow").read_bytes()) as reader:
                seen[name] = reader.read_all()
        return b"<html>the page</html>"

    monkeypatch.setattr(reports, "_compute", compute)
    asked = ask(engine, model, START + 10 * clock.MINUTE)
    assert run(engine) == 1
    assert seen["current"].num_rows == N - 10
    assert seen["current"].column("actual").null_count == N - 40
    assert seen["reference"].num_rows == N
    assert seen["reference"].column("actual").null_count == N // 2
    assert seen["current"].column_names == ["f:x", "prediction", "score", "actual"]
    done = look(engine, model, asked)
    assert (done.state, done.rows, done.error) == ("done", N - 10, None)
    with reading(engine) as connection:
        assert store.document(connection, model.id, asked.id) == b"<html>the page</html>"


def test_a_stretch_without_rows_fails_with_the_reason(engine: Engine, model: Model):
    asked = ask(engine, model, START + clock.DAY, START + 2 * clock.DAY)
    assert run(engine) == 1
    assert look(engine, model, asked).error == "no rows are kept of this stretch"


def test_a_model_without_a_reference_is_told_how_to_set_one(engine: Engine):
    with writing(engine) as connection:
        bare, _ = catalog.put_model(connection, 1, "bare", {"task": "regression"}, NOW, "test")
    asked = ask(engine, bare)
    run(engine)
    failed = look(engine, bare, asked)
    assert failed.state == "failed"
    assert "PUT /v1/models/{model}/reference" in str(failed.error)


def test_an_unforeseen_error_fails_the_report_and_not_the_job(
    engine: Engine, model: Model, monkeypatch: pytest.MonkeyPatch
):
    def compute(_folder: Path) -> bytes:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(reports, "_compute", compute)
    first, second = ask(engine, model), ask(engine, model)
    assert run(engine) == 2
    for asked in (first, second):
        assert "unforeseen" in str(look(engine, model, asked).error)
        assert "secret" not in str(look(engine, model, asked).error)


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reports, "TIMEOUT_SECONDS", 0.05)
    with pytest.raises(reports.NoReport, match="took longer"):
        reports._compute(tmp_path)


def test_the_child_is_told_nothing_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = {}

    def remember(*_args: object, env: dict[str, str], **_more: object) -> None:
        given.update(env)
        raise reports.subprocess.TimeoutExpired("", 1)

    monkeypatch.setenv("KEEPWATCH_SECRET_KEY", "s" * 43)
    monkeypatch.setattr(reports.subprocess, "run", remember)
    with pytest.raises(reports.NoReport):
        reports._compute(tmp_path)
    assert not [name for name in given if name.startswith("KEEPWATCH_")]


@pytest.mark.parametrize("sizes", [[10] * 50, [1000], [7, 900, 3, 90]])
def test_a_sample_holds_as_many_rows_as_asked_whatever_the_batches(sizes: list[int]):
    sample = reports.Sample(100, seed=1)
    for number, size in enumerate(sizes):
        sample.add(pa.RecordBatch.from_pydict({"n": pa.array([number] * size)}))
    sample.prune()
    assert sample.seen == sum(sizes)
    assert sum(one.num_rows for one in sample.batches) == min(100, sum(sizes))


def test_a_sample_is_uniform_over_the_stretch():
    counts = np.zeros(10)
    for seed in range(40):
        sample = reports.Sample(200, seed)
        for number in range(10):
            sample.add(pa.RecordBatch.from_pydict({"n": pa.array([number] * 300)}))
        sample.prune()
        for one in sample.batches:
            counts[one.column("n")[0].as_py()] += one.num_rows
    expected = 200 * 40 / 10
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_the_same_seed_draws_the_same_sample():
    def draw() -> list[int]:
        sample = reports.Sample(5, seed=3)
        sample.add(pa.RecordBatch.from_pydict({"n": pa.array(range(50))}))
        sample.prune()
        return [value for one in sample.batches for value in one.column("n").to_pylist()]

    assert draw() == draw()


def test_nothing_is_left_in_the_temporary_folder(
    engine: Engine, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reports.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(reports, "_compute", lambda _folder: b"page")
    ask(engine, model)
    run(engine)
    assert not list(tmp_path.glob("keepwatch-report-*"))
