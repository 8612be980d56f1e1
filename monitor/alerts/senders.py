"""How a delivery leaves, by the kind of its channel.

A sender is one function. It ends well, with what the receiver answered, or raises SendError; it knows nothing of
retries, leases or tables. A new kind is one function and one line in KINDS.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from monitor import clock
from monitor.alerts import guard
from monitor.alerts.addresses import Network, Refused, check_url, read_url
from monitor.errors import Invalid, KeepwatchError
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

PREFIX = "whsec_"
SECRET_BYTES = 32
SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # bytes, as Standard Webhooks has it
MAX_RESPONSE = 1000  # characters of an answer that are kept


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
    """What a receiver answered to a delivery that it took."""

    status: int
    response: str


@dataclass(frozen=True)
class Kind:
    """A kind of channel: `send` delivers; `check` looks at the URL and secret of a new one and returns the secret.

    `check` raises Invalid, naming the field.
    """

    send: Callable[[Channel, Delivery, int, Iterable[Network]], Receipt]
    check: Callable[[str, str | None, Iterable[Network]], str]


def send(channel: Channel, delivery: Delivery, now: int, networks: Iterable[Network]) -> Receipt:
    """Make one attempt. `networks` are the private ones that may be reached.

    Raises:
        SendError: it did not arrive.
    """
    return KINDS[channel.kind].send(channel, delivery, now, networks)


def send_webhook(channel: Channel, delivery: Delivery, now: int, networks: Iterable[Network]) -> Receipt:
    """POST the body, signed as Standard Webhooks 1.0 says. 2xx is a success, 410 switches the channel off."""
    body = delivery.body.encode()
    timestamp = now // clock.SECOND
    headers = {
        "content-type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(channel.secret, delivery.id, timestamp, body),
    }
    try:
        reply = guard.post(channel.url, headers, body, networks=networks, deadline=guard.DEADLINE)
    except (Refused, guard.Failed) as error:
        raise SendError(f"{host_of(channel.url)}: {error}") from None
    response = reply.text[:MAX_RESPONSE].replace("\0", "\N{REPLACEMENT CHARACTER}")
    if 200 <= reply.status < 300:
        return Receipt(reply.status, response)
    raise SendError(
        f"{host_of(channel.url)} answered {_status_words(reply.status)}",
        permanent=reply.status == HTTPStatus.GONE,
        retry_after=read_retry_after(reply.retry_after, now),
        status=reply.status,
        response=response,
    )


def check_webhook(url: str, secret: str | None, networks: Iterable[Network]) -> str:
    """The secret of a new webhook channel: the one that was given, or a new one.

    Raises:
        Invalid: the URL or the secret; repeats neither.
    """
    try:
        check_url(url, networks)
    except Refused as error:
        raise Invalid.field("url", str(error)) from None
    if secret is None:
        return new_secret()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        raise Invalid.field("secret", f"must be {PREFIX} and the base64 of {SHORTEST_SECRET} to {LONGEST_SECRET} bytes")
    return secret


# Every kind of channel there is.
KINDS: dict[str, Kind] = {
    "webhook": Kind(send_webhook, check_webhook),
}


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature header: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body` (timestamp: Unix seconds)."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def host_of(url: str) -> str:
    """What may be shown of a URL: its host. The rest is often a credential."""
    try:
        return read_url(url).authority
    except Refused:
        return "the receiver"


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


def _status_words(status: int) -> str:
    if 300 <= status < 400:
        return f"{status}: redirects are not followed"
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
