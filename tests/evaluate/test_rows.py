"""Batches of the log as the statistics see them."""

import numpy as np
import pyarrow as pa
import pytest

from monitor.clock import HOUR
from monitor.evaluate import rows as rows_of
from monitor.stats.rows import Codes, Numbers
from monitor.store.outcomes import Held
from tests.evaluate.small import START

SCHEMA = {"x": "numeric", "flag": "boolean", "city": "categorical", "story": "text", "skip": "ignored"}


def batch(**columns: pa.Array) -> pa.RecordBatch:
    n = len(next(iter(columns.values())))
    stamps = pa.array([START + i for i in range(n)], pa.int64())
    named = {"timestamp": stamps, **{name.replace("__", ":"): array for name, array in columns.items()}}
    return pa.RecordBatch.from_arrays(list(named.values()), names=list(named))


def test_each_kind_becomes_its_column() -> None:
    given = batch(
        f__x=pa.array([1.5, None, float("nan")]),
        f__flag=pa.array([True, None, False]),
        f__city=pa.array(["a", "b", None]),
        f__story=pa.array(["once", None, "upon"]),
        f__skip=pa.array([1, 2, 3]),
        f__stranger=pa.array([1, 2, 3]),
    )
    rows = rows_of.to_rows(rows_of.fit(given, SCHEMA), "binary", SCHEMA)
    assert set(rows.features) == {"x", "flag", "city", "story"}
    x, flag, city, story = (rows.features[name] for name in ("x", "flag", "city", "story"))
    assert isinstance(x, Numbers) and x.missing is not None and x.missing.tolist() == [False, True, False]
    assert isinstance(flag, Codes) and flag.codes.tolist() == [1, -1, 0]
    assert isinstance(city, Codes) and [city.levels[code] for code in city.codes[:2]] == ["a", "b"]
    assert isinstance(story, Codes) and story.codes.tolist() == [0, -1, 0]


@pytest.mark.parametrize(
    ("name", "array", "missing"),
    [
        ("x", pa.array(["1", "2"]), [True, True]),
        ("x", pa.array([1, 2], pa.int32()), [False, False]),
        ("x", pa.array([True, False]), [True, True]),
        ("flag", pa.array(["true", "false"]), [True, True]),
        ("city", pa.array([1.0, 2.5]), [False, False]),
        ("city", pa.array([True, None]), [False, True]),
    ],
)
def test_a_value_that_does_not_fit_its_kind_is_missing(name: str, array: pa.Array, missing: list[bool]) -> None:
    rows = rows_of.to_rows(rows_of.fit(batch(**{f"f__{name}": array}), SCHEMA), "binary", SCHEMA)
    column = rows.features[name]
    if isinstance(column, Codes):
        found = column.codes < 0
    else:
        found = np.zeros(2, np.bool_) if column.missing is None else column.missing
    assert found.tolist() == missing


def test_levels_have_their_canonical_text() -> None:
    given = batch(f__city=pa.array([1.0, 2.5]))
    city = rows_of.to_rows(rows_of.fit(given, SCHEMA), "binary", SCHEMA).features["city"]
    assert isinstance(city, Codes) and set(city.levels) == {"1", "2.5"}


def test_blocks_of_different_types_are_joined_by_the_schema() -> None:
    joined = rows_of.join(
        [batch(f__x=pa.array([1, 2])), batch(f__x=pa.array([0.5])), batch(f__x=pa.array(["?"]))], SCHEMA
    )
    assert joined.column("f:x").to_pylist() == [1.0, 2.0, 0.5, None]


def test_a_segment_is_a_feature_of_the_schema_or_else_a_tag() -> None:
    given = batch(
        f__city=pa.array(["a", "b"]),
        t__city=pa.array(["tag", "tag"]),
        t__team=pa.array(["red", None]),
        f__x=pa.array([1.0, 2.0]),
        f__flag=pa.array([True, False]),
    )
    names = ["city", "team", "x", "flag", "nobody"]
    rows = rows_of.to_rows(rows_of.fit(given, SCHEMA), "binary", SCHEMA, names)
    shown = {
        name: [None if code < 0 else column.levels[code] for code in column.codes]
        for name in names
        if (column := rows.segment(name)) is not None
    }
    assert shown == {
        "city": ["a", "b"],
        "team": ["red", None],
        "x": ["1", "2"],
        "flag": ["true", "false"],
        "nobody": [None, None],
    }


def test_outcomes_bring_the_actual_and_its_delay() -> None:
    given = batch(prediction=pa.array(["1", "0"]))
    held = [Held("1", START, True, START + HOUR, START, 0), None]
    rows = rows_of.to_rows(given, "binary", SCHEMA, held=held)
    assert rows.labelled().tolist() == [True, False]
    assert rows.label_delay is not None and rows.label_delay[0] == 3600 and np.isnan(rows.label_delay[1])
    numbers = rows_of.to_rows(
        batch(prediction=pa.array([1.0, 2.0])), "regression", {}, held=[Held("2.5", 0, True, 0, 0, 0), None]
    )
    assert isinstance(numbers.actual, Numbers) and numbers.actual.values[0] == 2.5
    assert numbers.labelled().tolist() == [True, False]


def test_scores_by_class_stand_side_by_side() -> None:
    given = batch(s__a=pa.array([0.2, None]), s__b=pa.array([0.8, 0.4]))
    rows = rows_of.to_rows(given, "multiclass", {})
    assert rows.scores is not None and rows.score_classes == ("a", "b")
    assert rows.scores[0].tolist() == [0.2, 0.8] and np.isnan(rows.scores[1, 0])


def test_columns_that_no_row_fills_are_absent() -> None:
    given = batch(
        score=pa.nulls(2, pa.float64()), latency_ms=pa.array([None, 5.0]), prediction=pa.nulls(2, pa.string())
    )
    rows = rows_of.to_rows(given, "binary", {})
    assert rows.score is None and rows.prediction is None
    assert rows.latency_ms is not None and np.isnan(rows.latency_ms[0])
