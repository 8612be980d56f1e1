"""Commands that run something: serve, api, worker, migrate."""

import os
from contextlib import suppress
from typing import Annotated

import typer

from monitor import log, settings
from monitor.commands.console import say

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes any free one.")]
RootPath = Annotated[str, typer.Option(help="The path that a proxy in front strips, for instance /keepwatch.")]


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(api)
    app.command()(worker)
    app.command()(migrate)


def serve(host: Host = "127.0.0.1", port: Port = 8000, root_path: RootPath = "") -> None:
    """API, dashboard, scheduler and evaluation by one command."""
    _serve(host, port, root_path, embedded_worker=True)


def api(host: Host = "127.0.0.1", port: Port = 8000, root_path: RootPath = "") -> None:
    """API and dashboard alone; `keepwatch worker` is the other half."""
    _serve(host, port, root_path, embedded_worker=False)


def _serve(host: str, port: int, root_path: str, *, embedded_worker: bool) -> None:
    from monitor import installation, server

    log.setup()
    root = "/" + root_path.strip("/") if root_path.strip("/") else ""
    found = settings.load()
    with server.listen(host, port) as bound, installation.opened(found, may_create=embedded_worker) as engine:
        found = installation.with_secret_key(found)
        installation.check_bind(engine, found, host)
        base = server.base_url(found, bound, root)
        welcome = installation.first_key(engine, found, base)
        installation.note_address(found, base)
        found = found.model_copy(update={"public_url": base})  # for links in alerts
        say(f"Keepwatch listens on {base}")
        if welcome is not None:
            say(f"An admin key, shown this once: {welcome.key}")
            say(f"Log in within 15 minutes: {welcome.url}")
        elif not installation.has_key(engine):
            say("No key exists yet: `keepwatch keys create --name admin --scope admin` makes one")
        else:
            say("`keepwatch login` prints a log-in URL")
        child = server.WorkerProcess() if embedded_worker else None
        if child is not None:
            child.start()
        try:
            server.run_api(found, engine, bound, host, root, child.ask if child is not None else lambda: None)
        finally:
            if child is not None:
                child.stop()


def worker(
    parent: Annotated[int | None, typer.Option(hidden=True, help="End with this process.")] = None,
) -> None:
    """Scheduler, evaluation, deliveries and reports; on PostgreSQL any number of them."""
    from monitor import installation
    from monitor.worker import run_worker

    log.setup()
    found = settings.load()
    if parent is not None:
        _give_way(found)
    run_worker(installation.with_address(installation.with_secret_key(found)), parent)


def _give_way(found: settings.Settings) -> None:
    """The parent answers requests: they come first.

    With a database server the worker takes what processor time nobody else wants, and makes room at once (sched(7),
    SCHED_IDLE). With SQLite it has the write lock now and then, and whoever waits for that waits for it to run; so it
    is with the locks of a log where there is one processor alone.
    """
    if not found.embedded and hasattr(os, "SCHED_IDLE") and len(os.sched_getaffinity(0)) > 1:
        with suppress(OSError):  # not everywhere is it allowed, or there at all: musl and gVisor know one class
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
    os.nice(15)


def migrate() -> None:
    """Bring the database to the schema of this version."""
    from monitor.store import migrate as migrations
    from monitor.store.session import make_engine

    engine = make_engine(settings.load(), create=True)
    try:
        changed = migrations.upgrade(engine)
    finally:
        engine.dispose()
    say("The schema is now the one of this version." if changed else "The schema is the one of this version.")
