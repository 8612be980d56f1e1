"""Slices of rows in which the loss rose: the searches of a model, what one found, and what is followed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from dashboards import theme
from dashboards.formats import Zone
from dashboards.theme import State
from monitor import slices
from monitor.errors import Invalid
from monitor.evaluate.slicing import LOSSES, PREVIOUS, Asked
from monitor.store import catalog, tasks
from monitor.store.catalog import Model
from monitor.store.slices import Slice, loaded, told
from monitor.store.tasks import Task

NEWEST = 20


@dataclass(frozen=True)
class Line:
    """A search in the list."""

    task: Task
    state: State
    from_at: int
    to_at: int
    against: str
    text: str


@dataclass(frozen=True)
class SlicesPage:
    model: Model
    zone: Zone
    usual: Asked
    searches: Sequence[Line]
    followed: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Found:
    """A slice as the page shows it: numbers as texts, and the name under which it is followed, if it is."""

    place: int
    text: str
    rows: int
    share: str
    before: str
    after: str
    effect: str
    interval: str
    p: str
    followed: str


@dataclass(frozen=True)
class SearchPage:
    model: Model
    zone: Zone
    line: Line
    done: bool
    loss: str
    rows: int
    rows_before: int
    block: str
    chance: str
    found: Sequence[Found]


def load(connection: Connection, model: Model, now: int) -> SlicesPage:
    """The searches of a model, newest first, and the slices that it follows."""
    zone = Zone(model.config.timezone)
    usual = slices.read(connection, model, {}, now)
    listed = [_line(one) for one in tasks.listed(connection, model.id, slices.KIND, NEWEST)]
    followed = [(name, told(terms)) for name, terms in model.config.slices.items()]
    return SlicesPage(model, zone, usual, listed, followed)


def load_search(connection: Connection, model: Model, search_id: str) -> SearchPage:
    """A search of the model.

    Raises:
        NotFound: there is none of that id.
    """
    task = tasks.get(connection, model.id, slices.KIND, search_id)
    answer = task.answer
    names = {terms: name for name, terms in model.config.slices.items()}
    found = [_found(place, one, names) for place, one in enumerate(answer.get("slices", []))]
    return SearchPage(
        model=model,
        zone=Zone(model.config.timezone),
        line=_line(task),
        done=task.finished_at is not None,
        loss=LOSSES.get(answer.get("loss", ""), ""),
        rows=answer.get("rows", 0),
        rows_before=answer.get("rows_before", 0),
        block=answer.get("block", ""),
        chance=f"{100 * answer.get('alpha', 0):g} %",
        found=found,
    )


def _line(task: Task) -> Line:
    asked, text = task.asked, task.answer.get("text", "")
    against = "the stretch before" if asked["against"] == PREVIOUS else "the reference"
    state = theme.REPORT.get(task.state, theme.UNKNOWN)
    return Line(task, state, asked["from_at"], asked["to_at"], against, text)


def _found(place: int, one: Mapping[str, Any], names: Mapping[Slice, str]) -> Found:
    return Found(
        place=place,
        text=one["text"],
        rows=one["rows"],
        share=f"{100 * one['share']:.2g} %",
        before=_number(one["before"]),
        after=_number(one["after"]),
        effect=f"+{_number(one['effect'])}",
        interval=f"{_number(one['low'])} to {_number(one['high'])}",
        p=f"{one['p']:.2g}",
        followed=names.get(loaded({"": one["where"]})[""], ""),
    )


def _number(value: float) -> str:
    return f"{value:,.3g}"


def ask(connection: Connection, model: Model, fields: Mapping[str, str], wall: int) -> str:
    """Queue the search that a form asks for; returns its id.

    Raises:
        Invalid: a field is wrong.
        QuotaExceeded: too many searches are not finished yet.
    """
    body = {name: fields[name] for name in ("from", "to", "against") if fields.get(name)}
    asked = slices.read(connection, model, body, catalog.model_now(connection, model, wall))
    return slices.ask(connection, model, asked, wall).id


def follow_one(
    connection: Connection, model: Model, search_id: str, fields: Mapping[str, str], now: int, actor: str
) -> None:
    """Make the slice that a form names a segment.

    Raises:
        Invalid: it names none.
    """
    try:
        place = int(fields.get("slice", ""))
    except ValueError:
        raise Invalid.field("slice", "must be the place of a slice") from None
    slices.follow(connection, model, search_id, place, fields.get("name") or None, now, actor)
