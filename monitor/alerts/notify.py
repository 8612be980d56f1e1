"""Who is told of an event: the alert's history, and for every channel that listens a message or the reason why not.

Everything is written in the transaction of the event. What is held back here, `alerts/release` sends later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts import mute
from monitor.alerts.incidents import close_digests
from monitor.alerts.matchers import matches
from monitor.alerts.mute import GATHERED, Budget, Hold, Message, Rules, Why
from monitor.alerts.payload import alert_json, event_body
from monitor.store import alerts, audit, channels, notifications, outbox, routing, silences
from monitor.store.alerts import Alert, AlertEvent
from monitor.store.channels import Channel
from monitor.store.notifications import DROPPED, HELD, SENT, Notification
from monitor.store.routing import Route

RECHECK = 10 * clock.MINUTE  # what is held is looked at again this often, whatever else wakes it
MAX_CHANGE = 600  # characters of what an update says has changed
WEBHOOK = {"alert.reopened": "alert.firing"}  # what is told of an event, where that has another name


@dataclass(frozen=True)
class Told:
    """One event of one alert: its number in the history, the webhook's type, the alert's time and the wall clock."""

    alert: Alert
    event_id: int
    type: str
    at: int
    wall: int
    public_url: str


def announce(
    connection: Connection,
    alert: Alert,
    type_: str,
    actor: str,
    now: int,
    public_url: str,
    wall: int | None = None,
    comment: str | None = None,
    change: str = "",
) -> None:
    """Write the event into the alert's history, and what becomes of it for every channel that listens.

    `now` is the time that the alert and the message carry; `wall` decides whether the message goes out now; `change`
    says what an update changed.
    """
    event = AlertEvent(now, type_, actor, change or alert.text, comment or None)
    event_id = alerts.add_event(connection, alert, event)
    wall = now if wall is None else wall
    rules = load_rules(connection, alert, wall)
    knowing = notifications.told_channels(connection, alert.id)
    told_of = Told(alert, event_id, WEBHOOK.get(type_, type_), now, wall, public_url)
    for channel in channels.every_channel(connection, alert.project_id):
        listens, route = mute.route_of(rules.routes, channel.name, alert)
        told = channel.id in knowing
        if not told and not (listens and matches(channel.match, alert.labels)):
            continue
        if channel.disabled_at is not None:
            _write(connection, told_of, channel, DROPPED, Why.CHANNEL_OFF)
        else:
            _tell(connection, told_of, channel, route, rules, told)


Rate = tuple[int, float]  # models of a project, and the false alarms a day that their budgets allow in all


def load_rules(connection: Connection, alert: Alert, now: int, rate: Rate | None = None) -> Rules:
    """What decides about messages of this alert at this time; `rate` where it is known already."""
    policy = routing.get_policy(connection, alert.project_id)
    budget = None
    if policy.false_alarms is not None:
        models, expected = rate or routing.expected_rate(connection, alert.project_id)
        since = now - clock.parse_span(policy.per or "1d")
        budget = Budget(models, expected, notifications.pages(connection, alert.project_id, since, GATHERED))
    outages = alerts.open_alerts(connection, alert.model_id, "volume") if alert.family in mute.DRIFT else []
    return Rules(
        silences=silences.current_silences(connection, alert.project_id, now),
        routes=routing.list_routes(connection, alert.project_id),
        policy=policy,
        outage=outages[0] if outages else None,
        budget=budget,
    )


def _tell(connection: Connection, event: Told, channel: Channel, route: Route | None, rules: Rules, told: bool) -> None:
    alert, wall = event.alert, event.wall
    waiting = notifications.held(connection, alert.id, channel.id)
    message = Message(
        type=lead([*(one.type for one in waiting), event.type], alert),
        since=waiting[0].created_at if waiting else wall,
        told=told,
    )
    reason = mute.void(message, alert, route, held=_only_held(waiting))
    if reason is not None:
        drop(connection, waiting, reason, wall)
        _write(connection, event, channel, DROPPED, reason)
        return
    found = mute.hold(message, alert, route, rules, wall) or _gathering(event, waiting, told)
    if found is not None:
        look_again = when(connection, channel, found, wall)
        _write(connection, event, channel, HELD, found.why, detail=found.detail, due_at=look_again)
        return
    drop(connection, waiting, Why.SUPERSEDED, wall)
    notifications.forget_reminders(connection, alert.id, channel.id)
    change = change_of(connection, message.type, [*(one.event_id for one in waiting), event.event_id])
    body = event_body(message.type, event.at, alert_json(alert, event.public_url), change)
    delivery_id = outbox.add(connection, channel, message.type, alert.id, body, wall)
    due_at = remind_at(alert, route, wall)
    sent = Told(alert, event.event_id, message.type, event.at, wall, event.public_url)
    _write(connection, sent, channel, SENT, "", due_at=due_at, delivery_id=delivery_id)
    close_digests(connection, channel, alert, event.public_url, wall)


def change_of(connection: Connection, type_: str, event_ids: Sequence[int]) -> str:
    """What a message that stands for these events says has changed; empty when it is no update."""
    if type_ != "alert.updated":
        return ""
    text = ". Then: ".join(dict.fromkeys(alerts.texts_of(connection, event_ids, type_).values()))
    return text if len(text) <= MAX_CHANGE else text[: MAX_CHANGE - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _gathering(event: Told, waiting: list[Notification], told: bool) -> Hold | None:
    """What ends before its digest goes out is told in that digest, not before it."""
    if told or event.alert.severity == "critical" or event.type not in ("alert.acknowledged", "alert.resolved"):
        return None
    joined = next((one for one in reversed(waiting) if one.reason in GATHERED and one.due_at is not None), None)
    return None if joined is None else Hold(Why(joined.reason), joined.detail, joined.due_at or event.wall)


def _only_held(waiting: list[Notification]) -> bool:
    """Whether something waits that no digest is going to tell."""
    return any(one.reason not in GATHERED for one in waiting)


def lead(types: list[str], alert: Alert) -> str:
    """What to say when several messages have come together, the oldest first: the alert as it stands now."""
    return "alert.firing" if alert.state == "firing" and "alert.firing" in types else types[-1]


def when(connection: Connection, channel: Channel, found: Hold, now: int) -> int:
    """When to look again at what is held: a digest has one time for all that it gathers."""
    if found.why in GATHERED:
        gathering = notifications.next_digest(connection, channel.id, found.why)
        return found.until if gathering is None else min(found.until, gathering)
    return min(found.until, now + RECHECK)


def remind_at(alert: Alert, route: Route | None, now: int) -> int | None:
    """When a reminder is due, as long as nobody acknowledges."""
    if route is None or route.repeat is None or alert.state != "firing":
        return None
    return now + clock.parse_span(route.repeat)


def drop(connection: Connection, waiting: list[Notification], reason: Why, now: int) -> None:
    """These are not going to be sent; what they were held for stays in their detail."""
    for one in waiting:
        was = f"{one.reason}: {one.detail}" if one.reason and one.state == HELD else one.detail
        notifications.change(connection, [one.id], now, state=DROPPED, reason=str(reason), detail=was, due_at=None)


def _write(
    connection: Connection,
    event: Told,
    channel: Channel,
    state: str,
    reason: str,
    *,
    detail: str = "",
    due_at: int | None = None,
    delivery_id: str | None = None,
) -> None:
    notifications.add(
        connection,
        project_id=event.alert.project_id,
        model_id=event.alert.model_id,
        alert_id=event.alert.id,
        event_id=event.event_id,
        channel_id=channel.id,
        round=0,
        type=event.type,
        state=state,
        reason=str(reason),
        detail=detail,
        created_at=event.wall,
        changed_at=event.wall,
        due_at=due_at,
        delivery_id=delivery_id,
    )


def switch_on(connection: Connection, channel: Channel, now: int, actor: str) -> None:
    """Switch a channel on again, and look at once at what it was not told meanwhile: open alerts, and ends."""
    channels.enable_channel(connection, channel.id)
    if channel.disabled_at is not None:
        audit.note(connection, channel.project_id, now, actor, "channel.switched_on", channel.name)
    notifications.revive(connection, channel.id, str(Why.CHANNEL_OFF), now)


def end_silence(connection: Connection, project_id: int, silence_id: str, now: int, actor: str) -> None:
    """End a silence now, and look at once at what it held back. One that is over stays as it is.

    Raises:
        NotFound: there is none in this project.
    """
    found = silences.get_silence(connection, project_id, silence_id, lock=True)
    if found.state(now) != "expired":
        starts_at = min(found.starts_at, now)
        silences.update_silence(connection, replace(found, starts_at=starts_at, ends_at=now, updated_at=now))
        audit.note(connection, project_id, now, actor, "silence.ended", silences.told(found), found.comment)
        notifications.wake(connection, now, (Why.SILENCED, Why.MAINTENANCE), project_id=project_id)


def wake_all(connection: Connection, project_id: int, now: int) -> None:
    """Look at everything that is held in a project at the next turn, and at what was told of alerts that still fire,
    which may now be repeated: the rules have changed."""
    notifications.wake(connection, now, tuple(Why), project_id=project_id)
    rules = routing.list_routes(connection, project_id)
    names = {one.id: one.name for one in channels.enabled_channels(connection, project_id)}
    for last in notifications.last_told(connection, project_id):
        alert = alerts.get_alert(connection, project_id, last.alert_id)
        _, route = mute.route_of(rules, names.get(last.channel_id, ""), alert)
        again = remind_at(alert, route, last.changed_at)
        if again is not None and last.due_at is None:
            notifications.postpone(connection, [last.id], again)
