"""A back-test's page: what a setting would have done, and the button that saves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from dashboards import theme, words
from dashboards.formats import Zone
from dashboards.pages import monitors
from dashboards.theme import State
from monitor import backtests, clock
from monitor.backtests import Asked
from monitor.errors import Invalid
from monitor.evaluate.rules import rule_told
from monitor.store import catalog, tasks
from monitor.store.catalog import Model

SHOWN = 100  # pages of the list


@dataclass(frozen=True)
class Episode:
    """A page that would have been sent; `vanishes` with late labels."""

    title: str
    opened_at: int
    resolved_at: int | None
    text: str
    vanishes: bool


@dataclass(frozen=True)
class BacktestPage:
    model: Model
    zone: Zone
    state: State
    done: bool
    error: str
    progress: float
    setting: str
    from_at: int
    to_at: int
    sentence: str
    episodes: Sequence[Episode]
    total: int
    fields: Mapping[str, str]
    name: str
    is_budget: bool


def load(connection: Connection, model: Model, backtest_id: str, name: str) -> BacktestPage:
    """A back-test of the model; `name`: what its monitor is to be called.

    Raises:
        NotFound: the model has no such back-test.
    """
    found = tasks.get(connection, model.id, backtests.KIND, backtest_id)
    asked = Asked.load(found.request)
    result = found.answer
    episodes = [_episode(one) for one in reversed(result.get("episodes", []))]
    return BacktestPage(
        model=model,
        zone=Zone(model.config.timezone),
        state=theme.REPORT.get(found.state, theme.UNKNOWN),
        done=found.finished_at is not None,
        error=found.error or "",
        progress=found.progress,
        setting=_told(asked),
        from_at=asked.from_at,
        to_at=asked.to_at,
        sentence=result.get("text", ""),
        episodes=episodes[:SHOWN],
        total=result.get("pages", 0),
        fields=_fields(asked),
        name=name,
        is_budget=asked.rule is None,
    )


def _episode(one: Mapping[str, Any]) -> Episode:
    end = one["resolved_at"]
    return Episode(
        title=words.family(one["family"]) if "family" in one else "",
        opened_at=clock.parse(one["opened_at"]),
        resolved_at=None if end is None else clock.parse(end),
        text=one["text"],
        vanishes=one["vanishes"],
    )


def _told(asked: Asked) -> str:
    if asked.rule is not None:
        return rule_told(asked.rule)
    assert asked.budget is not None
    return f"{asked.budget[0]:g} false alarms in {asked.budget[1]}"


def _fields(asked: Asked) -> dict[str, str]:
    """The form that saves the setting; empty for a rule of more conditions than the form holds."""
    if asked.budget is not None:
        return {"false_alarms": f"{asked.budget[0]:g}", "per": asked.budget[1]}
    return {} if asked.rule is None else monitors.fields_of(asked.rule)


def read(connection: Connection, model: Model, fields: Mapping[str, str], wall: int) -> Asked:
    """What a form asks to be played.

    Raises:
        Invalid: a field is wrong.
    """
    body = {"alert_budget": _budget(fields)} if "false_alarms" in fields else monitors.body_of(fields)
    return backtests.read(connection, model, body, catalog.model_now(connection, model, wall))


def _budget(fields: Mapping[str, str]) -> dict[str, Any]:
    try:
        return {"false_alarms": float(fields.get("false_alarms", "")), "per": fields.get("per", "")}
    except ValueError:
        raise Invalid.field("false_alarms", "must be a number") from None


def save_budget(connection: Connection, model: Model, fields: Mapping[str, str], now: int, actor: str) -> None:
    """Give the model the budget of a form; every other setting stays.

    Raises:
        Invalid: a field is wrong.
    """
    body = {**model.config.to_dict(), "alert_budget": _budget(fields)}
    catalog.put_model(connection, model.project_id, model.name, body, now, actor)
