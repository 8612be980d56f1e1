"""The process that runs apprise. Standard input has the request, standard output the answer, both JSON.

An audit hook stands under everything that Python code can do: connections go to checked addresses alone (the address
that is connected to is the one that was checked, also after a redirect), files are read where Python keeps its own and
written nowhere, nothing is started. A hook cannot be taken away again. Addresses are checked as literals: who connects
by name is refused.
"""

import json
import logging
import os
import re
import resource
import socket
import sys
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from monitor.alerts.addresses import Network, Refused, check_address
from monitor.errors import KeepwatchError

MEMORY = 1024**3  # bytes: what a receiver answers is read whole by apprise
FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.link",
    "os.symlink",
    "pty.spawn",
    "ctypes.dlopen",
    "socket.bind",
)


class Forbidden(KeepwatchError):
    """Something that a message needs not do."""


def main() -> None:
    """Read the request, do it, answer."""
    request = json.loads(sys.stdin.buffer.read())
    answer = _answer(request)
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        import apprise
        import apprise.plugins
    except ImportError:
        return {"missing": True, "error": "apprise is not installed where the worker runs"}
    apprise.plugins.N_MGR.schemas()  # type: ignore[no-untyped-call]  # loads every plugin, before the watch begins
    packages = Path(apprise.__file__).parents[1]
    refusals = watch([ip_network(text) for text in request["networks"]], [packages, Path(os.__file__).parent])
    target = apprise.Apprise.instantiate(request["url"], suppress_exceptions=True)
    if refusals:
        return {"known": False, "error": refusals[0]}
    if target is None:
        return {"known": False, "error": "apprise does not know this URL"}
    if request.get("check"):
        return {"known": True}
    told = _Told()
    logging.getLogger("apprise").addHandler(told)
    sent = bool(target.notify(title=request["title"], body=request["body"], notify_type=request["type"]))
    if sent:
        return {"sent": True}
    if refusals:
        return {"sent": False, "error": refusals[0]}
    words = "the service did not take it" + (f" ({told.status})" if told.status else "")
    return {"sent": False, "error": words, "status": told.status}


def watch(networks: Iterable[Network], readable: Iterable[Path]) -> list[str]:
    """Put the hook in place; returns the list that says what it refused. Files are read beneath `readable` alone."""
    refusals: list[str] = []
    known, roots = tuple(networks), tuple(f"{path}/" for path in readable)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        try:
            if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
                _check(arguments[0], arguments[1], known)
            elif event in FORBIDDEN or (event == "open" and not _harmless(arguments, roots)):
                raise Forbidden("this apprise URL acts on the machine where Keepwatch runs, or on a file there")
        except (Refused, Forbidden) as refused:
            refusals.append(str(refused))
            raise OSError(str(refused)) from None

    sys.addaudithook(hook)
    return refusals


def _check(connection: socket.socket, address: Any, networks: tuple[Network, ...]) -> None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        raise Forbidden("only connections over IP are made")
    try:
        literal = ip_address(address[0])
    except ValueError:
        raise Forbidden("connections are made to addresses that were looked up before") from None
    check_address(literal, address[1], networks)


def _harmless(arguments: tuple[Any, ...], roots: tuple[str, ...]) -> bool:
    """Whether a file is opened to read it, and is one of Python's own (a module, the list of authorities)."""
    path, mode, flags = arguments[:3]
    if isinstance(path, int):
        return True  # what is open already
    reads = isinstance(mode, str) and not set(mode) & set("wax+") if mode is not None else not (flags or 0) & 0o3
    return reads and os.path.realpath(os.fsdecode(path)).startswith(roots)


class _Told(logging.Handler):
    """Of what apprise logs only the HTTP status: the rest may hold the URL."""

    status: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"error[=:]\s*(\d{3})\b", record.getMessage())
        if found:
            self.status = int(found[1])
