"""The ingest half of the service as a forked process: it costs milliseconds to start, so it can be killed a thousand
times. For scripts without threads: what is imported once is shared by all of their children."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from sqlalchemy.engine import Engine

from monitor import server
from monitor.commands.lean import keep_pandas_out
from monitor.settings import Settings
from monitor.store.session import make_engine

keep_pandas_out()  # as the command line does, here for all children

Alter = Callable[[Engine], None]  # of the engine, before anything is opened: how a control plants its fault


class Forked:
    """`keepwatch api` in a child of this process. `alter` may change what the child runs, and never this process."""

    def __init__(self, settings: Settings, alter: Alter = lambda _engine: None) -> None:
        bound = server.listen("127.0.0.1", 0)
        self.port: int = bound.getsockname()[1]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(settings, bound, alter)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        bound.close()
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.002)
        raise AssertionError("the ingest process does not listen")

    @property
    def gone(self) -> bool:
        """Whether it has ended, by whatever hand; it is reaped then."""
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return True

    def kill(self) -> None:
        """SIGKILL, and wait until nothing of it runs any more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _serve(settings: Settings, bound: socket.socket, alter: Alter) -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    engine = make_engine(settings)
    alter(engine)
    server.run_api(settings, engine, bound, "127.0.0.1", "")


def strace(pid: int, options: Sequence[str], log: Path | str = os.devnull) -> "subprocess.Popen[bytes]":
    """strace, once it holds every thread of that process."""
    command = ["strace", "-f", "-qq", "-o", str(log), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while tracer.poll() is None and not _held(pid):
        time.sleep(0.002)
    return tracer


def _held(pid: int) -> bool:
    try:
        threads = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/status")]
    except OSError:
        return True  # gone already
    return all("TracerPid:\t0\n" not in one for one in threads)
