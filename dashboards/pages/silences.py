"""What is held back: silences and maintenance windows, and why something is not sent just now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from dashboards import theme, words
from dashboards.pages import until
from dashboards.theme import State
from monitor import clock
from monitor.alerts import hours
from monitor.alerts.matchers import LABELS
from monitor.errors import Invalid
from monitor.store import notifications
from monitor.store.alerts import SEVERITIES
from monitor.store.silences import Silence, list_silences, told

MOST = 200
KNOWN = {"model": (), "family": tuple(words.FAMILIES), "severity": SEVERITIES}
RESTING = State("Not now", "clock", "quiet")  # active, between its hours of the week


@dataclass(frozen=True)
class Line:
    """A silence as it is shown; `resting`: its hours do not hold now, `next_at` when they do again before it ends."""

    silence: Silence
    state: State
    matchers: str
    hours: str
    resting: bool = False
    next_at: int | None = None

    @property
    def may_end(self) -> bool:
        return self.state is not theme.SILENCE["expired"]


@dataclass(frozen=True)
class Held:
    reason: str
    detail: str
    alerts: int


@dataclass(frozen=True)
class SilencesPage:
    """`model`, `family`: what the form begins with, when somebody comes from an alert; `known`: what may be chosen for
    a field beside writing it."""

    lines: Sequence[Line]
    held: Sequence[Held]
    model: str
    family: str
    spans: Mapping[str, str] = field(default_factory=lambda: until.CHOICES)
    usual: str = until.USUAL
    known: Mapping[str, Sequence[str]] = field(default_factory=lambda: KNOWN)
    days: Sequence[str] = hours.DAYS


def load(connection: Connection, project_id: int, now: int, model: str | None, family: str | None) -> SilencesPage:
    """The silences of a project, those that end last first, and what is held back now."""
    found, _ = list_silences(connection, project_id, now, limit=MOST)
    held = [Held(*row) for row in notifications.held_counts(connection, project_id)]
    return SilencesPage([_line(one, now) for one in found], held, model or "", family or "")


def _line(silence: Silence, now: int) -> Line:
    weekly = "" if silence.weekly is None else hours.told(silence.weekly)
    state, matchers = theme.SILENCE[silence.state(now)], told(silence)
    if state is not theme.SILENCE["active"] or silence.weekly is None or hours.end_of(silence.weekly, now) is not None:
        return Line(silence, state, matchers, weekly)
    begin = next_begin(silence.weekly, now)
    return Line(silence, RESTING, matchers, weekly, True, begin if begin < silence.ends_at else None)


def next_begin(weekly: Mapping[str, Any], now: int) -> int:
    """When the hours of a week begin next, after `now`; they have at least one day."""
    zone = ZoneInfo(weekly["timezone"])
    minutes = int(weekly["from"][:2]) * 60 + int(weekly["from"][3:])
    today = clock.to_datetime(now).astimezone(zone).date()
    for after in range(-1, 9):
        day = today + timedelta(days=after)
        if hours.DAYS[day.weekday()] not in weekly["days"]:
            continue
        begins = datetime.combine(day + timedelta(days=minutes // 1440), time(minutes // 60 % 24, minutes % 60), zone)
        if (at := clock.from_datetime(begins)) > now:
            return at
    raise AssertionError("a week has each of its days")


def body_of(fields: Mapping[str, str], now: int) -> dict[str, Any]:
    """The body of a new silence from the fields of the form.

    Raises:
        Invalid: it is not said until when, or nothing was filled in.
    """
    ends_at = until.read(fields, now)
    matchers = [
        {"name": name, "value": fields[name].strip(), "isRegex": fields.get(f"{name}_is") == "regex"}
        for name in LABELS
        if fields.get(name, "").strip()
    ]
    if not matchers:
        raise Invalid("say which alerts: a model, a family, a severity, or several of them")
    body: dict[str, Any] = {
        "matchers": matchers,
        "endsAt": clock.render(ends_at),
        "comment": fields.get("comment", ""),
    }
    if fields.get("from") or fields.get("to"):
        days = [day for day in hours.DAYS if fields.get(day)]
        weekly = {"from": fields.get("from"), "to": fields.get("to"), "timezone": fields.get("timezone") or "UTC"}
        body["weekly"] = {**weekly, **({"days": days} if days else {})}
    return body
