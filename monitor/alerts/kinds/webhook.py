"""Webhooks as Standard Webhooks 1.0 has them: the frozen body, signed; during a rotation with both secrets."""

import base64
import binascii
import hashlib
import hmac
import secrets

from monitor import clock
from monitor.alerts.sending import JSON, Means, Receipt, check_http, post
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

PREFIX = "whsec_"
SECRET_BYTES = 32
SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # bytes, as Standard Webhooks has it


def send_webhook(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """POST the body with its id and signatures. 2xx is a success, 410 switches the channel off."""
    body = delivery.body.encode()
    timestamp = now // clock.SECOND
    signatures = [sign(secret, delivery.id, timestamp, body) for secret in channel.secrets_at(now)]
    headers = {
        **JSON,
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
    return post(channel, channel.url, headers, body, now, means)


def check_webhook(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """URL and secret of a new webhook channel: the secret that was given, or a new one.

    Raises:
        Invalid: the URL or the secret; repeats neither.
    """
    url = check_http(url, means)
    return url, new_secret() if secret is None else check_secret(secret)


def check_secret(secret: str) -> str:
    """A secret of somebody's own. Raises Invalid when it is not one, and does not repeat it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        raise Invalid.field("secret", f"must be {PREFIX} and the base64 of {SHORTEST_SECRET} to {LONGEST_SECRET} bytes")
    return secret


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body` (timestamp: Unix seconds)."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
