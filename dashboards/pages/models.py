"""The list of models: is each one fine, what passes through it, how right it is, and since when not.

Whatever the number of models, a page asks the same few questions; what stands in a row is read for the models of the
page alone, and what the list is sorted by for all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import Markup
from sqlalchemy.engine import Connection

from dashboards import formats, theme, words
from dashboards.asked import one_of
from dashboards.formats import Zone
from dashboards.pages import alerts
from dashboards.pages.charts import LEAST_LABELLED
from dashboards.sparkline import spark_line, sparkline
from dashboards.theme import State
from monitor.evaluate.health import Health, healths
from monitor.stats.measure import FIRST
from monitor.store import overview
from monitor.store.catalog import Model, all_models, now_of
from monitor.store.overview import Newest, WindowRows

PAGE = 50
WINDOWS = 30
_WORST_FIRST = ("critical", "warning", "no_data", "learning", "healthy")
COLUMNS = {  # what the list can be sorted by, with the heading; most in need of a look first
    "name": "Model",
    "health": "Health",
    "traffic": "Traffic",
    "labelled": "Labelled",
    "alerts": "Alerts",
    "last": "Last row",
}
USUAL = "health"


@dataclass(frozen=True)
class Order:
    """What the list is sorted by; `turned`: the other way round."""

    column: str
    turned: bool

    @property
    def text(self) -> str | None:
        """As it stands in the address; None for the usual order."""
        text = ("-" if self.turned else "") + self.column
        return None if text == USUAL else text

    @property
    def aria(self) -> str:
        """Which way the values of the column go: numbers of traffic and alerts begin with the highest."""
        return "descending" if (self.column in ("traffic", "alerts")) != self.turned else "ascending"

    def by(self, column: str) -> str | None:
        """The order that a click on a heading asks for, as `text`."""
        return Order(column, self.column == column and not self.turned).text


def read_order(text: str | None) -> Order:
    """The order of an address; the usual one for none.

    Raises:
        Invalid: no column is called so.
    """
    turned = (text or "").startswith("-")
    column = one_of("sort", (text or "").removeprefix("-"), list(COLUMNS), ", with - in front the other way round")
    return Order(column or USUAL, turned and column is not None)


@dataclass(frozen=True)
class Row:
    """One model in the list. `last_row` is the time of its last prediction, `labelled` the share of mature rows;
    `outcomes`: some came for its last windows, mature or not."""

    name: str
    task: str
    state: State
    reason: str
    traffic_spark: Markup
    traffic: str
    performance_spark: Markup | None
    performance: str
    labelled: float | None
    outcomes: bool
    open_alerts: int
    last_row: int | None
    ago: str
    zone: Zone
    paused: bool


@dataclass(frozen=True)
class ModelsPage:
    """`number` counts the pages from 1; `total` models whose name holds `search`."""

    rows: Sequence[Row]
    firing: Sequence[alerts.Line]
    order: Order
    number: int
    total: int
    search: str

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE))

    @property
    def searchable(self) -> bool:
        return bool(self.search) or self.pages > 1


@dataclass(frozen=True)
class _Known:
    """What is known of models at once, by their number."""

    now: Mapping[int, int]
    newest: Mapping[int, Newest]
    health: Mapping[int, Health]
    alerts: Mapping[int, int]


def load(
    connection: Connection, project_id: int, wall: int, order: Order, number: int = 1, search: str = ""
) -> ModelsPage:
    """Fifty of the models whose name holds `search`; and the open alerts of the whole project, which no page hides."""
    models = all_models(connection, project_id, search)
    newest = overview.newest(connection, project_id)
    now = {model.id: now_of(model, newest[model.id].known_at, wall) for model in models}
    counts = overview.open_alert_counts(connection, project_id)
    health = healths(connection, project_id, models, newest, now) if order.column == "health" else {}
    key = _key(connection, models, _Known(now, newest, health, counts), order.column)
    number = max(1, min(number, -(-len(models) // PAGE)))
    shown = sorted(models, key=key, reverse=order.turned)[(number - 1) * PAGE : number * PAGE]
    known = _Known(now, newest, health or healths(connection, project_id, shown, newest, now), counts)
    spans = [span for one in shown for span in _joined(_spans(one, known.now[one.id]))]
    windows = overview.window_rows(connection, spans)
    rows = [_row(one, known, windows.get(one.id, [])) for one in shown]
    return ModelsPage(rows, alerts.open_lines(connection, project_id), order, number, len(models), search)


Key = Callable[[Model], tuple[Any, str]]
Number = TypeVar("Number", int | None, float | None)


def _key(connection: Connection, models: Sequence[Model], known: _Known, column: str) -> Key:
    """What models are sorted by, those that need a look first; names decide between equal ones."""
    if column == "name":
        return lambda model: ("", model.name)
    if column == "health":
        return lambda model: (_WORST_FIRST.index(known.health[model.id].state), model.name)
    if column == "alerts":
        return lambda model: (-known.alerts.get(model.id, 0), model.name)
    if column == "last":
        return lambda model: (known.newest[model.id].row_at or 0, model.name)
    place = 0 if column == "traffic" else 1
    totals = overview.window_totals(connection, [_spans(model, known.now[model.id])[place] for model in models])
    if column == "traffic":
        return lambda model: (-totals.get(model.id, (0, 0))[0], model.name)

    def labelled(model: Model) -> tuple[float, str]:
        rows, outcomes = totals.get(model.id, (0, 0))
        return (outcomes / rows if rows else 2.0, model.name)  # those without rows behind all others

    return labelled


def _spans(model: Model, now: int) -> list[tuple[int, int, int]]:
    """(model, from, to) of its last 30 windows, and of the last 30 whose outcomes may be expected."""
    window = model.config.window_us
    ripe = now - model.config.label_delay_us - window
    return [(model.id, now - (WINDOWS + 1) * window, now + 1), (model.id, ripe - WINDOWS * window, ripe + 1)]


def _joined(spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Both spans as one where they touch, so that no window is read twice."""
    (model, late, end), (_, early, ripe) = spans
    return spans if ripe < late else [(model, min(early, late), end)]


def _row(model: Model, known: _Known, windows: Sequence[WindowRows]) -> Row:
    now, verdict, window = known.now[model.id], known.health[model.id], model.config.window_us
    latest, ripe = ([one for one in windows if low <= one.start < high] for _, low, high in _spans(model, now))
    sent = _slots(latest, window, lambda one: one.rows)
    right = _slots(ripe, window, lambda one: one.performance if one.labelled >= LEAST_LABELLED else None)
    rows, length = sum(one or 0 for one in sent), formats.span(WINDOWS * window)
    mature = sum(one.rows for one in ripe)
    last = known.newest[model.id].row_at
    told = _performance(model, [one for one in ripe if one.labelled >= LEAST_LABELLED])
    return Row(
        name=model.name,
        task=words.TASKS[model.task],
        state=theme.HEALTH.get(verdict.state, theme.UNKNOWN),
        reason=alerts.bare(verdict.reasons[0], model.name) if verdict.reasons else "",
        traffic_spark=sparkline(sent, f"{formats.count(rows)} predictions in the last {length}"),
        traffic=f"{formats.short_count(rows)} in {length}",
        performance_spark=spark_line(right, f"{told} at last, over {length}") if told else None,
        performance=told,
        labelled=sum(one.labelled for one in ripe) / mature if mature else None,
        outcomes=any(one.labelled for one in windows),
        open_alerts=known.alerts.get(model.id, 0),
        last_row=last,
        ago=ago(last, now),
        zone=Zone(model.config.timezone),
        paused=model.paused_at is not None,
    )


def _performance(model: Model, windows: Sequence[WindowRows]) -> str:
    """The last number that rests on outcomes enough; empty where there is none."""
    known = [one.performance for one in windows if one.performance is not None]
    if not known:
        return ""
    metric = FIRST[model.task]
    return f"{words.SHORT.get(metric, words.metric(metric))} {formats.number(known[-1], words.unit(metric))}"


def _slots(windows: Sequence[WindowRows], length: int, value: Callable[[WindowRows], Number]) -> list[Number]:
    """The values of the last 30 windows, oldest first; None where a window has no measurement."""
    slots: list[Any] = [None] * WINDOWS
    for one in windows:
        index = WINDOWS - 1 - round((windows[-1].start - one.start) / length)
        if 0 <= index < WINDOWS:
            slots[index] = value(one)
    return slots


def ago(at: int | None, now: int) -> str:
    """How long before the model's now."""
    if at is None:
        return "never"
    return "just now" if now - at < 60_000_000 else f"{formats.span(now - at)} ago"
