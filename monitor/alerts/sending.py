"""What the kinds of channel share: how a delivery ends, what it may use, and what may be shown of a destination."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
from pydantic import SecretStr

from monitor import clock
from monitor.alerts import guard
from monitor.alerts.addresses import Network, Refused, check_url, read_url
from monitor.alerts.picture import Curve
from monitor.errors import Invalid, KeepwatchError
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

MAX_RESPONSE = 1000  # characters of an answer that are kept
SHORTEST_TOKEN = 6  # a part of a URL that is shorter is no credential
HIDDEN = "\N{HORIZONTAL ELLIPSIS}"
JSON = {"content-type": "application/json"}


class SendError(KeepwatchError):
    """A delivery did not arrive. The message holds no secret and of the URL no more than the host.

    `permanent`: this destination takes nothing any more, the channel is to be switched off. `retry_after`: the seconds
    that the receiver asked for. `status` and `response`: what it answered, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        retry_after: int | None = None,
        status: int | None = None,
        response: str | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after
        self.status = status
        self.response = response


@dataclass(frozen=True)
class Receipt:
    """What a receiver answered to a delivery that it took; `status` is None where it is no HTTP."""

    status: int | None
    response: str


def no_curve(delivery: Delivery) -> Curve | None:
    """For those who have no numbers at hand."""
    return None


@dataclass(frozen=True)
class Means:
    """What a sender may use: private networks it may reach, the mail server, and the curve behind a delivery."""

    networks: tuple[Network, ...] = ()
    smtp_url: SecretStr | None = None
    curve: Callable[[Delivery], Curve | None] = field(default=no_curve, repr=False)


@dataclass(frozen=True)
class Kind:
    """A kind of channel.

    `send(channel, delivery, now, means)` delivers or raises SendError. `check(url, secret, means)` looks at the URL and
    secret of a new channel and returns both as they are stored; it raises Invalid, naming the field. `place(url)` is
    what may be shown of a URL. `signs`: the secret is made here and shown once, to verify what arrives.
    """

    send: Callable[[Channel, Delivery, int, Means], Receipt]
    check: Callable[[str | None, str | None, Means], tuple[str, str]]
    place: Callable[[str], str]
    signs: bool = False


def post(channel: Channel, url: str, headers: Mapping[str, str], body: bytes, now: int, means: Means) -> Receipt:
    """POST through the guard; 2xx is a success, 410 the end of the channel.

    Raises:
        SendError: no answer, or another one.
    """
    host = host_of(url)
    try:
        reply = guard.post(url, headers, body, networks=means.networks, deadline=guard.DEADLINE)
    except (Refused, guard.Failed) as error:
        raise SendError(f"{host}: {error}") from None
    response = redact(reply.text, channel)[:MAX_RESPONSE]
    if 200 <= reply.status < 300:
        return Receipt(reply.status, response)
    raise SendError(
        f"{host} answered {_status_words(reply.status)}",
        permanent=reply.status == HTTPStatus.GONE,
        retry_after=read_retry_after(reply.retry_after, now),
        status=reply.status,
        response=response,
    )


def post_json(
    channel: Channel, url: str, body: Any, now: int, means: Means, headers: Mapping[str, str] | None = None
) -> Receipt:
    """POST an object as JSON. Raises SendError as `post` does."""
    return post(channel, url, {**JSON, **(headers or {})}, orjson.dumps(body), now, means)


def check_http(url: str | None, means: Means) -> str:
    """The URL of a new channel that is reached by HTTP.

    Raises:
        Invalid: names the field, does not repeat it.
    """
    if url is None:
        raise Invalid.field("url", "is required")
    try:
        check_url(url, means.networks)
    except Refused as error:
        raise Invalid.field("url", str(error)) from None
    return url


def no_secret(secret: str | None, instead: str) -> str:
    """For kinds whose URL is the credential. Raises Invalid when there is a secret all the same."""
    if secret:
        raise Invalid.field("secret", f"this kind has none: {instead}")
    return ""


def host_of(url: str) -> str:
    """What may be shown of a URL: its host. The rest is often a credential."""
    try:
        return read_url(url).authority
    except Refused:
        return "the receiver"


def http_place(url: str) -> str:
    """An HTTP URL as it may be shown: scheme and host."""
    return f"{url.partition('://')[0].lower()}://{host_of(url)}/{HIDDEN}"


def redact(text: str, channel: Channel) -> str:
    """A text of the receiver's without this channel's credentials, should it repeat them, and without NUL."""
    for token in sorted(_tokens(channel), key=len, reverse=True):
        text = text.replace(token, HIDDEN)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _tokens(channel: Channel) -> set[str]:
    found = {channel.url}
    for secret in (channel.secret, channel.previous_secret):
        found |= {secret, secret.removeprefix("whsec_"), *secret.split(":")}
        found.add(base64.b64encode(secret.encode()).decode())  # as HTTP Basic carries it
    try:
        parts = urlsplit(channel.url)
    except ValueError:
        parts = urlsplit("")
    pieces = [parts.path, parts.query, parts.username, parts.password, *parts.path.split("/")]
    pieces += [value for _, value in parse_qsl(parts.query)]
    pieces += [one.partition("=")[2] for one in parts.query.split("&")]  # as it stands there, still escaped
    if parts.scheme not in ("http", "https", "mailto"):
        pieces.append(parts.netloc)  # of apprise's URLs the host is often a token too
    for piece in pieces:
        found |= {piece or "", unquote(piece or "")}
    return {token for token in found if len(token) >= SHORTEST_TOKEN}


def read_retry_after(value: str | None, now: int) -> int | None:
    """Seconds of a Retry-After header, which is a number of seconds or an HTTP date; None when it is neither."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        at = clock.from_datetime(parsedate_to_datetime(value))
    except (ValueError, OverflowError):
        return None
    return max(0, -((now - at) // clock.SECOND))


def clip(text: str, length: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= length else text[: length - 1] + HIDDEN


def _status_words(status: int) -> str:
    if 300 <= status < 400:
        return f"{status}: redirects are not followed"
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
