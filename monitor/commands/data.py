"""Commands about models' data: evaluate, import."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from sqlalchemy.engine import Engine

from monitor import clock, log, settings
from monitor.commands.access import Json, Project, opened
from monitor.commands.console import Advance, progress, say, say_json
from monitor.errors import SetupError
from monitor.settings import Settings

_TARGETS = {"f:": "feature ", "t:": "tag ", "s:": "score of "}
KINDS = ("predictions", "outcomes", "reference")


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command("import")(import_)


def evaluate(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time (RFC 3339); default: now.")] = None,
    project: Annotated[str | None, typer.Option(help="Only the models of this project.")] = None,
    as_json: Json = False,
) -> None:
    """Compute every window that is due, send what it raises, and exit."""
    from monitor import installation, jobs
    from monitor.alerts.deliver import LONGEST_ATTEMPT, deliver_due, finish_under_way
    from monitor.curves import curves

    log.setup("WARNING")
    given = None if until is None else _moment("--until", until)
    now = clock.now() if given is None else given
    with opened() as engine:
        found = installation.with_secret_key(settings.load())
        chosen = _chosen(engine, model, project)
        results: list[dict[str, Any]] = []
        with progress("evaluating", quiet=as_json) as advance:
            for done, (model_id, name) in enumerate(chosen):
                advance(done, len(chosen))
                made = asdict(jobs.evaluate_fully(engine, found, model_id, now, until=given))
                days = jobs.judge_days(engine, found, model_id, now, until=given)
                results.append({"model": name, **made, "days": days})
            advance(len(chosen), len(chosen))
        sent = deliver_due(engine, found, clock.now(), patience=LONGEST_ATTEMPT, curve=curves(engine))
        finish_under_way(LONGEST_ATTEMPT)
    if as_json:
        say_json({"until": clock.render(now), "models": results, "deliveries": sent})
        return
    for result in results:
        say("{model}: {rows} rows, {outcomes} outcomes, {evaluated} windows gave their evidence".format(**result))
        if not result["complete"]:
            say(f"{result['model']}: another evaluator is at it; run it again for what is left")
    say(f"{len(results)} {'model' if len(results) == 1 else 'models'} evaluated up to {clock.render(now)}")


def _chosen(engine: Engine, model: str | None, project: str | None) -> list[tuple[int, str]]:
    """(number, name) of the models to evaluate."""
    from monitor.store import catalog, keys
    from monitor.store.session import reading

    with reading(engine) as connection:
        if model is not None:
            one = catalog.get_model(connection, keys.project_id_of(connection, project or "default"), model)
            return [(one.id, one.name)]
        only = None if project is None else keys.project_id_of(connection, project)
        models = [catalog.get_model_by_id(connection, number) for number in catalog.model_ids(connection, only)]
        return [(one.id, one.name) for one in models]


def _moment(option: str, text: str) -> int:
    try:
        return clock.parse(text)
    except ValueError as error:
        raise SetupError(f"{option}: {error}") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise SetupError("--timezone: a name of the IANA database, for instance Europe/Berlin") from None


def import_(
    file: Annotated[Path, typer.Argument(help="The file to load.")],
    model: Annotated[str, typer.Option(help="The model that the rows belong to.")],
    kind: Annotated[str, typer.Option(help="predictions, outcomes or reference.")],
    file_format: Annotated[str, typer.Option("--format", help="auto, or what it is: see the guide.")] = "auto",
    history: Annotated[
        bool, typer.Option("--history", help="Rows were known at their own time, not when they arrive.")
    ] = False,
    timezone: Annotated[
        str | None, typer.Option(help="Of times without an offset, for instance Europe/Berlin.")
    ] = None,
    project: Project = "default",
    as_json: Json = False,
) -> None:
    """Load a file of predictions, outcomes or reference rows, in any format that is known."""
    from monitor.ingest.load import import_file
    from monitor.store import keys
    from monitor.store.session import reading

    log.setup("WARNING")
    if kind not in KINDS:
        raise SetupError("--kind is one of " + ", ".join(KINDS))
    found = settings.load()
    zone = None if timezone is None else _zone(timezone)
    with opened() as engine:
        with reading(engine) as connection:
            project_id = keys.project_id_of(connection, project)
        with progress(file.name, quiet=as_json) as advance:
            load: Callable[..., dict[str, Any]] = _import_reference if kind == "reference" else import_file
            result = load(engine, found, project_id, model, file, kind, file_format, history, advance, zone)
    if as_json:
        say_json(result)
        return
    for name, value in result.items():
        if name == "unlabelled":
            if value:
                say(f"{value:,} without a label {'was' if value == 1 else 'were'} left out")
        elif isinstance(value, int | str):
            say(f"{name.replace('_', ' ')}: {value}")
    for source, target in result["columns"].items():
        say(f"column {source}: {_TARGETS.get(target[:2], target[:2]) + target[2:]}")
    for source in result["unused_columns"]:
        say(f"column {source}: not used")
    for note in result["notes"]:
        say(f"note: {note}")
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    for one in result.get("rejected", [])[:10]:
        say(f"row {one['index']}: {one['message']}")
    usable = sum(int(result.get(name, 0)) for name in ("accepted", "duplicates", "revised"))
    if result["rejected_count"] and not usable:
        raise SetupError(f"no row of {file} could be used: see the reasons above")


def _import_reference(
    engine: Engine,
    found: Settings,
    project_id: int,
    model_name: str,
    path: Path,
    _kind: str,
    file_format: str,
    _history: bool,
    advance: Advance,
    zone: tzinfo | None,
) -> dict[str, Any]:
    from monitor.evaluate.references import put_reference
    from monitor.ingest.references import reference_from_file
    from monitor.store import audit, catalog
    from monitor.store.session import reading

    del found
    now = clock.now()
    with reading(engine) as connection:
        model = catalog.get_model(connection, project_id, model_name)
    sent, how = reference_from_file(path, file_format, model, now, zone)
    advance(0, sent.total)
    made = put_reference(engine, model, sent.batch, None, None, None, now, audit.MACHINE)
    advance(sent.total, sent.total)
    rejected = [one.shown() for one in sent.rejected[:100]]
    return made | {"accepted": sent.rows, "rejected": rejected, "rejected_count": len(sent.rejected), **how}
