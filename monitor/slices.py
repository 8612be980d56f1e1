"""Asking for searches for slices whose loss rose, making them in the background, and following what they found."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from monitor import clock
from monitor.clock import DAY
from monitor.errors import Conflict, Invalid, NotFound
from monitor.evaluate import slicing
from monitor.evaluate.slicing import PREVIOUS, REFERENCE, Asked
from monitor.store import catalog, tasks
from monitor.store.body import Reader, text_error
from monitor.store.catalog import Model
from monitor.store.session import reading
from monitor.store.slices import loaded
from monitor.store.tasks import Task
from monitor.work import Done, Work

KIND = "slices"
LONGEST = 366 * DAY


def read(connection: Connection, model: Model, body: Mapping[str, Any], now: int) -> Asked:
    """What a JSON body asks for: `from`, `to` and `against`, each with a default.

    Raises:
        Invalid: names every field that is wrong.
    """
    usual = slicing.default(connection, model, now)
    reader = Reader(body)
    to_at = _instant(reader, "to", usual.to_at)
    from_at = _instant(reader, "from", to_at - (usual.to_at - usual.from_at))
    against = reader.choice("against", (REFERENCE, PREVIOUS), usual.against)
    if from_at >= to_at:
        reader.wrong("from", "must be before `to`")
    elif to_at - from_at > LONGEST:
        reader.wrong("from", f"is more than {LONGEST // DAY} days before `to`")
    reader.finish()
    return Asked(from_at, to_at, str(against))


def _instant(reader: Reader, name: str, default: int) -> int:
    value = reader.body.pop(name, None)
    if value is None:
        return default
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        reader.wrong(name, str(error))
        return default


def ask(connection: Connection, model: Model, asked: Asked, wall: int) -> Task:
    """Queue a search.

    Raises:
        QuotaExceeded: too many searches of the model are not finished yet.
    """
    return tasks.ask(connection, model.project_id, model.id, KIND, json.dumps(asked._asdict()), wall)


def make(work: Work) -> Done:
    """Make a search that was asked for.

    Raises:
        NoSlices: why it is not possible.
    """
    with reading(work.engine) as connection:
        model = catalog.get_model_by_id(connection, work.task.model_id)
        now = catalog.model_now(connection, model, clock.now())
        asked = Asked(**work.task.asked)
        return Done(json.dumps(slicing.search(connection, model, asked, now, work.tell)))


def follow(
    connection: Connection, model: Model, task_id: str, place: int, name: str | None, now: int, actor: str
) -> tuple[str, Model]:
    """Make a slice that a search found a segment of the model; gives its name, and the model as it is then.

    Raises:
        NotFound: there is no such search, or it found no such slice.
        Invalid: the name is none, or there are too many slices.
        Conflict: another slice has that name.
    """
    listed = tasks.get(connection, model.id, KIND, task_id).answer.get("slices", [])
    if not 0 <= place < len(listed):
        raise NotFound("that search found no such slice")
    where = listed[place]["where"]
    if name is not None and (error := text_error(name)) is not None:
        raise Invalid.field("name", error)
    same = next((one for one, terms in model.config.slices.items() if terms == loaded({"": where})[""]), None)
    if same is not None:
        return same, model
    chosen = name or _free(slicing.name_of(loaded({"": where})[""]), model)
    if chosen in model.config.slices:
        raise Conflict("the model follows another slice of that name")
    settings = model.config.to_dict()
    body = {**settings, "slices": {**settings["slices"], chosen: where}}
    made, _ = catalog.put_model(connection, model.project_id, model.name, body, now, actor)
    return chosen, made


def unfollow(connection: Connection, model: Model, name: str, now: int, actor: str) -> None:
    """Stop following a slice.

    Raises:
        NotFound: the model follows none of that name.
    """
    settings = model.config.to_dict()
    if settings["slices"].pop(name, None) is None:
        raise NotFound("the model follows no slice of that name")
    catalog.put_model(connection, model.project_id, model.name, settings, now, actor)


def _free(name: str, model: Model) -> str:
    """The name, with a number where it is taken."""
    taken = {*model.config.slices, *(model.features or {}), *(model.config.segments or ())}
    number = 1
    chosen = name
    while chosen in taken:
        number += 1
        chosen = f"{name} {number}"
    return chosen
