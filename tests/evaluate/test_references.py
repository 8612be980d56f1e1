"""References and binnings: provisional ones, kept ones, new ones."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from monitor.clock import DAY, HOUR, MINUTE
from monitor.errors import Invalid
from monitor.evaluate.loaded import reference_for
from monitor.evaluate.references import put_reference, reference_list
from monitor.store import catalog, profiles, references
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows

FEATURES = {"x": "numeric", "carrier": "categorical"}


def numbers(log: Log) -> list[tuple[int, int, bool, int]]:
    """(number, binning, provisional, rows) of each reference."""
    with reading(log.engine) as connection:
        found = references.list_references(connection, log.model_id)
    return [(one.number, one.binning, one.provisional, one.rows) for one in found]


def counted(log: Log) -> dict[int, int]:
    """Rows in day profiles, by binning."""
    with reading(log.engine) as connection:
        found = profiles.profiles_between(connection, log.model_id, 86400, 0, 1 << 62)
    total: dict[int, int] = {}
    for one in found:
        total[one.binning] = total.get(one.binning, 0) + one.rows
    return total


def test_the_first_rows_make_a_provisional_reference_at_once_and_again_at_a_thousand(
    make_log: Callable[..., Log],
) -> None:
    log = make_log()
    log.predictions(binary_rows(40))
    log.build()
    assert numbers(log) == [(1, 1, True, 40)] and log.model.features is None
    log.predictions(binary_rows(400, prefix="s"))
    log.build()
    assert numbers(log) == [(1, 1, True, 40)]
    log.predictions(binary_rows(800, prefix="t"))
    log.build()
    assert numbers(log) == [(1, 1, True, 40), (2, 2, True, 1000)]
    assert log.model.features == {"carrier": "categorical", "x": "numeric"}
    assert counted(log) == {2: 1240}


def test_a_day_freezes_the_schema_of_a_quiet_model(make_log: Callable[..., Log]) -> None:
    from monitor.evaluate.build import build

    log = make_log()
    log.predictions(binary_rows(3))
    build(log.engine, log.model_id, START + HOUR)
    assert log.model.features is None
    build(log.engine, log.model_id, START + DAY)
    assert log.model.features == {"carrier": "categorical", "x": "numeric"}


def test_a_reference_replaces_the_provisional_binning_and_rows_are_counted_again(make_log: Callable[..., Log]) -> None:
    log = make_log()
    rows = binary_rows(200)
    log.predictions(rows)
    log.outcomes(actuals(rows))
    log.build()
    made = log.reference(binary_rows(500, seed=4), ["0", "1"] * 250)
    assert (made["number"], made["rows"], made["binning"], made["provisional"]) == (2, 500, 2, False)
    log.build()
    assert counted(log) == {2: 200}
    assert sum(value[1] for key, value in log.profiles().items() if key[0] == 86400) == 200


def test_a_reference_that_fits_keeps_the_binning(log: Log) -> None:
    log.reference(binary_rows(800, seed=1))
    log.predictions(binary_rows(100))
    log.build()
    log.reference(binary_rows(800, seed=2))
    assert [one[:2] for one in numbers(log)] == [(1, 1), (2, 1)]
    assert log.build().steps == 0


def test_a_reference_outside_the_binning_gets_a_new_one(log: Log) -> None:
    log.reference(binary_rows(800, seed=1))
    rows = binary_rows(100)
    log.predictions(rows)
    log.outcomes(actuals(rows))
    log.evaluate()
    log.reference(binary_rows(800, seed=2, shift=4.0))
    assert [one[:2] for one in numbers(log)] == [(1, 1), (2, 2)]
    log.evaluate()
    assert counted(log) == {2: 100}
    assert sum(value[1] for key, value in log.profiles().items() if key[0] == 86400) == 100
    assert [one.rows for one in log.measurements()] == [60, 40]


def test_windows_whose_rows_are_gone_keep_the_older_binning(log: Log) -> None:
    log.reference(binary_rows(800, seed=1))
    log.predictions(binary_rows(100))
    log.predictions(binary_rows(50, start=START + 2 * DAY, prefix="s"))
    log.build()
    with writing(log.engine) as connection:
        connection.exec_driver_sql("DELETE FROM block WHERE first_row = 0")
    log.reference(binary_rows(800, seed=2, shift=4.0))
    log.evaluate()
    assert counted(log) == {1: 100, 2: 50}
    assert sum(one.rows for one in log.measurements()) == 150


def test_a_new_binning_takes_the_references_of_other_versions_along(log: Log) -> None:
    def put(seed: int, shift: float, version: str | None) -> None:
        from tests.evaluate.small import to_batch

        batch = to_batch(binary_rows(800, seed=seed, shift=shift), "binary", {"": 0})
        put_reference(log.engine, log.model, batch, None, None, version, START)

    put(1, 0.0, None)
    put(2, 0.1, "one")
    put(3, 6.0, "two")
    log.predictions([{**row, "version": v} for v in ("one", "two") for row in binary_rows(20, prefix=v)])
    log.build()
    with reading(log.engine) as connection:
        versions = {name: number for number, name in catalog.version_names(connection, log.model_id).items()}
        current = profiles.current_number(connection, log.model_id)
        found = {
            name: reference_for(connection, log.model_id, current, versions.get(name or ""))
            for name in (None, "one", "two")
        }
    assert current == 2
    assert {name: one is not None and one.stored.version_id for name, one in found.items()} == {
        None: None,
        "one": versions["one"],
        "two": versions["two"],
    }
    assert all(one is not None and one.profile.rows == 800 for one in found.values())


def test_a_stretch_of_the_log_is_a_reference_with_its_outcomes_and_windows(log: Log) -> None:
    rows = binary_rows(600)
    log.predictions(rows)
    log.outcomes(actuals(rows)[:300])
    made = put_reference(log.engine, log.model, None, START, START + 8 * HOUR, None, START)
    assert made["rows"] == 480
    assert made["source"] == {"from": "2026-03-02T00:00:00Z", "to": "2026-03-02T08:00:00Z"}
    with reading(log.engine) as connection:
        found = reference_for(connection, log.model_id, 1)
    assert found is not None
    assert (found.profile.rows, found.profile.labelled, found.until) == (480, 300, START + 8 * HOUR)
    assert [(start - START) // HOUR for start, _, _ in found.windows] == list(range(8))
    assert sum(profile.rows for _, _, profile in found.windows) == 480


def test_a_reference_keeps_how_much_of_the_answer_each_feature_tells_for_itself(log: Log) -> None:
    made = log.reference(binary_rows(800, seed=1))
    with reading(log.engine) as connection:
        found = reference_for(connection, log.model_id, 1)
    assert found is not None and found.importance["x"] > 0.8 and found.importance["carrier"] < 0.01
    assert made["source"] == {"rows": 800}
    earlier = replace(found, stored=found.stored._replace(source={"rows": 800}))
    assert earlier.importance == {}, "a reference of a time before it was kept"


def test_a_cut_off_window_at_the_edge_of_a_reference_is_left_out(log: Log) -> None:
    log.reference(binary_rows(600 - 50, start=START + 50 * MINUTE))
    with reading(log.engine) as connection:
        found = reference_for(connection, log.model_id, 1)
    assert found is not None and [profile.rows for _, _, profile in found.windows] == [60] * 9


def test_a_stretch_without_rows_is_refused(log: Log) -> None:
    log.predictions(binary_rows(5))
    for between in ((START + DAY, START + 2 * DAY), (START, START), (None, START)):
        with pytest.raises(Invalid, match="from"):
            put_reference(log.engine, log.model, None, *between, None, START)
    with pytest.raises(Invalid, match="rows"):
        put_reference(log.engine, log.model, pa.RecordBatch.from_pylist([]), None, None, None, START)


def test_references_are_listed_oldest_first(log: Log) -> None:
    log.reference(binary_rows(300))
    log.reference(binary_rows(300, seed=8))
    with reading(log.engine) as connection:
        found = reference_list(connection, log.model)
    assert [one["number"] for one in found] == [1, 2]
    assert found[0]["source"] == {"rows": 300} and found[0]["version"] is None


@pytest.mark.parametrize("change", [{"timezone": "Asia/Kolkata"}, {"window": "1d"}, {"segments": []}])
def test_a_change_of_the_layout_makes_profiles_again(make_log: Callable[..., Log], change: dict[str, object]) -> None:
    log = make_log(features=FEATURES)
    log.reference(binary_rows(400, seed=1))
    log.predictions(binary_rows(100))
    log.evaluate()
    with writing(log.engine) as connection:
        stored = json.loads(log.model.config.to_json())
        body = {"task": "binary", "features": {name: {"kind": kind} for name, kind in FEATURES.items()}}
        body |= {"clock": stored["clock"], **change}
        catalog.put_model(connection, 1, "small", body, START, "test")
    log.evaluate()
    assert numbers(log)[-1][:3] == (2, 2, False)
    assert sum(one.rows for one in log.measurements() if one.end - one.start == log.model.config.window_us) >= 100
    assert log.build().steps == 0


def test_kinds_are_inferred_from_columns(make_log: Callable[..., Log]) -> None:
    log = make_log()
    random = np.random.default_rng(0)
    rows = [
        {
            "id": f"{i}",
            "timestamp": START + i,
            "features": {
                "number": float(random.normal()),
                "flag": bool(i % 2),
                "level": f"level {i % 4}",
                "story": f"{i} " + "word " * 30,
            },
        }
        for i in range(1000)
    ]
    log.predictions(rows)
    log.build()
    assert log.model.features == {"flag": "boolean", "level": "categorical", "number": "numeric", "story": "text"}
    with reading(log.engine) as connection:
        found = reference_for(connection, log.model_id, 1)
    assert found is not None and [name for name, _ in found.binning.segments] == ["level"]
