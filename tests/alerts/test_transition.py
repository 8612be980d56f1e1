"""From verdicts to alerts, their history and their messages."""

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from monitor import clock
from monitor.alerts.causes import merge
from monitor.alerts.payload import MAX_BODY, alert_json, digest_body
from monitor.alerts.transition import Reason, acknowledge, apply, decide, resolve
from monitor.errors import Conflict, NotFound
from monitor.stats.verdict import Cause, Verdict
from monitor.store import alerts, outbox, routing
from monitor.store import tables as t
from monitor.store.alerts import Alert
from monitor.store.routing import Policy
from monitor.store.session import reading, writing
from tests.alerts.receivers import NOW, cause, make_channel, make_model, verdict

URL = "https://keepwatch.example"


def _open(severity: str = "warning", state: str = "firing", feature: str | None = "distance") -> Alert:
    causes = merge((), (cause(feature),), NOW) if feature else ()
    return Alert(
        "alert_1", 1, 1, "churn", "features", state, severity, NOW, NOW, NOW, None, 3000.0, {}, causes, "text"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("current", "new", "reason"),
    [
        (None, verdict("none"), Reason.UNCHANGED),
        (None, verdict("open"), Reason.OPENED),
        (None, verdict("update"), Reason.OPENED),
        (None, verdict("resolve"), Reason.NOTHING_OPEN),
        (_open(), verdict("none", "critical"), Reason.UNCHANGED),
        (_open(), verdict("open"), Reason.JOINED),
        (_open(), verdict("update"), Reason.JOINED),
        (_open(state="acknowledged"), verdict("update"), Reason.JOINED),
        (_open(), verdict("update", "critical"), Reason.SEVERITY_ROSE),
        (_open("info"), verdict("update", "warning"), Reason.SEVERITY_ROSE),
        (_open("critical"), verdict("update", "info"), Reason.JOINED),
        (_open(state="acknowledged"), verdict("open", "critical"), Reason.SEVERITY_ROSE),
        (_open(), verdict("update", causes=(cause("weather"),)), Reason.NEW_CAUSE_LEADS),
        (_open(), verdict("update", causes=(cause(segment="city:Lyon"),)), Reason.NEW_CAUSE_LEADS),
        (_open(), verdict("update", causes=(cause(metric="ks"),)), Reason.NEW_CAUSE_LEADS),
        (_open(), verdict("update", causes=(cause(share=0.6), cause("weather", 0.4))), Reason.JOINED),
        (_open(), verdict("update", causes=(cause("weather", 0.3),)), Reason.JOINED),  # half of 1 still leads
        (_open(), verdict("update", causes=()), Reason.JOINED),
        (_open(feature=None), verdict("update"), Reason.NEW_CAUSE_LEADS),
        (_open(), verdict("update", "critical", (cause("weather"),)), Reason.SEVERITY_ROSE),
        (_open(), verdict("resolve"), Reason.RESOLVED),
        (_open(state="acknowledged"), verdict("resolve"), Reason.RESOLVED),
        (_open(state="resolved"), verdict("open"), Reason.REOPENED),
        (_open(state="resolved"), verdict("update", "critical"), Reason.REOPENED),
        (_open(state="resolved"), verdict("none"), Reason.UNCHANGED),
        (_open(state="resolved"), verdict("resolve"), Reason.NOTHING_OPEN),
    ],
)
def test_what_a_verdict_does_to_the_open_alert(current: Alert | None, new: Verdict, reason: Reason) -> None:
    assert decide(current, new) is reason


def test_causes_stand_strongest_first_and_those_of_earlier_alarms_fade() -> None:
    first = merge((), (cause("b", 0.2), cause("a", 0.8)), NOW)
    assert [c["feature"] for c in first] == ["a", "b"]
    second = merge(first, (cause("c", 0.7, effect=0.5),), NOW + clock.HOUR)
    assert [c["feature"] for c in second] == ["c", "a", "b"]
    assert [c["share"] for c in second] == pytest.approx([0.7 / 1.2, 0.4 / 1.2, 0.1 / 1.2])


def test_a_cause_says_when_it_joined_and_with_what_share_however_often_it_is_named_later() -> None:
    first = merge((), (cause("a", 0.8), cause("b", 0.2)), NOW)
    second = merge(first, (cause("c", 0.7), cause("b", 0.3)), NOW + clock.HOUR)
    third = merge(second, (cause("b", 1.0),), NOW + 2 * clock.HOUR)
    assert third[0]["feature"] == "b"
    joined = {c["feature"]: (c["joined_at"], c["joined_share"]) for c in third}
    assert joined == {
        "a": (clock.render(NOW), 0.8),
        "b": (clock.render(NOW), 0.2),
        "c": (clock.render(NOW + clock.HOUR), pytest.approx(0.7 / 1.4)),
    }


def test_an_update_says_what_has_changed(engine: Engine) -> None:
    def told(name: str) -> str:
        return f"`{name}` moved up by 2 sd (PSI 0.3)"

    def named(name: str, share: float = 1.0, **more: Any) -> Cause:
        return cause(name, share, text=f"{told(name)}, since 2026-03-02 06:00 UTC", **more)

    steps = [
        verdict("open", causes=(named("a"),)),
        verdict("update", causes=(named("b", 0.2),)),  # joins without a message
        verdict("update", causes=(named("c", 0.9), named("d", 0.4), named("e", 0.05))),
        verdict("update", causes=(named("a"),)),
        verdict("update", "critical", (named("a", critical="accuracy is expected to fall"),)),
    ]
    with writing(engine) as connection:
        model = make_model(connection)
        channel = make_channel(connection, "https://example.org/")
        for hour, step in enumerate(steps):
            _apply(connection, model.id, step, NOW + hour * clock.HOUR)
        events = alerts.list_events(connection, 1, _only(connection).id)
        bodies = _bodies(connection, channel.id)
    changes = [
        f"Joined, and leads now: {told('c')}; joined: {told('d')}, {told('b')} (and 1 more)",
        f"An earlier cause leads now: {told('a')}",
        "Severity from warning to critical: accuracy is expected to fall",
    ]
    assert [event.type for event in events] == ["alert.firing", *["alert.updated"] * 3]
    assert [event.text for event in events[1:]] == changes
    assert [body.get("change") for body in bodies] == [None, *changes]
    assert list(bodies[1]) == ["type", "timestamp", "change", "data"]
    assert "change" not in bodies[1]["data"], "the data is the alert as the API shows it"


HARM = "by the scores, accuracy is expected to fall from 0.77 to 0.62"


def test_a_critical_alert_says_why_whichever_cause_leads(engine: Engine) -> None:
    grave = cause("dewp", 0.9, text=f"`dewp` moved up; {HARM}", critical=HARM)
    steps = (
        verdict("open"),
        verdict("update", "critical", (grave,)),
        verdict("update", "critical", (cause("dewp", 0.9, text="`dewp` moved up"),)),
        *(verdict("update", "critical", (cause(f"f{i}", text="PSI of another"),)) for i in range(30)),
    )
    texts = []
    with writing(engine) as connection:
        model = make_model(connection)
        for hour, step in enumerate(steps):
            _apply(connection, model.id, step, NOW + hour * clock.HOUR)
            texts.append(_only(connection).text)
        alert = _only(connection)
    assert texts[0] == "churn: PSI of distance 0.3"
    assert texts[1] == f"churn: `dewp` moved up; {HARM} (and 1 more)", "the first cause says it"
    assert texts[2] == f"churn: `dewp` moved up (and 1 more); critical: {HARM}", "named again without it"
    assert texts[3] == f"churn: PSI of another (and 2 more); critical: {HARM}", "another cause leads"
    assert "dewp" not in {one["feature"] for one in alert.causes} and texts[-1].endswith(f"; critical: {HARM}"), (
        "an alert has room for twenty causes; the reason stays when its own has no room any more"
    )
    assert [one["critical"] for one in alert.causes if one["critical"] is not None] == [HARM]


def test_a_warning_gives_no_reason_for_being_critical(engine: Engine) -> None:
    """One that is over and fires again as a warning, within the cool-down, has the cause still."""
    with writing(engine) as connection:
        model = make_model(connection)
        _apply(connection, model.id, verdict("open", "critical", (cause("dewp", critical=HARM),)), verdict("resolve"))
        _apply(connection, model.id, verdict("open"), now=NOW + clock.HOUR)
        alert = _only(connection)
    assert alert.severity == "warning" and "critical" not in alert.text
    assert {one["feature"]: one["critical"] for one in alert.causes} == {"distance": None, "dewp": None}


def test_an_alert_that_opens_again_is_critical_for_what_is_wrong_now(engine: Engine) -> None:
    """Not for what was wrong the last time; what a person has resolved and goes on keeps its reason."""
    over = (verdict("open", "critical", (cause("dewp", critical=HARM),)), verdict("resolve"))
    texts = []
    with writing(engine) as connection:
        model = make_model(connection)
        _apply(connection, model.id, *over)
        for hour, causes in enumerate(((cause("wind", critical="accuracy fell"),), (cause("dewp"),)), 1):
            _apply(connection, model.id, verdict("open", "critical", causes), now=NOW + hour * clock.HOUR)
            texts.append(_only(connection).text)
            resolve(connection, 1, _only(connection).id, "ann", NOW + hour * clock.HOUR, URL)
        _apply(connection, model.id, verdict("open", "warning"), now=NOW + 3 * clock.HOUR)
        _apply(connection, model.id, verdict("update", "critical"), now=NOW + 4 * clock.HOUR)
    assert texts[0] == "churn: PSI of wind 0.3 (and 1 more); critical: accuracy fell"
    assert texts[1] == "churn: PSI of dewp 0.3 (and 1 more); critical: accuracy fell"
    assert "critical" not in _text(engine), "a sudden rise, of which no cause says why: not what was over before"


def test_an_alert_has_exactly_the_fields_of_the_contract(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        _apply(connection, model.id, verdict())
        shown = alert_json(_only(connection), URL + "/")
    assert shown == {
        "id": shown["id"],
        "model": "churn",
        "family": "features",
        "state": "firing",
        "severity": "warning",
        "opened_at": clock.render(NOW),
        "first_evidence_at": clock.render(NOW - 2 * clock.HOUR),
        "resolved_at": None,
        "evidence": 3000.5,
        "budget": {"false_alarms": 2, "per": "30d", "threshold": 2160.0},
        "causes": [
            {
                "metric": "psi",
                "feature": "distance",
                "segment": None,
                "effect": 0.3,
                "low": 0.2,
                "high": 0.4,
                "share": 1.0,
                "joined_at": clock.render(NOW),
                "joined_share": 1.0,
                "critical": None,
                "text": "PSI of distance 0.3",
            }
        ],
        "text": "churn: PSI of distance 0.3",
        "url": f"{URL}/alerts/{shown['id']}",
    }


def test_an_incident_is_one_alert_whose_messages_tell_its_story(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        channel = make_channel(connection, "https://example.org/")
        steps = [
            verdict("open"),
            verdict("none"),
            verdict("update"),
            verdict("update", causes=(cause("weather"),)),
            verdict("update", "critical", (cause("weather"),)),
            verdict("resolve"),
        ]
        for hour, step in enumerate(steps):
            _apply(connection, model.id, step, NOW + hour * clock.HOUR)
        alert = _only(connection)
        events = alerts.list_events(connection, 1, alert.id)
        bodies = _bodies(connection, channel.id)
    assert alert.state == "resolved" and alert.severity == "critical"
    assert alert.resolved_at == NOW + 5 * clock.HOUR and alert.opened_at == NOW
    types = ["alert.firing", "alert.updated", "alert.updated", "alert.resolved"]
    assert [event.type for event in events] == types and {event.actor for event in events} == {"keepwatch"}
    assert [body["type"] for body in bodies] == types
    assert [body["data"]["state"] for body in bodies] == ["firing"] * 3 + ["resolved"]
    assert [body["data"]["severity"] for body in bodies] == ["warning", "warning", "critical", "critical"]
    assert bodies[0]["timestamp"] == clock.render(NOW) and set(bodies[0]) == {"type", "timestamp", "data"}
    assert {body["data"]["id"] for body in bodies} == {alert.id}


def test_the_last_message_says_what_the_api_says(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        channel = make_channel(connection, "https://example.org/")
        _apply(connection, model.id, verdict())
        assert _bodies(connection, channel.id)[-1]["data"] == alert_json(_only(connection), URL)


def test_families_have_alerts_of_their_own_and_one_each(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        _apply(connection, model.id, verdict(), verdict(family="latency"), verdict(family="performance"))
        found, _ = alerts.list_alerts(connection, 1, limit=10)
        assert {alert.family for alert in found} == {"features", "latency", "performance"}
    with pytest.raises(IntegrityError), writing(engine) as connection:
        alerts.insert_alert(connection, replace(found[0], id=alerts.new_id()))


def test_what_fires_again_within_the_cool_down_is_the_same_alert_and_later_a_new_one(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        channel = make_channel(connection, "https://example.org/")
        _apply(connection, model.id, verdict("open", "critical"), verdict("resolve"))
        _apply(connection, model.id, verdict("update"), now=NOW + clock.DAY)
        again = _only(connection)
        assert (again.state, again.severity, again.opened_at, again.resolved_at) == ("firing", "warning", NOW, None)
        _apply(connection, model.id, verdict("resolve"), now=NOW + 2 * clock.DAY)
        events = [event.type for event in alerts.list_events(connection, 1, again.id)]
        bodies = _bodies(connection, channel.id)
        _apply(connection, model.id, verdict("open"), now=NOW + 3 * clock.DAY + 1)
        found, _ = alerts.list_alerts(connection, 1, limit=10)
    assert events == ["alert.firing", "alert.resolved", "alert.reopened", "alert.resolved"]
    assert [body["type"] for body in bodies] == ["alert.firing", "alert.resolved"] * 2
    assert [alert.state for alert in found] == ["firing", "resolved"] and found[1].id == again.id != found[0].id


def test_a_cool_down_is_at_least_three_windows_and_may_be_switched_off(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection, window="1d")
        _apply(connection, model.id, verdict("open"), verdict("resolve"))
        _apply(connection, model.id, verdict("open"), verdict("resolve"), now=NOW + 3 * clock.DAY)
        assert len(alerts.list_alerts(connection, 1, limit=10)[0]) == 1
        routing.put_policy(connection, 1, Policy(cooldown="0m"), NOW, "Ada")
        _apply(connection, model.id, verdict("open"), now=NOW + 3 * clock.DAY)
        assert len(alerts.list_alerts(connection, 1, limit=10)[0]) == 2


def test_a_transaction_that_fails_leaves_neither_alert_nor_message(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        make_channel(connection, "https://example.org/")

    def fail_half_way() -> None:
        with writing(engine) as connection:
            _apply(connection, model.id, verdict())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with reading(engine) as connection:
        for table in (t.alert, t.alert_event, t.delivery):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_only_channels_whose_matchers_take_the_alert_are_told(engine: Engine) -> None:
    def match(name: str, value: str) -> tuple[dict[str, Any], ...]:
        return ({"name": name, "value": value, "isRegex": True, "isEqual": True},)

    with writing(engine) as connection:
        model = make_model(connection)
        told = make_channel(connection, "https://example.org/", "a", match=match("model", "churn|fraud"))
        make_channel(connection, "https://example.org/", "b", match=match("severity", "critical"))
        make_channel(connection, "https://example.org/", "off", disabled_at=NOW, disabled_reason="410")
        _other_project(connection)
        _apply(connection, model.id, verdict())
        assert connection.scalars(sa.select(t.delivery.c.channel_id)).all() == [told.id]


def test_a_hostile_verdict_still_makes_a_small_and_valid_message(engine: Engine) -> None:
    causes = tuple(
        cause(
            "\x01" * 256, 1 - i / 100, segment="\x02" * 500, text="\x03" * 9000, effect=float("nan"), high=float("inf")
        )
        for i in range(60)
    )
    with writing(engine) as connection:
        model = make_model(connection, "m" * 128)
        channel = make_channel(connection, "https://example.org/")
        hostile = verdict(causes=(cause("nul", text="a\0b"), *causes), evidence=float("inf"), threshold=float("nan"))
        _apply(connection, model.id, hostile, name="m" * 128)
        raw = connection.scalar(sa.select(t.delivery.c.body).where(t.delivery.c.channel_id == channel.id))
    assert raw is not None and len(raw.encode()) < MAX_BODY
    data = json.loads(raw)["data"]
    assert data["evidence"] > 1e308 and len(data["causes"]) >= 2
    assert data["causes"][1]["effect"] is None and data["causes"][1]["high"] is None


def test_a_digest_of_hostile_alerts_stays_below_its_bound(engine: Engine) -> None:
    """What ends can always be told: a message that cannot be written would undo the end of the alert."""
    segment = "\x02" * 256 + ":" + "\x03" * 256
    hostile = cause(None, segment=segment, text=segment * 2, critical="\x04" * 600)
    with writing(engine) as connection:
        for place in range(4):
            name = f"{place}" + "m" * 127
            model = make_model(connection, name)
            _apply(connection, model.id, verdict("open", "critical", (hostile,)), name=name)
        found, _ = alerts.list_alerts(connection, 1, limit=10)
    digest = json.loads(digest_body(NOW, found, "digest", URL))["data"]
    assert digest["count"] == 4 and digest["causes"] and digest["alerts"]


def test_acknowledging_and_resolving_by_hand_is_told_once(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        channel = make_channel(connection, "https://example.org/")
        _apply(connection, model.id, verdict())
        id_ = _only(connection).id
        for _ in range(2):
            assert acknowledge(connection, 1, id_, "Ada", NOW + 1, URL).state == "acknowledged"
        for later in (2, 3):
            assert resolve(connection, 1, id_, "Ada", NOW + later, URL).resolved_at == NOW + 2
        with pytest.raises(Conflict):
            acknowledge(connection, 1, id_, "Ada", NOW + 4, URL)
        types = [body["type"] for body in _bodies(connection, channel.id)]
        actors = [event.actor for event in alerts.list_events(connection, 1, id_)]
    assert types == ["alert.firing", "alert.acknowledged", "alert.resolved"]
    assert actors == ["keepwatch", "Ada", "Ada"]


def test_an_acknowledged_alert_stays_acknowledged_when_more_evidence_comes(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        _apply(connection, model.id, verdict())
        acknowledge(connection, 1, _only(connection).id, "Ada", NOW, URL)
        _apply(connection, model.id, verdict("update", "critical"))
        assert (_only(connection).state, _only(connection).severity) == ("acknowledged", "critical")


def test_an_alert_of_another_project_does_not_exist(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        _apply(connection, model.id, verdict())
        id_ = _only(connection).id
        for act in (acknowledge, resolve):
            with pytest.raises(NotFound):
                act(connection, 2, id_, "Eve", NOW, URL)
        assert alerts.list_alerts(connection, 2, limit=10) == ([], None)
        assert alerts.list_events(connection, 2, id_) == []


def test_a_model_whose_clock_is_its_events_is_resolved_by_that_clock_and_told_now(engine: Engine) -> None:
    past = NOW - 300 * clock.DAY
    with writing(engine) as connection:
        model = make_model(connection, clock="events")
        make_channel(connection, "https://example.org/")
        connection.execute(
            sa.update(t.log_position).where(t.log_position.c.model_id == model.id).values(known_at=past + 5)
        )
        apply(connection, 1, model.id, "churn", [verdict()], past, URL, wall=NOW)
        resolved = resolve(connection, 1, _only(connection).id, "Ada", NOW + 1, URL)
        made = set(connection.scalars(sa.select(t.delivery.c.created_at)))
    assert (resolved.opened_at, resolved.resolved_at, made) == (past, past + 5, {NOW, NOW + 1})


def test_pages_of_alerts_hold_each_alert_once(engine: Engine) -> None:
    with writing(engine) as connection:
        model = make_model(connection)
        routing.put_policy(connection, 1, Policy(cooldown="0m"), NOW, "Ada")
        for hour in (0, 0, 0, 1, 2, 2, 3):  # several at the same instant
            _apply(connection, model.id, verdict("open"), verdict("resolve"), now=NOW + hour)
        seen, after = [], None
        while True:
            page, after = alerts.list_alerts(connection, 1, limit=2, after=after)
            seen += page
            if after is None:
                break
    assert len(seen) == len({alert.id for alert in seen}) == 7
    assert [alert.opened_at for alert in seen] == sorted((alert.opened_at for alert in seen), reverse=True)


def _apply(
    connection: Connection, model_id: int, *verdicts: Verdict | int, now: int = NOW, name: str = "churn"
) -> None:
    at = next((v for v in verdicts if isinstance(v, int)), now)
    apply(connection, 1, model_id, name, [v for v in verdicts if isinstance(v, Verdict)], at, URL)


def _text(engine: Engine) -> str:
    with reading(engine) as connection:
        return _only(connection).text


def _only(connection: Connection) -> Alert:
    (alert,), _ = alerts.list_alerts(connection, 1, limit=10)
    return alert


def _bodies(connection: Connection, channel_id: str) -> list[dict[str, Any]]:
    query = sa.select(t.delivery.c.body, t.delivery.c.created_at).where(t.delivery.c.channel_id == channel_id)
    order = ["alert.firing", "alert.updated", "alert.acknowledged", "alert.resolved"]
    bodies = [(made, json.loads(body)) for body, made in connection.execute(query)]
    return [body for _, body in sorted(bodies, key=lambda pair: (pair[0], order.index(pair[1]["type"])))]


def _other_project(connection: Connection) -> None:
    connection.execute(sa.insert(t.project).values(id=2, name="other", created_at=NOW))
    make_channel(connection, "https://example.org/", project_id=2)
    assert outbox.any_due(connection, NOW) is False
