"""Monitors by hand as values: their rules, and what they remember from one window to the next."""

import json
from dataclasses import asdict
from typing import NamedTuple

from sqlalchemy.engine import Connection

from monitor.errors import Conflict, NotFound
from monitor.stats.rule import Condition, Memory, Reading, Rule
from monitor.store import monitors
from monitor.store.identity import new_ids
from monitor.store.monitors import StoredMonitor

MOST = 100  # of one model


class Last(NamedTuple):
    """The last window that a monitor saw; `met` None: nothing decided it."""

    start: int
    end: int
    met: bool | None
    readings: tuple[Reading, ...]


class Monitor(NamedTuple):
    """A monitor; `revision` grows with every change of its rule."""

    id: str
    name: str
    rule: Rule
    created_at: int
    created_by: str
    revision: int
    memory: Memory
    last: Last | None

    @property
    def family(self) -> str:
        """The family of its alerts: one is open at a time."""
        return family_of(self.name)


def family_of(name: str) -> str:
    return f"monitor:{name}"


def dump_rule(rule: Rule) -> str:
    return json.dumps(asdict(rule), allow_nan=False)


def load_rule(text: str) -> Rule:
    """What `dump_rule` wrote."""
    content = json.loads(text)
    conditions = tuple(Condition(**one) for one in content.pop("conditions"))
    return Rule(conditions, **content)


def _load(row: StoredMonitor) -> Monitor:
    last = None
    if row.last is not None:
        content = json.loads(row.last)
        readings = tuple(Reading(*one) for one in content["readings"])
        last = Last(content["start"], content["end"], content["met"], readings)
    return Monitor(
        row.id,
        row.name,
        load_rule(row.rule),
        row.created_at,
        row.created_by,
        row.revision,
        Memory(**json.loads(row.memory)),
        last,
    )


def _dump(made: Monitor) -> StoredMonitor:
    """A monitor that has not seen a window under its rule."""
    return StoredMonitor(
        made.id,
        made.name,
        dump_rule(made.rule),
        made.created_at,
        made.created_by,
        made.revision,
        json.dumps(asdict(made.memory)),
        None,
    )


def list_monitors(connection: Connection, model_id: int) -> list[Monitor]:
    """The monitors of a model by name."""
    return [_load(row) for row in monitors.list_monitors(connection, model_id)]


def find_monitor(connection: Connection, model_id: int, name: str) -> Monitor | None:
    found = monitors.find_monitor(connection, model_id, name)
    return None if found is None else _load(found)


def get_monitor(connection: Connection, model_id: int, name: str) -> Monitor:
    """The model's monitor of that name.

    Raises:
        NotFound: it has none.
    """
    found = find_monitor(connection, model_id, name)
    if found is None:
        raise NotFound("this model has no monitor of that name")
    return found


def put_monitor(
    connection: Connection, project_id: int, model_id: int, name: str, rule: Rule, now: int, actor: str
) -> tuple[Monitor, bool]:
    """Make a monitor or replace its rule; the transaction must hold the model's watermark.

    One that fires goes on firing under its new rule; what it counted begins anew. The same rule changes nothing.

    Returns: the monitor, and whether it is new.

    Raises:
        Conflict: the model has as many as it may have.
    """
    current = find_monitor(connection, model_id, name)
    if current is None:
        if monitors.count_monitors(connection, model_id) >= MOST:
            raise Conflict(f"a model has at most {MOST} monitors: delete one first")
        made = Monitor(new_ids(1)[0], name, rule, now, actor, 1, Memory(), None)
        monitors.add_monitor(connection, project_id, model_id, _dump(made))
        return made, True
    if current.rule == rule:
        return current, False
    memory = Memory(firing=current.memory.firing)
    changed = current._replace(rule=rule, revision=current.revision + 1, memory=memory, last=None)
    monitors.replace_rule(connection, _dump(changed))
    return changed, False


def save_step(connection: Connection, monitor: Monitor, memory: Memory, last: Last) -> bool:
    """Keep what a window came to; False when the rule was changed or removed meanwhile, and nothing is kept."""
    readings = [[one.value, one.low, one.high, one.n] for one in last.readings]
    content = {"start": last.start, "end": last.end, "met": last.met, "readings": readings}
    return monitors.save_step(
        connection, monitor.id, monitor.revision, json.dumps(asdict(memory)), json.dumps(content, allow_nan=False)
    )


def delete_monitor(connection: Connection, monitor: Monitor) -> None:
    monitors.delete_monitor(connection, monitor.id)
