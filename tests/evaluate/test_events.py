"""A known-bad stretch stays out of references and evidence; what was judged before it was marked stays as it is."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from monitor.clock import DAY, HOUR
from monitor.errors import Invalid
from monitor.evaluate import events, run
from monitor.evaluate.events import Added, Asked
from monitor.evaluate.loaded import reference_for
from monitor.evaluate.references import put_reference
from monitor.stats.cut import filled
from monitor.store import evaluations, profiles
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, binary_rows

REFERENCE = 4 * DAY


@pytest.fixture
def judged(make_log: Callable[..., Log]) -> Log:
    """A model with a reference of four days; what comes later is judged."""
    log = make_log(features={"x": "numeric", "carrier": "categorical"}, alert_budget={"false_alarms": 1, "per": "30d"})
    log.predictions(binary_rows(4 * 24 * 60))
    log.evaluate()
    put_reference(log.engine, log.model, None, START, START + REFERENCE, None, START)
    return log


def mark(log: Log, from_at: int, to_at: int) -> Added:
    with writing(log.engine) as connection:
        return events.add(connection, log.model, Asked("known_bad", from_at, to_at, "sensor fell off"), START, "ann")


def drift(log: Log, hours: int, start: int, shift: float, prefix: str) -> list[str]:
    """Send some hours and evaluate; the actions that the features' detector asked for."""
    log.predictions(binary_rows(60 * hours, start=start, shift=shift, prefix=prefix, seed=len(prefix)))
    return [one.action for one in log.evaluate()[1] if one.family == "features" and one.action != "none"]


def test_windows_that_touch_a_known_bad_stretch_give_no_evidence(judged: Log) -> None:
    start = START + REFERENCE
    mark(judged, start + HOUR // 2, start + 6 * HOUR + 1)
    assert drift(judged, 7, start, 3.0, "bad") == []
    with reading(judged.engine) as connection:
        seen = [one.rows for one in evaluations.evaluations(connection, judged.model_id, start, start + 6 * HOUR)]
    assert seen == [60] * 6  # they have passed, and will not be asked again
    assert drift(judged, 7, start + 7 * HOUR, 0.0, "good") == []
    assert drift(judged, 8, start + 14 * HOUR, 3.0, "drift") == ["open"]


def test_without_the_mark_the_same_rows_raise_an_alarm(judged: Log) -> None:
    assert "open" in drift(judged, 7, START + REFERENCE, 3.0, "bad")


def test_marked_after_the_fact_evidence_stays_and_the_answer_says_so(judged: Log) -> None:
    start = START + REFERENCE
    assert "open" in drift(judged, 7, start, 3.0, "bad")
    with reading(judged.engine) as connection:
        before = evaluations.detector_states(connection, judged.model_id)
    added = mark(judged, start - HOUR, start + 3 * HOUR)
    assert added.judged_windows == 4 and added.references == (2,)  # the provisional one ended long before
    assert added.note is not None and "PUT a new reference" in added.note and "stay as they are" in added.note
    judged.evaluate()
    with reading(judged.engine) as connection:
        assert evaluations.detector_states(connection, judged.model_id) == before


def test_an_evaluator_that_was_overtaken_by_a_mark_judges_again(judged: Log) -> None:
    start = START + REFERENCE
    judged.predictions(binary_rows(60 * 3, start=start, shift=3.0, prefix="bad"))
    judged.build()
    model = judged.model
    with reading(judged.engine) as connection:
        batch = run.judge_due(connection, model, start + 2 * HOUR, 500)
    (late,) = [one for one in batch if one.due.start == start]
    assert late.verdicts and not late.bad
    for one in batch:
        if one.due.start < start:
            assert run._write(judged.engine, model, one, start, lambda *_: None)
    mark(judged, start, start + HOUR)
    assert not run._write(judged.engine, model, late, start, lambda *_: None)


def test_a_reference_made_of_the_log_leaves_a_known_bad_stretch_out(judged: Log) -> None:
    low, high = START + DAY + HOUR // 2, START + DAY + 5 * HOUR
    mark(judged, low, high)
    made = put_reference(judged.engine, judged.model, None, START, START + REFERENCE, None, START)
    assert made["rows"] == 4 * 24 * 60 - 270
    assert made["source"]["without"] == [["2026-03-03T00:30:00Z", "2026-03-03T05:00:00Z"]]
    with reading(judged.engine) as connection:
        number = profiles.current_number(connection, judged.model_id)
        reference = reference_for(connection, judged.model_id, number)
    assert reference is not None and reference.profile.rows == made["rows"]
    starts = [start for start, _, _ in reference.windows]
    assert len(starts) == 96 - 5 and not any(START + DAY <= start < high for start in starts)


def test_a_gap_in_the_reference_is_no_window_without_rows() -> None:
    from monitor.stats.phases import Clock

    starts = [START + hour * HOUR for hour in range(20) if not 5 <= hour < 8]
    counts = np.full((17, 1), 60)
    cut = SimpleNamespace(counts=counts, starts=starts, clock=Clock(3600, "UTC"), without=())
    plain = filled(cut)  # type: ignore[arg-type]
    cut.without = [(START + 5 * HOUR, START + 8 * HOUR)]
    without = filled(cut)  # type: ignore[arg-type]
    assert sorted(plain[0])[:3] == [0, 0, 0] and len(plain[0]) == 20
    assert set(without[0]) == {60} and without[1] == starts


def test_a_provisional_reference_is_made_of_rows_that_are_not_known_to_be_bad(make_log: Callable[..., Log]) -> None:
    log = make_log()
    mark(log, START, START + HOUR)
    log.predictions(binary_rows(150))
    log.build()
    with reading(log.engine) as connection:
        reference = reference_for(connection, log.model_id, 1)
    assert reference is not None and reference.profile.rows == 90


def test_a_stretch_that_is_all_bad_makes_no_reference(judged: Log) -> None:
    mark(judged, START, START + DAY)
    with pytest.raises(Invalid, match="outside of what is known to be bad"):
        put_reference(judged.engine, judged.model, None, START, START + DAY, None, START)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "party", "from": "2026-03-02T00:00:00Z"}, "kind"),
        ({"kind": "deploy"}, "from"),
        ({"kind": "deploy", "from": "2026-03-02T00:00:00"}, "from"),
        ({"kind": "known_bad", "from": "2026-03-02T00:00:00Z"}, "to"),
        ({"kind": "incident", "from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "to"),
        ({"kind": "incident", "from": "2026-03-02T00:00:00Z", "to": "2066-03-01T00:00:00Z"}, "to"),
        ({"kind": "deploy", "from": "2026-03-02T00:00:00Z", "text": "x" * 1001}, "text"),
        ({"kind": "deploy", "from": "2026-03-02T00:00:00Z", "text": ["x"]}, "text"),
        ({"kind": "deploy", "from": "2026-03-02T00:00:00Z", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_event_names_the_field(body: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        events.read_event(body)
    assert field in [one["field"] for one in caught.value.errors]
