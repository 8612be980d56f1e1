"""From verdicts to alerts: what an alert does next, and the rows that say so.

`decide` is the whole decision, a pure function. `apply`, `acknowledge`, `resolve` and `comment` write the alert, its
event and its messages in the transaction of the caller: either all of it happened, or nothing.

Nothing here wavers: the detector opens at its threshold and resolves only when every cause has been back for several
windows in a row (`stats/incident`), severity never falls while an alert is open, and an alert that fires again within
the project's cool-down is the same alert, opened again.
"""

import sys
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts.causes import changes, key, merge, over, sentence
from monitor.alerts.mute import Why
from monitor.alerts.notify import announce
from monitor.errors import Conflict
from monitor.stats.verdict import Verdict
from monitor.store import alerts, audit, catalog, notifications, routing
from monitor.store import tables as t
from monitor.store.alerts import SEVERITIES, Alert, AlertEvent
from monitor.store.model_config import ModelConfig

ACTOR = "keepwatch"
COOL_WINDOWS = 3  # a cool-down is at least this many windows of the model


class Reason(StrEnum):
    """Why an alert changes, or why it does not."""

    OPENED = "opened"
    REOPENED = "opened again"
    SEVERITY_ROSE = "severity rose"
    NEW_CAUSE_LEADS = "a new cause leads"
    JOINED = "joined without a message"
    RESOLVED = "resolved"
    NOTHING_OPEN = "nothing to resolve"
    UNCHANGED = "unchanged"


MESSAGES = {
    Reason.OPENED: "alert.firing",
    Reason.REOPENED: "alert.reopened",
    Reason.SEVERITY_ROSE: "alert.updated",
    Reason.NEW_CAUSE_LEADS: "alert.updated",
    Reason.RESOLVED: "alert.resolved",
}


def decide(current: Alert | None, verdict: Verdict) -> Reason:
    """What a verdict does to the alert of its family: the open one, else one resolved within the cool-down, else None.

    An alarm without an open alert opens one, also when the detector calls it an update: somebody resolved the alert by
    hand, and the evidence has come together again since.
    """
    match verdict.action:
        case "none":
            return Reason.UNCHANGED
        case "resolve":
            return Reason.NOTHING_OPEN if current is None or current.state == "resolved" else Reason.RESOLVED
        case _ if current is None:
            return Reason.OPENED
        case _ if current.state == "resolved":
            return Reason.REOPENED
    if SEVERITIES.index(verdict.severity) > SEVERITIES.index(current.severity):
        return Reason.SEVERITY_ROSE
    causes = merge(current.causes, verdict.causes, current.updated_at)
    if causes and (not current.causes or key(causes[0]) != key(current.causes[0])):
        return Reason.NEW_CAUSE_LEADS
    return Reason.JOINED


def apply(
    connection: Connection,
    project_id: int,
    model_id: int,
    model_name: str,
    verdicts: Iterable[Verdict],
    now: int,
    public_url: str,
    wall: int | None = None,
) -> list[Reason]:
    """Let the verdicts of a window act on the model's alerts; returns what each of them did, in their order.

    `now` is the model's clock, the time that the alerts and messages carry; `wall` is when the messages are due, where
    that is another clock.
    """
    config: ModelConfig | None = None
    reasons: list[Reason] = []
    told: list[tuple[Alert, str, str]] = []
    for verdict in verdicts:
        current = None
        if verdict.action != "none":
            config = config or _config(connection, model_id)
            current = _current(connection, project_id, model_id, verdict.family, config, now)
        reason = decide(current, verdict)
        reasons.append(reason)
        if reason is Reason.OPENED and config is not None:
            own = {"false_alarms": config.false_alarms, "per": config.per}
            budget = own if verdict.budget is None else dict(verdict.budget)
            changed = _opened(project_id, model_id, model_name, verdict, budget, now)
            alerts.insert_alert(connection, changed)
        elif current is not None and reason is Reason.RESOLVED:
            changed = replace(current, state="resolved", resolved_at=now, updated_at=now)
            alerts.update_alert(connection, changed)
        elif current is not None and reason is not Reason.NOTHING_OPEN:
            changed = _joined(current, verdict, now)
            alerts.update_alert(connection, changed)
        else:
            continue
        if reason in MESSAGES:
            type_ = MESSAGES[reason]
            grown = current if type_ == "alert.updated" else None
            told.append((changed, type_, "" if grown is None else _changes(connection, grown, changed)))
        _wake(connection, changed, now if wall is None else wall)
    for changed, type_, change in told:  # once all of them stand: an outage holds back what else the same window says
        announce(connection, changed, type_, ACTOR, now, public_url, wall, change=change)
    return reasons


def acknowledge(
    connection: Connection, project_id: int, alert_id: str, actor: str, wall: int, public_url: str, comment: str = ""
) -> Alert:
    """Somebody has seen the alert. Doing it twice changes nothing (another comment is kept).

    Raises:
        NotFound: no such alert in this project.
        Conflict: the alert is resolved.
    """
    current = alerts.get_alert(connection, project_id, alert_id, lock=True)
    if current.state == "resolved":
        raise Conflict("this alert is resolved: there is nothing left to acknowledge")
    now = _model_now(connection, current, wall)
    if current.state == "acknowledged":
        _say(connection, current, actor, now, wall, comment)
        return current
    changed = replace(current, state="acknowledged", updated_at=now)
    alerts.update_alert(connection, changed)
    announce(connection, changed, "alert.acknowledged", actor, now, public_url, wall, comment)
    _note(connection, changed, wall, actor, "alert.acknowledged", comment)
    return changed


def resolve(
    connection: Connection, project_id: int, alert_id: str, actor: str, wall: int, public_url: str, comment: str = ""
) -> Alert:
    """Somebody closes the alert. Doing it twice changes nothing (another comment is kept).

    New evidence opens it again within the cool-down, and a new alert after that.

    Raises:
        NotFound: no such alert in this project.
    """
    current = alerts.get_alert(connection, project_id, alert_id, lock=True)
    if current.state == "resolved":
        _say(connection, current, actor, _model_now(connection, current, wall), wall, comment)
        return current
    changed = _close(connection, current, actor, wall, public_url, comment)
    _note(connection, changed, wall, actor, "alert.resolved", comment)
    return changed


def _close(connection: Connection, current: Alert, actor: str, wall: int, public_url: str, comment: str) -> Alert:
    """End an open alert, and tell who was told of it."""
    now = _model_now(connection, current, wall)
    changed = replace(current, state="resolved", resolved_at=now, updated_at=now)
    alerts.update_alert(connection, changed)
    announce(connection, changed, "alert.resolved", actor, now, public_url, wall, comment)
    _wake(connection, changed, wall)
    return changed


def close_all(connection: Connection, project_id: int, model_id: int, actor: str, wall: int, public_url: str) -> None:
    """End whatever is open of a model that is about to go, so that nobody's receiver waits for the end for ever."""
    for state in ("firing", "acknowledged"):
        found, _ = alerts.list_alerts(connection, project_id, limit=1000, model_id=model_id, state=state)
        for one in found:
            current = alerts.get_alert(connection, project_id, one.id, lock=True)
            if current.state != "resolved":
                _close(connection, current, actor, wall, public_url, "the model was deleted")


def comment(connection: Connection, project_id: int, alert_id: str, actor: str, wall: int, text: str) -> None:
    """Keep what somebody says about the alert in its history. No channel is told.

    Raises:
        NotFound: no such alert in this project.
    """
    current = alerts.get_alert(connection, project_id, alert_id, lock=True)
    _say(connection, current, actor, _model_now(connection, current, wall), wall, text)


def _note(connection: Connection, alert: Alert, wall: int, actor: str, what: audit.What, said: str) -> None:
    """What a person did to an alert has the wall clock, whatever clock the model has."""
    audit.note(connection, alert.project_id, wall, actor, what, f"{alert.model}: {alert.family}", said, alert.id)


def _say(connection: Connection, alert: Alert, actor: str, now: int, wall: int, text: str) -> None:
    """A comment; the one that the same person has just made is a retry and kept once."""
    if not text:
        return
    said = [event for event in alerts.list_events(connection, alert.project_id, alert.id) if event.comment is not None]
    if not said or (said[-1].actor, said[-1].comment) != (actor, text):
        alerts.add_event(connection, alert, AlertEvent(now, "alert.comment", actor, alert.text, text))
        _note(connection, alert, wall, actor, "alert.commented", text)


def _current(
    connection: Connection, project_id: int, model_id: int, family: str, config: ModelConfig, now: int
) -> Alert | None:
    """The open alert of a family, else the one that was resolved within the cool-down."""
    current = alerts.open_alert(connection, model_id, family)
    cooldown = clock.parse_span(routing.get_policy(connection, project_id).cooldown)
    if current is not None or cooldown == 0:
        return current
    since = now - max(cooldown, COOL_WINDOWS * config.window_us)
    return alerts.resolved_alert(connection, model_id, family, since)


def _wake(connection: Connection, alert: Alert, wall: int) -> None:
    """An alert about traffic holds others back: when it changes, what it held is looked at again."""
    if alert.family == "volume":
        notifications.wake(connection, wall, (Why.INHIBITED,), model_id=alert.model_id)


def _changes(connection: Connection, current: Alert, changed: Alert) -> str:
    """What the message of an update says is new: since the last one."""
    history = alerts.list_events(connection, current.project_id, current.id)
    told_at = max((one.at for one in history if one.type in MESSAGES.values()), default=current.opened_at)
    return changes(current, changed, told_at)


def _opened(
    project_id: int, model_id: int, model_name: str, verdict: Verdict, budget: dict[str, Any], now: int
) -> Alert:
    causes = merge((), verdict.causes, now)
    return Alert(
        id=alerts.new_id(),
        project_id=project_id,
        model_id=model_id,
        model=model_name,
        family=verdict.family,
        state="firing",
        severity=verdict.severity,
        opened_at=now,
        first_evidence_at=verdict.first_evidence_at,
        updated_at=now,
        resolved_at=None,
        evidence=_finite(verdict.evidence),
        budget={**budget, "threshold": _finite(verdict.threshold)},
        causes=causes,
        text=sentence(model_name, verdict.family, verdict.severity, causes),
    )


def _joined(current: Alert, verdict: Verdict, now: int) -> Alert:
    resolved = current.state == "resolved"
    earlier = over(current.causes, verdict.causes, verdict.severity) if resolved else current.causes
    causes = merge(earlier, verdict.causes, now)
    highest = max(current.severity, verdict.severity, key=SEVERITIES.index)
    severity = verdict.severity if resolved else highest
    return replace(
        current,
        state="firing" if resolved else current.state,
        severity=severity,
        resolved_at=None,
        updated_at=now,
        first_evidence_at=min(current.first_evidence_at, verdict.first_evidence_at),
        evidence=_finite(verdict.evidence),
        budget={**current.budget, "threshold": _finite(verdict.threshold)},
        causes=causes,
        text=sentence(current.model, current.family, severity, causes),
    )


def _model_now(connection: Connection, alert: Alert, wall: int) -> int:
    """The clock of the alert's model: a replay of last year is resolved last year too."""
    return catalog.model_now(connection, catalog.get_model_by_id(connection, alert.model_id), wall)


def _config(connection: Connection, model_id: int) -> ModelConfig:
    text = connection.execute(sa.select(t.model.c.config).where(t.model.c.id == model_id)).scalar_one()
    return ModelConfig.from_json(text)


def _finite(value: float) -> float:
    """An e-value may overflow to infinity, which neither JSON nor a NOT NULL column of SQLite can say (NaN: 0)."""
    return 0.0 if value != value else max(-sys.float_info.max, min(float(value), sys.float_info.max))
