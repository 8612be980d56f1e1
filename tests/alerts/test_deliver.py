"""Deliveries on their way: the schedule, receivers with bad habits, several deliverers at once."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from standardwebhooks import Webhook

from monitor import clock
from monitor.alerts import deliver, guard
from monitor.alerts.deliver import LEASE, PER_CHANNEL, deliver_due
from monitor.alerts.retry import PAUSES, pause_after
from monitor.alerts.senders import Means, Receipt, SendError
from monitor.alerts.transition import apply
from monitor.settings import Settings
from monitor.store import channels, outbox, replays
from monitor.store import tables as t
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery
from monitor.store.session import reading, writing
from tests.alerts.receivers import NOW, SECRET, Handler, Receiver, cut, flood, hang, make_channel, make_model, verdict

Receivers = Callable[..., Receiver]
LONG = 20.0  # patience that waits for every receiver of these tests


def _channel(engine: Engine, url: str, name: str = "pager") -> Channel:
    with writing(engine) as connection:
        return make_channel(connection, url, name)


def _add(engine: Engine, channel: Channel, count: int = 1, at: int = NOW) -> list[str]:
    with writing(engine) as connection:
        return [outbox.add(connection, channel, "channel.test", None, f'{{"n":{n}}}', at) for n in range(count)]


def _get(engine: Engine, channel: Channel, delivery_id: str) -> Delivery:
    with reading(engine) as connection:
        return outbox.get_delivery(connection, channel, delivery_id)


def _attempts(engine: Engine, delivery_id: str) -> list[outbox.Attempt]:
    with reading(engine) as connection:
        return outbox.attempts_of(connection, [delivery_id])[delivery_id]


def test_an_alert_reaches_a_receiver_that_can_verify_it(
    engine: Engine, settings: Settings, receiver: Receivers
) -> None:
    one, now = receiver(), clock.now()
    channel = _channel(engine, one.url)
    with writing(engine) as connection:
        model = make_model(connection)
        apply(connection, 1, model.id, "churn", [verdict()], now, "https://keepwatch.example")
    assert deliver_due(engine, settings, now, patience=LONG) == 1
    ((headers, body, _),) = one.requests
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "alert.firing" and message["data"]["model"] == "churn"
    delivery = _get(engine, channel, headers["webhook-id"])
    assert delivery.state == "delivered" and delivery.delivered_at is not None and delivery.delivered_at >= now
    assert deliver_due(engine, settings, now + clock.DAY, patience=LONG) == 0 and len(one.requests) == 1


def test_a_failing_receiver_is_tried_ten_times_on_schedule_under_one_id(
    engine: Engine, settings: Settings, receiver: Receivers
) -> None:
    one = receiver(lambda handler, number: handler.answer(503, b"down"))
    channel = _channel(engine, one.url)
    (id_,) = _add(engine, channel)
    now, due = NOW, [NOW]
    while _get(engine, channel, id_).state == "pending":
        assert deliver_due(engine, settings, now - 1_000_000, patience=LONG) == 0
        assert deliver_due(engine, settings, now, patience=LONG) == 1
        now = _get(engine, channel, id_).next_attempt_at
        due.append(now)
    attempts = _attempts(engine, id_)
    assert one.ids == [id_] * 10 and len({body for _, body, _ in one.requests}) == 1
    assert _get(engine, channel, id_).state == "dead"
    assert {(a.status_code, a.response) for a in attempts} == {(503, "down")}
    for number, (before, after) in enumerate(zip(attempts, due[1:-1], strict=False), 1):
        assert after - before.at == pause_after(number, id_)
    assert attempts[-1].at - NOW >= sum(PAUSES)
    signatures = {headers["webhook-signature"] for headers, _, _ in one.requests}
    assert len(signatures) == 10  # each attempt is signed with its own time


def test_a_dead_delivery_is_replayed_under_its_id_with_a_whole_schedule(
    engine: Engine, settings: Settings, receiver: Receivers
) -> None:
    one = receiver(lambda handler, number: handler.answer(500 if number < 12 else 200))
    channel = _channel(engine, one.url)
    (id_,) = _add(engine, channel)
    now = NOW
    for _ in range(10):
        deliver_due(engine, settings, now, patience=LONG)
        now += 2 * clock.DAY
    assert _get(engine, channel, id_).state == "dead"
    with writing(engine) as connection:
        channels.enable_channel(connection, channel.id)  # it had taken nothing for days
        replays.replay(connection, channel, outbox.get_delivery(connection, channel, id_), now, "ann")
    for _ in range(3):
        deliver_due(engine, settings, now, patience=LONG)
        now += clock.DAY
    assert _get(engine, channel, id_).state == "delivered"
    assert one.ids == [id_] * 13 and len(_attempts(engine, id_)) == 13


def test_retry_after_moves_the_next_attempt(engine: Engine, settings: Settings, receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(429, retry_after="3600"))
    channel = _channel(engine, one.url)
    (id_,) = _add(engine, channel)
    deliver_due(engine, settings, NOW, patience=LONG)
    (attempt,) = _attempts(engine, id_)
    assert _get(engine, channel, id_).next_attempt_at == attempt.at + clock.HOUR


def test_410_switches_the_channel_off_and_what_waits_for_it_is_dead(
    engine: Engine, settings: Settings, receiver: Receivers
) -> None:
    gone, other = receiver(lambda handler, number: handler.answer(410)), receiver()
    channel = _channel(engine, gone.url)
    _channel(engine, other.url, "other")
    (id_,) = _add(engine, channel)
    (later,) = _add(engine, channel, at=NOW + clock.DAY)
    deliver_due(engine, settings, NOW, patience=LONG)
    with reading(engine) as connection:
        off = channels.get_channel(connection, 1, channel.id, None)
        assert [c.name for c in channels.enabled_channels(connection, 1)] == ["other"]
    assert off.disabled_at is not None and "410" in (off.disabled_reason or "")
    assert {_get(engine, channel, i).state for i in (id_, later)} == {"dead"}
    with writing(engine) as connection:
        apply(connection, 1, make_model(connection).id, "churn", [verdict()], NOW, "")
    deliver_due(engine, settings, NOW + clock.DAY, patience=LONG)
    assert len(gone.requests) == 1
    told, alarm = sorted(
        (json.loads(body) for _, body, _ in other.requests), key=lambda body: body["type"], reverse=True
    )
    assert told["type"] == "channel.disabled" and "pager" in told["data"]["text"] and "410" in told["data"]["text"]
    assert alarm["type"] == "alert.firing"


def _redirect(handler: Handler, number: int) -> None:
    handler.answer(301, location=f"http://127.0.0.1:{handler.server.port}/elsewhere")


@pytest.mark.parametrize(
    ("habit", "status", "state"),
    [
        (hang, None, "pending"),
        (cut, None, "pending"),
        (_redirect, 301, "pending"),
        (lambda handler, number: handler.answer(500), 500, "pending"),
        (lambda handler, number: handler.wfile.write(b"no http at all\r\n\r\n"), None, "pending"),
        (flood, 200, "delivered"),
    ],
)
def test_every_bad_habit_leaves_one_attempt_in_the_log(
    sqlite_engine: Engine,
    sqlite_settings: Settings,
    receiver: Receivers,
    habit: Callable[[Handler, int], None],
    status: int | None,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "DEADLINE", 0.5)
    one = receiver(habit)
    channel = _channel(sqlite_engine, one.url)
    (id_,) = _add(sqlite_engine, channel)
    assert deliver_due(sqlite_engine, sqlite_settings, NOW, patience=LONG) == 1
    (attempt,) = _attempts(sqlite_engine, id_)
    assert (attempt.status_code, _get(sqlite_engine, channel, id_).state) == (status, state)
    assert (attempt.error is None) is (state == "delivered") and len(attempt.response or "") <= 1000
    assert len(one.requests) == 1


def test_a_private_receiver_that_was_not_allowed_gets_nothing(
    sqlite_engine: Engine, sqlite_settings: Settings, receiver: Receivers
) -> None:
    one = receiver()
    (id_,) = _add(sqlite_engine, _channel(sqlite_engine, one.url))
    deliver_due(sqlite_engine, sqlite_settings.model_copy(update={"allow_networks": ()}), NOW, patience=LONG)
    assert one.requests == [] and "KEEPWATCH_ALLOW_NETWORKS" in str(_attempts(sqlite_engine, id_)[0].error)


def test_a_receiver_that_hangs_holds_up_nobody_else(engine: Engine, settings: Settings, receiver: Receivers) -> None:
    slow, fast = receiver(hang), receiver()
    stuck, lively = _channel(engine, slow.url, "slow"), _channel(engine, fast.url, "fast")
    _add(engine, stuck, 50)
    (first,) = _add(engine, lively)
    started = time.perf_counter()
    deliver_due(engine, settings, NOW, patience=0.2)
    assert _get(engine, lively, first).state == "delivered"
    (second,) = _add(engine, lively, at=NOW + 1)
    deliver_due(engine, settings, NOW + 1, patience=0.2)
    assert _get(engine, lively, second).state == "delivered"
    assert time.perf_counter() - started < 1
    assert len(slow.requests) == PER_CHANNEL  # the rest waits its turn, claimed by nobody
    slow.released.set()
    for thread in threading.enumerate():
        if thread.name == "delivery":
            thread.join(10)
    with reading(engine) as connection:  # what was left to its thread has recorded itself
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.delivery_attempt)) == PER_CHANNEL + 2


def test_two_deliverers_at_once_send_everything_once(engine: Engine, settings: Settings, receiver: Receivers) -> None:
    one, other = receiver(), receiver()
    ids = _add(engine, _channel(engine, one.url, "a"), 30) + _add(engine, _channel(engine, other.url, "b"), 30)
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(deliver_due(engine, settings, NOW, patience=2.0))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 60
    assert Counter(one.ids + other.ids) == Counter(ids)


def test_a_claimed_delivery_is_left_alone_until_its_lease_is_over(sqlite_engine: Engine) -> None:
    channel = _channel(sqlite_engine, "https://example.org/")
    (id_,) = _add(sqlite_engine, channel)
    with writing(sqlite_engine) as connection:
        ((_, first),) = outbox.claim(connection, NOW, LEASE, None, per_channel=4, in_all=64)
        assert outbox.claim(connection, NOW + LEASE - 1, LEASE, None, per_channel=4, in_all=64) == []
        ((_, second),) = outbox.claim(connection, NOW + LEASE, LEASE, None, per_channel=4, in_all=64)
        failure = outbox.Attempt(NOW, 500, "500", None, 1)
        assert outbox.finish(connection, first, failure, next_attempt_at=NOW + 1) is False  # came too late
        success = outbox.Attempt(NOW, 200, None, "", 1)
        assert outbox.finish(connection, first, success, next_attempt_at=None) is True  # the receiver has it
        assert outbox.finish(connection, second, failure, next_attempt_at=NOW + 1) is False
    assert _get(sqlite_engine, channel, id_).state == "delivered" and len(_attempts(sqlite_engine, id_)) == 1


def test_an_error_of_our_own_counts_as_an_attempt_and_not_as_the_end(
    sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    def broken(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
        raise ZeroDivisionError("a secret of ours")

    channel = _channel(sqlite_engine, "https://example.org/")
    (id_,) = _add(sqlite_engine, channel)
    deliver_due(sqlite_engine, sqlite_settings, NOW, send=broken, patience=LONG)
    (attempt,) = _attempts(sqlite_engine, id_)
    assert attempt.error == "an error of our own (ZeroDivisionError)"
    assert _get(sqlite_engine, channel, id_).state == "pending"


def test_no_transaction_is_open_while_a_delivery_is_sent(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "LOOK", LONG)  # no look for more meanwhile
    checked_out: list[int] = []

    def look(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
        time.sleep(0.05)  # the claim that started this thread has given its connection back by now
        checked_out.append(sqlite_engine.pool.checkedout())  # type: ignore[attr-defined]
        return Receipt(200, "")

    _add(sqlite_engine, _channel(sqlite_engine, "https://example.org/"))
    deliver_due(sqlite_engine, sqlite_settings, NOW, send=look, patience=LONG)
    assert checked_out == [0]


def test_an_idle_tick_takes_no_write_lock(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    statements: list[str] = []
    sa.event.listen(sqlite_engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    assert deliver_due(sqlite_engine, sqlite_settings, NOW) == 0
    assert len([s for s in statements if s.startswith("SELECT")]) == 1
    assert not any(s.startswith(("BEGIN IMMEDIATE", "UPDATE", "INSERT")) for s in statements)


def test_the_log_names_the_host_and_nothing_secret(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            lines.append(json.dumps([event, fields]))

        error = warning

    def refuse(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
        raise SendError("hooks.example answered 500", status=500)

    monkeypatch.setattr(deliver, "_log", Log())
    _add(sqlite_engine, _channel(sqlite_engine, "https://hooks.example/T0/secret-token"))
    deliver_due(sqlite_engine, sqlite_settings, NOW, send=refuse, patience=LONG)
    assert len(lines) == 1 and "hooks.example" in lines[0]
    assert "secret-token" not in lines[0] and SECRET not in lines[0]


def test_deleting_a_channel_takes_its_deliveries_along(engine: Engine, settings: Settings, receiver: Receivers) -> None:
    one = receiver()
    channel = _channel(engine, one.url)
    _add(engine, channel, 2)
    deliver_due(engine, settings, NOW, patience=LONG)
    with writing(engine) as connection:
        channels.delete_channel(connection, 1, channel.id, NOW, "ann")
        for table in (t.channel, t.delivery, t.delivery_attempt):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
