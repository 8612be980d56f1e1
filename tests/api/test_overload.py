"""Slow clients, crowds and floods over real sockets: each is told what to do, and others are served meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.api import connections
from monitor.api.connections import PatientProtocol
from monitor.app import create_app
from monitor.ingest import writer
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing

WAITING_ROWS = 100


class Served:
    """The application behind uvicorn in a thread, with short deadlines and little room."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.engine = engine
        app = create_app(settings, engine, Writer(engine, settings))
        config = uvicorn.Config(app, http=PatientProtocol, lifespan="on", log_config=None, timeout_graceful_shutdown=3)
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.key = self.make_key()
        assert self.call("PUT", "/v1/models/m", json={"task": "binary"}).status_code == 201

    def make_key(self) -> str:
        with writing(self.engine) as connection:
            return keys.create_key(connection, 1, "flood", "admin", clock.now())

    def call(self, method: str, path: str, key: str = "", **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.key}"}
        url = f"http://{self.address[0]}:{self.address[1]}{path}"
        return httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **more)

    def head(self, length: int | None, kind: str = "application/json", path: str = "/v1/models/m/predictions") -> bytes:
        size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        return (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: {kind}\r\n{size}\r\n\r\n"
        ).encode()

    def raw(self, *sent: bytes) -> socket.socket:
        made = socket.create_connection(self.address, timeout=15)
        for data in sent:
            made.sendall(data)
        return made

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


def answer_of(client: socket.socket) -> bytes:
    """What comes until the connection ends."""
    parts = []
    try:
        while data := client.recv(65536):
            parts.append(data)
    except ConnectionResetError:
        pass
    client.close()
    return b"".join(parts)


@pytest.fixture
def served(sqlite_settings: Settings, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(connections, "FIRST_SECONDS", 1.0)
    monkeypatch.setattr(connections, "_TICK", 0.1)
    monkeypatch.setattr(connections, "BYTES_A_SECOND", 1000)
    monkeypatch.setattr(writer, "MAX_WAITING_ROWS", WAITING_ROWS)
    made = Served(sqlite_settings, sqlite_engine)
    yield made
    made.stop()


def test_slow_clients_are_cut_off_and_hold_up_nobody(served: Served) -> None:
    began = time.monotonic()
    head = served.head(1000)
    slow = {
        "header": served.raw(head[:40]),
        "body": served.raw(head, b'{"id'),
        "lines": served.raw(served.head(None, "application/x-ndjson"), b'5\r\n{"id"\r\n'),
        "answered": served.raw(head.replace(b"Bearer kw", b"Bearer no"), b"{"),  # 401 at once; its body never ends
    }
    idle = served.raw()
    crowd = [served.raw(head[:30]) for _ in range(50)]
    assert served.call("POST", "/v1/models/m/predictions", json={"id": "a", "prediction": 1}).status_code == 200
    for name, client in slow.items():
        status = answer_of(client).split(b"\r\n")[0]
        assert (b"401" if name == "answered" else b"408") in status, (name, status)
    assert answer_of(idle) == b""
    for client in crowd:
        assert b"408" in answer_of(client)
    assert time.monotonic() - began < 12


def test_a_body_that_comes_fast_enough_may_take_its_time(served: Served) -> None:
    client = served.raw(served.head(None, "application/x-ndjson"))
    line = b'{"id": "%d", "prediction": 1, "tags": {"pad": "' + b"x" * 230 + b'"}}\n'
    for number in range(25):  # 3,000 bytes a second for two and a half
        data = line % number
        client.sendall(b"%x\r\n" % len(data) + data + b"\r\n")
        time.sleep(0.1)
    client.sendall(b"0\r\n\r\n")
    received = client.recv(65536)
    client.close()
    assert b" 200 " in received and b'"accepted":25' in received


def test_a_header_without_end_and_a_crowd_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = served.raw(b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000)
    assert b" 431 " in answer_of(client)
    monkeypatch.setattr(PatientProtocol, "limit", 5)
    crowd = [served.raw() for _ in range(8)]
    answers = [answer_of(one) for one in crowd]
    refused = [answer for answer in answers if b" 503 " in answer and b"retry-after" in answer]
    assert len(refused) >= 3
    assert served.call("GET", "/livez").status_code == 200


def rows(prefix: str, count: int) -> dict[str, Any]:
    return {"rows": [{"id": f"{prefix}{i}", "prediction": 1} for i in range(count)]}


def test_a_flood_is_answered_with_429_or_503_and_small_senders_get_through(served: Served) -> None:
    small, third = served.make_key(), served.make_key()
    path = "/v1/models/m/predictions"
    with ThreadPoolExecutor(40) as pool:

        def post(key: str, body: Any) -> httpx.Response:
            return served.call("POST", path, key, json=body)

        with writing(served.engine):  # nobody else can commit: what is sent waits
            flood = [pool.submit(post, served.key, rows(f"flood{i} ", 10)) for i in range(20)]
            wait_until(lambda: sum(one.done() for one in flood) >= 10)
            rejected = [one.result() for one in flood if one.done()]
            few = pool.submit(post, small, rows("small ", 1))
            more = [pool.submit(post, third, rows(f"third{i} ", 15)) for i in range(4)]
            wait_until(lambda: any(one.done() for one in more))
            crowded = [one.result() for one in more if one.done()]
            assert not few.done()
        answers = [one.result() for one in [*flood, few, *more]]
    assert {one.status_code for one in rejected} == {429}
    assert {one.status_code for one in crowded} <= {429, 503}
    for answer in answers:
        if answer.status_code == 200:
            assert answer.json()["accepted"]
        else:
            assert int(answer.headers["retry-after"]) >= 1, answer.text
            assert answer.json()["status"] == answer.status_code
    assert few.result().status_code == 200
    again = served.call("POST", path, json=rows("flood0 ", 10))
    assert again.status_code == 200 and again.json()["accepted"] + again.json()["duplicates"] == 10


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_cannot_be_served_is_told_before_the_body_is_read(served: Served) -> None:
    with ThreadPoolExecutor(1) as pool, writing(served.engine):
        waiting = pool.submit(served.call, "POST", "/v1/models/m/predictions", json=rows("w", WAITING_ROWS // 2))
        wait_until(lambda: served.call("POST", "/v1/models/m/predictions", content=b"not read").status_code == 429)
        client = served.raw(served.head(5_000_000), b"{")  # the rest is never sent
        assert b" 429 " in client.recv(65536).split(b"\r\n")[0] + b" "
        client.close()
    assert json.loads(waiting.result().content)["accepted"] == WAITING_ROWS // 2


@pytest.mark.parametrize(("path", "kind"), [("/v1/kserve", "application/json"), ("/v1/logs", "application/x-protobuf")])
def test_what_other_systems_send_comes_through_the_same_door(served: Served, path: str, kind: str) -> None:
    other = served.make_key()
    events = [event(f"call {i}", side) for i in range(6) for side in ("request", "response")]
    with ThreadPoolExecutor(16) as pool:
        with writing(served.engine):  # nobody else can commit: what is sent waits
            waiting = pool.submit(served.call, "POST", "/v1/models/m/predictions", json=rows("w", WAITING_ROWS // 2))
            wait_until(lambda: served.call("POST", path, content=b"not read").status_code == 429)
            client = served.raw(served.head(5_000_000, kind, path), b"{")  # the rest is never sent
            answer = client.recv(65536)
            assert b" 429 " in answer.split(b"\r\n")[0] + b" " and b"retry-after" in answer
            client.close()
            flood = [pool.submit(served.call, "POST", "/v1/kserve?model=m", other, json=one) for one in events]
            wait_until(lambda: any(one.done() for one in flood))
        answers = [one.result() for one in [waiting, *flood]]
    assert {one.status_code for one in answers} <= {200, 429, 503} and answers[0].status_code == 200
    assert all(int(one.headers["retry-after"]) >= 1 for one in answers if one.status_code != 200)
    for one in events:  # as a sender does that was told to come again
        assert served.call("POST", "/v1/kserve?model=m", other, json=one).status_code == 200
    for number in range(6):
        found = served.call("GET", f"/v1/models/m/predictions/call {number}%239").json()
        assert [row["prediction"] for row in found["predictions"]] == ["1"], found


def event(call: str, side: str) -> dict[str, Any]:
    data = {"instances": [{"x": 1.5}] * 10} if side == "request" else {"predictions": [1] * 10}
    return {"specversion": "1.0", "id": call, "type": f"org.kubeflow.serving.inference.{side}", "data": data}


def test_a_body_that_is_half_here_when_the_service_stops_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FIRST_SECONDS", 60)
    half = served.raw(served.head(1000), b'{"id"')
    lines = served.raw(served.head(None, "application/x-ndjson"), b'5\r\n{"id"\r\n')
    time.sleep(0.2)
    began = time.monotonic()
    served.server.should_exit = True
    for client in (half, lines):
        answer = answer_of(client)
        assert b" 503 " in answer.split(b"\r\n")[0] + b" " and b"retry-after" in answer, answer
    served.thread.join(10)
    assert not served.thread.is_alive() and time.monotonic() - began < 5
