"""What is held back, and what becomes of it: silences, outages, quiet hours, escalation, digests, budgets."""

import json
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts.kinds.pagerduty import event
from monitor.alerts.kinds.slack import slack_body
from monitor.alerts.message import read_message
from monitor.alerts.mute import Why
from monitor.alerts.notify import end_silence, wake_all
from monitor.alerts.payload import MAX_BODY
from monitor.alerts.rules import read_route, read_silence
from monitor.alerts.transition import acknowledge, apply, resolve
from monitor.store import alerts, channels, notifications, routing, silences
from monitor.store import tables as t
from monitor.store.outbox import Delivery
from monitor.store.routing import Policy
from monitor.store.session import reading, writing
from tests.alerts.house import CHURN, URL, House
from tests.alerts.receivers import NOW, cause, make_channel, make_model, verdict

HOUR, MINUTE = clock.HOUR, clock.MINUTE
MIDNIGHT = clock.parse("2027-01-15T00:00:00Z")


def test_what_fires_during_a_silence_is_told_once_when_it_ends(house: House) -> None:
    house.silence(NOW + HOUR)
    house.judge(NOW, verdict())
    house.judge(NOW + 1, verdict("update", "critical", (cause("weather"),)))
    assert house.sent() == [] and house.release(NOW + HOUR - 1) == 0
    assert house.fates() == [("alert.firing", "held", "silenced"), ("alert.updated", "held", "silenced")]
    assert [house.release(NOW + HOUR + after) for after in (0, 1, 2)] == [1, 0, 0]
    (body,) = house.bodies()
    assert (body["type"], body["data"]["severity"], body["timestamp"]) == (
        "alert.firing",
        "critical",
        clock.render(NOW + HOUR),
    )
    assert house.fates() == [("alert.firing", "sent", "silenced"), ("alert.updated", "dropped", str(Why.SUPERSEDED))]


def test_a_silence_that_is_ended_by_hand_lets_go_at_once(house: House) -> None:
    id_ = house.silence(NOW + 30 * clock.DAY)
    house.judge(NOW, verdict())
    with writing(house.engine) as connection:
        for _ in range(2):
            end_silence(connection, 1, id_, NOW + MINUTE, "Ada")
        assert silences.get_silence(connection, 1, id_).ends_at == NOW + MINUTE
    assert house.release(NOW + MINUTE) == 1 and house.sent() == ["alert.firing"]


def test_what_is_over_before_its_silence_ends_is_never_told_and_says_so(house: House) -> None:
    house.silence(NOW + HOUR)
    house.judge(NOW, verdict())
    house.judge(NOW + 1, verdict("resolve"))
    assert house.release(NOW + 2 * HOUR) == 0 and house.sent() == []
    assert set(house.fates()) == {
        ("alert.firing", "dropped", str(Why.RESOLVED)),
        ("alert.resolved", "dropped", str(Why.RESOLVED)),
    }


def test_the_end_of_an_alert_that_a_channel_knows_of_passes_a_silence(house: House) -> None:
    house.judge(NOW, verdict())
    house.silence(NOW + HOUR)
    house.judge(NOW + 1, verdict("update", "critical"))
    house.judge(NOW + 2, verdict("resolve"))
    assert house.sent() == ["alert.firing", "alert.resolved"]
    assert house.release(NOW + 2 * HOUR) == 0


def test_a_maintenance_window_holds_back_in_its_hours_only(house: House) -> None:
    hours = {"from": "01:00", "to": "02:00"}
    house.silence(MIDNIGHT + 30 * clock.DAY, MIDNIGHT, weekly=hours)
    house.judge(MIDNIGHT + HOUR + 1, verdict())
    assert house.fates() == [("alert.firing", "held", "maintenance")]
    assert [house.release(MIDNIGHT + at * HOUR) for at in (1, 2)] == [0, 1]
    house.judge(MIDNIGHT + 3 * HOUR, verdict("update", "critical"))
    assert house.sent() == ["alert.firing", "alert.updated"]


def test_an_outage_holds_back_the_drift_of_its_model_also_within_one_window(house: House) -> None:
    with writing(house.engine) as connection:
        other = make_model(connection, "fraud")
    gone = cause(None, metric="volume", effect=-1.0, text="no rows")
    house.judge(NOW, verdict(), verdict(family="volume", causes=(gone,)))
    house.judge(NOW, verdict(), model=other)
    told = [(body["data"]["model"], body["data"]["family"]) for body in house.bodies()]
    assert sorted(told) == [("churn", "volume"), ("fraud", "features")]
    house.judge(NOW + HOUR, verdict("resolve", family="volume"))
    assert house.release(NOW + HOUR) == 1
    assert house.bodies()[-1]["data"]["family"] == "features"


def test_warnings_wait_for_the_end_of_quiet_hours_and_critical_ones_do_not(house: House) -> None:
    house.route(quiet_hours={"from": "22:00", "to": "06:00"})
    house.judge(MIDNIGHT, verdict(), verdict(family="performance", severity="critical"))
    assert [body["data"]["family"] for body in house.bodies()] == ["performance"]
    assert [house.release(MIDNIGHT + at) for at in (6 * HOUR - 1, 6 * HOUR)] == [0, 1]
    assert house.sent() == ["alert.firing"] * 2


def test_an_escalation_goes_out_when_nobody_acknowledges(house: House) -> None:
    with writing(house.engine) as connection:
        make_channel(connection, "https://example.org/boss", "boss")
        routing.put_route(connection, read_route("b", {"channels": ["boss"], "escalate_after": "30m"}, 1, NOW), "ann")
    house.judge(NOW, verdict())
    assert house.sent() == ["alert.firing"] and house.release(NOW + 30 * MINUTE - 1) == 0
    assert [house.release(NOW + 30 * MINUTE), house.release(NOW + HOUR)] == [1, 0]
    with reading(house.engine) as connection:
        events = alerts.list_events(connection, 1, house.alert)
    assert [(event.type, event.comment) for event in events] == [("alert.firing", None), ("alert.escalated", "to boss")]
    house.by_hand(resolve, NOW + 2 * HOUR)
    assert house.sent() == ["alert.firing"] * 2 + ["alert.resolved"] * 2


def test_who_acknowledges_in_time_stops_the_escalation(house: House) -> None:
    house.route(escalate_after="30m")
    house.judge(NOW, verdict())
    house.by_hand(acknowledge, NOW + MINUTE)
    assert house.release(NOW + clock.DAY) == 0 and house.sent() == []
    assert {fate[1:] for fate in house.fates()} == {("dropped", str(Why.ACKNOWLEDGED))}


def test_a_reminder_comes_at_its_interval_until_somebody_acknowledges(house: House) -> None:
    house.route(repeat="4h")
    house.judge(NOW, verdict())
    assert [house.release(NOW + hour * HOUR) for hour in (3, 4, 5, 8, 9)] == [0, 1, 0, 1, 0]
    house.silence(NOW + 20 * HOUR, NOW + 9 * HOUR)
    assert [house.release(NOW + hour * HOUR) for hour in (12, 19, 20)] == [0, 0, 1]
    house.by_hand(acknowledge, NOW + 21 * HOUR)
    assert house.release(NOW + 40 * HOUR) == 0
    assert house.sent() == ["alert.firing"] * 4 + ["alert.acknowledged"]
    assert [fate[0] for fate in house.fates()].count("alert.firing") == 4


def test_updates_that_were_held_back_are_told_as_one_that_says_all_that_changed(house: House) -> None:
    house.judge(NOW, verdict())
    house.silence(NOW + 3 * clock.HOUR)
    house.judge(NOW + clock.HOUR, verdict("update", causes=(cause("weather"),)))
    house.judge(NOW + 2 * clock.HOUR, verdict("update", "critical", (cause("weather"),)))
    assert house.release(NOW + 4 * clock.HOUR) == 1
    told = house.bodies()[-1]
    joined = "Joined, and leads now: PSI of weather 0.3"
    assert told["type"] == "alert.updated"
    assert told["change"] == f"{joined}. Then: Severity from warning to critical"


def test_a_digest_gathers_what_is_not_critical_and_tells_the_state_at_its_time(house: House) -> None:
    house.route(digest="1h")
    with writing(house.engine) as connection:
        models = [make_model(connection, f"m{number}") for number in range(5)]
    for number, model in enumerate(models):
        house.judge(NOW + number * MINUTE, verdict(), model=model)
    house.judge(NOW + 10 * MINUTE, verdict("resolve"), model=models[0])
    house.judge(NOW + 10 * MINUTE, verdict("open", "critical", family="performance"))
    assert house.sent() == ["alert.firing"]
    assert [house.release(NOW + after) for after in (HOUR - 1, HOUR, HOUR + 1)] == [0, 1, 0]
    digest = house.bodies()[-1]
    assert digest["type"] == "alert.digest" and digest["data"]["count"] == 5 and digest["data"]["state"] == "firing"
    listed = [(one["model"], one["state"]) for one in digest["data"]["alerts"]]
    assert sorted(listed) == [("m0", "resolved"), *((f"m{number}", "firing") for number in range(1, 5))]
    house.judge(NOW + 2 * HOUR, verdict("resolve"), model=models[1])
    house.release(NOW + 3 * HOUR)
    assert house.sent()[-1] == "alert.resolved"  # alone in its digest it is told as itself


@pytest.mark.parametrize(("kind", "messages"), [("alertmanager", 3), ("pagerduty", 1), ("slack", 1)])
def test_a_digest_suits_the_kind_of_its_channel(house: House, kind: str, messages: int) -> None:
    house.route(digest="1h")
    with writing(house.engine) as connection:
        connection.execute(sa.update(t.channel).values(kind=kind))
        models = [make_model(connection, f"m{number}") for number in range(3)]
    for model in models:
        house.judge(NOW, verdict(), model=model)
    house.judge(NOW + 1, verdict("resolve"), model=models[0])
    assert house.release(NOW + HOUR) == messages
    bodies = house.bodies()
    assert {body["type"] for body in bodies} == (
        {"alert.firing", "alert.resolved"} if kind == "alertmanager" else {"alert.digest"}
    )
    if kind != "alertmanager":
        assert bodies[0]["data"]["count"] == (2 if kind == "pagerduty" else 3)
        with reading(house.engine) as connection:
            (row,) = connection.execute(sa.select(t.delivery)).all()
        message = read_message(Delivery(**row._mapping))
        assert message.title.startswith("Digest: ") and "alerts of" in message.text and len(message.causes) >= 2
        assert slack_body(message)["blocks"] and event("k" * 32, message, Delivery(**row._mapping), NOW)["payload"]


def test_a_digest_of_hundreds_stays_below_the_bound_of_a_webhook(house: House) -> None:
    house.route(digest="1h")
    text = "\N{SNOWMAN}" * 500
    with writing(house.engine) as connection:
        for number in range(90):
            model = make_model(connection, f"{number}" + "x" * 120)
            apply(connection, 1, model.id, model.name, [verdict(causes=(cause(text=text),))], NOW, URL)
    assert house.release(NOW + HOUR) == 1
    with reading(house.engine) as connection:
        body = connection.scalar(sa.select(t.delivery.c.body))
        waiting = connection.scalar(sa.select(sa.func.count()).where(t.notification.c.state == "held"))
    assert body is not None and len(body.encode()) < MAX_BODY and waiting == 0
    data = json.loads(body)["data"]
    assert data["count"] == 90 and 5 <= len(data["alerts"]) < 90


def test_what_exceeds_the_projects_budget_comes_in_a_digest(house: House) -> None:
    with writing(house.engine) as connection:
        routing.put_policy(connection, 1, Policy(2, "1d", "30m"), NOW, "Ada")
        models = [make_model(connection, f"m{number}") for number in range(4)]
    for number, model in enumerate(models):
        house.judge(NOW + number, verdict(evidence=1e9), model=model)
    assert house.sent() == ["alert.firing"] * 2 and house.release(NOW + 30 * MINUTE + 2) == 1
    assert house.bodies()[-1]["data"]["count"] == 2
    house.judge(NOW + clock.DAY + 5, verdict(evidence=1e9))
    assert house.sent()[-1] == "alert.firing"  # the next day has its own pages


def test_a_channel_that_is_switched_off_meanwhile_leaves_nothing_waiting(house: House) -> None:
    house.silence(NOW + HOUR)
    house.judge(NOW, verdict())
    with writing(house.engine) as connection:
        channels.disable_channel(connection, house.channel.id, NOW, "410")
    assert house.release(NOW + HOUR) == 0
    assert house.fates() == [("alert.firing", "dropped", str(Why.CHANNEL_OFF))]


def test_another_projects_silences_and_routes_do_not_act_here(house: House) -> None:
    with writing(house.engine) as connection:
        connection.execute(sa.insert(t.project).values(id=2, name="other", created_at=NOW))
        body = {"matchers": CHURN, "endsAt": clock.render(NOW + HOUR)}
        silences.add_silence(connection, read_silence(body, 2, NOW, "Eve"))
        routing.put_route(connection, read_route("x", {"channels": ["pager"], "digest": "1h"}, 2, NOW), "ann")
        wake_all(connection, 2, NOW)
    house.judge(NOW, verdict())
    assert house.sent() == ["alert.firing"]


def test_a_new_route_acts_on_what_is_held_already(house: House) -> None:
    house.route(escalate_after="12h")
    house.judge(NOW, verdict())
    house.route(escalate_after="1m")
    with writing(house.engine) as connection:
        wake_all(connection, 1, NOW + 2 * MINUTE)
    assert house.release(NOW + 2 * MINUTE) == 1


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){12}", "(x+x+)+y", "([a-z]+)*[0-9]", "(a?){64}a{64}"])
def test_a_pattern_that_hangs_other_engines_takes_no_time(house: House, pattern: str) -> None:
    began = time.process_time()
    house.silence(NOW + HOUR, matchers=[*CHURN, {"name": "model", "value": pattern, "isRegex": True}])
    with writing(house.engine) as connection:
        model = make_model(connection, "a" * 127 + "b")
    house.judge(NOW, verdict(), model=model)
    assert time.process_time() - began < 3 and house.sent() == ["alert.firing"]


def _count(connection: Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_an_event_is_never_told_twice_to_a_channel_says_the_database(house: House) -> None:
    house.judge(NOW, verdict())
    with reading(house.engine) as connection:
        (row,) = connection.execute(sa.select(t.notification)).mappings().all()
        assert _count(connection, t.delivery) == 1
    with pytest.raises(sa.exc.IntegrityError), writing(house.engine) as connection:
        notifications.add(connection, **{name: value for name, value in row.items() if name != "id"})
