"""Routes, and the project's policy: when and how often channels are told."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.errors import Conflict, NotFound
from monitor.store import audit
from monitor.store import tables as t
from monitor.store.model_config import ModelConfig
from monitor.store.upsert import upsert

MAX_ROUTES = 100  # of one project

_r = t.route.c


@dataclass(frozen=True)
class Route:
    """Which alerts go to which channels, and how; spans are kept as they were written (`30m`)."""

    id: str
    project_id: int
    name: str
    match: tuple[dict[str, Any], ...]
    channels: tuple[str, ...]
    escalate_after: str | None
    repeat: str | None
    digest: str | None
    quiet_hours: dict[str, Any] | None
    created_at: int


@dataclass(frozen=True)
class Policy:
    """What holds for a whole project; `false_alarms` None: the project has no budget of its own."""

    false_alarms: float | None = None
    per: str | None = None
    digest: str = "1h"
    cooldown: str = "1d"

    @property
    def pages(self) -> int | None:
        """How many alerts may be told one by one in `per`."""
        return None if self.false_alarms is None else max(1, int(self.false_alarms))


def new_id() -> str:
    return f"route_{uuid4().hex}"


def put_route(connection: Connection, route: Route, actor: str) -> bool:
    """Store a route, in place of the one of that name; returns whether it is new. Its `created_at` is now.

    Raises:
        Conflict: the project has as many as it may have.
    """
    query = sa.select(t.route).where(_r.project_id == route.project_id)
    known = {row.name: _route(row) for row in connection.execute(query.with_for_update())}
    now = route.created_at
    if (stored := known.get(route.name)) is not None:
        values = {name: value for name, value in _values(route).items() if name not in ("id", "created_at")}
        connection.execute(sa.update(t.route).where(_r.id == stored.id).values(**values))
        if changed := audit.differences(_rules(stored), _rules(route)):
            audit.note(connection, route.project_id, now, actor, "route.changed", route.name, changed)
        return False
    if len(known) >= MAX_ROUTES:
        raise Conflict(f"a project has at most {MAX_ROUTES} routes: delete one first")
    try:
        connection.execute(sa.insert(t.route).values(**_values(route)))
    except sa.exc.IntegrityError:
        raise Conflict("another request has just made this route: send the PUT again") from None
    audit.note(connection, route.project_id, now, actor, "route.made", route.name, "to " + ", ".join(route.channels))
    return True


def _rules(route: Route) -> dict[str, Any]:
    """What a route says, without what it is."""
    return {name: value for name, value in asdict(route).items() if name not in ("id", "project_id", "created_at")}


def find_route(connection: Connection, project_id: int, name: str) -> Route | None:
    row = connection.execute(sa.select(t.route).where(_r.project_id == project_id, _r.name == name)).one_or_none()
    return None if row is None else _route(row)


def get_route(connection: Connection, project_id: int, name: str) -> Route:
    """The route of that name.

    Raises:
        NotFound: there is none in this project.
    """
    found = find_route(connection, project_id, name)
    if found is None:
        raise NotFound("there is no route of that name: PUT /v1/routes/{route} makes it")
    return found


def delete_route(connection: Connection, project_id: int, name: str, now: int, actor: str) -> None:
    """Remove a route.

    Raises:
        NotFound: there is none in this project.
    """
    done = connection.execute(sa.delete(t.route).where(_r.project_id == project_id, _r.name == name))
    if done.rowcount == 0:
        raise NotFound("there is no route of that name")
    audit.note(connection, project_id, now, actor, "route.deleted", name)


def list_routes(connection: Connection, project_id: int) -> Sequence[Route]:
    """The routes of a project by name: of several that take an alert for a channel the first decides."""
    query = sa.select(t.route).where(_r.project_id == project_id).order_by(_r.name)
    return [_route(row) for row in connection.execute(query)]


def get_policy(connection: Connection, project_id: int) -> Policy:
    """The project's policy, or the defaults."""
    table = t.project_policy
    row = connection.execute(sa.select(table).where(table.c.project_id == project_id)).one_or_none()
    return Policy() if row is None else Policy(row.false_alarms, row.per, row.digest, row.cooldown)


def put_policy(connection: Connection, project_id: int, policy: Policy, now: int, actor: str) -> None:
    """Replace the project's policy."""
    changed = audit.differences(asdict(get_policy(connection, project_id)), asdict(policy))
    values = {"project_id": project_id, **asdict(policy), "updated_at": now, "updated_by": actor}
    connection.execute(upsert(connection, t.project_policy), values)
    if changed:
        audit.note(connection, project_id, now, actor, "policy.changed", "", changed)


def expected_rate(connection: Connection, project_id: int) -> tuple[int, float]:
    """How many models a project has, and how many false alarms a day their budgets allow in all."""
    query = sa.select(t.model.c.config).where(t.model.c.project_id == project_id, t.model.c.paused_at.is_(None))
    configs = [ModelConfig.from_json(text) for text in connection.scalars(query)]
    return len(configs), sum(one.false_alarms * clock.DAY / clock.parse_span(one.per) for one in configs)


def _route(row: sa.Row[Any]) -> Route:
    values = dict(row._mapping)
    values["match"] = tuple(json.loads(values["match"]))
    values["channels"] = tuple(json.loads(values["channels"]))
    values["quiet_hours"] = None if values["quiet_hours"] is None else json.loads(values["quiet_hours"])
    return Route(**values)


def _values(route: Route) -> dict[str, Any]:
    values = {column.name: getattr(route, column.name) for column in t.route.columns}
    values |= {"match": json.dumps(route.match), "channels": json.dumps(route.channels)}
    values["quiet_hours"] = None if route.quiet_hours is None else json.dumps(route.quiet_hours)
    return values
