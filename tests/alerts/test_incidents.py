"""What a receiver that opens incidents ends up with, and what a channel is told that was switched off for a while."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from monitor import clock
from monitor.alerts.kinds.pagerduty import event
from monitor.alerts.message import read_message
from monitor.alerts.mute import Why
from monitor.alerts.notify import switch_on, wake_all
from monitor.alerts.transition import acknowledge, close_all
from monitor.errors import Conflict
from monitor.store import catalog, channels, outbox, replays, routing
from monitor.store import tables as t
from monitor.store.outbox import Attempt, Delivery
from monitor.store.session import reading, writing
from tests.alerts.house import House
from tests.alerts.receivers import NOW, SECRET_KEY, cause, make_model, verdict

HOUR, MINUTE = clock.HOUR, clock.MINUTE


@pytest.fixture
def pagerduty(house: House) -> House:
    with writing(house.engine) as connection:
        connection.execute(sa.update(t.channel).values(kind="pagerduty"))
    house.channel = replace(house.channel, kind="pagerduty")
    return house


def _models(house: House, count: int) -> list[object]:
    with writing(house.engine) as connection:
        return [make_model(connection, f"m{number}") for number in range(count)]


def _incidents(house: House) -> set[str]:
    """The keys of what is open at PagerDuty when everything arrived in the order in which it was written."""
    found: set[str] = set()
    with reading(house.engine) as connection:
        rows = connection.execute(sa.select(t.delivery).order_by(t.delivery.c.created_at)).all()
    for row in rows:
        delivery = Delivery(**row._mapping)
        said = event("k" * 32, read_message(delivery), delivery, NOW)
        if said["event_action"] == "trigger":
            found.add(said["dedup_key"])
        elif said["event_action"] == "resolve":
            found.discard(said["dedup_key"])
    return found


def _days_later(house: House) -> None:
    for hour in range(3, 60):
        house.release(NOW + hour * HOUR)


def _due(house: House, now: int) -> list[str]:
    with writing(house.engine) as connection:
        claimed = outbox.claim(connection, now, HOUR, SECRET_KEY, per_channel=4, in_all=64)
        return [delivery.type for _, delivery in claimed]


def test_an_alert_alone_in_its_digest_is_closed_when_it_ends(pagerduty: House) -> None:
    pagerduty.route(digest="1h")
    pagerduty.judge(NOW, verdict())
    assert pagerduty.release(NOW + HOUR) == 1 and len(_incidents(pagerduty)) == 1
    pagerduty.judge(NOW + 2 * HOUR, verdict("resolve"))
    _days_later(pagerduty)
    assert _incidents(pagerduty) == set()


@pytest.mark.parametrize("why", ["a route", "the budget"])
def test_the_incident_of_a_digest_is_closed_when_all_its_alerts_are_over(pagerduty: House, why: str) -> None:
    models = _models(pagerduty, 3)
    if why == "a route":
        pagerduty.route(digest="1h")
    else:
        with writing(pagerduty.engine) as connection:
            routing.put_policy(connection, 1, routing.Policy(1, "1d", "30m"), NOW, "Ada")
    for place, model in enumerate(models):
        pagerduty.judge(NOW + place, verdict(evidence=1e9), model=model)
    pagerduty.release(NOW + HOUR)
    assert any("digest" in key for key in _incidents(pagerduty))
    for model in models[:2]:
        pagerduty.judge(NOW + 2 * HOUR, verdict("resolve"), model=model)
    pagerduty.release(NOW + 2 * HOUR + 1)
    assert any("digest" in key for key in _incidents(pagerduty))
    pagerduty.judge(NOW + 3 * HOUR, verdict("resolve"), model=models[2])
    _days_later(pagerduty)
    assert _incidents(pagerduty) == set()


def test_what_was_given_up_is_not_replayed_when_the_receiver_knows_something_later(pagerduty: House) -> None:
    pagerduty.judge(NOW, verdict())
    with writing(pagerduty.engine) as connection:
        connection.execute(sa.update(t.delivery).values(state="dead"))
    pagerduty.judge(NOW + 2, verdict("resolve"))
    with writing(pagerduty.engine) as connection:
        ((_, last),) = outbox.claim(connection, NOW + 3, HOUR, SECRET_KEY, per_channel=4, in_all=64)
        outbox.finish(connection, last, Attempt(NOW + 3, 202, None, "", 1), next_attempt_at=None)
        assert replays.replay_dead(connection, pagerduty.channel, NOW + 4, "ann") == 0
        first = outbox.list_deliveries(connection, pagerduty.channel, limit=9)[0][-1]
        with pytest.raises(Conflict, match="knows something later"):
            replays.replay(connection, pagerduty.channel, first, NOW + 4, "ann")
        assert replays.replay_dead(connection, replace(pagerduty.channel, kind="webhook"), NOW + 4, "ann") == 1


@pytest.mark.parametrize("later", [0, -2 * clock.SECOND])
def test_the_order_of_an_alerts_messages_holds_where_clocks_do_not(pagerduty: House, later: int) -> None:
    pagerduty.judge(NOW, verdict())
    pagerduty.judge(NOW + later, verdict("resolve"))
    assert _due(pagerduty, NOW + MINUTE) == ["alert.firing"]


def test_a_channel_that_was_off_is_told_what_is_open_and_what_ended_that_it_knew(house: House) -> None:
    two, three = _models(house, 2)
    house.judge(NOW, verdict())
    with writing(house.engine) as connection:
        channels.disable_channel(connection, house.channel.id, NOW + 1, "gone")
    house.judge(NOW + 2, verdict("resolve"))
    assert house.fates()[-1] == ("alert.resolved", "dropped", str(Why.CHANNEL_OFF))
    house.judge(NOW + 2, verdict(), model=two)
    house.judge(NOW + 2, verdict(), model=three)
    house.judge(NOW + 3, verdict("resolve"), model=three)
    house.release(NOW + MINUTE)
    assert len(house.sent()) == 1
    with writing(house.engine) as connection:
        switch_on(connection, house.channel, NOW + HOUR, "ann")
    house.release(NOW + HOUR)
    house.release(NOW + HOUR + 1)
    told = [(body["data"]["model"], body["type"]) for body in house.bodies()]
    assert sorted(told) == [("churn", "alert.firing"), ("churn", "alert.resolved"), ("m0", "alert.firing")]


def test_what_is_open_of_a_model_that_is_deleted_ends_at_its_receivers(pagerduty: House) -> None:
    pagerduty.judge(NOW, verdict())
    assert len(_incidents(pagerduty)) == 1
    with writing(pagerduty.engine) as connection:
        connection.execute(sa.update(t.delivery).values(state="delivered"))
        close_all(connection, 1, pagerduty.model.id, "Ada", NOW + 1, "")
        catalog.delete_model(connection, pagerduty.model, NOW, "ann")
    with reading(pagerduty.engine) as connection:
        (left,) = connection.execute(sa.select(t.delivery)).all()
    assert (left.type, left.state, left.alert_id) == ("alert.resolved", "pending", None)
    assert _due(pagerduty, NOW + MINUTE) == ["alert.resolved"]


def test_a_repeat_that_is_set_while_an_alert_fires_holds_for_it(house: House) -> None:
    house.judge(NOW, verdict())
    house.route(repeat="4h")
    with writing(house.engine) as connection:
        wake_all(connection, 1, NOW + HOUR)
    assert house.release(NOW + 2 * HOUR) == 0
    assert house.release(NOW + 4 * HOUR) == 1
    assert house.sent() == ["alert.firing", "alert.firing"]


def test_a_rise_to_critical_passes_an_acknowledgement_on_its_way_to_an_escalation(house: House) -> None:
    house.route(escalate_after="30m")
    house.judge(NOW, verdict())
    house.by_hand(acknowledge, NOW + 1)
    house.judge(NOW + MINUTE, verdict("update", "critical", (cause("weather"),)))
    house.release(NOW + HOUR)
    assert "alert.updated" in house.sent()
