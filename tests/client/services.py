"""A stand-in of the service on a real socket: it keeps what it acknowledges by id, and answers as it is told to."""

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], Any]
Rule = Callable[[str, list[dict[str, Any]]], Reply | None]


class StandIn:
    """Stores rows by (route, id). `rule` may answer instead of it; `requests` are the ids of each request."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[list[str]] = []
        self.at: list[float] = []
        self.rule: Rule | None = None
        self.then_cut = 0  # so many requests are done, and their answers never sent
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.at.append(time.monotonic())
                status, headers, content = outer.answer(self.path.rpartition("/")[2], body["rows"])
                if outer.then_cut:
                    outer.then_cut -= 1
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, route: str, rows: list[dict[str, Any]]) -> Reply:
        self.requests.append([row["id"] for row in rows])
        told = self.rule(route, rows) if self.rule else None
        return told or self.store(route, rows, {})

    def store(self, route: str, rows: list[dict[str, Any]], bad: dict[int, str]) -> Reply:
        """Keep the rows but the bad ones (place to code), and answer as the service does."""
        fresh = 0
        for place, row in enumerate(rows):
            if place not in bad:
                fresh += (route, row["id"]) not in self.rows
                self.rows[route, row["id"]] = row
        rejected = [{"index": at, "id": rows[at]["id"], "code": code, "message": "no"} for at, code in bad.items()]
        duplicates = len(rows) - len(bad) - fresh
        counts = {"accepted": fresh, "duplicates": duplicates, "revised": 0, "rejected_count": len(bad)}
        return (422 if len(bad) == len(rows) else 200), {}, counts | {"rejected": rejected}

    @property
    def ids(self) -> set[str]:
        return {row_id for _, row_id in self.rows}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def eventually(check: Callable[[], Any], timeout: float = 10.0) -> Any:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found
