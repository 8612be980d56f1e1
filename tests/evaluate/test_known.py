"""What was known of a window when it gave its evidence: stored where it was judged in time, else counted again."""

import pytest
from sklearn import metrics as sk
from sqlalchemy.engine import Engine

from monitor.clock import HOUR, MINUTE
from monitor.evaluate import known as known_of
from monitor.evaluate.known import Known, known
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows

FEATURES = {"x": "numeric", "carrier": "categorical"}
PSI = ("psi", "x")
HOURS = 6
JUDGED = START + 6 * HOUR + 15 * MINUTE  # all of them were due
LATE = binary_rows(15, start=START + 30 * MINUTE, seed=9, shift=4.0, prefix="late")


@pytest.fixture
def log(engine: Engine) -> Log:
    """An hour a window, judged ten minutes after its end, performance an hour after."""
    made = Log.make(engine, features=FEATURES, clock="wall", window="1h", grace="10m", label_delay="1h")
    made.reference(binary_rows(600, seed=3, start=START - 30 * HOUR, prefix="ref"))
    return made


def asked(log: Log, wanted: tuple[str, str | None] = PSI, most: int = 10, **more: bool) -> list[Known]:
    with reading(log.engine) as connection:
        return known(connection, log.model, wanted, START, START + 100 * HOUR, most, **more)


def late_rows() -> list[dict[str, object]]:
    """Rows of the first hour that are known only after all windows were judged."""
    return [{**row, "known_at": START + 9 * HOUR} for row in LATE]


def test_nothing_that_came_in_time_has_changed(log: Log) -> None:
    log.predictions(binary_rows(HOURS * 60))
    log.evaluate(JUDGED)
    found = asked(log)
    assert [one.start for one in found] == [START + hour * HOUR for hour in range(HOURS)]
    assert not any(one.changed or one.late for one in found) and all(one.then is not None for one in found)
    assert len(asked(log, most=2)) == 2 and asked(log, most=2)[-1] == found[-1]


def test_later_rows_change_what_is_known_now_and_not_what_was_known_then(log: Log) -> None:
    log.predictions(binary_rows(HOURS * 60))
    log.evaluate(JUDGED)
    before = asked(log)[0].now
    log.predictions(late_rows())
    log.evaluate(START + 10 * HOUR)
    first, *others = asked(log)
    assert first.late and first.changed and first.then == before
    assert first.then is not None and first.now is not None and (first.then.rows, first.now.rows) == (60, 75)
    assert first.now.value.value > first.then.value.value
    assert not any(one.changed for one in others)


def test_a_corrected_outcome_changes_the_performance_of_now_alone(log: Log) -> None:
    rows = binary_rows(HOURS * 60)
    log.predictions(rows)
    told = actuals(rows, delay=10 * MINUTE)
    log.outcomes(told)
    log.evaluate(START + 9 * HOUR)
    fixed = [(one, "1" if actual == "0" else "0", START + 9 * HOUR) for one, actual, _ in told[:60]]
    log.outcomes(fixed)
    log.evaluate(START + 10 * HOUR)
    first, *others = asked(log, ("accuracy", None))
    said = [row["prediction"] for row in rows[:60]]
    assert first.then is not None and first.now is not None
    assert first.then.value.value == pytest.approx(sk.accuracy_score([one[1] for one in told[:60]], said))
    assert first.now.value.value == pytest.approx(sk.accuracy_score([one[1] for one in fixed], said))
    assert not any(one.changed for one in others)


def lagging(engine: Engine, name: str, *more: list[dict[str, object]]) -> Log:
    """A log that is evaluated once, when all has come."""
    made = Log.make(engine, name, FEATURES, window="1h", grace="10m", label_delay="1h")
    made.reference(binary_rows(600, seed=3, start=START - 30 * HOUR, prefix="ref"))
    for rows in (binary_rows(HOURS * 60), *more, binary_rows(1, start=START + 9 * HOUR, prefix="end")):
        made.predictions(rows)
    made.evaluate()
    return made


def test_where_evaluation_lagged_the_numbers_of_then_are_counted_again_when_asked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = lagging(engine, "lagging", late_rows())
    first, *others = asked(log)[:HOURS]
    assert first.late and first.then is None and first.countable and first.now is not None and first.now.rows == 75
    assert not first.changed and not any(one.late or one.countable for one in others)
    monkeypatch.setattr(known_of, "MOST_ROWS", 74)
    assert asked(log, count_again=True)[0].then is None, "a window of more rows than may be read"
    monkeypatch.undo()
    again = asked(log, count_again=True)[0]
    in_time = lagging(engine, "in-time")
    assert again.then == asked(in_time)[0].now and again.changed


def test_a_window_whose_rows_are_gone_is_not_counted_again(engine: Engine) -> None:
    log = lagging(engine, "lagging", late_rows())
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE log_position SET expired_before = {START + HOUR}")
    first = asked(log, count_again=True)[0]
    assert first.then is None and not first.countable
    assert asked(Log.make(engine, "other", FEATURES)) == []


def test_after_a_new_reference_the_numbers_of_then_are_those_against_the_old_one(log: Log) -> None:
    log.predictions(binary_rows(HOURS * 60, shift=4.0))
    log.evaluate(JUDGED)
    before = asked(log)
    log.reference(binary_rows(600, seed=5, shift=4.0, prefix="new"))
    log.evaluate(JUDGED)
    after = asked(log)
    assert [one.then for one in after] == [one.now for one in before]
    assert all(one.changed and one.now.value.value < one.then.value.value for one in after if one.then and one.now)
