"""The list of models: is each one fine, what passes through it, and since when not."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from sqlalchemy.engine import Connection

from dashboards import formats, theme, words
from dashboards.formats import Zone
from dashboards.pages import alerts
from dashboards.sparkline import sparkline
from dashboards.theme import State
from monitor.evaluate.health import health
from monitor.store import overview
from monitor.store.catalog import Model, list_models, model_now

PAGE = 50
WINDOWS = 30


@dataclass(frozen=True)
class Row:
    """One model in the list. `last_row` is the time of its last prediction, `labelled` the share of mature rows."""

    name: str
    task: str
    state: State
    reason: str
    spark: Markup
    traffic: str
    labelled: float | None
    open_alerts: int
    last_row: int | None
    ago: str
    zone: Zone
    paused: bool


@dataclass(frozen=True)
class ModelsPage:
    rows: Sequence[Row]
    firing: Sequence[alerts.Line]
    following: str | None
    first: bool
    search: str
    paged: bool


def load(connection: Connection, project_id: int, now: int, cursor: str | None, search: str = "") -> ModelsPage:
    """Fifty models by name, of those whose name holds `search`; and the open alerts of the whole project, which no page
    of models hides."""
    models, following = list_models(connection, project_id, PAGE, cursor, search)
    counts = overview.open_alert_counts(connection, project_id)
    rows = [_row(connection, model, now, counts.get(model.id, 0)) for model in models]
    firing = alerts.open_lines(connection, project_id)
    paged = bool(search or following) or cursor is not None
    return ModelsPage(rows, firing, following, first=cursor is None, search=search, paged=paged)


def _row(connection: Connection, model: Model, wall: int, open_alerts: int) -> Row:
    now = model_now(connection, model, wall)
    verdict = health(connection, model, now)
    windows = recent_windows(connection, model, now)
    sent = sum(rows for rows in windows if rows)
    length = formats.span(WINDOWS * model.config.window_us)
    last = overview.last_row_at(connection, model.id)
    return Row(
        name=model.name,
        task=words.TASKS[model.task],
        state=theme.HEALTH.get(verdict.state, theme.UNKNOWN),
        reason=alerts.bare(verdict.reasons[0], model.name) if verdict.reasons else "",
        spark=sparkline(windows, f"{formats.count(sent)} predictions in the last {length}"),
        traffic=f"{formats.short_count(sent)} in {length}",
        labelled=labelled_share(connection, model, now),
        open_alerts=open_alerts,
        last_row=last,
        ago=ago(last, now),
        zone=Zone(model.config.timezone),
        paused=model.paused_at is not None,
    )


def ago(at: int | None, now: int) -> str:
    """How long before the model's now."""
    if at is None:
        return "never"
    return "just now" if now - at < 60_000_000 else f"{formats.span(now - at)} ago"


def recent_windows(connection: Connection, model: Model, now: int) -> list[int | None]:
    """Rows of the last 30 windows up to `now`, oldest first; None where a window has no measurement."""
    window = model.config.window_us
    found = overview.window_rows(connection, model.id, now - (WINDOWS + 1) * window, now + 1)
    slots: list[int | None] = [None] * WINDOWS
    for one in found:
        index = WINDOWS - 1 - round((found[-1].start - one.start) / window)
        if 0 <= index < WINDOWS:
            slots[index] = one.rows
    return slots


def labelled_share(connection: Connection, model: Model, now: int) -> float | None:
    """Share of rows with an outcome, over the 30 windows that end a label delay ago; None without rows there."""
    window = model.config.window_us
    ripe = now - model.config.label_delay_us - window
    found = overview.window_rows(connection, model.id, ripe - WINDOWS * window, ripe + 1)
    rows = sum(one.rows for one in found)
    return sum(one.labelled for one in found) / rows if rows else None
