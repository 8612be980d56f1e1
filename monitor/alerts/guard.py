"""Outgoing HTTP to addresses that users wrote down, without lending them our place in the network.

The host is resolved once, every address it resolves to is checked, and the connection is made to an address that was
checked, with the name kept for TLS and the Host header. No redirect is followed, no proxy or other setting of the
environment is read, at most 64 KiB of the answer are read, and one deadline covers everything, however slowly it drips.
"""

import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import certifi
import httpcore

from monitor import clock
from monitor.alerts.addresses import Network, Refused, check_address, read_url
from monitor.errors import KeepwatchError

Resolve = Callable[..., Sequence[tuple[Any, ...]]]

MAX_REPLY = 64 * 1024
DEADLINE = 20.0  # seconds for one request, from the look-up of the name to the end of the answer


class Failed(KeepwatchError):
    """The receiver could not be reached, or gave no answer. The message holds no part of the URL."""


@dataclass(frozen=True)
class Reply:
    """What a receiver answered: `text` is the start of the body, `retry_after` the header as it came."""

    status: int
    text: str
    retry_after: str | None


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    networks: Iterable[Network] = (),
    deadline: float = DEADLINE,
    resolve: Resolve | None = None,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """Send one POST and return the answer, whatever its status. `deadline` is in seconds.

    Raises:
        Refused: the URL, or an address its host resolves to.
        Failed: no connection, no answer in time, or one that is not HTTP.
    """
    target = read_url(url)
    context = (tls or trusted()) if target.scheme == "https" else None  # made once, and not at the deadline's cost
    limit = _Limit(clock.monotonic() + deadline)
    backend = _Guarded(limit, tuple(networks), resolve or socket.getaddrinfo)
    fields = [
        *headers.items(),
        ("Host", target.authority),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("User-Agent", "Keepwatch"),
    ]
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, network_backend=backend, retries=0) as pool,
            pool.stream(
                "POST",
                httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
                headers=fields,
                content=body,
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), deadline)},
            ) as response,
        ):
            return Reply(response.status, _start_of(response), _retry_after(response.headers))
    except Refused:
        raise
    except httpcore.TimeoutException:
        raise Failed("the receiver took too long") from None
    except httpcore.ConnectError as error:
        raise Failed(_reason(error)) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError):
        raise Failed("the receiver closed the connection or did not answer in HTTP") from None


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Verifies names and certificates: by the system's authorities (so also an own one that was added there, or that
    OpenSSL's SSL_CERT_FILE names) and by Mozilla's, for machines that have none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class _Limit:
    """The instant at which everything ends."""

    def __init__(self, at: float) -> None:
        self.at = at

    def left(self) -> float:
        seconds = self.at - clock.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout
        return seconds


class _Guarded(httpcore.NetworkBackend):
    """Connects to checked addresses alone, and puts the deadline under every operation."""

    def __init__(self, limit: _Limit, networks: tuple[Network, ...], resolve: Resolve) -> None:
        self._limit, self._networks, self._resolve = limit, networks, resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        addresses = self._addresses(host, port)
        for behind, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            share = self._limit.left() / (behind + 1)  # one that answers nothing must leave time for the others
            try:
                return _Timed(self._plain.connect_tcp(address, port, share), self._limit)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        answers = self._answers(host, port)
        addresses = [str(answer[4][0]) for answer in answers]
        for address in addresses:  # one bad answer spoils them all
            check_address(ip_address(address), port, self._networks)
        return list(dict.fromkeys(addresses))

    def _answers(self, host: str, port: int) -> Sequence[tuple[Any, ...]]:
        """What the name resolves to. A look-up cannot be stopped, so it gets a thread that may be left behind."""
        found: queue.SimpleQueue[Sequence[tuple[Any, ...]] | None] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                found.put(self._resolve(host, port, type=socket.SOCK_STREAM))
            except Exception:  # OSError, or UnicodeError for labels that no name may have
                found.put(None)

        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            answers = found.get(timeout=self._limit.left())
        except queue.Empty:
            raise Failed("the host name could not be resolved in time") from None
        if not answers:
            raise Failed("the host name could not be resolved")
        return answers


class _Timed(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, limit: _Limit) -> None:
        self._stream, self._limit = stream, limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._limit.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._limit.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._limit.left()), self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _start_of(response: httpcore.Response) -> str:
    """The first 64 KiB of the body as text; the status is what counts, so a body that breaks off is no failure."""
    read = bytearray()
    try:
        for chunk in response.iter_stream():
            read += chunk
            if len(read) >= MAX_REPLY:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError):
        pass
    return bytes(read[:MAX_REPLY]).decode("utf-8", "replace")


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    values = [value for name, value in headers if name.lower() == b"retry-after"]
    return values[0].decode("latin-1") if values else None


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "the certificate of the receiver is not valid"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection could be made"
        if isinstance(cause, ConnectionRefusedError):
            return "the receiver refused the connection"
        cause = cause.__cause__ or cause.__context__
    return "no connection could be made"
