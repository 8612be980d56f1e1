"""A real service in processes of its own, to be killed; and a receiver of its webhooks."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADMIN_KEY = "kw_faulttst_" + secrets.token_urlsafe(32)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """`keepwatch serve` on a database; `kill` ends all of its processes at once, as a power cut of the host would."""

    def __init__(self, url: str, folder: Path) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._log = folder / "service.log"
        self._environment = os.environ | {
            "KEEPWATCH_DATABASE_URL": url,
            "KEEPWATCH_ADMIN_KEY": ADMIN_KEY,
            "KEEPWATCH_SECRET_KEY": secrets.token_hex(32),
            "KEEPWATCH_ALLOW_NETWORKS": "127.0.0.0/8",
            "KEEPWATCH_TICK": "0.2",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "monitor.cli", "serve", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.base + "/readyz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the service did not start:\n" + self._log.read_text()[-3000:])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """End it in good order; its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(30)

    def run(self, *arguments: str) -> str:
        """A command of the product on the same database."""
        command = [sys.executable, "-m", "monitor.cli", *arguments]
        return subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True).stdout

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """An API call; raises OSError when it was not answered, AssertionError when it was refused."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                content = answer.read()
                return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            if error.code in (429, 503):
                raise ConnectionError(text) from None
            raise AssertionError(f"{error.code}: {text}") from None
        except http.client.HTTPException as error:  # killed in the middle of its answer
            raise ConnectionError(str(error)) from error

    def persist(self, method: str, path: str, body: Any = None) -> Any:
        """As `call`, again and again until it is answered: what every good client does."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.call(method, path, body)
            except (OSError, json.JSONDecodeError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


class Receiver:
    """An HTTP server that notes every webhook: its id and its body."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                received.append((self.headers["webhook-id"], body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
