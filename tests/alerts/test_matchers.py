"""Matchers are Alertmanager's, and no pattern can take long."""

import time
from typing import Any

import pytest

from monitor.alerts.matchers import matches, read_matchers
from monitor.errors import Invalid

LABELS = {"model": "churn-eu", "family": "features", "severity": "warning"}


def test_no_matchers_match_everything() -> None:
    assert matches(read_matchers([]), LABELS)


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        ({"name": "model", "value": "churn-eu"}, True),
        ({"name": "model", "value": "churn"}, False),
        ({"name": "model", "value": "churn", "isEqual": False}, True),
        ({"name": "model", "value": "churn.*", "isRegex": True}, True),
        ({"name": "model", "value": "churn", "isRegex": True}, False),  # a pattern matches the whole value
        ({"name": "model", "value": "x|churn-eu|y", "isRegex": True}, True),
        ({"name": "model", "value": "churn.*", "isRegex": True, "isEqual": False}, False),
        ({"name": "severity", "value": "warning|critical", "isRegex": True}, True),
        ({"name": "severity", "value": "critical", "isRegex": False, "isEqual": True}, False),
        ({"name": "family", "value": "", "isEqual": False}, True),
    ],
)
def test_one_matcher(matcher: dict[str, Any], expected: bool) -> None:
    assert matches(read_matchers([matcher]), LABELS) is expected


def test_every_matcher_must_hold_and_an_absent_label_is_empty() -> None:
    both = read_matchers([{"name": "model", "value": "churn-eu"}, {"name": "family", "value": "latency"}])
    assert not matches(both, LABELS)
    assert matches(read_matchers([{"name": "family", "value": ""}]), {"model": "m"})


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(a|aa)+$b", "a*a*a*a*a*a*a*a*b", "(.*)*=(.*)*", "([a-z]+)*!"]
)
def test_a_pattern_that_ruins_a_backtracking_matcher_takes_no_time(pattern: str) -> None:
    matchers = read_matchers([{"name": "model", "value": pattern, "isRegex": True}])
    started = time.perf_counter()
    assert not matches(matchers, {"model": "a" * 128})
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "match"),
        ("model=churn", "match"),
        ([1], "match[0]"),
        ([{"name": "model"}], "match[0].value"),
        ([{"value": "x"}], "match[0].name"),
        ([{"name": "host", "value": "x"}], "match[0].name"),
        ([{"name": "model", "value": 1}], "match[0].value"),
        ([{"name": "model", "value": "x", "isRegex": "yes"}], "match[0].isRegex"),
        ([{"name": "model", "value": "x", "isEqual": 1}], "match[0].isEqual"),
        ([{"name": "model", "value": "x", "extra": 1}], "match[0]"),
        ([{"name": "model", "value": "x"}, {"name": "model", "value": "(", "isRegex": True}], "match[1].value"),
        ([{"name": "model", "value": "a)|(b", "isRegex": True}], "match[0].value"),
        ([{"name": "model", "value": "(?=a)", "isRegex": True}], "match[0].value"),
        ([{"name": "model", "value": r"(a)\1", "isRegex": True}], "match[0].value"),
        ([{"name": "model", "value": "((a{100}){100}){100}", "isRegex": True}], "match[0].value"),
        ([{"name": "model", "value": "x" * 257}], "match[0].value"),
        ([{"name": "model", "value": "a\0b"}], "match[0].value"),
        ([{"name": "model", "value": "\ud800"}], "match[0].value"),
        ([{"name": "model", "value": "x"}] * 21, "match"),
    ],
)
def test_a_matcher_that_cannot_be_used_is_refused_by_its_field(body: object, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_matchers(body)
    assert caught.value.errors[0]["field"] == field
