"""One alert's page: what, since when, how sure, why (a chart for each cause), what happened, what now."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import formats, theme, words
from dashboards.formats import Zone
from dashboards.links import Links, stretch
from dashboards.pages import alerts, known
from dashboards.pages.alert_causes import Series, ShownCause, shown
from dashboards.theme import State
from monitor import clock
from monitor.alerts import mute
from monitor.alerts.mute import Hold
from monitor.store import notifications, silences
from monitor.store.alerts import Alert, AlertEvent, get_alert, list_events, texts_of
from monitor.store.catalog import Model, get_model, model_now
from monitor.store.channels import names_of

CAUSES = 6
TOLD = 50
BEFORE, AFTER = 60, 30  # windows around the first evidence


@dataclass(frozen=True)
class Told:
    """What became of an event for a channel: sent, held back or not sent, and why; `change`: what an update changed."""

    channel: str
    type: str
    change: str
    state: State
    why: str
    at: int
    due_at: int | None


@dataclass(frozen=True)
class AlertPage:
    line: alerts.Line
    model: Model
    certainty: str
    budget: str
    ratio: float | None
    meter: int
    causes: Sequence[ShownCause]
    more_causes: int
    grown: bool
    events: Sequence[AlertEvent]
    told: Sequence[Told]
    silenced: Hold | None  # whether a silence takes it now, until when, and whose it is
    advice: Sequence[str]
    model_url: str
    silence_url: str
    rows_url: str
    may_adopt: bool
    known: known.KnownThen | None


def load(
    connection: Connection, project_id: int, alert_id: str, wall: int, links: Links, count_again: bool = False
) -> AlertPage:
    """Everything the page shows; `count_again` reads rows for what was known of windows when they were judged.

    Raises:
        NotFound: there is no such alert in the project.
    """
    alert = get_alert(connection, project_id, alert_id)
    model = get_model(connection, project_id, alert.model)
    line = alerts.Line(alert, Zone(model.config.timezone))
    now = model_now(connection, model, wall)
    from_us, to_us = around(alert, model, now)
    query = stretch(from_us, to_us)
    causes = line.causes
    series = Series(connection, model, alert, (from_us, to_us), now)
    series.fetch(causes[:CAUSES])
    causes_shown = [
        shown(model, alert, cause, query, series.chart(cause, f"cause-{index}"), links)
        for index, cause in enumerate(causes[:CAUSES])
    ]
    by_hand = words.is_monitor(alert.family)
    history = list_events(connection, project_id, alert.id)
    threshold = alert.budget.get("threshold")
    ratio = alert.evidence / threshold if threshold else None
    return AlertPage(
        line=line,
        model=model,
        certainty=certainty(ratio) if not by_hand else how_often(alert),
        budget=budget(model) if not by_hand else "a bound that somebody set: no false-alarm budget stands behind it",
        ratio=ratio,
        meter=meter(ratio),
        causes=causes_shown,
        more_causes=max(0, len(causes) - CAUSES),
        grown=len({one.joined_at for one in causes}) > 1,
        events=list(reversed(history)),
        told=_told(connection, project_id, alert),
        silenced=_silenced(connection, project_id, alert, wall) if line.is_open else None,
        advice=words.advice(alert.family, model.name),
        model_url=links.model(model.name, **query),
        silence_url=links.silences(model=model.name, family=alert.family),
        rows_url=_rows(model, alert, causes, links),
        may_adopt=not by_hand and line.is_open,
        known=known.load(connection, model, alert, series.leading(alerts.opening(causes)), count_again),
    )


def _told(connection: Connection, project_id: int, alert: Alert) -> list[Told]:
    """Who was told what, the newest first; at most the last fifty."""
    found = notifications.of_alert(connection, project_id, alert.id)[-TOLD:]
    names = names_of(connection, project_id)
    changes = texts_of(connection, {one.event_id for one, _ in found}, "alert.updated")
    return [
        Told(
            channel=names.get(one.channel_id, "a deleted channel"),
            type=one.type,
            change=changes.get(one.event_id, ""),
            state=theme.DELIVERY.get(delivery or "", theme.NOTIFICATION.get(one.state, theme.UNKNOWN)),
            why=": ".join(part for part in (one.reason[:1].upper() + one.reason[1:], one.detail) if part),
            at=one.changed_at,
            due_at=one.due_at if one.state == notifications.HELD else None,
        )
        for one, delivery in reversed(found)
    ]


def _silenced(connection: Connection, project_id: int, alert: Alert, wall: int) -> Hold | None:
    return mute.silenced(alert, silences.current_silences(connection, project_id, wall), wall)


def _rows(model: Model, alert: Alert, causes: Sequence[alerts.Cause], links: Links) -> str:
    """The rows of the first windows with evidence, with the feature that leads."""
    first = next((one.feature for one in causes if one.feature in (model.features or {})), None)
    since = stretch(alert.first_evidence_at, alert.first_evidence_at + 2 * model.config.window_us)
    return links.rows(model.name, feature=first, **since)


def around(alert: Alert, model: Model, now: int) -> tuple[int, int]:
    """The stretch that shows how it began: from 60 windows before the first evidence to 30 after the last change."""
    window = model.config.window_us
    start = alert.first_evidence_at - BEFORE * window
    end = min(now, max(alert.resolved_at or alert.updated_at, alert.opened_at) + AFTER * window)
    return start, max(end, alert.first_evidence_at + window)


def meter(ratio: float | None) -> int:
    """Evidence over threshold as percent of a bar on a log scale: 50 at the threshold, 0 at 1/1000, 100 at 1000."""
    return round(min(100.0, max(0.0, 50 + 50 * math.log10(ratio) / 3))) if ratio else 0


def certainty(ratio: float | None) -> str:
    """How strong the evidence is, in words, from evidence over threshold."""
    if ratio is None:
        return ""
    if ratio >= 1000:
        return "overwhelming: more than a thousand times what the budget asks for"
    if ratio >= 1:
        return f"{formats.number(ratio)} times what the budget asks for"
    return f"{formats.percent(ratio)} of what the budget asks for: it has been fading since the alert opened"


def how_often(alert: Alert) -> str:
    """How often in a row the rule of a monitor by hand was met."""
    times = round(alert.evidence)
    return "its rule was met in one window" if times == 1 else f"its rule was met in {times} windows in a row"


def budget(model: Model) -> str:
    """The false-alarm budget as a sentence."""
    number = model.config.false_alarms
    length = formats.span(clock.parse_span(model.config.per))
    alarms = "one false alarm" if number == 1 else f"{number:g} false alarms"
    return f"at most {alarms} in {length} for this model"
