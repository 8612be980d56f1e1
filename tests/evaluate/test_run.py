"""Windows give their evidence once, in order; their numbers are restated."""

import threading
from collections.abc import Callable
from itertools import count as counting

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate import due, measure, payload, run
from monitor.store import catalog, evaluations
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows

_numbers = counting(1)
SOON = {"label_delay": "4h", "grace": "10m"}


@pytest.fixture
def soon(make_log: Callable[..., Log]) -> Log:
    log = make_log(features={"x": "numeric", "carrier": "categorical"}, **SOON)
    log.reference(binary_rows(600, seed=3, start=START - 10 * DAY), ["0", "1"] * 300)
    return log


def kinds(log: Log) -> list[tuple[str, int, int]]:
    return [(one.kind, (one.start - START) // HOUR, one.rows) for one in log.evaluated()]


def states(log: Log) -> list[tuple[int, str, str, int, int, int]]:
    return [
        ((one.start - START) // HOUR, one.inputs_state, one.performance_state, one.revision, one.rows, one.labelled)
        for one in log.measurements()
    ]


def test_a_window_is_provisional_until_its_end_and_grace(soon: Log) -> None:
    soon.predictions(binary_rows(70))
    progress, _ = soon.evaluate()
    assert progress.evaluated == 0  # it is 01:09, the grace lasts until 01:10
    assert states(soon) == [(0, "provisional", "no_data", 0, 60, 0), (1, "provisional", "no_data", 0, 10, 0)]
    soon.predictions(binary_rows(1, start=START + 70 * MINUTE, prefix="s"))
    progress, _ = soon.evaluate()
    assert progress.evaluated == 1 and kinds(soon) == [("inputs", 0, 60)]
    assert states(soon) == [(0, "final", "no_data", 0, 60, 0), (1, "provisional", "no_data", 0, 11, 0)]


def test_performance_gives_its_evidence_when_labels_are_due(soon: Log) -> None:
    rows = binary_rows(60)
    soon.predictions(rows)
    soon.outcomes(actuals(rows, delay=2 * HOUR))
    soon.evaluate()
    assert ("performance", 0, 60) not in kinds(soon)
    assert states(soon)[0] == (0, "final", "provisional", 0, 60, 60)
    soon.predictions(binary_rows(1, start=START + 5 * HOUR, prefix="s"))
    soon.evaluate()
    assert kinds(soon)[:2] == [("inputs", 0, 60), ("performance", 0, 60)]
    assert states(soon)[0] == (0, "final", "final", 0, 60, 60)


def test_a_late_outcome_restates_its_window_but_not_its_evidence(soon: Log) -> None:
    rows = binary_rows(60)
    soon.predictions([*rows, *binary_rows(1, start=START + 6 * HOUR, prefix="s")])
    soon.outcomes(actuals(rows, delay=2 * HOUR)[:50])
    soon.evaluate()
    before = soon.evaluated()
    with reading(soon.engine) as connection:
        detectors = evaluations.detector_states(connection, soon.model_id)
    assert states(soon)[0] == (0, "final", "final", 0, 60, 50)
    soon.outcomes([(i, actual, START + 5 * HOUR) for i, actual, _ in actuals(rows)[50:]])
    _, verdicts = soon.evaluate()
    assert verdicts == []
    assert states(soon)[0] == (0, "final", "final", 1, 60, 60)
    assert soon.evaluated() == before
    with reading(soon.engine) as connection:
        assert evaluations.detector_states(connection, soon.model_id) == detectors
        assert [one.labelled for one in evaluations.revisions(connection, soon.model_id, START)] == [50, 60]


def test_a_late_row_restates_its_window(soon: Log) -> None:
    soon.predictions([*binary_rows(60), *binary_rows(1, start=START + 2 * HOUR, prefix="s")])
    soon.evaluate()
    soon.predictions([{**binary_rows(1, prefix="late")[0], "known_at": START + 2 * HOUR}])
    soon.evaluate()
    assert states(soon)[0] == (0, "final", "no_data", 1, 61, 0)
    assert kinds(soon)[0] == ("inputs", 0, 60)


def test_outcomes_in_time_replace_provisional_performance_without_a_revision(soon: Log) -> None:
    rows = binary_rows(60)
    soon.predictions([*rows, *binary_rows(1, start=START + 2 * HOUR, prefix="s")])
    soon.evaluate()
    for part in (actuals(rows)[:30], actuals(rows)[30:]):
        soon.outcomes(part)
        soon.evaluate()
    assert states(soon)[0] == (0, "final", "provisional", 0, 60, 60)


def test_evaluating_again_does_nothing(soon: Log) -> None:
    soon.predictions(binary_rows(600))
    soon.evaluate()
    before = (soon.evaluated(), soon.measurements())
    progress, verdicts = soon.evaluate()
    assert progress == run.Progress() and verdicts == []
    assert (soon.evaluated(), soon.measurements()) == before


def test_empty_windows_are_evaluated_as_no_data(soon: Log) -> None:
    soon.predictions([*binary_rows(30), *binary_rows(30, start=START + 3 * HOUR, prefix="s")])
    soon.predictions(binary_rows(1, start=START + 5 * HOUR, prefix="t"))
    soon.evaluate()
    inputs = [(hour, rows) for kind, hour, rows in kinds(soon) if kind == "inputs"]
    assert inputs == [(0, 30), (1, 0), (2, 0), (3, 30)]
    assert [one[1] for one in states(soon)][:4] == ["final", "no_data", "no_data", "final"]


def test_a_long_silence_is_skipped(soon: Log) -> None:
    later = START + 5000 * HOUR
    soon.predictions([*binary_rows(30), *binary_rows(70, start=later, prefix="s")])
    soon.evaluate()
    inputs = [hour for kind, hour, _ in kinds(soon) if kind == "inputs"]
    assert inputs == [*range(due.EMPTY_WINDOWS + 1), 5000] or inputs == [*range(due.EMPTY_WINDOWS + 1)]
    soon.predictions(binary_rows(1, start=later + 2 * HOUR, prefix="t"))
    soon.evaluate()
    inputs = [hour for kind, hour, _ in kinds(soon) if kind == "inputs"]
    assert inputs == [*range(due.EMPTY_WINDOWS + 1), 5000]


SPREAD = [0, 1, 3, 30, 61, 62, 95, 170, 200]  # hours with gaps shorter and longer than what is gone through


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(hours=st.permutations(SPREAD), count=st.integers(2, len(SPREAD)), apart=st.booleans())
def test_hours_that_come_in_any_order_leave_the_windows_of_the_straight_order(
    make_log: Callable[..., Log], hours: list[int], count: int, apart: bool
) -> None:
    def measured(parts: list[list[int]]) -> list[tuple[int, str, int, int]]:
        log = make_log(name=f"m{next(_numbers)}", features={"x": "numeric", "carrier": "categorical"}, **SOON)
        log.reference(binary_rows(60, seed=3, start=START - 10 * DAY))
        for part in parts:
            for hour in part:
                log.predictions(binary_rows(3, start=START + hour * HOUR, prefix=f"h{hour}-", seed=hour))
            log.evaluate()
        return [(hour, state, rows, labelled) for hour, state, _, _, rows, labelled in states(log)]

    came = hours[:count]
    parts = [[hour] for hour in came] if apart else [came[: count // 2], came[count // 2 :]]
    assert measured(parts) == measured([sorted(came)])


def test_a_paused_model_lets_its_windows_pass_unjudged(soon: Log) -> None:
    with writing(soon.engine) as connection:
        catalog.set_paused(connection, soon.model, START)
    soon.predictions([*binary_rows(60), *binary_rows(1, start=START + 2 * HOUR, prefix="s")])
    _, verdicts = soon.evaluate()
    assert verdicts == [] and kinds(soon)[0] == ("inputs", 0, 60)
    with reading(soon.engine) as connection:
        assert evaluations.detector_states(connection, soon.model_id) == {}


def test_windows_of_a_stretch_that_is_the_reference_give_no_evidence(make_log: Callable[..., Log]) -> None:
    from monitor.evaluate.references import put_reference

    log = make_log(features={"x": "numeric", "carrier": "categorical"}, **SOON)
    log.predictions(binary_rows(600))
    put_reference(log.engine, log.model, None, START, START + 8 * HOUR, None, START)
    log.predictions(binary_rows(1, start=START + 11 * HOUR, prefix="s"))
    _, verdicts = log.evaluate()
    judged = {(one.window_start - START) // HOUR for one in verdicts}
    assert [hour for kind, hour, _ in kinds(log) if kind == "inputs"] == list(range(10))
    assert judged == {8, 9}


def test_a_failed_measurement_is_a_row_with_its_error(soon: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = measure.encode
    calls: list[int] = []

    def fails(shelf: object, profile: object) -> tuple[bytes, float | None]:
        calls.append(1)
        if len(calls) == 1:
            raise ArithmeticError("no such number")
        return encode(shelf, profile)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "encode", fails)
    soon.predictions(binary_rows(180))
    soon.evaluate()
    found = soon.measurements()
    assert [one.inputs_state for one in found] == ["error", "final", "provisional"]
    assert found[0].error == "ArithmeticError: no such number"
    monkeypatch.setattr(measure, "encode", encode)
    soon.predictions(binary_rows(1, prefix="again"))
    soon.evaluate()
    assert soon.measurements()[0].error is None and soon.measurements()[0].inputs_state == "final"


def test_days_follow_the_timezone(make_log: Callable[..., Log]) -> None:
    log = make_log(features={"x": "numeric", "carrier": "categorical"}, window="1d", timezone="America/New_York")
    change = START + 5 * DAY  # 2026-03-07; the clocks change on the 8th
    log.predictions(binary_rows(4 * 24, start=change, step=HOUR))
    log.evaluate()
    found = [(one.end - one.start) // HOUR for one in log.measurements()]
    rows = [one.rows for one in log.measurements()]
    assert found == [24, 24, 23, 24, 24] and rows == [5, 24, 23, 24, 20]


def test_two_evaluators_at_once_evaluate_a_window_once(engine: Engine) -> None:
    log = Log.make(engine, features={"x": "numeric", "carrier": "categorical"}, **SOON)
    log.reference(binary_rows(600, seed=3, start=START - 10 * DAY), ["0", "1"] * 300)
    rows = binary_rows(600)
    log.predictions(rows, block=100)
    log.outcomes(actuals(rows))
    given: list[tuple[str, int]] = []
    barrier = threading.Barrier(2)

    def evaluate() -> None:
        barrier.wait()
        for _ in range(3):
            _, verdicts = log.evaluate()
            given.extend((one.family, one.window_start) for one in verdicts)

    threads = [threading.Thread(target=evaluate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.evaluate()
    assert len(given) == len(set(given)) and given
    assert len(kinds(log)) == len(set(kinds(log)))
    assert [hour for kind, hour, _ in kinds(log) if kind == "inputs"] == list(range(10))
    assert sum(one.rows for one in log.measurements()) == 600


def test_a_backlog_gives_the_evidence_that_evaluation_in_time_would_have_given(make_log: Callable[..., Log]) -> None:
    rows = binary_rows(360)
    outcomes = [(i, actual, at + (8 * HOUR if n % 3 == 0 else 0)) for n, (i, actual, at) in enumerate(actuals(rows))]
    results = []
    for live in (True, False):
        log = make_log(name=f"live{live}", features={"x": "numeric", "carrier": "categorical"}, **SOON)
        log.reference(binary_rows(600, seed=3, start=START - 10 * DAY), ["0", "1"] * 300)
        given = []
        events = sorted(
            [(int(row["timestamp"]), "row", row) for row in rows] + [(one[2], "outcome", one) for one in outcomes],
            key=lambda event: event[:2],
        )
        for begin in range(0, len(events), 20 if live else len(events)):
            part = events[begin : begin + (20 if live else len(events))]
            log.predictions([what for _, kind, what in part if kind == "row"])  # type: ignore[misc]
            log.outcomes([what for _, kind, what in part if kind == "outcome"])  # type: ignore[misc]
            given.extend(log.evaluate()[1])
        results.append([(one.kind, one.start, one.at) for one in log.evaluated()])
        results.append([one for one in given if one.family == "performance"])
    assert results[0] == results[2]
    assert results[1] == results[3]


def test_performance_waits_for_outcomes_that_are_loaded_after_their_predictions(soon: Log) -> None:
    rows = binary_rows(60 * 12)
    soon.predictions(rows)
    soon.evaluate()
    assert {kind for kind, _, _ in kinds(soon)} == {"inputs"}
    soon.outcomes(actuals(rows[: 60 * 6], delay=HOUR))
    soon.evaluate()
    judged = [hour for kind, hour, _ in kinds(soon) if kind == "performance"]
    assert judged == [0, 1, 2, 3, 4, 5]


def test_a_payload_comes_back_as_it_was(soon: Log) -> None:
    soon.predictions(binary_rows(60))
    soon.evaluate()
    numbers = payload.load(soon.measurements()[0].payload)
    assert numbers is not None and numbers.rows == 60
    assert numbers.values["volume"].value == 60
    assert len(numbers.columns["psi"].value) >= 2
    assert payload.load(b"") is None
