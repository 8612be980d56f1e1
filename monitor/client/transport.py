"""One HTTP connection to the service, on the standard library; its modules are loaded when the first row is sent."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any
    from urllib.parse import SplitResult


MAX_ANSWER = 4 << 20  # bytes that are read of an answer


class Unreachable(Exception):
    """No answer came: nobody knows whether the request was done."""


class Answer:
    """What came back; `content` is the parsed JSON object, or None when it was none."""

    def __init__(self, status: int, retry_after: str | None, content: dict[str, Any] | None) -> None:
        self.status, self.retry_after, self.content = status, retry_after, content


def checked_url(url: str) -> SplitResult:
    """The parts of the service's address.

    Raises:
        ValueError: it is no http(s) address.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url: the address of the service, for instance https://keepwatch.example.org")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("url: scheme, host, port and path only; the key is given by key=")
    return parts


class Transport:
    """Posts JSON; the connection is kept between requests, and made again after a failure. Follows no redirects."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self._parts = checked_url(url)
        self._timeout = timeout
        self._connection: Any = None
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "keepwatch-client",
        }

    def post(self, path: str, body: bytes) -> Answer:
        """One request.

        Raises:
            Unreachable: there was no whole answer.
        """
        import http.client

        kept = self._connection is not None
        try:
            return self._post(path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if kept and not isinstance(error, TimeoutError):
                return self.post(path, body)  # the service had closed a connection that nobody used for a while
            raise Unreachable(f"{type(error).__name__}: {error}") from None

    def _post(self, path: str, body: bytes) -> Answer:
        connection = self._connected()
        connection.request("POST", self._parts.path.rstrip("/") + path, body, self._headers)
        response = connection.getresponse()
        raw = response.read(MAX_ANSWER)
        if not response.isclosed() or response.will_close:
            self.close()
        return Answer(response.status, response.headers.get("Retry-After"), _parsed(raw))

    def _connected(self) -> Any:
        if self._connection is None:
            import http.client

            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                import ssl

                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        return self._connection

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _parsed(raw: bytes) -> dict[str, Any] | None:
    import json

    try:
        content = json.loads(raw)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
