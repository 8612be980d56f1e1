"""Running the web half under uvicorn, and with it, under `serve`, a worker in a process of its own."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from sqlalchemy.engine import Engine

from monitor import log
from monitor.api.connections import PatientProtocol
from monitor.app import create_app
from monitor.errors import SetupError
from monitor.ingest.writer import Writer
from monitor.installation import is_loopback
from monitor.settings import Settings, of_worker

DRAIN_SECONDS = 4  # for answers that are under way: what waits to be written is a second's work
KEEP_ALIVE_SECONDS = 75  # of an idle connection: longer than the proxies and pools in front, which give it up first
CHILD_SECONDS = 4.0  # then it is killed, which costs no more than the work that it was at
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

_log = log.get(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any that is free.

    Raises:
        SetupError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from None
    made.set_inheritable(False)
    return made


def base_url(settings: Settings, bound: socket.socket, root_path: str) -> str:
    """The address that people are told."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host, port = bound.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - read, not bound
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{root_path}"


def run_api(
    settings: Settings,
    engine: Engine,
    bound: socket.socket,
    host: str,
    root_path: str,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT; what is being answered is finished, what waits to be written is written.

    Args:
        on_stop: called when the end begins.
    """
    hosts = [] if is_loopback(host) else [host, socket.gethostname()]
    app = create_app(settings, engine, Writer(engine, settings), hosts=hosts)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        root_path=root_path,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    spare_collector()
    _Server(config, app, on_stop).run(sockets=[bound])


def spare_collector() -> None:
    """Set what is loaded by now apart from the garbage collector, and let it look less often.

    Modules, routes and schemas are hundreds of thousands of objects that live as long as the process. A full collection
    looks at each of them, a tenth of a second in which no request is answered, and under load it comes twice a second.
    What sixty requests at once hold is ten times what makes it look usually; nearly all of that goes by itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


class _Server(uvicorn.Server):
    """uvicorn's server, which ends with exit code 0 when it is asked to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.draining = True
        super().handle_exit(sig, frame)


class WorkerProcess:
    """`keepwatch worker` as a child: started again when it fails, ended with its parent."""

    def __init__(self) -> None:
        self._command = [sys.executable, "-m", "monitor.cli", "worker", "--parent", str(os.getpid())]
        self._over = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise, name="worker-process", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _supervise(self) -> None:
        pause = _FIRST_PAUSE
        while not self._over.is_set():
            # A session of its own: Ctrl-C reaches the parent alone, which then stops the child in order.
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                self._command, stdin=subprocess.DEVNULL, start_new_session=True, env=of_worker()
            )
            code = self._child.wait()
            if self._over.is_set():
                return
            _log.error("worker_ended", code=code, again_in_seconds=pause)
            self._over.wait(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    def ask(self) -> None:
        """Ask the worker to finish what it is at."""
        self._over.set()
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()

    def stop(self) -> None:
        """Ask it, and see that it ends."""
        self.ask()
        child = self._child
        if child is not None and child.poll() is None:
            try:
                child.wait(CHILD_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        self._thread.join(5)
