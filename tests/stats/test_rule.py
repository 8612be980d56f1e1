"""A rule fires, goes on and is over as its settings say, whatever is missing in between."""

import itertools

import pytest

from monitor.stats.rule import Condition, Memory, Reading, Rule, advance

SLOW = Condition("latency_p95", ">", 250.0)
WRONG = Condition("accuracy", "<", 0.8)


def play(rule: Rule, *windows: object) -> str:
    """One letter a window: o(pen), u(pdate), r(esolve) or a dot; a window is a value, or one a condition."""
    memory, said = Memory(), ""
    for start, values in enumerate(windows):
        row = values if isinstance(values, tuple) else (values,)
        memory, step = advance(rule, memory, [Reading(value) for value in row], start)
        said += "." if step.action == "none" else step.action[0]
    return said


@pytest.mark.parametrize(
    ("op", "value", "met"),
    [(">", 250, False), (">", 251, True), (">=", 250, True), ("<", 250, False), ("<", 249, True), ("<=", 250, True)],
)
def test_a_condition_compares_with_its_bound(op: str, value: float, met: bool) -> None:
    assert Condition("latency_p95", op, 250.0).holds(Reading(value), False) is met


def test_it_fires_after_enough_windows_in_a_row_and_no_sooner() -> None:
    rule = Rule((SLOW,), windows=3, resolve_windows=2)
    assert play(rule, 300, 300, 100, 300, 300, 300) == ".....o"


def test_while_it_fires_it_says_so_again_only_after_as_many_windows() -> None:
    rule = Rule((SLOW,), windows=2, resolve_windows=2)
    assert play(rule, *[300] * 7) == ".o.u.u."


def test_it_is_over_after_enough_good_windows_in_a_row() -> None:
    rule = Rule((SLOW,), windows=1, resolve_windows=3)
    assert play(rule, 300, 100, 100, 300, 100, 100, 100, 100) == "o..u..r."


def test_between_the_two_bounds_it_goes_on_and_does_not_begin() -> None:
    rule = Rule((Condition("latency_p95", ">", 250.0, clear=200.0),))
    assert play(rule, 220, 260, 220, 201, 200, 220) == ".ouur."


def test_missing_numbers_are_passed_over() -> None:
    rule = Rule((SLOW,), windows=2, resolve_windows=2)
    assert play(rule, 300, None, None, 300, None, 100, None, 100) == "...o...r"


def test_or_count_as_met_where_that_is_asked_for() -> None:
    rule = Rule((SLOW,), windows=3, missing="alert")
    assert play(rule, None, 300, None, 100) == "..or"


@pytest.mark.parametrize("match", ["all", "any"])
def test_several_conditions_are_joined_and_a_missing_one_decides_nothing(match: str) -> None:
    rule = Rule((SLOW, WRONG), match=match)
    for slow, wrong in itertools.product((True, False, None), repeat=2):
        readings = (
            Reading(None if slow is None else 300 if slow else 100),
            Reading(None if wrong is None else 0.7 if wrong else 0.9),
        )
        both = [slow, wrong]
        decisive = match == "any"
        expected = decisive if decisive in both else None if None in both else not decisive
        assert rule.holds(readings, False) is expected


def test_the_first_window_of_the_streak_is_remembered() -> None:
    rule, memory = Rule((SLOW,), windows=3), Memory()
    for start, value in enumerate((300, 100, 300, 300, 300)):
        memory, step = advance(rule, memory, [Reading(value)], start)
    assert (step.action, step.since, step.streak) == ("open", 2, 3)
