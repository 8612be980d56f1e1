"""What an earlier file declared and this one no longer names: found by its id, and removed with --prune.

A section that the file does not have is left alone, so that a project may keep its sections in several files. What was
made by hand is left alone too, also under a name that a file once declared. Models are never removed: with one go all
its rows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from monitor.alerts.notify import end_silence
from monitor.api import monitors as monitors_api
from monitor.api.deps import Context
from monitor.errors import NotFound
from monitor.evaluate import watched
from monitor.store import catalog, channels, declared, routing, silences


@dataclass(frozen=True)
class Prunable:
    """`find` gives the id of the thing of that name, or None; `remove` removes it."""

    find: Callable[[Connection, Context, str], str | None]
    remove: Callable[[Connection, Context, str, int], None]


def _find_model(connection: Connection, ctx: Context, name: str) -> str | None:
    try:
        return str(catalog.get_model(connection, ctx.principal.project_id, name).id)
    except NotFound:
        return None


def _find_monitor(connection: Connection, ctx: Context, name: str) -> str | None:
    model_name, _, own = name.partition("/")
    model_id = _find_model(connection, ctx, model_name)
    found = None if model_id is None else watched.find_monitor(connection, int(model_id), own)
    return None if found is None else found.id


def _remove_monitor(connection: Connection, ctx: Context, name: str, now: int) -> None:
    model_name, _, own = name.partition("/")
    monitors_api.remove(connection, ctx, monitors_api.locked_model(connection, ctx, model_name), own)


def _find_channel(connection: Connection, ctx: Context, name: str) -> str | None:
    ids = {own: id_ for id_, own in channels.names_of(connection, ctx.principal.project_id).items()}
    return ids.get(name)


def _remove_channel(connection: Connection, ctx: Context, name: str, now: int) -> None:
    who = ctx.principal
    channels.delete_channel(connection, who.project_id, _find_channel(connection, ctx, name) or "", now, who.name)


def _find_route(connection: Connection, ctx: Context, name: str) -> str | None:
    found = routing.find_route(connection, ctx.principal.project_id, name)
    return None if found is None else found.id


def _remove_route(connection: Connection, ctx: Context, name: str, now: int) -> None:
    routing.delete_route(connection, ctx.principal.project_id, name, now, ctx.principal.name)


def _find_silence(connection: Connection, ctx: Context, name: str) -> str | None:
    found = silences.find_silence(connection, ctx.principal.project_id, name)
    return None if found is None else found.id


def _remove_silence(connection: Connection, ctx: Context, name: str, now: int) -> None:
    """It ends, and stays in the list as one that is over."""
    who = ctx.principal
    end_silence(connection, who.project_id, _find_silence(connection, ctx, name) or "", now, who.name)


# In the order of removing: a route names channels.
PRUNABLE: dict[str, Prunable] = {
    "routes": Prunable(_find_route, _remove_route),
    "silences": Prunable(_find_silence, _remove_silence),
    "monitors": Prunable(_find_monitor, _remove_monitor),
    "channels": Prunable(_find_channel, _remove_channel),
}


def note_declared(connection: Connection, ctx: Context, named: Iterable[tuple[str, str]]) -> None:
    """Keep in mind what this file declares: (section, name)."""
    project_id = ctx.principal.project_id
    known = declared.refs(connection, project_id)
    for section, name in named:
        one = PRUNABLE.get(section)
        ref = one.find(connection, ctx, name) if one else None
        if ref is not None and known.get((section, name)) != ref:
            declared.note(connection, project_id, section, name, ref)


def left_over(
    connection: Connection, ctx: Context, sections: Iterable[str], named: set[tuple[str, str]]
) -> list[tuple[str, str]]:
    """(section, name) of what earlier files declared in these sections, this one does not name, and is there still."""
    known, wanted = declared.refs(connection, ctx.principal.project_id), set(sections)
    return [
        (section, name)
        for section, one in PRUNABLE.items()
        if section in wanted
        for (of, name), ref in sorted(known.items())
        if of == section and (section, name) not in named and one.find(connection, ctx, name) == ref
    ]


def remove(connection: Connection, ctx: Context, section: str, name: str, now: int) -> None:
    """Remove it, and that it was declared."""
    PRUNABLE[section].remove(connection, ctx, name, now)
    declared.forget(connection, ctx.principal.project_id, section, name)
