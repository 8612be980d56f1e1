"""Sending what is due: claim, send, record, in this order.

No transaction is open while the network is used, and "delivered" is recorded after the receiver took the message: a
crash in between repeats it under the same id. Every attempt runs in a thread of its own, a few for each channel, so a
receiver that hangs holds up neither the others nor the caller.
"""

import queue
import threading
from collections.abc import Callable

from sqlalchemy.engine import Engine

from monitor import clock, log, telemetry
from monitor.alerts import outages, retry, senders
from monitor.alerts.picture import Curve
from monitor.alerts.senders import Means, Receipt, SendError
from monitor.alerts.sending import no_curve
from monitor.settings import Settings
from monitor.store import outbox
from monitor.store.channels import Channel
from monitor.store.outbox import Attempt, Delivery
from monitor.store.session import reading, writing

Send = Callable[[Channel, Delivery, int, Means], Receipt]

PER_CHANNEL = 4  # attempts of one channel that are under way at a time
IN_ALL = 64
LEASE = 60 * clock.SECOND  # longer than an attempt can last
PATIENCE = 0.5  # seconds to wait for a slow receiver before leaving it to its thread
LOOK = 0.05  # seconds between looks for what became due while others are under way
LONGEST_ATTEMPT = 32.0  # seconds: a process of apprise's to start and to end, or guard.DEADLINE
TURN = 10 * clock.SECOND  # after it nothing more is claimed: the next tick goes on

THREAD = "delivery"

_log = log.get(__name__)


def deliver_due(
    engine: Engine,
    settings: Settings,
    now: int,
    *,
    send: Send = senders.send,
    patience: float = PATIENCE,
    curve: Callable[[Delivery], Curve | None] = no_curve,
) -> int:
    """Send every delivery that is due at `now`; returns how many attempts ended, well or not.

    Comes back when nothing is due or under way, or when `patience` seconds went by without an attempt ending; what is
    then under way ends in its own thread, records itself, and stays claimed until then. `curve` gives the numbers
    behind a delivery, for kinds that take a picture.
    """
    started = heard = clock.monotonic()
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()
    means = Means(settings.allow_networks, settings.smtp_url, curve)
    under_way = done = 0
    while True:
        at = now + _since(started)
        if at - now < TURN:
            for channel, delivery in _claim(engine, settings, at):
                arguments = (engine, settings, send, means, channel, delivery, at, ended)
                threading.Thread(target=_attempt, args=arguments, name=THREAD, daemon=True).start()
                under_way += 1
                heard = clock.monotonic()
        if under_way == 0 or at - now >= TURN:
            return done
        try:
            ended.get(timeout=min(LOOK, patience))
        except queue.Empty:
            if clock.monotonic() - heard >= patience:
                return done
        else:
            heard = clock.monotonic()
            under_way, done = under_way - 1, done + 1


def finish_under_way(seconds: float) -> None:
    """Give the attempts of this process that long to end, before it ends itself: each that does not is repeated."""
    until = clock.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(max(0.0, until - clock.monotonic()))


def _claim(engine: Engine, settings: Settings, at: int) -> list[tuple[Channel, Delivery]]:
    with reading(engine) as connection:
        if not outbox.any_due(connection, at):
            return []
    with writing(engine) as connection:
        return outbox.claim(connection, at, LEASE, settings.secret_key, per_channel=PER_CHANNEL, in_all=IN_ALL)


def _attempt(
    engine: Engine,
    settings: Settings,
    send: Send,
    means: Means,
    channel: Channel,
    delivery: Delivery,
    at: int,
    ended: "queue.SimpleQueue[None]",
) -> None:
    started = clock.monotonic()
    try:
        error = None
        try:
            if channel.unreadable is not None:
                raise SendError(channel.unreadable)
            receipt = send(channel, delivery, at, means)
        except SendError as caught:
            error = caught
        except Exception as unforeseen:
            error = SendError(f"an error of our own ({type(unforeseen).__name__})")
            _log.error("delivery_broke", delivery=delivery.id, channel=channel.id, error=type(unforeseen).__name__)
        took = _since(started)
        if error is None:
            attempt = Attempt(at + took, receipt.status, None, receipt.response, took // 1000)
        else:
            attempt = Attempt(at + took, error.status, str(error), error.response, took // 1000)
        _record(engine, settings, channel, delivery, attempt, error)
    except Exception as unforeseen:  # the lease will run out, and the delivery be tried again under its id
        _log.error("delivery_not_recorded", delivery=delivery.id, channel=channel.id, error=type(unforeseen).__name__)
    finally:
        ended.put(None)


def _record(
    engine: Engine, settings: Settings, channel: Channel, delivery: Delivery, attempt: Attempt, error: SendError | None
) -> None:
    if error is None or error.permanent or channel.unreadable is not None:
        pause = None
    else:
        pause = retry.pause_after(delivery.attempts + 1, delivery.id, error.retry_after)
    next_attempt_at = None if pause is None else attempt.at + pause
    with writing(engine) as connection:
        kept = outbox.finish(connection, delivery, attempt, next_attempt_at=next_attempt_at)
        # What is told of other channels may not cut short the schedule of what a channel is there for.
        dead = pause is None and delivery.type != outages.NOTICE
        off = outages.note(connection, channel, attempt.at, error, dead=dead, url=settings.public_url)
    result = "delivered" if error is None else "dead" if pause is None else "retry"
    telemetry.DELIVERIES.labels(channel.kind, result).inc()
    if error is not None:
        _log.warning(
            "delivery_failed",
            delivery=delivery.id,
            channel=channel.id,
            host=senders.place_of(channel),
            attempt=delivery.attempts + 1,
            status=error.status,
            reason=str(error),
            recorded=kept,
            channel_switched_off=off,
            dead=pause is None,
        )


def _since(started: float) -> int:
    """Microseconds since that instant of the monotonic clock."""
    return int((clock.monotonic() - started) * clock.SECOND)
