"""New rows and outcomes go into profiles: once, in any order, whatever is killed."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate import ahead, deltas
from monitor.evaluate import build as building
from monitor.store import blocks, profiles
from monitor.store.profiles import Watermark
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows

names = count()


def test_rows_and_outcomes_are_counted_in_their_hours_and_days(log: Log) -> None:
    rows = binary_rows(90)
    log.reference(binary_rows(300, seed=3))
    log.predictions(rows)
    log.outcomes(actuals(rows)[:70])
    built = log.build()
    assert (built.rows, built.outcomes, built.complete) == (90, 70, True)
    found = {key: value[:2] for key, value in log.profiles().items()}
    assert found == {
        (3600, START, "live"): (60, 60),
        (3600, START + HOUR, "live"): (30, 10),
        (86400, START, "live"): (90, 70),
    }


def test_nothing_new_changes_nothing(log: Log) -> None:
    log.predictions(binary_rows(30))
    log.build()
    before = log.profiles()
    built = log.build()
    assert (built.steps, built.complete) == (0, True)
    assert log.profiles() == before


def test_an_outcome_may_come_before_its_prediction(make_log: Callable[..., Log]) -> None:
    rows = binary_rows(40)
    orders = []
    for first in ("rows", "outcomes"):
        log = make_log(name=first, features={"x": "numeric", "carrier": "categorical"})
        log.reference(binary_rows(300, seed=3))
        steps = [lambda log=log: log.predictions(rows), lambda log=log: log.outcomes(actuals(rows))]
        for step in steps if first == "rows" else reversed(steps):
            step()
            log.build()
        orders.append(log.profiles())
    assert orders[0] == orders[1]


def test_a_corrected_outcome_replaces_the_one_before(make_log: Callable[..., Log]) -> None:
    rows = binary_rows(20)
    wrong = [(str(row["id"]), "0", int(row["timestamp"]) + HOUR) for row in rows]
    right = [(str(row["id"]), "1", int(row["timestamp"]) + 2 * HOUR) for row in rows]
    corrected, plain = make_log(name="corrected"), make_log(name="plain")
    for log, batches in ((corrected, [wrong, right]), (plain, [right])):
        log.reference(binary_rows(300, seed=3), ["1"] * 300)
        log.predictions(rows)
        for batch in batches:
            log.outcomes(batch)
            log.build()
    assert corrected.profiles() == plain.profiles()


def test_an_outcome_that_was_observed_earlier_changes_nothing(log: Log) -> None:
    rows = binary_rows(5)
    log.predictions(rows)
    log.outcomes([(str(row["id"]), "1", START + 5 * HOUR) for row in rows])
    log.build()
    before = log.profiles()
    log.outcomes([(str(row["id"]), "0", START + 4 * HOUR) for row in rows])
    log.build()
    assert log.profiles() == before


def test_of_two_outcomes_at_the_same_time_the_larger_value_holds(make_log: Callable[..., Log]) -> None:
    rows = [
        {"id": "a", "timestamp": START, "prediction": 10.0, "features": {"x": 1.0}},
        {"id": "b", "timestamp": START + MINUTE, "prediction": 1.0, "features": {"x": 2.0}},
    ]
    found = []
    for values in (["9.0", "10.0"], ["10.0", "9.0"]):
        log = make_log(name=f"order{values[0][0]}", task="regression", positive_class=None, features={"x": "numeric"})
        log.reference([{**row, "id": f"{i}"} for i, row in enumerate(rows * 50)])
        log.predictions(rows)
        for value in values:
            log.outcomes([("a", value, START + HOUR)])
            log.build()
        found.append(log.profiles())
    assert found[0] == found[1]


def test_chunks_of_any_size_end_in_the_same_bytes(make_log: Callable[..., Log]) -> None:
    rows = binary_rows(120, step=17 * MINUTE)
    results = []
    for limits in ({}, {"rows": 7, "outcomes": 3}, {"rows": 50, "outcomes": 50}):
        log = make_log(name=f"n{len(results)}")
        log.reference(binary_rows(300, seed=3), ["1", "0"] * 150)
        log.predictions(rows[:80], block=30)
        log.build(**limits)
        log.outcomes(actuals(rows))
        log.predictions(rows[80:], block=45)
        log.build(**limits)
        results.append(log.profiles())
    assert results[0] == results[1] == results[2]


def test_rows_spread_over_very_many_hours_are_cut_into_chunks(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "HOURS", 10)
    monkeypatch.setattr(deltas, "OUTCOME_HOURS", 10)
    read: list[tuple[int, int]] = []
    reading = ahead.read

    def noted(connection: Connection, asked: ahead.Wanted) -> pa.RecordBatch | None:
        read.append((asked.first, asked.end))
        return reading(connection, asked)

    monkeypatch.setattr(ahead, "read", noted)
    log.predictions(binary_rows(95, step=HOUR))
    assert log.build(rows=60).steps == 10
    assert read == [(0, 60), (60, 95)], "what a step leaves is not read again"
    rows = sum(value[0] for key, value in log.profiles().items() if key[0] == 3600)
    labelled_rows: list[int] = []
    reading_rows = deltas._read_rows

    def counted(*arguments: Any) -> pa.RecordBatch | None:
        labelled_rows.append(len(arguments[3]))
        return reading_rows(*arguments)

    monkeypatch.setattr(deltas, "_read_rows", counted)
    log.outcomes(actuals(binary_rows(95, step=HOUR)))
    log.build()
    assert sum(labelled_rows) < 4 * 95, "where one chunk had to be small, the next is not tried much larger"
    labelled = sum(value[1] for key, value in log.profiles().items() if key[0] == 3600)
    assert (rows, labelled) == (95, 95)


def test_rows_that_are_gone_do_not_keep_the_others_from_being_cut_into_chunks(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "HOURS", 10)
    log.predictions(binary_rows(95, step=HOUR), block=20)
    with writing(log.engine) as connection:
        assert len(blocks.remove_rows(connection, log.model_id, [0, 1, 30, 31, 32, 40, 94])) == 7
    assert log.build(rows=60).steps == 10
    found = {key[1]: value[0] for key, value in log.profiles().items() if key[0] == 3600}
    assert found == {START + i * HOUR: 1 for i in range(95) if i not in (0, 1, 30, 31, 32, 40, 94)}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_of_arrival_leaves_no_trace(make_log: Callable[..., Log], data: st.DataObject) -> None:
    rows = binary_rows(9, step=20 * MINUTE)
    events: list[tuple[str, int]] = [("row", i) for i in range(9)]
    events += [(value, i) for i in range(6) for value in ("0", "1")]  # a value and its correction
    order = data.draw(st.permutations(events))
    pauses = data.draw(st.sets(st.integers(0, len(events))))
    results = []
    for sequence, stops in ((events, set()), (order, pauses)):
        log = make_log(name=f"order{next(names)}", features={"x": "numeric", "carrier": "categorical"})
        log.reference(binary_rows(300, seed=3), ["0", "1"] * 150)
        for place, (kind, i) in enumerate(sequence):
            if place in stops:
                log.build(rows=5, outcomes=5)
            if kind == "row":
                log.predictions([rows[i]])
            else:
                log.outcomes([(f"r{i}", kind, START + (5 if kind == "1" else 4) * HOUR)])
        log.build()
        results.append(log.profiles())
    assert results[0] == results[1]


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_in_a_transaction_counts_nothing_twice(
    make_log: Callable[..., Log], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    rows = binary_rows(100)
    whole, killed = make_log(name="whole"), make_log(name="killed")
    for log in (whole, killed):
        log.reference(binary_rows(300, seed=3))
        log.predictions(rows, block=20)
        log.outcomes(actuals(rows))
    whole.build()
    calls = count(1)
    save = profiles.mark_dirty

    def dies(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        if next(calls) == at:
            raise Killed

    monkeypatch.setattr(building.profiles, "mark_dirty", dies)
    with pytest.raises(Killed):
        killed.build(rows=20)
    killed.build(rows=20)
    assert killed.profiles() == whole.profiles()


def test_work_that_another_process_has_done_is_thrown_away(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.predictions(binary_rows(50))
    log.build()
    log.predictions(binary_rows(50, start=START + DAY, prefix="s"))
    merged = building._merged
    again = [True]

    def overtaken(*arguments: object) -> object:
        found = merged(*arguments)  # type: ignore[arg-type]
        if again.pop() if again else False:
            log.build()  # another process does the same step first
        return found

    monkeypatch.setattr(building, "_merged", overtaken)
    built = log.build()
    assert built.complete and built.rows == 0
    assert sum(value[0] for key, value in log.profiles().items() if key[0] == 86400) == 100


def test_the_watermark_moves_only_from_where_it_stands(engine: Engine) -> None:
    log = Log.make(engine)
    with writing(engine) as connection:
        assert profiles.move_watermark(connection, log.model_id, Watermark(0, 0), Watermark(5, 2))
        assert not profiles.move_watermark(connection, log.model_id, Watermark(0, 0), Watermark(9, 9))
        assert profiles.read_watermark(connection, log.model_id) == Watermark(5, 2)


def test_both_databases_end_in_the_same_profiles(engine: Engine) -> None:
    log = Log.make(engine, features={"x": "numeric", "carrier": "categorical"})
    rows = binary_rows(150)
    log.predictions(rows[:100])
    log.build()
    log.outcomes(actuals(rows))
    log.predictions(rows[100:])
    log.build()
    days = [value for key, value in log.profiles().items() if key[0] == 86400]
    assert [value[:2] for value in days] == [(150, 150)]


def test_shadow_rows_are_counted_apart_and_dirty_no_window(log: Log) -> None:
    log.predictions(binary_rows(10))
    log.build()
    with reading(log.engine) as connection:
        before = profiles.dirty_windows(connection, log.model_id)
    log.predictions([{**row, "role": "shadow"} for row in binary_rows(7, start=START + DAY, prefix="s")])
    log.build()
    with reading(log.engine) as connection:
        assert profiles.dirty_windows(connection, log.model_id) == before
    assert log.profiles()[86400, START + DAY, "shadow"][0] == 7


def test_rows_that_are_not_kept_any_more_are_passed_over(log: Log) -> None:
    log.predictions(binary_rows(40), block=20)
    with writing(log.engine) as connection:
        connection.exec_driver_sql("DELETE FROM block WHERE first_row = 0")
    built = log.build()
    assert built.complete
    with reading(log.engine) as connection:
        end = blocks.log_end(connection, log.model_id)
        assert profiles.read_watermark(connection, log.model_id).next_row == end.next_row
    assert sum(value[0] for key, value in log.profiles().items() if key[0] == 86400) == 20
