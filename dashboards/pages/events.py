"""Events of a model on its charts, as a list, and as a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from dashboards import figures, words
from dashboards.formats import Zone
from dashboards.pages.charts import Chart
from monitor import clock
from monitor.errors import Invalid
from monitor.evaluate import events as of_models
from monitor.store import events
from monitor.store.catalog import Model
from monitor.store.events import INCIDENT, Event

NEWEST = 20
MOST_MARKS = 40  # on a chart; of more, the newest


@dataclass(frozen=True)
class Line:
    """An event as the list shows it."""

    event: Event

    @property
    def title(self) -> str:
        return words.MARKS.get(self.event.kind, self.event.kind)

    @property
    def without_end(self) -> str:
        return "goes on" if self.event.kind == INCIDENT else ""


def newest(connection: Connection, model: Model) -> list[Line]:
    """The twenty events that began last."""
    return [Line(one) for one in events.list_events(connection, model.id, NEWEST)]


def between(connection: Connection, model: Model, from_us: int, to_us: int) -> list[Event]:
    """The events to mark on charts of that stretch."""
    return events.events_between(connection, model.id, from_us, to_us)[-MOST_MARKS:]


def marked(chart: Chart, happened: Sequence[Event], from_us: int, to_us: int) -> Chart:
    """A chart over [from_us, to_us) with the events in it."""
    figure = chart.figure
    if figure is None:
        return chart
    for one in happened:
        end = one.to_at if one.to_at is not None else to_us if one.kind == INCIDENT else None
        title = words.MARKS.get(one.kind, one.kind)
        label = one.text.partition("\n")[0] or title
        from_x = figures.at(max(one.from_at, from_us))
        to_x = None if end is None else figures.at(min(end, to_us))
        figure = figures.event(figure, one.kind, from_x, to_x, label, f"{title}: {one.text}" if one.text else title)
    return replace(chart, figure=figure)


def add(connection: Connection, model: Model, fields: Mapping[str, str], now: int, actor: str) -> None:
    """Keep the event of a form; its times are the wall clock of the model's time zone.

    Raises:
        Invalid: a field is wrong.
    """
    body: dict[str, object] = {"kind": fields.get("kind"), "text": fields.get("text", "").strip() or None}
    zone = Zone(model.config.timezone)
    body |= {name: _instant(name, fields[name], zone) for name in ("from", "to") if fields.get(name)}
    of_models.add(connection, model, of_models.read_event(body), now, actor)


def _instant(name: str, text: str, zone: Zone) -> str:
    """RFC 3339 of a time that a form sent, with an offset or without one."""
    try:
        at = datetime.fromisoformat(text)
        return clock.render(clock.from_datetime(at if at.tzinfo else at.replace(tzinfo=zone.info)))
    except (ValueError, OverflowError):
        raise Invalid.field(name, "is not a time, for instance 2026-01-31T12:00") from None
