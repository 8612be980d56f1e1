"""A webhook receiver on 127.0.0.1, as a user of Keepwatch would write one.

The signature is verified by hand, from the text of the specification (Standard Webhooks): base64 of the HMAC-SHA256 of
`id.timestamp.body`, with the bytes after `whsec_` as the key.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_SECONDS = 300


@dataclass(frozen=True)
class Received:
    """One delivery whose signature was right: its webhook-id, its type, and the alert it tells of."""

    id: str
    type: str
    data: dict[str, Any]


def verify(secret: str, headers: dict[str, str], body: bytes, now: float) -> str | None:
    """None when the delivery is genuine and fresh, else what is wrong with it."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(now - int(sent_at)) > TOLERANCE_SECONDS:
        return "the timestamp is missing or too old"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{sent_at}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    for signature in headers.get("webhook-signature", "").split():
        version, _, value = signature.partition(",")
        if version == "v1" and hmac.compare_digest(value, expected):
            return None
    return "the signature does not fit"


class Receiver:
    """Listens until `close`; keeps every genuine delivery once, however often it was sent."""

    def __init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.received: dict[str, Received] = {}
        self.refused: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Check and keep a delivery; returns the status to answer with."""
        wrong = verify(self.secret, headers, body, time.time())
        if wrong is not None:
            self.refused.append(wrong)
            return 401
        content = json.loads(body)
        one = Received(headers["webhook-id"], content["type"], content["data"])
        self.received.setdefault(one.id, one)
        return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is http.server's
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Nothing: the demo prints what arrived at its end."""

        return Handler
