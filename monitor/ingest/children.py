"""A process beside this one that is given bodies to read, over two pipes, and never waited for without end.

It ends with this one: its standard input is closed then. A Ctrl-C in the terminal does not reach it, since what it was
given is still being answered.
"""

import contextlib
import fcntl
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

import pyarrow as pa

from monitor import clock

_PIPE_BYTES = 1 << 20  # what a pipe holds, where the system allows it: most bodies then go over in one piece
_PARTS = 512  # buffers in one call, of the 1024 that POSIX systems take
Bytes = bytes | memoryview


class Child:
    """One process; used by one thread at a time.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own files
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._sink, self._source = _opened(self._process.stdin), _opened(self._process.stdout)
        self._until = 0.0

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def within(self, seconds: float) -> None:
        """From now on it has so long for all that is written and read."""
        self._until = clock.monotonic() + seconds

    def write(self, parts: Sequence[Bytes]) -> None:
        """Give it these bytes.

        Raises:
            EOFError: it is gone, or its time is over.
        """
        left = [memoryview(part).cast("B") for part in parts if len(part)]
        while left:
            self._wait(self._sink, select.POLLOUT)
            try:
                sent = os.writev(self._sink, left[:_PARTS])
            except BlockingIOError:
                continue
            except OSError:
                raise EOFError from None
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if sent:
                left[0] = left[0][sent:]

    def read(self, size: int) -> memoryview:
        """The next bytes that it gives, in memory aligned as Arrow wants it.

        Raises:
            EOFError: as `write`.
        """
        into = memoryview(pa.allocate_buffer(size)).cast("B")
        at = 0
        while at < size:
            self._wait(self._source, select.POLLIN)
            try:
                came = os.readv(self._source, [into[at:]])
            except BlockingIOError:
                continue
            if not came:
                raise EOFError
            at += came
        return into

    def close(self) -> None:
        """End it, and free what it holds."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _wait(self, pipe: int, event: int) -> None:
        ready = select.poll()
        ready.register(pipe, event)
        if not ready.poll(max(0, 1000 * (self._until - clock.monotonic()))):
            raise EOFError


def _opened(pipe: IO[bytes]) -> int:
    number = pipe.fileno()
    os.set_blocking(number, False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a limit of the system: the pipe stays as it is
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return number
