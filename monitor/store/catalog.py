"""The catalog: models, their settings, versions and features.

A model's row in `log_position` and in `watermark` is made with the model, so that whoever writes later only updates it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from monitor.errors import Conflict, NotFound
from monitor.store import audit
from monitor.store import tables as t
from monitor.store.model_config import ModelConfig, read_body

__all__ = [
    "Model",
    "ModelConfig",
    "all_models",
    "delete_model",
    "freeze_features",
    "get_model",
    "get_model_by_id",
    "hold_model",
    "list_models",
    "model_ids",
    "model_ids_with_projects",
    "model_now",
    "now_of",
    "put_model",
    "record_change",
    "set_paused",
    "version_ids",
    "version_names",
]


@dataclass(frozen=True)
class Model:
    """A monitored model. `features` maps a name to its kind; None until given or frozen from the first rows."""

    id: int
    project_id: int
    name: str
    task: str
    config: ModelConfig
    features: dict[str, str] | None
    created_at: int
    paused_at: int | None


def get_model(connection: Connection, project_id: int, name: str) -> Model:
    """The model of that name in that project.

    Raises:
        NotFound: there is none; the message names the PUT that makes one.
    """
    row = connection.execute(
        sa.select(t.model).where(t.model.c.project_id == project_id, t.model.c.name == name)
    ).one_or_none()
    if row is None:
        raise NotFound("there is no model of that name: PUT /v1/models/{model} with an admin key makes it")
    return _model(row)


def get_model_by_id(connection: Connection, model_id: int) -> Model:
    """The model with that number, whatever its project (for jobs, never for requests).

    Raises:
        NotFound: there is none (it may have been deleted).
    """
    row = connection.execute(sa.select(t.model).where(t.model.c.id == model_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such model")
    return _model(row)


def list_models(
    connection: Connection, project_id: int, limit: int, cursor: str | None = None, search: str = ""
) -> tuple[list[Model], str | None]:
    """At most `limit` models by name, those after `cursor` (a name), and the cursor of the next page or None.

    `search`: only models whose name holds it, in any case.
    """
    query = sa.select(t.model).where(t.model.c.project_id == project_id)
    if search:
        query = query.where(t.model.c.name.icontains(search, autoescape=True))
    if cursor is not None:
        query = query.where(t.model.c.name > cursor)
    rows = connection.execute(query.order_by(t.model.c.name).limit(limit + 1)).all()
    models = [_model(row) for row in rows[:limit]]
    return models, models[-1].name if len(rows) > limit else None


def all_models(connection: Connection, project_id: int, search: str = "") -> list[Model]:
    """Every model of the project whose name holds `search`, by name; without their schemas, which may be large."""
    columns = [sa.null() if column is t.model.c.features else column for column in t.model.c]
    query = sa.select(*columns).where(t.model.c.project_id == project_id)
    if search:
        query = query.where(t.model.c.name.icontains(search, autoescape=True))
    return [_model(row) for row in connection.execute(query.order_by(t.model.c.name)).all()]


def model_ids(connection: Connection, project_id: int | None = None) -> list[int]:
    """The numbers of all models, of one project or of all, oldest first."""
    query = sa.select(t.model.c.id).order_by(t.model.c.id)
    if project_id is not None:
        query = query.where(t.model.c.project_id == project_id)
    return list(connection.scalars(query))


def model_ids_with_projects(connection: Connection) -> list[tuple[int, int]]:
    """(model, project) of every model, oldest first."""
    query = sa.select(t.model.c.id, t.model.c.project_id).order_by(t.model.c.id)
    return [(row.id, row.project_id) for row in connection.execute(query)]


def put_model(
    connection: Connection, project_id: int, name: str, body: Mapping[str, Any], now: int, actor: str
) -> tuple[Model, bool]:
    """Make the model, or replace its settings; a change is kept with its time and who made it.

    A schema that the model has stays when the body gives none: it describes rows that are already stored.

    Returns: the model, and whether it is new.

    Raises:
        Invalid: the name, a field, or a change of `task` or `positive_class`; the errors name the fields.
    """
    current = _find(connection, project_id, name)
    config, features = read_body(name, body, current.config if current else None)
    if current is None:
        return _create(connection, project_id, name, config, features, now, actor), True
    changed = replace(current, config=config, features=current.features if features is None else features)
    if changed != current:
        connection.execute(
            sa.update(t.model)
            .where(t.model.c.id == current.id)
            .values(config=config.to_json(), features=_features_json(changed.features))
        )
        record_change(connection, changed, now, actor, current)
    return changed, False


def _find(connection: Connection, project_id: int, name: str) -> Model | None:
    query = sa.select(t.model).where(t.model.c.project_id == project_id, t.model.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else _model(row)


def _create(
    connection: Connection,
    project_id: int,
    name: str,
    config: ModelConfig,
    features: dict[str, str] | None,
    now: int,
    actor: str,
) -> Model:
    values = {
        "project_id": project_id,
        "name": name,
        "task": config.task,
        "config": config.to_json(),
        "features": _features_json(features),
        "created_at": now,
    }
    row = connection.execute(_insert_new(connection, t.model, values).returning(t.model)).one_or_none()
    if row is None:
        raise Conflict("another request has just made this model: send the PUT again")
    made = _model(row)
    ids = {"model_id": made.id, "project_id": project_id, "next_row": 0, "next_outcome": 0}
    connection.execute(sa.insert(t.log_position).values(ids))
    connection.execute(sa.insert(t.watermark).values(ids))
    record_change(connection, made, now, actor)
    return made


def record_change(connection: Connection, model: Model, now: int, actor: str, before: Model | None = None) -> None:
    """Keep what the model's settings are from now on, with who changed them; `before` None: the model is new."""
    content = _content(model)
    connection.execute(
        sa.insert(t.model_change).values(
            project_id=model.project_id,
            model_id=model.id,
            changed_at=now,
            changed_by=actor,
            config=json.dumps(content),
        )
    )
    changed = "" if before is None else audit.differences(_content(before), content)
    what: audit.What = "model.made" if before is None else "model.changed"
    audit.note(connection, model.project_id, now, actor, what, model.name, changed)


def _content(model: Model) -> dict[str, Any]:
    """The settings of a model as they are kept with a change."""
    return {**model.config.to_dict(), "features": model.features, "paused": model.paused_at is not None}


def hold_model(connection: Connection, model: Model) -> None:
    """Wait for the writers and evaluators that are under way; later ones wait for this transaction."""
    for table in (t.log_position, t.watermark):
        connection.execute(sa.select(table.c.model_id).where(table.c.model_id == model.id).with_for_update())


def delete_model(connection: Connection, model: Model, now: int, actor: str) -> None:
    """Remove the model and every row of it in every table, but for who did what, and for the ends of its alerts that
    still are to be told."""
    hold_model(connection, model)
    for table in (t.log_position, t.watermark):  # first of all: whoever comes later finds no model
        connection.execute(sa.delete(table).where(table.c.model_id == model.id))
    alerts = sa.select(t.alert.c.id).where(t.alert.c.model_id == model.id)
    deliveries = sa.select(t.delivery.c.id).where(t.delivery.c.alert_id.in_(alerts))
    ends = (t.delivery.c.type == "alert.resolved", t.delivery.c.state == "pending")
    connection.execute(sa.update(t.delivery).where(t.delivery.c.alert_id.in_(alerts), *ends).values(alert_id=None))
    attempts = t.delivery_attempt
    connection.execute(sa.delete(attempts).where(attempts.c.delivery_id.in_(deliveries)))
    connection.execute(sa.delete(t.delivery).where(t.delivery.c.alert_id.in_(alerts)))
    connection.execute(sa.delete(t.alert_event).where(t.alert_event.c.alert_id.in_(alerts)))
    for table in t.metadata.tables.values():
        if "model_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.model_id == model.id))
    connection.execute(sa.delete(t.lease).where(t.lease.c.subject == str(model.id)))
    connection.execute(sa.delete(t.model).where(t.model.c.id == model.id))
    audit.note(connection, model.project_id, now, actor, "model.deleted", model.name)


def set_paused(connection: Connection, model: Model, at: int | None) -> Model:
    """Stop judging the model from `at` on, or go on (None)."""
    connection.execute(sa.update(t.model).where(t.model.c.id == model.id).values(paused_at=at))
    return replace(model, paused_at=at)


def freeze_features(connection: Connection, model: Model, features: dict[str, str]) -> Model:
    """Give a model without a schema its schema (name -> kind); one that has a schema keeps it."""
    connection.execute(
        sa.update(t.model)
        .where(t.model.c.id == model.id, t.model.c.features.is_(None))
        .values(features=_features_json(features))
    )
    return get_model_by_id(connection, model.id)


def version_ids(connection: Connection, model: Model, names: list[str]) -> dict[str, int]:
    """The number of each version name ("" for rows that named none); new names get a number."""
    wanted = set(names)
    table = t.model_version
    known = _versions(connection, model.id, wanted)
    for name in sorted(wanted - known.keys()):
        values = {"project_id": model.project_id, "model_id": model.id, "name": name}
        connection.execute(_insert_new(connection, table, values))
    return known if wanted <= known.keys() else _versions(connection, model.id, wanted)


_VERSIONS = sa.select(t.model_version.c.name, t.model_version.c.id).where(
    t.model_version.c.model_id == sa.bindparam("mine")
)


def _versions(connection: Connection, model_id: int, wanted: set[str]) -> dict[str, int]:
    return {name: number for name, number in connection.execute(_VERSIONS, {"mine": model_id}) if name in wanted}


def version_names(connection: Connection, model_id: int) -> dict[int, str]:
    """The names of the model's versions by their number."""
    table = t.model_version
    rows = connection.execute(sa.select(table.c.id, table.c.name).where(table.c.model_id == model_id))
    return {row.id: row.name for row in rows}


def model_now(connection: Connection, model: Model, wall: int) -> int:
    """The model's now: the wall clock, or for clock "events" the latest `known_at` it received (wall: none yet)."""
    if model.config.clock == "wall":
        return wall
    table = t.log_position
    return now_of(model, connection.scalar(sa.select(table.c.known_at).where(table.c.model_id == model.id)), wall)


def now_of(model: Model, known_at: int | None, wall: int) -> int:
    """What `model_now` gives, from the latest `known_at` of the model's log."""
    return wall if model.config.clock == "wall" or known_at is None else int(known_at)


def _insert_new(connection: Connection, table: sa.Table, values: dict[str, Any]) -> Any:
    """An insert that does nothing when the row is there already."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(table).values(values).on_conflict_do_nothing()


def _features_json(features: dict[str, str] | None) -> str | None:
    return None if features is None else json.dumps(features)


def _model(row: Any) -> Model:
    """Of the table's columns, in their order: lists make a thousand of them, and names would cost twice as much."""
    number, project, name, task, config, features, *times = row
    schema = None if features is None else json.loads(features)
    return Model(number, project, name, task, ModelConfig.from_json(config), schema, *times)
