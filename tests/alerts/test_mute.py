"""Whether a channel is told now: the decision alone, as tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitor import clock
from monitor.alerts.causes import merge
from monitor.alerts.mute import Budget, Message, Rules, Why, hold, is_outage, route_of, void
from monitor.store.alerts import Alert
from monitor.store.routing import Policy, Route
from monitor.store.silences import Silence
from tests.alerts.receivers import NOW, cause

FIRING, CLOSING = Message("alert.firing", NOW), Message("alert.resolved", NOW, told=True)
CAUSES = merge((), (cause(),), NOW)
ALERT = Alert(
    "alert_1", 1, 1, "churn", "features", "firing", "warning", NOW, NOW, NOW, None, 3000.0, {"threshold": 2000.0},
    CAUSES, "t",
)  # fmt: skip
CRITICAL = replace(ALERT, severity="critical", family="performance")
ALWAYS = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "06:00", "to": "06:00", "timezone": "UTC"}


def _silence(value: str = "churn", ends: int = NOW + clock.HOUR, **more: Any) -> Silence:
    matchers = ({"name": "model", "value": value, "isRegex": False, "isEqual": True},)
    values: dict[str, Any] = {"weekly": None, "starts_at": NOW - 1, **more}
    return Silence(
        "silence_1", 1, None, matchers, ends_at=ends, comment="deploy", created_by="Ada", created_at=NOW,
        updated_at=NOW, **values,
    )  # fmt: skip


def _route(**more: Any) -> Route:
    empty: dict[str, Any] = {"escalate_after": None, "repeat": None, "digest": None, "quiet_hours": None}
    return Route("route_1", 1, "night", (), ("pager",), created_at=NOW, **{**empty, **more})


def _outage(effect: float) -> Alert:
    causes = merge((), (cause(None, metric="volume", effect=effect),), NOW)
    return replace(ALERT, family="volume", causes=causes)


@pytest.mark.parametrize(
    ("message", "alert", "route", "rules", "why"),
    [
        (FIRING, ALERT, None, Rules(), None),
        (FIRING, ALERT, None, Rules(silences=[_silence()]), Why.SILENCED),
        (FIRING, CRITICAL, None, Rules(silences=[_silence()]), Why.SILENCED),
        (FIRING, ALERT, None, Rules(silences=[_silence("other")]), None),
        (FIRING, ALERT, None, Rules(silences=[_silence(starts_at=NOW + 1)]), None),
        (FIRING, ALERT, None, Rules(silences=[_silence(ends=NOW)]), None),
        (FIRING, ALERT, None, Rules(silences=[_silence(weekly=ALWAYS)]), Why.MAINTENANCE),
        (FIRING, ALERT, None, Rules(silences=[_silence(weekly={**ALWAYS, "to": "06:01"})]), None),
        (CLOSING, ALERT, None, Rules(silences=[_silence()]), None),
        (replace(CLOSING, told=False), ALERT, None, Rules(silences=[_silence()]), Why.SILENCED),
        (FIRING, ALERT, None, Rules(outage=_outage(-1.0)), Why.INHIBITED),
        (FIRING, replace(ALERT, family="latency"), None, Rules(outage=_outage(-0.8)), Why.INHIBITED),
        (FIRING, CRITICAL, None, Rules(outage=_outage(-1.0)), None),  # labels of earlier rows tell of a loss still
        (FIRING, ALERT, None, Rules(outage=_outage(-0.5)), None),
        (FIRING, ALERT, None, Rules(outage=_outage(3.0)), None),
        (FIRING, _outage(-1.0), None, Rules(outage=_outage(-1.0)), None),
        (CLOSING, ALERT, None, Rules(outage=_outage(-1.0)), None),
        (FIRING, ALERT, _route(escalate_after="30m"), Rules(), Why.ESCALATION),
        (FIRING, CRITICAL, _route(escalate_after="30m"), Rules(), Why.ESCALATION),
        (replace(FIRING, since=NOW - 30 * clock.MINUTE), ALERT, _route(escalate_after="30m"), Rules(), None),
        (replace(FIRING, told=True), ALERT, _route(escalate_after="30m"), Rules(), None),
        (FIRING, ALERT, _route(quiet_hours=ALWAYS), Rules(), Why.QUIET_HOURS),
        (CLOSING, ALERT, _route(quiet_hours=ALWAYS), Rules(), Why.QUIET_HOURS),
        (FIRING, CRITICAL, _route(quiet_hours=ALWAYS), Rules(), None),
        (FIRING, ALERT, _route(digest="1h"), Rules(), Why.DIGEST),
        (CLOSING, ALERT, _route(digest="1h"), Rules(), Why.DIGEST),
        (replace(FIRING, gathered=True), ALERT, _route(digest="1h"), Rules(), None),
        (replace(FIRING, gathered=True), ALERT, _route(digest="1h"), Rules(silences=[_silence()]), Why.SILENCED),
        (FIRING, CRITICAL, _route(digest="1h"), Rules(), None),
        (FIRING, ALERT, _route(digest="1h", quiet_hours=ALWAYS), Rules(silences=[_silence()]), Why.SILENCED),
    ],
)
def test_why_a_message_is_not_sent_now(
    message: Message, alert: Alert, route: Route | None, rules: Rules, why: Why | None
) -> None:
    found = hold(message, alert, route, rules, NOW)
    assert (None if found is None else found.why) == why
    if found is not None:
        assert found.until > NOW and found.detail


def test_the_silence_that_ends_last_says_how_long_and_who() -> None:
    silences = [_silence(ends=NOW + 5), _silence(ends=NOW + 9)]
    found = hold(FIRING, ALERT, None, Rules(silences=silences), NOW)
    assert found is not None and (found.until, found.detail) == (NOW + 9, "deploy (by Ada)")


def _budget(pages: dict[int, int], per_day: float = 1.0, models: int = 10, **policy: Any) -> Rules:
    return Rules(policy=Policy(false_alarms=11, per="1d", **policy), budget=Budget(models, per_day, pages))


@pytest.mark.parametrize(
    ("alert", "rules", "held"),
    [
        (ALERT, _budget({}), False),
        (ALERT, _budget({2: 10}), False),
        (ALERT, _budget({2: 11}), True),  # all pages of the span are used up
        (ALERT, _budget({1: 2}), True),  # 11 pages for 10 models: two for each at most
        (ALERT, _budget({1: 1}), False),
        (ALERT, _budget({1: 1}, models=1000), True),
        (CRITICAL, _budget({1: 11}), False),
        (ALERT, _budget({}, per_day=16.0), False),  # 16/11 of the threshold is below the evidence of 1.5
        (ALERT, _budget({}, per_day=17.0), True),
        (replace(ALERT, evidence=1e9), _budget({}, per_day=1e6), False),
        (replace(ALERT, family="monitor:p95", evidence=1.0), _budget({}, per_day=1e6), False),
        (replace(ALERT, family="monitor:p95", evidence=1.0), _budget({1: 11}), True),
    ],
)
def test_a_budget_of_the_project_is_shared_out(alert: Alert, rules: Rules, held: bool) -> None:
    found = hold(FIRING, alert, None, rules, NOW)
    assert (found is not None) is held
    if found is not None:
        assert found.why is Why.OVER_BUDGET and found.until == NOW + clock.HOUR


def test_a_thousand_models_that_have_not_changed_page_within_the_projects_budget() -> None:
    """Evidence of no change: at most 1/k of the alarms reach k times their threshold (the bound itself, drawn)."""
    models, per_model = 1000, 1 / 90  # false alarms a day
    rules = Rules(policy=Policy(false_alarms=2, per="1d"), budget=Budget(models, models * per_model))
    draw, days, pages, alarms = np.random.default_rng(1), 400, 0, 0
    for number in draw.poisson(models * per_model, days):
        for ratio in 1 / draw.random(number):  # P(ratio >= k) = 1/k
            alert = replace(ALERT, evidence=2000.0 * float(ratio))
            alarms += 1
            pages += hold(FIRING, alert, None, rules, NOW) is None
    assert alarms / days > 10 and 1.5 < pages / days < 2.3


def test_a_channel_that_routes_name_gets_only_what_they_take() -> None:
    only = ({"name": "severity", "value": "critical", "isRegex": False, "isEqual": True},)
    routes = [replace(_route(), match=only), replace(_route(repeat="1h"), channels=("chat",))]
    assert route_of(routes, "mail", ALERT) == (True, None)
    assert route_of(routes, "pager", ALERT) == (False, None)
    assert route_of(routes, "pager", CRITICAL) == (True, routes[0])
    assert route_of(routes, "chat", ALERT) == (True, routes[1])


@pytest.mark.parametrize(
    ("state", "escalates", "held", "told", "why"),
    [
        ("firing", True, True, False, None),
        ("acknowledged", True, True, False, Why.ACKNOWLEDGED),
        ("acknowledged", True, True, True, None),
        ("acknowledged", False, True, False, None),
        ("resolved", False, True, False, Why.RESOLVED),
        ("resolved", True, False, False, Why.RESOLVED),
        ("resolved", False, False, False, None),
        ("resolved", False, True, True, None),
    ],
)
def test_what_has_nothing_left_to_say_is_dropped_with_a_reason(
    state: str, escalates: bool, held: bool, told: bool, why: Why | None
) -> None:
    route = _route(escalate_after="5m") if escalates else None
    assert void(replace(FIRING, told=told), replace(ALERT, state=state), route, held=held) == why


def test_an_outage_is_traffic_that_fell_by_four_fifths() -> None:
    assert [is_outage(_outage(effect)) for effect in (-1.0, -0.8, -0.79, 0.5)] == [True, True, False, False]
    assert not is_outage(ALERT)
