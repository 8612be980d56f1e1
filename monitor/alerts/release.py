"""Sending what was held back once its reason is over, the digests whose time has come, and reminders.

One transaction for each channel: the alert is locked first, as every event does, and what another transaction is at is
left for the next turn. So a message is written together with the mark that it was, once, whoever dies when.
"""

from collections.abc import Iterable
from dataclasses import replace
from uuid import uuid4

from sqlalchemy.engine import Connection, Engine

from monitor.alerts import mute
from monitor.alerts.incidents import INCIDENTS, close_digests
from monitor.alerts.mute import GATHERED, Message, Why
from monitor.alerts.notify import Rate, change_of, drop, lead, load_rules, remind_at, when
from monitor.alerts.payload import alert_json, digest_body, event_body
from monitor.store import alerts, catalog, channels, notifications, outbox, routing
from monitor.store.alerts import Alert, AlertEvent
from monitor.store.channels import Channel
from monitor.store.notifications import SENT, Notification
from monitor.store.routing import Route
from monitor.store.session import reading, writing

ACTOR = "keepwatch"
GROUPING = ("alertmanager",)  # kinds that keep each alert, and group what they tell
MOST = 200  # alerts in one transaction, and so in one digest

Waiting = tuple[Alert, list[Notification], Route | None, str]


def release_due(engine: Engine, public_url: str, now: int) -> int:
    """Look again at everything that is due at `now` (the wall clock); returns how many messages were written."""
    with reading(engine) as connection:
        due = notifications.due(connection, now)
    written = 0
    for channel_id in sorted({one.channel_id for one in due}):
        mine = [one for one in due if one.channel_id == channel_id]
        wanted = sorted({one.alert_id for one in mine})
        for start in range(0, len(wanted), MOST):
            part = wanted[start : start + MOST]
            with writing(engine) as connection:
                written += _work_off(connection, mine[0].project_id, channel_id, part, public_url, now)
    return written


def _work_off(
    connection: Connection, project_id: int, channel_id: str, alert_ids: Iterable[str], public_url: str, now: int
) -> int:
    found = channels.enabled_channels(connection, project_id)
    channel = next((one for one in found if one.id == channel_id), None)
    written, gathered = 0, []
    bounded = routing.get_policy(connection, project_id).false_alarms is not None
    rate = routing.expected_rate(connection, project_id) if bounded else None  # it reads every model: once for all
    for alert in alerts.lock_idle(connection, alert_ids):
        waiting = notifications.held(connection, alert.id, channel_id)
        if channel is None:
            drop(connection, waiting, Why.CHANNEL_OFF, now)
            notifications.forget_reminders(connection, alert.id, channel_id)
            continue
        if any(one.due_at is not None and one.due_at <= now for one in waiting):
            ready = _reconsider(connection, channel, alert, waiting, now, rate)
            if ready is None:
                continue
            if any(one.reason in GATHERED for one in waiting):
                gathered.append(ready)
            else:
                written += _send(connection, channel, ready, public_url, now)
        else:
            written += _remind(connection, channel, alert, public_url, now)
    if channel is not None and gathered:
        written += _send_gathered(connection, channel, gathered, public_url, now)
    return written


def _reconsider(
    connection: Connection, channel: Channel, alert: Alert, waiting: list[Notification], now: int, rate: Rate | None
) -> Waiting | None:
    """What is ready to be sent; None when it is held still, or dropped."""
    rules = load_rules(connection, alert, now, rate)
    _, route = mute.route_of(rules.routes, channel.name, alert)
    type_ = lead([one.type for one in waiting], alert)
    gathered = any(one.reason in GATHERED and one.due_at is not None and one.due_at <= now for one in waiting)
    told = channel.id in notifications.told_channels(connection, alert.id)
    message = Message(type_, waiting[0].created_at, told, gathered)
    reason = mute.void(message, alert, route, held=True)
    if reason is not None:
        drop(connection, waiting, reason, now)
        return None
    found = mute.hold(message, alert, route, rules, now)
    if found is None:
        return alert, waiting, route, type_
    due_at = when(connection, channel, found, now)
    same = [one.id for one in waiting if (one.reason, one.detail) == (found.why, found.detail)]
    notifications.postpone(connection, same, due_at)
    other = [one.id for one in waiting if one.id not in same]
    notifications.change(connection, other, now, reason=str(found.why), detail=found.detail, due_at=due_at)
    return None


def _send(connection: Connection, channel: Channel, ready: Waiting, public_url: str, now: int) -> int:
    alert, waiting, _, type_ = ready
    at = _model_now(connection, alert, now)
    if any(one.reason == Why.ESCALATION for one in waiting):
        event = AlertEvent(at, "alert.escalated", ACTOR, alert.text, f"to {channel.name}")
        alerts.add_event(connection, alert, event)
    change = change_of(connection, type_, [one.event_id for one in waiting])
    body = event_body(type_, at, alert_json(alert, public_url), change)
    delivery_id = outbox.add(connection, channel, type_, alert.id, body, now)
    _mark(connection, ready, delivery_id, now)
    return 1 + close_digests(connection, channel, alert, public_url, now)


def _send_gathered(connection: Connection, channel: Channel, gathered: list[Waiting], public_url: str, now: int) -> int:
    """One digest; one alert alone is told as itself, and to who groups alerts themselves each of them."""
    closed = 0
    if channel.kind in INCIDENTS:
        over = [ready for ready in gathered if ready[0].state == "resolved"]
        gathered = [ready for ready in gathered if ready[0].state != "resolved"]
        for ready in over:
            if channel.id in notifications.told_channels(connection, ready[0].id):
                closed += _send(connection, channel, ready, public_url, now)  # its incident is open there
            else:
                drop(connection, ready[1], Why.RESOLVED, now)
    if len(gathered) <= 1 or channel.kind in GROUPING:
        return closed + sum(_send(connection, channel, ready, public_url, now) for ready in gathered)
    body = digest_body(now, [ready[0] for ready in gathered], f"digest_{uuid4().hex}", public_url)
    delivery_id = outbox.add(connection, channel, "alert.digest", None, body, now)
    for ready in gathered:
        _mark(connection, ready, delivery_id, now)
    return closed + 1


def _mark(connection: Connection, ready: Waiting, delivery_id: str, now: int) -> None:
    """The message that was sent stands for all that waited."""
    alert, waiting, route, type_ = ready
    chosen = next(one for one in waiting if one.type == type_)
    notifications.forget_reminders(connection, alert.id, chosen.channel_id)
    due_at = remind_at(alert, route, now)
    notifications.change(connection, [chosen.id], now, state=SENT, due_at=due_at, delivery_id=delivery_id)
    drop(connection, [one for one in waiting if one.id != chosen.id], Why.SUPERSEDED, now)


def _remind(connection: Connection, channel: Channel, alert: Alert, public_url: str, now: int) -> int:
    """Say once more that an alert fires and nobody has acknowledged it."""
    due = notifications.reminders(connection, alert.id, channel.id, now)
    if not due:
        return 0
    notifications.forget_reminders(connection, alert.id, channel.id)
    rules = load_rules(connection, alert, now)
    _, route = mute.route_of(rules.routes, channel.name, alert)
    again = remind_at(alert, route, now)
    if again is None:
        return 0
    last = due[-1]
    found = mute.hold(Message("alert.firing", last.created_at, told=True, gathered=True), alert, route, rules, now)
    if found is not None:
        notifications.postpone(connection, [last.id], when(connection, channel, found, now))
        return 0
    body = event_body("alert.firing", _model_now(connection, alert, now), alert_json(alert, public_url))
    delivery_id = outbox.add(connection, channel, "alert.firing", alert.id, body, now)
    reminder = replace(
        last, round=last.round + 1, type="alert.firing", reason="", detail="a reminder", created_at=now, changed_at=now
    )
    values = {name: value for name, value in vars(reminder).items() if name != "id"}
    notifications.add(connection, **{**values, "due_at": again, "delivery_id": delivery_id})
    return 1


def _model_now(connection: Connection, alert: Alert, wall: int) -> int:
    return catalog.model_now(connection, catalog.get_model_by_id(connection, alert.model_id), wall)
