"""One at a time writes the archive files of a model again: whoever has the lease on them.

Writing a file again means reading it, changing it and putting it in its place; two that did so at once would each undo
what the other changed.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Engine

from monitor import clock
from monitor.store import leases
from monitor.store.catalog import Model
from monitor.store.session import writing

LIFE = 300 * clock.SECOND  # for one file
_LOOK_SECONDS = 0.1


@contextmanager
def alone(engine: Engine, model: Model, patience_seconds: float) -> Iterator[Callable[[], None] | None]:
    """Hold the lease; gives what is to be called before each file, or None when another still had it after so long.

    What is given raises OSError when the lease was lost, to a process that took this one for dead.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    token, until = None, clock.monotonic() + patience_seconds
    while token is None:
        with writing(engine) as connection:
            token = leases.claim(connection, "archive", str(model.id), model.project_id, owner, LIFE)
        if token is None:
            if clock.monotonic() >= until:
                yield None
                return
            threading.Event().wait(_LOOK_SECONDS)
    held = token

    def go_on() -> None:
        with writing(engine) as connection:
            if not leases.renew(connection, "archive", str(model.id), owner, held, LIFE):
                raise OSError("another process has taken over the archive files of this model: run it again")

    try:
        yield go_on
    finally:
        with writing(engine) as connection:
            leases.release(connection, "archive", str(model.id), owner, held)
