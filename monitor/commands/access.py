"""Commands about who may come in: keys create, keys list, keys revoke, login."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from sqlalchemy.engine import Engine

from monitor import clock, settings
from monitor.commands.console import complain, say, say_json, table
from monitor.commands.whole import WholeLines
from monitor.errors import SetupError
from monitor.store.keys import Key

Project = Annotated[str, typer.Option(help="Which project.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

keys_app = typer.Typer(cls=WholeLines, help="API keys.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys")
    app.command()(login)


@contextmanager
def opened() -> Iterator[Engine]:
    """The engine of the existing database, at the schema of this version."""
    from monitor import installation

    with installation.opened(settings.load(), may_create=False) as engine:
        yield engine


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Option(help="Who or what will use it.")],
    scope: Annotated[str, typer.Option(help="ingest, read or admin.")],
    project: Annotated[str, typer.Option(help="Which project; one of a new name is made.")] = "default",
    as_json: Json = False,
) -> None:
    """Make a key; its secret is shown once. The first key of a new project makes the project."""
    from monitor.store import audit, keys
    from monitor.store.session import writing

    now = clock.now()
    with opened() as engine, writing(engine) as connection:
        others = keys.project_names(connection)
        project_id = keys.project_id_of(connection, project, now)
        made = keys.create_key(connection, project_id, name, scope, now, audit.MACHINE)
    if project not in others:
        complain(f"the project {project} is new; there were {', '.join(sorted(others))}")
    if as_json:
        say_json({"key": made, "name": name, "scope": scope, "project": project})
    else:
        say(made)


@keys_app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Every key, without its secret."""
    from monitor.store import keys

    with opened() as engine, engine.connect() as connection:
        projects = keys.projects(connection)
        rows = [_shown(key, projects[key.project_id]) for key in keys.list_keys(connection)]
    if as_json:
        say_json({"keys": rows})
    else:
        table([{name: str(value or "-") for name, value in row.items()} for row in rows])


def _shown(key: Key, project: str) -> dict[str, str | None]:
    def moment(at: int | None) -> str | None:
        return None if at is None else clock.render(at // clock.SECOND * clock.SECOND)

    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "project": project,
        "created_at": moment(key.created_at),
        "last_used_at": moment(key.last_used_at),
        "revoked_at": moment(key.revoked_at),
    }


@keys_app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="The id of the key (the 8 characters after kw_), or the key itself.")],
) -> None:
    """End a key, and the sessions that were opened under its name; it stops working within 5 seconds."""
    from monitor.store import audit, keys
    from monitor.store.session import writing

    parts = keys.split(key)
    with opened() as engine, writing(engine) as connection:
        key_id = parts[0] if parts else key.removeprefix("kw_")
        ended = keys.revoke_key(connection, key_id, clock.now(), audit.MACHINE)
    say(f"The key {ended.id} ({ended.name}) is revoked.")


def login(
    name: Annotated[str, typer.Option(help="The name that changes are kept under.")] = "admin",
    scope: Annotated[str, typer.Option(help="read or admin.")] = "admin",
    project: Project = "default",
) -> None:
    """Print a new log-in URL: good once, for 15 minutes."""
    from monitor.api.auth import issue_login, login_url
    from monitor.installation import with_address
    from monitor.store import keys
    from monitor.store.session import writing

    if scope not in ("read", "admin"):
        raise SetupError("the scope of a log-in is read or admin")
    with opened() as engine, writing(engine) as connection:
        token = issue_login(connection, keys.project_id_of(connection, project), name, scope, clock.now())
    say(login_url(with_address(settings.load()).public_url or "http://127.0.0.1:8000", token))
