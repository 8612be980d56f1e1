"""Commands about data that leaves: export, erase."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitor import clock, log, settings
from monitor.commands.access import Json, Project, opened
from monitor.commands.console import progress, say, say_json
from monitor.errors import SetupError


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(erase)


def export(
    model: Annotated[str, typer.Option(help="The model whose predictions to write.")],
    from_: Annotated[str, typer.Option("--from", help="From this time on (RFC 3339, or a date in UTC).")],
    to: Annotated[str, typer.Option("--to", help="Up to before this time.")],
    out: Annotated[Path, typer.Option(help="The directory; it is made.")],
    project: Project = "default",
    as_json: Json = False,
) -> None:
    """Write predictions with their outcomes as Parquet, a folder a day; broken off, it goes on where it was."""
    from monitor.archive.export import export as write
    from monitor.store import keys
    from monitor.store.session import reading

    log.setup("WARNING")
    span = (_moment("--from", from_), _moment("--to", to))
    with opened() as engine:
        with reading(engine) as connection:
            project_id = keys.project_id_of(connection, project)
        with progress("exporting days", quiet=as_json) as advance:
            done = write(engine, project_id, model, *span, out, advance)
    if as_json:
        say_json({"model": model, "from": clock.render(span[0]), "to": clock.render(span[1])} | asdict(done))
    else:
        say(f"{done.rows} rows of {done.days} days in {done.files} files ({done.bytes} bytes) under {out}")


def erase(
    model: Annotated[str, typer.Option(help="The model whose rows to erase.")],
    ids: Annotated[Path, typer.Option(help="A file with one id a line.")],
    project: Project = "default",
    as_json: Json = False,
) -> None:
    """Erase all that is stored under some ids, also from the archive; counts and a hash of each id stay."""
    from monitor.archive.erase import erase as remove
    from monitor.archive.places import place_of
    from monitor.store import audit, keys
    from monitor.store.session import reading

    log.setup("WARNING")
    wanted = _ids(ids)
    found = settings.load()
    place = place_of(found.archive_url) if found.archive_url else None
    with opened() as engine:
        with reading(engine) as connection:
            project_id = keys.project_id_of(connection, project)
        with progress("searching the archive", quiet=as_json) as advance:
            done = remove(engine, project_id, model, wanted, place, clock.now(), audit.MACHINE, advance)
    if as_json:
        say_json({"model": model} | asdict(done))
        return
    say(f"{done.ids} ids are erased and refused from now on ({done.new_ids} of them were not before)")
    say(
        f"{done.rows} rows, {done.outcomes} outcomes, {done.quarantined} rejected rows, {done.reports} reports,"
        f" {done.reference_rows} reference rows, {done.archived_rows} rows of {done.archive_files} archive files"
    )
    if done.traces_left:
        say("old pages are still in the database's write-ahead log, since somebody reads: run it again, or restart")


def _ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SetupError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: cannot be read as UTF-8 text: {type(error).__name__}") from None
    found = [line for line in lines if line]
    if not found:
        raise SetupError(f"{path}: no ids; one a line is expected")
    return found


def _moment(option: str, text: str) -> int:
    try:
        return clock.parse(text if "T" in text or " " in text else text + "T00:00:00Z")
    except ValueError as error:
        raise SetupError(f"{option}: {error}") from None
