"""Channels that fail: pauses they ask for, when they are switched off and who is told, and what others notice of it."""

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts import deliver, outages
from monitor.alerts.deliver import IN_ALL, LEASE, PER_CHANNEL, deliver_due, finish_under_way
from monitor.alerts.retry import ATTEMPTS
from monitor.alerts.senders import Means, Receipt, SendError
from monitor.alerts.sending import redact
from monitor.settings import Settings
from monitor.store import channels, outbox, replays
from monitor.store.channels import Channel
from monitor.store.outbox import FIRST_PLACES, Delivery
from monitor.store.session import reading, writing
from tests.alerts.receivers import NOW, SECRET, Receiver, hang, make_channel

Receivers = Callable[..., Receiver]
LONG = 20.0


def _add(engine: Engine, channel: Channel, at: int = NOW, alert: str | None = None, body: str = "{}") -> str:
    with writing(engine) as connection:
        return outbox.add(connection, channel, "channel.test", alert, body, at)


def _make(engine: Engine, url: str, name: str, **more: Any) -> Channel:
    with writing(engine) as connection:
        return make_channel(connection, url, name, **more)


def _delivery(engine: Engine, channel: Channel, id_: str) -> Delivery:
    with reading(engine) as connection:
        return outbox.get_delivery(connection, channel, id_)


def _channel(engine: Engine, channel: Channel) -> Channel:
    with reading(engine) as connection:
        return channels.get_channel(connection, 1, channel.id, None)


def test_a_receiver_that_asks_for_a_pause_gets_it_for_all_of_its_messages(
    engine: Engine, settings: Settings, receiver: Receivers
) -> None:
    busy = receiver(lambda handler, number: handler.answer(429 if number == 0 else 200, retry_after="600"))
    other = receiver()
    tired, lively = _make(engine, busy.url, "tired"), _make(engine, other.url, "lively")
    _add(engine, tired)
    deliver_due(engine, settings, NOW, patience=LONG)
    until = _channel(engine, tired).paused_until
    assert until is not None and 600 * clock.SECOND <= until - NOW < 610 * clock.SECOND
    for channel in (tired, lively):
        _add(engine, channel, NOW + clock.MINUTE)
    deliver_due(engine, settings, NOW + clock.MINUTE, patience=LONG)
    assert (len(busy.requests), len(other.requests)) == (1, 1)
    deliver_due(engine, settings, until + clock.MINUTE, patience=LONG)
    assert len(busy.requests) == 3
    assert (_channel(engine, tired).paused_until, _channel(engine, tired).failing_since) == (None, None)


@pytest.mark.parametrize(("kind", "together"), [("webhook", True), ("pagerduty", False), ("alertmanager", False)])
def test_messages_about_one_alert_keep_their_order_where_it_matters(
    engine: Engine, settings: Settings, kind: str, together: bool
) -> None:
    sent: list[str] = []

    def send(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
        sent.append(delivery.id)
        if delivery.id == first and sent.count(first) == 1:
            raise SendError("down for a moment")
        return Receipt(200, "")

    channel = _make(engine, "https://example.org/", "c", kind=kind)
    first = _add(engine, channel, NOW, "alert_1")
    second = _add(engine, channel, NOW + 1, "alert_1")
    other = _add(engine, channel, NOW + 2, "alert_2")
    deliver_due(engine, settings, NOW + 3, send=send, patience=LONG)
    assert set(sent) == ({first, second, other} if together else {first, other})
    deliver_due(engine, settings, NOW + clock.MINUTE, send=send, patience=LONG)
    expected = [first] if together else [first, second]  # as soon as the first has arrived
    assert sent[3 if together else 2 :] == expected


def test_many_slow_receivers_do_not_take_the_places_of_a_new_one(sqlite_engine: Engine) -> None:
    """More channels hang than there are places for all of their messages."""
    many = IN_ALL // PER_CHANNEL + 20
    for number in range(many):
        stuck = _make(sqlite_engine, "https://example.org/", f"stuck {number}")
        for _ in range(PER_CHANNEL + 1):
            _add(sqlite_engine, stuck)
    with writing(sqlite_engine) as connection:
        taken = outbox.claim(connection, NOW, LEASE, None, per_channel=PER_CHANNEL, in_all=IN_ALL)
    assert len({channel.id for channel, _ in taken}) == many and len(taken) == IN_ALL < many * PER_CHANNEL
    fresh = _make(sqlite_engine, "https://example.org/", "fresh")
    mine = [_add(sqlite_engine, fresh) for _ in range(2)]
    with writing(sqlite_engine) as connection:
        ((channel, delivery),) = outbox.claim(connection, NOW, LEASE, None, per_channel=PER_CHANNEL, in_all=IN_ALL)
    assert channel.id == fresh.id and delivery.id in mine and many < FIRST_PLACES * IN_ALL


def test_what_comes_while_others_hang_is_sent_within_a_second(
    sqlite_engine: Engine, sqlite_settings: Settings, receiver: Receivers
) -> None:
    arrived = threading.Event()
    slow = receiver(hang)
    fast = receiver(lambda handler, number: (handler.answer(204), arrived.set()))
    stuck, lively = _make(sqlite_engine, slow.url, "stuck"), _make(sqlite_engine, fast.url, "lively")
    now = clock.now()
    _add(sqlite_engine, stuck, now)
    thread = threading.Thread(target=lambda: deliver_due(sqlite_engine, sqlite_settings, now, patience=5.0))
    thread.start()
    while not slow.requests:
        time.sleep(0.005)
    _add(sqlite_engine, lively, now)
    assert arrived.wait(1.0)
    slow.released.set()
    thread.join()


def _fail(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    if channel.name.startswith("bad"):
        raise SendError("bad.example answered 500", status=500)
    return Receipt(200, "")


def _days(engine: Engine, settings: Settings, count: int, start: int = NOW) -> int:
    for day in range(count):
        deliver_due(engine, settings, start + 2 * day * clock.DAY, send=_fail, patience=LONG)
    return start + 2 * count * clock.DAY


def test_a_channel_that_takes_nothing_over_a_schedule_is_switched_off_and_three_are_told(
    engine: Engine, settings: Settings
) -> None:
    narrow = [{"name": "model", "value": "churn", "isRegex": False, "isEqual": True}]
    bad = _make(engine, "https://bad.example/secret-token", "bad")
    _make(engine, "https://bad.example/", "bad too")
    matches = [tuple(narrow), (), (), ()]
    others = [_make(engine, "https://good.example/", f"good {n}", match=match) for n, match in enumerate(matches)]
    for channel in (bad, _find(engine, "bad too")):
        _add(engine, channel)
    now = _days(engine, settings, ATTEMPTS)
    off = _channel(engine, bad)
    assert off.disabled_at is not None and re.match("took nothing for 43[12] hours: bad", str(off.disabled_reason))
    with reading(engine) as connection:
        bodies = {
            one.name: [json.loads(found.body) for found in outbox.list_deliveries(connection, one, limit=9)[0]]
            for one in others
        }
    told = {name: [one for one in found if one.get("type") == "channel.disabled"] for name, found in bodies.items()}
    assert not told["good 0"]  # three that take every alert come first
    for name in ("good 1", "good 2", "good 3"):
        notices = told[name]
        assert len(notices) == 2
        assert any("The channel bad was switched off" in one["data"]["text"] for one in notices)
        assert "secret-token" not in json.dumps(notices)
    with writing(engine) as connection:
        channels.enable_channel(connection, bad.id)
    assert _channel(engine, bad).failing_since is None and now > off.disabled_at


def test_what_is_under_way_when_its_channel_is_switched_off_is_recorded_all_the_same(
    engine: Engine, settings: Settings
) -> None:
    """Three at once: one hears that the channel is gone; then one fails, and one arrives."""
    off = threading.Event()
    channel = _make(engine, "https://bad.example/", "c")
    gone, failed, arrived = (_add(engine, channel) for _ in range(3))

    def send(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
        if delivery.id == gone:
            raise SendError("answered 410", permanent=True, status=410)
        assert off.wait(LONG)
        if delivery.id == failed:
            raise SendError("answered 500", status=500)
        return Receipt(200, "")

    def watch() -> None:
        while _channel(engine, channel).disabled_at is None:
            time.sleep(0.005)
        off.set()

    watching = threading.Thread(target=watch)
    watching.start()
    deliver_due(engine, settings, NOW, send=send, patience=LONG)
    watching.join()
    with reading(engine) as connection:
        attempts = outbox.attempts_of(connection, [gone, failed, arrived])
    assert {id_: [one.status_code for one in made] for id_, made in attempts.items()} == {
        gone: [410],
        failed: [500],
        arrived: [200],
    }
    assert [_delivery(engine, channel, one).state for one in (gone, failed, arrived)] == ["dead", "dead", "delivered"]


def test_a_replay_of_all_leaves_what_is_under_way_to_its_attempt(engine: Engine) -> None:
    channel = _make(engine, "https://bad.example/", "c")
    id_ = _add(engine, channel)
    with writing(engine) as connection:
        assert outbox.claim(connection, NOW, LEASE, None, per_channel=PER_CHANNEL, in_all=IN_ALL)
        channels.disable_channel(connection, channel.id, NOW, "gone")
        channels.enable_channel(connection, channel.id)
        assert replays.replay_dead(connection, channel, NOW, "ann") == 0
        assert replays.replay_dead(connection, channel, NOW + LEASE, "ann") == 1
    assert _delivery(engine, channel, id_).state == "pending"


def test_what_a_dead_channel_should_have_told_is_told_by_another(engine: Engine) -> None:
    first, second, third = (_make(engine, "https://bad.example/", name) for name in ("first", "second", "third"))

    def told(channel: Channel) -> list[str]:
        with reading(engine) as connection:
            found = outbox.list_deliveries(connection, channel, limit=9)[0]
        return sorted(json.loads(one.body)["data"]["text"].split()[2] for one in found)

    gone = SendError("answered 410", permanent=True)
    with writing(engine) as connection:
        channels.disable_channel(connection, third.id, NOW, "off by chance")
        outages.note(connection, first, NOW, gone, dead=True, url="")
        assert told(second) == [] and told(third) == []  # not committed yet
    assert told(second) == ["first"]
    with writing(engine) as connection:
        channels.enable_channel(connection, third.id)
        outages.note(connection, second, NOW, gone, dead=True, url="")
    assert told(third) == ["first", "second"]


def test_a_notice_that_is_given_up_switches_off_nothing_a_message_does(engine: Engine, settings: Settings) -> None:
    told = _make(engine, "https://bad.example/", "bad")
    with writing(engine) as connection:
        notice = outbox.add(connection, told, outages.NOTICE, None, "{}", NOW)
    later = _days(engine, settings, ATTEMPTS)
    assert _delivery(engine, told, notice).state == "dead" and _channel(engine, told).disabled_at is None
    _add(engine, told, later)
    _days(engine, settings, ATTEMPTS, start=later)
    assert _channel(engine, told).disabled_at is not None


def test_who_works_and_has_shown_it_is_told_first_then_the_untried_and_what_fails_last(sqlite_engine: Engine) -> None:
    narrow = [{"name": "model", "value": "churn", "isRegex": False, "isEqual": True}]
    bad = _make(sqlite_engine, "https://bad.example/", "bad")
    made = {
        name: _make(sqlite_engine, "https://x.example/", name, match=tuple(narrow) if name == "narrow" else ())
        for name in ("failing", "never tried", "narrow", "long ago", "lately")
    }
    for name, at in {"failing": 9, "narrow": 8, "long ago": 1, "lately": 7}.items():
        id_ = _add(sqlite_engine, made[name], NOW + at)
        with writing(sqlite_engine) as connection:
            taken = outbox.Attempt(NOW + at, 200, None, "", 0)
            outbox.finish(connection, outbox.get_delivery(connection, made[name], id_), taken, next_attempt_at=None)

    def told(*off: str) -> list[str]:
        with writing(sqlite_engine) as connection:
            for name in off:
                channels.disable_channel(connection, made[name].id, NOW, "off")
            return [one.name for one in outages._others(connection, bad)]

    with writing(sqlite_engine) as connection:
        channels.note_failure(connection, made["failing"].id, NOW + 10, None)
    assert told() == ["lately", "long ago", "narrow", "never tried", "failing"]
    assert told("lately", "long ago") == ["narrow", "never tried", "failing"]


def test_a_channel_that_takes_other_messages_stays_on(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    def picky(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
        if delivery.id == poison:
            raise SendError("answered 400", status=400)
        return Receipt(200, "")

    channel = _make(sqlite_engine, "https://example.org/", "picky")
    poison = _add(sqlite_engine, channel)
    for day in range(0, 2 * ATTEMPTS, 2):
        deliver_due(sqlite_engine, sqlite_settings, NOW + day * clock.DAY, send=picky, patience=LONG)
        _add(sqlite_engine, channel, NOW + day * clock.DAY)
        deliver_due(sqlite_engine, sqlite_settings, NOW + day * clock.DAY + 1, send=picky, patience=LONG)
    assert _delivery(sqlite_engine, channel, poison).state == "dead"
    assert _channel(sqlite_engine, channel).disabled_at is None


def test_a_worker_that_ends_waits_for_its_attempts(
    sqlite_engine: Engine, sqlite_settings: Settings, receiver: Receivers
) -> None:
    slow = receiver(hang)
    channel = _make(sqlite_engine, slow.url, "slow")
    id_ = _add(sqlite_engine, channel, clock.now())
    deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=0.0)
    threading.Timer(0.2, slow.released.set).start()
    finish_under_way(10)
    assert _delivery(sqlite_engine, channel, id_).lease_owner is None  # the attempt has ended, and is recorded


def test_credentials_in_what_a_receiver_says_are_hidden() -> None:
    url = "https://hooks.example.org/services/T0001/secret-part?sig=another-secret"
    channel = Channel("c", 1, "webhook", "n", url, SECRET, (), NOW, previous_secret="whsec_" + "b" * 40)
    said = f"no: {url} {SECRET} {SECRET[6:]} {'b' * 40} secret-part another-secret \0"
    shown = redact(said, channel)
    for secret in ("secret-part", "another-secret", SECRET[6:], "b" * 40, "\0"):
        assert secret not in shown
    assert shown.startswith("no: ")


def test_credentials_are_hidden_in_the_forms_in_which_they_travel() -> None:
    basic = base64.b64encode(b"admin:hunter2-and-more").decode()
    guarded = Channel("c", 1, "alertmanager", "n", "https://am.example.org/", "admin:hunter2-and-more", (), NOW)
    assert basic not in redact(f"you sent Basic {basic}", guarded)
    escaped = "https://teams.example.org/hook?api-version=1&sig=Zm9v%2BYmFyYmF6cXV4"
    teams = Channel("c", 1, "teams", "n", escaped, "", (), NOW)
    assert "Zm9v%2BYmFyYmF6cXV4" not in redact(escaped.replace("&", "\\u0026"), teams)


def _find(engine: Engine, name: str) -> Channel:
    with reading(engine) as connection:
        return next(one for one in channels.enabled_channels(connection, 1) if one.name == name)


assert deliver.PATIENCE + 0.2 < 1  # what a worker may lose to a slow receiver before it looks again
