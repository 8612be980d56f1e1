"""Alerts as rows and as a page: what, since when, how sure, why, what now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from dashboards import theme, words
from dashboards.formats import Zone
from dashboards.theme import State
from monitor import clock
from monitor.store import overview
from monitor.store.alerts import SEVERITIES, Alert, list_alerts
from monitor.store.catalog import Model

PAGE = 50
Change = Callable[[Connection, int, str, str, int, str, str], Alert]


@dataclass(frozen=True)
class Cause:
    """One change behind an alert; `effect`, `low`, `high` in the metric's own units, `share` of the evidence.

    `joined_at`: when an alarm named it first, `joined_share` its share then; both unknown for causes kept without.
    """

    metric: str
    feature: str | None
    segment: str | None
    effect: float | None
    low: float | None
    high: float | None
    share: float
    text: str
    joined_at: int | None = None
    joined_share: float | None = None

    @property
    def sentence(self) -> str:
        """What changed, as a sentence begins."""
        text = self.text or self.title
        return text[:1].upper() + text[1:]

    @property
    def alone(self) -> str:
        """The sentence where the feature's name stands above it already."""
        return self.sentence if self.feature is None else bare(self.sentence, f"`{self.feature}`")

    @property
    def title(self) -> str:
        """The metric and what it is of, as plain text."""
        title = words.cause(self.metric).title
        if self.feature is not None:
            title = f"{title} of {self.feature}"
        return title if self.segment is None else f"{title} in {self.segment}"


@dataclass(frozen=True)
class Line:
    """An alert as it is shown, with the time zone of its model."""

    alert: Alert
    zone: Zone

    @property
    def title(self) -> str:
        return words.family(self.alert.family)

    @property
    def text(self) -> str:
        """What happened, without the name of the model: every page says elsewhere whose alert it is."""
        return bare(self.alert.text, self.alert.model)

    @property
    def state(self) -> State:
        return theme.ALERT.get(self.alert.state, theme.UNKNOWN)

    @property
    def severity(self) -> State:
        return theme.SEVERITY.get(self.alert.severity, theme.UNKNOWN)

    @property
    def is_open(self) -> bool:
        return self.alert.state != "resolved"

    @property
    def causes(self) -> list[Cause]:
        return [_cause(stored) for stored in self.alert.causes]


def opening(causes: Sequence[Cause]) -> list[Cause]:
    """What an alert opened on, the strongest then first: the causes that joined before all others."""
    first = min((one.joined_at or 0 for one in causes), default=0)
    then = [one for one in causes if (one.joined_at or 0) == first]
    return sorted(then, key=lambda one: -(one.share if one.joined_share is None else one.joined_share))


def bare(text: str, name: str) -> str:
    """The text without `name: ` in front, as a sentence begins."""
    text = text.removeprefix(f"{name}: ")
    return text[:1].upper() + text[1:]


def open_lines(connection: Connection, project_id: int) -> list[Line]:
    """The newest open alerts of the project, the most severe first."""
    found: list[Alert] = []
    for state in ("firing", "acknowledged"):
        found += list_alerts(connection, project_id, limit=PAGE, state=state)[0]
    return _lines(connection, sorted(found, key=_rank))


def of_model(connection: Connection, model: Model) -> list[Line]:
    """The model's newest alerts, open ones first."""
    found, _ = list_alerts(connection, model.project_id, limit=20, model_id=model.id)
    zone = Zone(model.config.timezone)
    return [Line(alert, zone) for alert in sorted(found, key=_rank)]


def listed(
    connection: Connection, project_id: int, model: Model | None, state: str | None, after: tuple[int, str] | None
) -> tuple[list[Line], tuple[int, str] | None]:
    """Fifty alerts, newest first, behind the place `after`; and the place of the next fifty."""
    model_id = None if model is None else model.id
    found, place = list_alerts(connection, project_id, limit=PAGE, model_id=model_id, state=state, after=after)
    return _lines(connection, found), place


def _lines(connection: Connection, found: Sequence[Alert]) -> list[Line]:
    zones = overview.timezones(connection, (alert.model_id for alert in found))
    return [Line(alert, Zone(zones.get(alert.model_id, "UTC"))) for alert in found]


def _rank(alert: Alert) -> tuple[bool, int, int, float]:
    return alert.state == "resolved", -SEVERITIES.index(alert.severity), -alert.opened_at, -alert.evidence


def _cause(stored: dict[str, Any]) -> Cause:
    return Cause(
        metric=stored["metric"],
        feature=stored.get("feature"),
        segment=stored.get("segment"),
        effect=stored.get("effect"),
        low=stored.get("low"),
        high=stored.get("high"),
        share=stored.get("share") or 0.0,
        text=stored.get("text") or "",
        joined_at=clock.parse(stored["joined_at"]) if stored.get("joined_at") else None,
        joined_share=stored.get("joined_share"),
    )
