"""Twelve receivers with bad habits over 76 hours of a simulated clock, and one good one beside them all the time."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts import guard
from monitor.alerts.deliver import deliver_due, finish_under_way
from monitor.alerts.retry import ATTEMPTS, JITTER, PAUSES
from monitor.settings import Settings
from monitor.store import channels, outbox
from monitor.store.outbox import Attempt, Delivery
from monitor.store.session import reading, writing
from tests.alerts.receivers import NOW, Handler, Receiver, cut, drip, flood, hang, make_channel

Receivers = Callable[..., Receiver]
DEADLINE = 0.25
HOUR = 3600
AT_MOST = 1.0  # seconds that a good receiver may wait because of the others


def _short(handler: Handler, number: int) -> None:
    """Say a length and send less."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b"half")


HABITS: dict[str, Callable[[Handler, int], None]] = {
    "hang": hang,
    "one byte at a time": drip,
    "500": lambda handler, number: handler.answer(500),
    "429": lambda handler, number: handler.answer(429, retry_after=str(HOUR)),
    "410": lambda handler, number: handler.answer(410),
    "ten gigabytes": flood,
    "cut": cut,
    "wrong length": _short,
}
TAKEN = ("ten gigabytes", "wrong length")  # the status was 2xx: it has arrived


def _world(receiver: Receivers, canary: Receiver) -> dict[str, str]:
    """The URLs of the twelve."""
    urls = {name: receiver(habit).url for name, habit in HABITS.items()}
    down = receiver()
    urls["down"] = down.url
    down.close()
    plain = receiver()
    urls["bad TLS"] = plain.url.replace("http://", "https://")
    urls["301"] = receiver(lambda handler, number: handler.answer(301, location=canary.url)).url
    urls["slow DNS"] = "http://slow.example/hook"
    return urls


def _lookups(monkeypatch: pytest.MonkeyPatch, over: threading.Event) -> None:
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **more: Any) -> Any:
        if host == "slow.example":
            over.wait(30)
            raise OSError
        return real(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def _impatient(monkeypatch: pytest.MonkeyPatch, but_with: str) -> None:
    """The bad ones are waited for a moment, the good one as long as ever: this machine may stall for a moment too."""
    real, usual = guard.post, guard.DEADLINE

    def post(url: str, *arguments: Any, **more: Any) -> guard.Reply:
        return real(url, *arguments, **{**more, "deadline": usual if url == but_with else DEADLINE})

    monkeypatch.setattr(guard, "post", post)


def _state(engine: Engine, channel_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt], bool]:
    with reading(engine) as connection:
        channel = channels.get_channel(connection, 1, channel_id, None)
        delivery = outbox.get_delivery(connection, channel, delivery_id)
        return delivery, outbox.attempts_of(connection, [delivery_id])[delivery_id], channel.disabled_at is not None


def test_twelve_bad_habits_over_76_hours_keep_the_schedule_and_delay_nobody(
    sqlite_engine: Engine, sqlite_settings: Settings, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.trusted()
    guard.post(receiver().url, {}, b"", networks=sqlite_settings.allow_networks)  # what is loaded once is loaded by now
    over = threading.Event()
    _lookups(monkeypatch, over)
    canary, good = receiver(), receiver()
    _impatient(monkeypatch, but_with=good.url)
    arrived: dict[str, float] = {}

    def note(handler: Handler, number: int) -> None:
        arrived[handler.headers["webhook-id"]] = time.perf_counter()
        handler.answer(204)

    good.habit = note
    urls = _world(receiver, canary)
    assert len(urls) == 12
    with writing(sqlite_engine) as connection:
        other = make_channel(connection, good.url, "good")
        outbox.add(connection, other, "channel.test", None, "{}", NOW - 1)
    deliver_due(sqlite_engine, sqlite_settings, NOW - 1, patience=20)  # one that is known to work
    with writing(sqlite_engine) as connection:
        made = {name: make_channel(connection, url, name) for name, url in urls.items()}
        sent = {name: outbox.add(connection, made[name], "channel.test", None, "{}", NOW) for name in made}
    now, waits, planned = NOW, [], {name: [NOW] for name in made}
    while True:
        with writing(sqlite_engine) as connection:
            beside = outbox.add(connection, other, "channel.test", None, "{}", now)
        started = time.perf_counter()
        deliver_due(sqlite_engine, sqlite_settings, now, patience=20)
        finish_under_way(20)  # the clock goes on by hours: no attempt may still be under way then
        waits.append(arrived.get(beside, float("inf")) - started)
        states = {name: _state(sqlite_engine, made[name].id, sent[name]) for name in made}
        for name, (delivery, attempts, _) in states.items():
            if delivery.state == "pending" and len(attempts) == len(planned[name]):
                planned[name].append(delivery.next_attempt_at)
        due = [delivery.next_attempt_at for delivery, _, _ in states.values() if delivery.state == "pending"]
        if not due:
            break
        now = min(due)
    deliver_due(sqlite_engine, sqlite_settings, now + clock.MINUTE, patience=20)  # what is told of the last of them
    finish_under_way(20)
    over.set()

    assert canary.requests == [] and max(waits) < AT_MOST
    for name, (delivery, attempts, off) in states.items():
        if name in TAKEN:
            assert (delivery.state, len(attempts), off) == ("delivered", 1, False), name
            continue
        assert delivery.state == "dead" and off, name
        assert len(attempts) == (1 if name == "410" else ATTEMPTS), name
        assert all(len(attempt.response or "") <= 1000 for attempt in attempts)
        for number, (attempt, planned_at) in enumerate(zip(attempts, planned[name], strict=True)):
            began = attempt.at - 1000 * attempt.milliseconds  # what the log has is its end
            assert -clock.SECOND < began - planned_at < 5 * clock.SECOND, (name, number)
            if number:
                pause = planned_at - attempts[number - 1].at
                asked = HOUR * clock.SECOND if name == "429" else 0
                least = max(PAUSES[number], asked)
                assert least <= pause <= max(PAUSES[number] * (1 + JITTER), asked), (name, number)
    # The one that asks for an hour each time takes two hours and a half longer; its pauses were looked at above.
    longest = max(planned_at[-1] for name, planned_at in planned.items() if name != "429") - NOW
    assert 75 * clock.HOUR < longest < 76 * clock.HOUR * (1 + JITTER)
    notices = [json.loads(body)["data"]["text"] for _, body, _ in good.requests if b"channel.disabled" in body]
    told = [text.partition(" was switched off ")[0].removeprefix("The channel ") for text in notices]
    assert sorted(told) == sorted(urls.keys() - set(TAKEN))
