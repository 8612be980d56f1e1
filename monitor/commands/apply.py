"""The command apply: what a file declares becomes true, all of it or nothing; the diff is shown."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy.engine import Connection

from monitor import clock, settings
from monitor.commands.access import Json, Project, opened
from monitor.commands.console import complain, say, say_json
from monitor.errors import Invalid, Problem, SetupError

if TYPE_CHECKING:
    from monitor.api.deps import Context
    from monitor.commands.manifest import Manifest
    from monitor.commands.sections import Field, Outcome

ACTOR = "apply"
_SIGNS = {"new": "+", "changed": "~", "same": " ", "removed": "-"}


@dataclass(frozen=True)
class Applied:
    """One thing of the file and what was done about it."""

    section: str
    singular: str
    name: str
    outcome: "Outcome"


@dataclass(frozen=True)
class Run:
    """What a file came to: `left` is what earlier files declared and this one does not name, when it was not pruned."""

    done: tuple[Applied, ...] = ()
    left: tuple[str, ...] = ()


class _Undo(Exception):
    """Ends the transaction of a dry run."""


def register(app: typer.Typer) -> None:
    app.command()(apply)


def apply(
    file: Annotated[Path | None, typer.Argument(help="A YAML file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the diff and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what an earlier file declared and this one does not name.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of such a file and exit.")] = False,
    project: Project = "default",
    as_json: Json = False,
) -> None:
    """Make models, monitors, channels, routes, silences and the project's policy what a file says; twice is as once.

    What the file does not name stays as it is. With --prune what an earlier file declared is removed, in the sections
    that this file has; what was made by hand stays, and so do models.
    """
    from monitor.commands.manifest import ManifestError, read_manifest
    from monitor.commands.sections import json_schema

    if schema:
        say(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return
    if file is None:
        raise SetupError("name a file: keepwatch apply FILE.yaml (or --schema)")
    try:
        found = _apply(read_manifest(file), project, dry_run, prune)
    except ManifestError as error:
        for line in error.lines[:50]:
            complain(line)
        raise typer.Exit(2) from None
    if as_json:
        say_json({"dry_run": dry_run, "changes": [_shown(one) for one in found.done], "left": list(found.left)})
    else:
        _say_diff(found, dry_run, prune)


def _apply(manifest: "Manifest", project: str, dry_run: bool, prune: bool) -> Run:
    """Apply all of it in one transaction; a dry run is the same, rolled back."""
    from monitor import installation
    from monitor.alerts.notify import wake_all
    from monitor.api.auth import Principal
    from monitor.api.deps import Context
    from monitor.store import keys
    from monitor.store.session import writing

    run = Run()
    now = clock.now()
    with opened() as engine:
        found = installation.with_secret_key(settings.load())
        try:
            with writing(engine) as connection:
                project_id = keys.project_id_of(connection, project)
                ctx = Context(engine, found, Principal(project_id, ACTOR, "admin"))
                done = _apply_all(connection, ctx, manifest, now)
                run = _prune(connection, ctx, manifest, done, now, prune)
                if any(one.outcome.action != "same" for one in run.done):
                    wake_all(connection, project_id, now)
                if dry_run:
                    raise _Undo
        except _Undo:
            pass
    return run


def _prune(
    connection: Connection, ctx: "Context", manifest: "Manifest", done: list[Applied], now: int, prune: bool
) -> Run:
    from monitor.commands import pruning
    from monitor.commands.sections import SECTIONS, Outcome

    named = {(one.section, one.name) for one in done}
    pruning.note_declared(connection, ctx, sorted(named))
    left = pruning.left_over(connection, ctx, manifest.content, named)
    if not prune:
        return Run(tuple(done), tuple(f"{SECTIONS[section].singular} {name}" for section, name in left))
    for section, name in left:
        pruning.remove(connection, ctx, section, name, now)
        done.append(Applied(section, SECTIONS[section].singular, name, Outcome("removed")))
    return Run(tuple(done))


def _apply_all(connection: Connection, ctx: "Context", manifest: "Manifest", now: int) -> list[Applied]:
    from monitor.commands.manifest import ManifestError
    from monitor.commands.sections import SECTIONS

    done: list[Applied] = []
    wrong = [
        manifest.told(name, "is not a section: " + ", ".join(SECTIONS))
        for name in manifest.content
        if name not in SECTIONS
    ]
    for section, name, place, body in _bodies(manifest, wrong):
        one = SECTIONS[section]
        try:
            with connection.begin_nested():  # one that is refused must not end the others' transaction
                outcome = one.apply(connection, ctx, name, body, now)
        except Invalid as error:
            wrong += [_told(manifest, place, found["field"], found["detail"]) for found in error.errors] or [
                manifest.told(place, error.detail)
            ]
        except Problem as error:
            wrong.append(manifest.told(place, error.detail))
        else:
            done.append(Applied(section, one.singular, name, outcome))
    if wrong:
        raise ManifestError(wrong)
    return done


def _bodies(manifest: "Manifest", wrong: list[str]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(section, name, place in the file, body) of everything that the file declares, in the order of the sections."""
    from monitor.commands.sections import SECTIONS

    for section, one in SECTIONS.items():
        content = manifest.content.get(section)
        if content is None:
            continue
        if not isinstance(content, dict):
            wrong.append(manifest.told(section, "must be an object" if one.single else "must hold names with bodies"))
            continue
        if one.single:
            yield section, "", section, content
            continue
        for name, place, body in _named(content, section, one.nested):
            if isinstance(body, dict):
                yield section, name, place, body
            else:
                wrong.append(manifest.told(place, "must be an object"))


def _named(content: dict[str, Any], place: str, nested: bool) -> Iterator[tuple[str, str, Any]]:
    """(name, place, body); of a nested section the name of a model and a slash stand before the name."""
    for name, body in content.items():
        below = f"{place}.{name}"
        if nested and isinstance(body, dict):
            yield from ((f"{name}/{inner}", f"{below}.{inner}", one) for inner, one in body.items())
        elif body is not None or not nested:
            yield name, below, body


def _told(manifest: "Manifest", place: str, field: str, detail: str) -> str:
    """`field` is what the body calls it; the name itself stands for `model`, `route` and `name`."""
    return manifest.told(place if field in ("model", "route", "name") else f"{place}.{field}", detail)


def _shown(one: Applied) -> dict[str, Any]:
    fields = [asdict(field) for field in one.outcome.fields]
    return {"section": one.section, "name": one.name, "action": one.outcome.action, "fields": fields}


def _say_diff(run: Run, dry_run: bool, prune: bool) -> None:
    for one in run.done:
        if one.outcome.action != "same":
            say(f"{_SIGNS[one.outcome.action]} {one.singular} {one.name}".rstrip())
            for field in one.outcome.fields:
                say(f"    {_line(field, one.outcome.action)}")
        if one.outcome.note and not (dry_run and "secret" in one.outcome.note):
            say(f"  {one.singular} {one.name}: {one.outcome.note}")
    actions = ("new", "changed", "same", "removed") if prune else ("new", "changed", "same")
    counts = {action: sum(one.outcome.action == action for one in run.done) for action in actions}
    verb = "would be applied" if dry_run else "applied"
    told = ", ".join(f"{number} {'unchanged' if action == 'same' else action}" for action, number in counts.items())
    say(f"{told}: {verb if len(run.done) > counts['same'] else 'nothing to do'}.")
    if run.left:
        say(f"Declared by an earlier file and not by this one (--prune removes it): {', '.join(run.left)}.")


def _line(field: "Field", action: str) -> str:
    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    if action == "new":
        return f"{field.name}: {text(field.after)}"
    return f"{field.name}: {text(field.before)} -> {text(field.after)}"
