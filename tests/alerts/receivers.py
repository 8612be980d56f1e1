"""Real HTTP receivers on loopback, with good and bad habits, and the rows that tests start from."""

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import Connection

from monitor.stats.verdict import Cause, Verdict
from monitor.store import catalog, channels
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery
from tests.keys import SECRET_KEY

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_800_000_000_000_000  # for tests whose clock is made up


class Receiver(ThreadingHTTPServer):
    """Keeps every request; `habit(handler, number)` answers the request with that number, counted from 0."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, habit: "Callable[[Handler, int], None] | None" = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.habit = habit or (lambda handler, number: handler.answer(204))
        self.requests: list[tuple[dict[str, str], bytes, str]] = []
        self.lock = threading.Lock()
        self.released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/token-in-the-path"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _, _ in list(self.requests)]

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if len(body) < int(self.headers["content-length"]):
            return  # the sender died in the middle: this was no message
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(({k.lower(): v for k, v in self.headers.items()}, body, self.path))
        self.server.habit(self, number)

    def do_GET(self) -> None:
        """What a client that follows redirects would send."""
        with self.server.lock:
            self.server.requests.append(({k.lower(): v for k, v in self.headers.items()}, b"", self.path))
        self.answer(200)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silence."""


def hang(handler: Handler, number: int) -> None:
    """Take the request and say nothing."""
    handler.server.released.wait(30)


def drip(handler: Handler, number: int) -> None:
    """Send one byte of the head now and then."""
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        if handler.server.released.wait(0.05):
            return
        handler.wfile.write(bytes([byte]))


def cut(handler: Handler, number: int) -> None:
    """Take the request and hang up."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def flood(handler: Handler, number: int) -> None:
    """Announce 10 GB and send as much of it as is taken."""
    handler.send_response(200)
    handler.send_header("content-length", str(10 * 2**30))
    handler.end_headers()
    started, sent = time.monotonic(), 0
    while time.monotonic() - started < 5:
        handler.wfile.write(b"x" * 65536)
        sent += 65536
    raise AssertionError(f"{sent} bytes were taken")


def make_model(
    connection: Connection, name: str = "churn", project_id: int = 1, clock: str = "wall", window: str = "1h"
) -> catalog.Model:
    body = {"task": "binary", "clock": clock, "window": window, "alert_budget": {"false_alarms": 2, "per": "30d"}}
    return catalog.put_model(connection, project_id, name, body, NOW, "test")[0]


def make_channel(
    connection: Connection, url: str, name: str = "pager", key: SecretStr | None = SECRET_KEY, **more: Any
) -> Channel:
    values: dict[str, Any] = {"project_id": 1, "kind": "webhook", "secret": SECRET, "match": (), "created_at": NOW}
    channel = Channel(id=channels.new_id(), name=name, url=url, **{**values, **more})
    channels.add_channel(connection, channel, key, "ann")
    return channel


def message(type_: str = "alert.firing", id_: str = "msg_1", **data: Any) -> Delivery:
    """A delivery with the body of an alert of five causes; `data` changes the alert."""
    state = {"alert.acknowledged": "acknowledged", "alert.resolved": "resolved"}.get(type_, "firing")
    causes = [
        {"metric": "psi", "feature": f"f{n}", "segment": None, "effect": 0.3 - n / 100, "low": 0.2, "high": 0.4}
        | {"share": 0.5**n, "text": f"`f{n}` moved up by 0.4 sd"}
        for n in range(5)
    ]
    alert = {
        "id": "alert_1",
        "model": "churn",
        "family": "features",
        "state": state,
        "severity": "critical",
        "opened_at": "2027-01-15T07:00:00Z",
        "first_evidence_at": "2027-01-15T06:00:00Z",
        "resolved_at": "2027-01-15T08:00:00Z" if state == "resolved" else None,
        "evidence": 9120.4,
        "budget": {"false_alarms": 1, "per": "90d", "threshold": 2160.0},
        "causes": causes,
        "text": "churn: `f0` moved up by 0.4 sd (and 4 more)",
        "url": "https://keepwatch.example/alerts/alert_1",
    }
    body = json.dumps({"type": type_, "timestamp": "2027-01-15T08:00:00Z", "data": alert | data})
    return Delivery(id_, 1, "channel_1", "alert_1", type_, body, NOW, "pending", 0, NOW, "me", NOW, None)


def cause(feature: str | None = "distance", share: float = 1.0, metric: str = "psi", **more: Any) -> Cause:
    values: dict[str, Any] = {"segment": None, "effect": 0.3, "low": 0.2, "high": 0.4, "text": f"PSI of {feature} 0.3"}
    return Cause(metric=metric, feature=feature, share=share, **{**values, **more})


def verdict(
    action: str = "open", severity: str = "warning", causes: tuple[Cause, ...] | None = None, **more: Any
) -> Verdict:
    values: dict[str, Any] = {
        "family": "features",
        "action": action,
        "window_start": NOW - 3_600_000_000,
        "window_end": NOW,
        "first_evidence_at": NOW - 7_200_000_000,
        "evidence": 3000.5,
        "threshold": 2160.0,
        "causes": (cause(),) if causes is None else causes,
        "severity": severity,
    }
    return Verdict(**{**values, **more})
