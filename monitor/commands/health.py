"""The command doctor: what is wrong, and the change to make."""

from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy.engine import Connection

from monitor import clock, log, settings
from monitor.commands.access import Json
from monitor.commands.console import say, say_json
from monitor.errors import NotFound
from monitor.store import catalog
from monitor.store.body import listed
from monitor.store.catalog import Model

_MARKS = {"ok": "ok  ", "note": "note", "warning": "WARN", "error": "FAIL"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    model: Annotated[str | None, typer.Option(help="Only the monitoring of this model, beside the service.")] = None,
    project: Annotated[str | None, typer.Option(help="Only the models of this project.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with the installation, the database, the schedule and the monitors; exit code 1 if anything."""
    from monitor.doctor import LEVELS, is_well, models, service
    from monitor.store import keys
    from monitor.store.session import make_engine, reading

    log.setup("WARNING")
    found = settings.load()
    wall = clock.now()
    engine = make_engine(found)  # not `opened`: an old schema is one of the things to be told
    try:
        findings = service.examine(engine, found, None, wall)
        if not any(one.area == "database" and one.level == "error" for one in findings):
            with reading(engine) as connection:
                only = None if project is None else keys.project_id_of(connection, project)
                for known in _chosen(connection, model, only):
                    findings += models.examine(connection, known, catalog.model_now(connection, known, wall))
    finally:
        engine.dispose()
    well = is_well(findings)
    if as_json:
        shown = [asdict(one) for one in findings]
        say_json({"well": well, "findings": shown, "settings": service.shown_settings(found)})
    else:
        for one in sorted(findings, key=lambda one: LEVELS.index(one.level)):
            whose = f"{one.model}: " if one.model is not None else ""
            say(f"{_MARKS[one.level]}  {one.area:<12}  {whose}{one.text}")
            if one.change:
                say(f"{'':<20}-> {one.change}")
        say()
        for name, text in service.shown_settings(found).items():
            say(f"{name}={text}")
    if not well:
        raise typer.Exit(1)


def _chosen(connection: Connection, name: str | None, project_id: int | None) -> list[Model]:
    """The models to look at.

    Raises:
        NotFound: there is none of that name; the message says which there are.
    """
    known = [catalog.get_model_by_id(connection, number) for number in catalog.model_ids(connection, project_id)]
    chosen = [one for one in known if name in (None, one.name)]
    if name is not None and not chosen:
        there_are = f"there are {listed({one.name for one in known})}" if known else "there is none yet"
        raise NotFound(f"there is no model of that name: {there_are}")
    return chosen
