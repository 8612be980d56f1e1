"""One request to a receiver with whatever habits, over real sockets."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest

from monitor.alerts import guard
from monitor.alerts.guard import MAX_REPLY, Failed, Reply
from tests.alerts.receivers import Handler, Receiver, cut, drip, flood, hang
from tests.alerts.test_addresses import answering

LOOPBACK = [ip_network("127.0.0.0/8")]
PEM = Path(__file__).parent / "certificates" / "receiver.pem"  # for receiver.example, by itself, until 2126

Receivers = Callable[..., Receiver]


def _post(receiver: Receiver, deadline: float = 5.0) -> Reply:
    return guard.post(receiver.url, {"content-type": "application/json"}, b"{}", networks=LOOPBACK, deadline=deadline)


def test_a_request_says_who_it_is_for_and_asks_for_no_compression(receiver: Receivers) -> None:
    one = receiver()
    assert _post(one) == Reply(204, "", None)
    ((headers, body, path),) = one.requests
    assert headers["host"] == f"127.0.0.1:{one.port}" and headers["accept-encoding"] == "identity"
    assert headers["content-length"] == "2" and body == b"{}" and path == "/hooks/token-in-the-path"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receivers, status: int) -> None:
    inner = receiver()
    outer = receiver(lambda handler, number: handler.answer(status, location=inner.url))
    assert _post(outer).status == status
    assert inner.requests == [] and len(outer.requests) == 1


def test_no_proxy_of_the_environment_is_used(receiver: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, one = receiver(), receiver()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    _post(one)
    assert len(one.requests) == 1 and proxy.requests == []


def test_a_huge_answer_is_read_to_64_kib(receiver: Receivers) -> None:
    started = time.perf_counter()
    reply = _post(receiver(flood))
    assert reply.status == 200 and len(reply.text) == MAX_REPLY
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("habit", [hang, drip])
def test_one_deadline_covers_silence_and_dripping(receiver: Receivers, habit: Callable[[Handler, int], None]) -> None:
    started = time.perf_counter()
    with pytest.raises(Failed, match="too long"):
        _post(receiver(habit), deadline=0.3)
    assert time.perf_counter() - started < 1


def test_a_body_that_breaks_off_does_not_undo_the_status(receiver: Receivers) -> None:
    def half(handler: Handler, number: int) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")

    assert _post(receiver(half)).status == 200


def test_a_receiver_that_hangs_up_or_is_not_there_is_a_failure(receiver: Receivers) -> None:
    gone = receiver(cut)
    with pytest.raises(Failed):
        _post(gone)
    gone.close()
    with pytest.raises(Failed, match="refused the connection"):
        _post(gone)


def test_a_name_without_an_address_is_a_failure() -> None:
    def unknown(*arguments: object, **more: object) -> list[tuple[object, ...]]:
        raise OSError

    with pytest.raises(Failed, match="could not be resolved"):
        guard.post("http://name.example/", {}, b"", resolve=unknown)


def _tls_receiver(receiver: Receivers, names: list[str | None]) -> Receiver:
    """A receiver that speaks TLS and notes the name that each client asked for."""
    one = receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    plain = one.get_request

    def get_request() -> tuple[ssl.SSLSocket, object]:
        connection, address = plain()
        return context.wrap_socket(connection, server_side=True), address

    one.get_request = get_request  # type: ignore[method-assign,assignment]
    return one


def test_tls_is_made_with_the_name_and_not_with_the_address_that_was_dialled(receiver: Receivers) -> None:
    names: list[str | None] = []
    one = _tls_receiver(receiver, names)
    reply = guard.post(
        f"https://receiver.example:{one.port}/hook",
        {},
        b"{}",
        networks=LOOPBACK,
        deadline=5,
        resolve=answering("127.0.0.1"),
        tls=ssl.create_default_context(cafile=str(PEM)),
    )
    assert reply.status == 204 and names == ["receiver.example"]
    assert one.requests[0][0]["host"] == f"receiver.example:{one.port}"


@pytest.mark.parametrize(("name", "trust"), [("other.example", str(PEM)), ("receiver.example", None)])
def test_a_wrong_certificate_ends_the_attempt(receiver: Receivers, name: str, trust: str | None) -> None:
    one = _tls_receiver(receiver, [])
    with pytest.raises(Failed, match="certificate"):
        guard.post(
            f"https://{name}:{one.port}/",
            {},
            b"{}",
            networks=LOOPBACK,
            deadline=5,
            resolve=answering("127.0.0.1"),
            tls=ssl.create_default_context(cafile=trust) if trust else None,
        )
    assert one.requests == []


def test_an_address_that_answers_nothing_leaves_time_for_the_next(receiver: Receivers) -> None:
    """As where the network drops IPv6: the first address has a queue that is full, so that Linux drops what comes."""
    one = receiver()
    with socket.socket() as silent, ExitStack() as waiting:
        silent.bind(("127.0.0.2", one.port))
        silent.listen(0)
        for _ in range(3):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.2", one.port))
        resolve = answering("127.0.0.2", "127.0.0.1")
        found = guard.post(f"http://two.example:{one.port}/", {}, b"", networks=LOOPBACK, deadline=2.0, resolve=resolve)
    assert found.status == 204 and len(one.requests) == 1


def test_many_requests_at_once_do_not_share_deadlines(receiver: Receivers) -> None:
    slow, fast = receiver(hang), receiver()
    failed: list[bool] = []

    def wait() -> None:
        with pytest.raises(Failed):
            _post(slow, deadline=0.5)
        failed.append(True)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    assert _post(fast).status == 204 and time.perf_counter() - started < 0.4
    for thread in threads:
        thread.join()
    assert failed == [True] * 3
