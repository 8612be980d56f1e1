"""What others do in between: ingest, references, sweeps and other evaluators, at the worst moment."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor import jobs
from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate import build as building
from monitor.evaluate import measure, payload, references
from monitor.evaluate.cuts import Shelf
from monitor.settings import Settings
from monitor.store import blocks, catalog, id_index, profiles
from monitor.store import references as stored_references
from monitor.store.catalog import Model
from monitor.store.identity import key_numbers
from monitor.store.profiles import Watermark
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows, to_batch

FEATURES = {"x": "numeric", "carrier": "categorical"}


def mark_of(log: Log) -> Watermark:
    with reading(log.engine) as connection:
        return profiles.read_watermark(connection, log.model_id)


def test_a_watermark_stays_below_an_open_transaction(postgres_engine: Engine) -> None:
    log = Log.make(postgres_engine, features=FEATURES)
    other = Log.make(postgres_engine, name="other", features=FEATURES)
    log.predictions(binary_rows(10))
    log.build()
    early, late = binary_rows(5, prefix="early"), binary_rows(7, prefix="late")
    later = threading.Thread(target=log.predictions, args=(late,))
    with writing(postgres_engine) as connection:
        model = catalog.get_model_by_id(connection, log.model_id)
        end = blocks.lock_log(connection, log.model_id)
        batch = to_batch(early, "binary", catalog.version_ids(connection, model, [""]))
        blocks.add_block(connection, 1, log.model_id, end.next_row, batch, START)
        keys, version = key_numbers(batch.column("id")), batch.column("version").to_numpy()
        id_index.add(connection, 1, log.model_id, keys, version, end.next_row)
        blocks.move_log(connection, log.model_id, blocks.LogEnd(end.next_row + 5, 0, end.known_at))
        later.start()
        later.join(0.5)
        other.predictions(binary_rows(3))  # another model's log is not held up
        assert later.is_alive()
        log.build()
        other.build()
        assert (mark_of(log).next_row, mark_of(other).next_row) == (10, 3)
    later.join(10)
    log.build()
    assert mark_of(log).next_row == 22
    assert sum(value[0] for key, value in log.profiles().items() if key[0] == 86400) == 22


def test_a_sweep_leaves_the_rows_that_evidence_is_still_counted_from(engine: Engine, settings: Settings) -> None:
    """A backlog of months: the evidence is the same, whenever the sweep comes."""
    given = []
    for swept in (False, True):
        log = Log.make(engine, f"swept{swept}", features=FEATURES, label_delay="4h")
        log.reference(binary_rows(600, seed=3, start=START - 10 * DAY), ["0", "1"] * 300)
        rows = binary_rows(180)
        log.predictions([*rows, *binary_rows(60, start=START + 200 * DAY, prefix="s")], block=60)
        log.outcomes(actuals(rows, delay=2 * HOUR))
        log.outcomes([(i, "1", at + 3 * DAY) for i, _, at in actuals(rows)])  # corrected when it is too late
        log.build()
        if swept:
            assert jobs.sweep(engine, settings, START) == 0
        log.evaluate()
        given.append([(one.kind, one.start, one.rows) for one in log.evaluated()])
        assert jobs.sweep(engine, settings, START) == 180
    assert given[0] == given[1]
    assert ("performance", START, 60) in given[0]


def test_a_reference_made_meanwhile_is_taken_along_into_a_new_binning(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(seed: int, shift: float, version: str) -> dict[str, Any]:
        batch = to_batch(binary_rows(800, seed=seed, shift=shift), "binary", {"": 0})
        return references.put_reference(log.engine, log.model, batch, None, None, version, START)

    log.reference(binary_rows(800, seed=1))
    store, others = references.store, [lambda: put(2, 0.1, "two")]

    def overtaken(*arguments: Any, **options: Any) -> Any:
        if others:
            others.pop()()  # it fits the binning that is there, and is stored first
        return store(*arguments, **options)

    monkeypatch.setattr(references, "store", overtaken)
    made = put(3, 6.0, "three")
    with reading(log.engine) as connection:
        model = log.model
        two = catalog.version_names(connection, model.id)
        number = {name: version for version, name in two.items()}["two"]
        own = stored_references.reference_for(connection, model.id, number, made["binning"])
    assert made["binning"] == 2
    assert own is not None and own.version_id == number


def test_windows_measured_in_a_binning_that_was_replaced_meanwhile_are_measured_again(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.reference(binary_rows(800, seed=1))
    log.predictions(binary_rows(100))
    log.build()
    measured, again = measure._measure_all, [True]

    def overtaken(*arguments: Any) -> Any:
        found = measured(*arguments)
        if again:
            again.clear()
            log.reference(binary_rows(800, seed=2, shift=4.0))
            log.build()  # the watermark is where it was
        return found

    monkeypatch.setattr(measure, "_measure_all", overtaken)
    while not log.evaluate()[0].complete:
        pass
    assert [payload.binning_of(one.payload) for one in log.measurements()] == [2, 2]


def test_a_window_whose_measurement_was_overtaken_gives_its_evidence_later(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.reference(binary_rows(800, seed=1))
    log.predictions(binary_rows(100))
    measured, again = measure._measure_all, [True]

    def overtaken(*arguments: Any) -> Any:
        found = measured(*arguments)
        if again:
            again.clear()
            log.predictions([{**binary_rows(1, prefix="late")[0], "known_at": START + 90 * MINUTE}])
            log.build()
        return found

    monkeypatch.setattr(measure, "_measure_all", overtaken)
    while not log.evaluate()[0].complete:
        pass
    found = [(one.inputs_state, one.rows, one.revision) for one in log.measurements()]
    assert found == [("final", 61, 0), ("provisional", 40, 0)]


def change(log: Log, **body: Any) -> None:
    with writing(log.engine) as connection:
        features = {name: {"kind": kind} for name, kind in FEATURES.items()}
        given = {"task": "binary", "positive_class": "1", "clock": "events", "features": features, **body}
        catalog.put_model(connection, 1, "small", given, START, "test")


@pytest.mark.parametrize(
    "body",
    [
        {"timezone": "Asia/Kolkata"},
        {"window": "1d"},
        {"features": {"x": {"kind": "categorical"}, "carrier": {"kind": "categorical"}}},
        {"features": {"x": {"kind": "numeric"}, "new": {"kind": "numeric"}}},
    ],
)
def test_settings_that_change_in_the_middle_of_a_build_leave_no_trace(
    log: Log, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    log.reference(binary_rows(800, seed=1))
    rows = binary_rows(300)
    log.predictions(rows[:200])
    log.outcomes(actuals(rows))
    log.build()
    log.predictions(rows[200:])
    prepare, again = building.provisional.prepare, [True]

    def changed(engine: Engine, model: Model, now: int) -> None:
        prepare(engine, model, now)
        if again:
            again.clear()
            change(log, **body)

    monkeypatch.setattr(building.provisional, "prepare", changed)
    log.build()
    counted = log.profiles()
    plain = Log.make(log.engine, "plain", features=FEATURES)
    plain.reference(binary_rows(800, seed=1))
    plain.predictions(rows)
    plain.outcomes(actuals(rows))
    with writing(log.engine) as connection:
        catalog.put_model(connection, 1, "plain", {"task": "binary", "clock": "events", **body}, START, "test")
    plain.build()
    assert {key: value[:2] for key, value in counted.items()} == {
        key: value[:2] for key, value in plain.profiles().items()
    }
    assert sum(value[0] for key, value in counted.items() if key[0] == 3600) == 300
    with reading(log.engine) as connection:
        found = Shelf(connection, log.model).profile(START - DAY, START + 2 * DAY)
    assert found is not None and (found.rows, found.binning.number) == (300, 2)


@pytest.mark.parametrize("kind", ["categorical", "text", "ignored"])
def test_settings_may_change_when_the_rows_of_the_reference_are_gone(log: Log, kind: str) -> None:
    log.predictions(binary_rows(300), block=100)
    references.put_reference(log.engine, log.model, None, START, START + 100 * MINUTE, None, START)
    log.build()
    with writing(log.engine) as connection:
        connection.execute(sa.text("DELETE FROM block WHERE first_row < 200"))
    change(log, features={"x": {"kind": kind}, "carrier": {"kind": "categorical"}})
    log.predictions(binary_rows(60, start=START + 5 * HOUR, prefix="s"))
    log.evaluate()
    assert mark_of(log).next_row == 360
    assert sum(one.rows for one in log.measurements()) == 360
