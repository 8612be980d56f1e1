"""Evidently reports: what is put right before Evidently sees it, and the process that makes the page."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pd = pytest.importorskip("pandas", reason='reports need pip install "keepwatch[reports]"')

from monitor.stats import report  # noqa: E402 (after the skip)
from monitor.stats.report import MAX_LEVELS, NONE, OTHER, Request, build, prepare  # noqa: E402


def table(n: int, seed: int = 0, **columns: Any) -> pa.Table:
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    score = 1 / (1 + np.exp(-x))
    late = random.random(n) < score
    made = {
        "f:x": pa.array(x),
        "f:kind": pa.array(random.choice(["a", "b"], n).tolist()),
        "prediction": pa.array(np.where(score > 0.5, "late", "on time").tolist()),
        "score": pa.array(score),
        "actual": pa.array(np.where(late, "late", "on time").tolist()),
    }
    return pa.table(made | columns)


def request(**changes: Any) -> Request:
    values = {
        "model": "m <1>",
        "stretch": "a week",
        "task": "binary",
        "positive_class": "late",
        "features": {"x": "numeric", "kind": "categorical"},
    }
    return Request(**{**values, **changes})


def test_a_column_without_a_value_is_left_out_with_a_note():
    prepared = prepare(request(), table(50), table(50, **{"f:x": pa.nulls(50, pa.float64())}))
    assert prepared.numeric == ["score"]
    assert any("one side has no value in them: x" in note for note in prepared.notes)


def test_a_feature_that_one_side_lacks_is_left_out_with_a_note():
    prepared = prepare(request(), table(50), table(50).drop_columns(["f:kind"]))
    assert prepared.categorical == ["prediction"]
    assert any("kind" in note for note in prepared.notes)


def test_missing_levels_are_a_level_of_their_own_since_evidently_drops_them():
    kinds = pa.array([None if i % 3 == 0 else "a" for i in range(60)])
    prepared = prepare(request(), table(60), table(60, **{"f:kind": kinds}))
    assert (prepared.current["kind"] == NONE).sum() == 20


def test_rare_levels_become_one_and_the_page_says_so():
    many = pa.array([f"level {i % 400}" for i in range(800)])
    prepared = prepare(request(), table(800, **{"f:kind": many}), table(800, **{"f:kind": many}))
    assert prepared.current["kind"].nunique() == MAX_LEVELS
    assert (prepared.current["kind"] == OTHER).any()
    assert any("400 levels" in note for note in prepared.notes)


def test_infinite_numbers_count_as_missing_and_are_counted_in_a_note():
    x = np.random.default_rng(1).normal(size=50)
    x[:7] = np.inf
    prepared = prepare(request(), table(50), table(50, **{"f:x": pa.array(x)}))
    assert prepared.current["x"].isna().sum() == 7
    assert any("7 infinite" in note for note in prepared.notes)


def test_outcomes_of_one_class_leave_performance_out():
    prepared = prepare(request(), table(50), table(50, actual=pa.array(["late"] * 50)))
    assert prepared.performance == ""
    assert "actual" not in prepared.current
    assert any("all of one class" in note for note in prepared.notes)


def test_few_outcomes_leave_performance_out():
    few = pa.array([None] * 40 + ["late", "on time"] * 5)
    assert prepare(request(), table(50), table(50, actual=few)).performance == ""


def test_a_row_without_a_prediction_is_not_judged():
    predictions = pa.array([None] * 10 + ["late", "on time"] * 45)
    prepared = prepare(request(), table(100), table(100, prediction=predictions))
    assert prepared.performance == "binary"
    assert prepared.current["actual"].notna().sum() == 90


def test_rows_without_a_score_or_a_prediction_stay_out_of_performance_and_a_note_counts_them():
    scores = pa.array([None, None, *[0.5] * 98], pa.float64())
    predictions = pa.array([*["late", "on time"] * 49, None, None])
    sides = table(100, score=scores), table(100, 1, prediction=predictions)
    prepared = prepare(request(), *sides)
    assert [len(prepared.judged(side)) for side in (prepared.reference, prepared.current)] == [98, 98]
    assert any("no prediction or no score: 2 rows (reference 2)" in note for note in prepared.notes)
    assert not any("Left out of performance" in note for note in prepare(request(), table(50), table(50)).notes)


def test_an_infinite_prediction_of_a_regression_stays_out_of_performance():
    numbers = np.arange(60.0)
    infinite = np.where(numbers == 7, np.inf, numbers)
    sides = [table(60, actual=pa.array(numbers), prediction=pa.array(one)) for one in (numbers, infinite)]
    prepared = prepare(request(task="regression", positive_class=None), *sides)
    assert (prepared.performance, len(prepared.judged(prepared.current))) == ("regression", 59)


def test_a_multiclass_model_whose_rows_show_two_classes_is_judged_as_binary():
    prepared = prepare(request(task="multiclass", positive_class=None), table(60), table(60, 1))
    assert (prepared.performance, prepared.probabilities) == ("binary", False)


def test_a_feature_may_have_the_name_of_a_column_of_ours():
    prepared = prepare(
        request(features={"score": "numeric"}),
        table(50, **{"f:score": pa.array(np.arange(50.0))}),
        table(50, **{"f:score": pa.array(np.arange(50.0))}),
    )
    assert prepared.numeric == ["f:score", "score"]


def write(folder: Path, wanted: Request, reference: pa.Table, current: pa.Table) -> Path:
    for name, side in (("reference", reference), ("current", current)):
        with pa.ipc.new_stream(folder / f"{name}.arrow", side.schema) as writer:
            writer.write_table(side)
    (folder / "request.json").write_text(wanted.dump())
    return folder


def test_without_evidently_the_error_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "evidently", None)
    write(tmp_path, request(), table(50), table(50))
    assert report.main(tmp_path) == 1
    assert 'pip install "keepwatch[reports]"' in (tmp_path / "error.txt").read_text()


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "monitor.stats.report", str(folder)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.slow
def test_the_process_writes_a_page_that_loads_nothing_and_escapes_what_users_named(tmp_path: Path):
    features = {"x": "numeric", "kind": "categorical", "constant": "numeric", "nothing": "numeric", "word": "text"}
    extra = {"f:constant": pa.array(np.ones(400)), "f:nothing": pa.nulls(400, pa.float64())}
    some = pa.array([None if i % 4 == 0 else "late" if i % 3 else "on time" for i in range(400)])
    write(tmp_path, request(features=features), table(400, **extra), table(400, 1, actual=some, **extra))
    done = run(tmp_path)
    assert done.returncode == 0, (tmp_path / "error.txt").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "m &lt;1&gt;" in page and "m <1>" not in page
    assert "Free text is not compared: word." in page
    assert "no value in them: nothing" in page
    assert "Performance is of the rows with an outcome: 300" in page
    for attribute in ('src="http', "src='http", '<link rel="stylesheet" href="http'):
        assert attribute not in page


@pytest.mark.slow
def test_rows_that_lack_a_score_or_an_outcome_change_no_number_of_the_performance_of_the_others():
    pytest.importorskip("evidently", reason='reports need pip install "keepwatch[reports]"')
    whole, few = table(200), table(100, 1)
    absent = {"score": pa.nulls(40, pa.float64())}
    more = pa.concat_tables([few, table(40, 2, **absent), table(40, 3, actual=pa.nulls(40, pa.string()))])
    assert curves(build(request(), whole, few)) == curves(build(request(), whole, more))


def curves(page: bytes) -> str:
    """The ROC curves in a page, as Plotly has them."""
    text = page.decode()
    end = text.index("False Positive Rate")
    found = text[text.rindex('"data": ', 0, end) : text.rindex('"layout": ', 0, end)]
    assert len(found) > 1000
    return found


@pytest.mark.slow
def test_nothing_to_compare_is_said_in_one_line(tmp_path: Path):
    nothing = pa.table({"f:x": pa.nulls(40, pa.float64()), "prediction": pa.nulls(40, pa.string())})
    write(tmp_path, request(), nothing, nothing)
    done = run(tmp_path)
    assert done.returncode == 1
    assert "nothing to compare" in (tmp_path / "error.txt").read_text()


def test_a_request_survives_its_file():
    wanted = request(notes=["a note"])
    assert Request(**json.loads(wanted.dump())) == wanted
