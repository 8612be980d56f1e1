"""`keepwatch serve` as a child process, on a fresh database in a folder of its own."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

START_SECONDS = 60
STOP_SECONDS = 30


class DemoError(Exception):
    """What went wrong, in one line; the demo prints it and ends with exit code 1."""


class Server:
    """The child process; `url` and `key` let the demo in as any other client."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = f"kw_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("KEEPWATCH_")} | {
            "KEEPWATCH_DATABASE_URL": f"sqlite:///{folder.resolve() / 'keepwatch.db'}",
            "KEEPWATCH_PUBLIC_URL": self.url,
            "KEEPWATCH_ADMIN_KEY": self.key,
            "KEEPWATCH_ALLOW_NETWORKS": "127.0.0.0/8",  # for the receiver; channels reach no private address else
        }
        self._command = [sys.executable, "-m", "monitor.cli"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo, which then stops the server in order
            )

    def wait_until_ready(self) -> None:
        """Return when the server takes requests.

        Raises:
            DemoError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise DemoError(
            f"the server did not answer within {START_SECONDS} seconds; its log is {self.log}\n{self.tail()}"
        )

    def check(self) -> None:
        """Raises DemoError when the server has ended."""
        if self._process.poll() is not None:
            raise DemoError(f"the server ended with code {self._process.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def login_url(self) -> str:
        """A new URL that logs a browser in, made by `keepwatch login`."""
        done = subprocess.run(
            [*self._command, "login"], env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        found = re.search(r"https?://\S+", done.stdout)
        if done.returncode != 0 or found is None:
            raise DemoError(f"`keepwatch login` failed: {done.stderr.strip() or done.stdout.strip()}")
        return found[0]

    def stop(self) -> None:
        """Ask the server to end, and see that it does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def free_port(first: int = 8000) -> int:
    """The first free port of 127.0.0.1 from `first` on."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DemoError(f"no free port from {first} to {first + 199}")
