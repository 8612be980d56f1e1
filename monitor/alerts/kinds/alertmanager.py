"""Prometheus Alertmanager: alerts are posted to its API v2, which groups, silences and routes them further.

Alertmanager keeps alerts in memory and ends each at its `endsAt`. So what is open is told again every few minutes
(`monitor.alerts.refresh`); when Keepwatch is gone for long, Alertmanager ends its alerts by itself, as those of a
Prometheus that is gone. An alert's identity there is its label set: numbers that change stand in annotations.
"""

import base64
from typing import Any

import orjson

from monitor import clock
from monitor.alerts.message import Message, plain_text, read_message
from monitor.alerts.sending import Means, Receipt, check_http, post_json
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

PATH = "/api/v2/alerts"
REFRESH = 5 * clock.MINUTE
ENDS_AFTER = 4 * REFRESH
TEST_ENDS_AFTER = clock.MINUTE
MAX_SECRET = 1024


def send_alertmanager(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """POST the alert in the state that the message tells."""
    return post_alerts(channel, [alert_of(delivery, now)], now, means)


def post_alerts(channel: Channel, alerts: list[dict[str, Any]], now: int, means: Means) -> Receipt:
    """POST several alerts at once."""
    return post_json(channel, endpoint(channel.url), alerts, now, means, authorization(channel.secret))


def alert_of(delivery: Delivery, now: int) -> dict[str, Any]:
    """The alert as Alertmanager takes it: every label and annotation a text, `endsAt` now when it is resolved."""
    message = read_message(delivery)
    data = orjson.loads(delivery.body).get("data") or {}
    labels = {
        "alertname": _name(message),
        "model": message.model,
        "family": message.family,
        "service": "keepwatch",
        "alert_id": message.alert_id,
    }
    annotations = {
        "summary": message.text,
        "description": plain_text(message),
        "severity": message.severity,
        "state": message.state,
    }
    resolved = message.state == "resolved" and message.type != "channel.test"
    lasts = TEST_ENDS_AFTER if message.type == "channel.test" else ENDS_AFTER
    alert: dict[str, Any] = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": clock.render(_started(data, now)),
        "endsAt": clock.render(now if resolved else now + lasts),
    }
    if message.url:
        alert["generatorURL"] = message.url
    return alert


def check_alertmanager(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """The URL with or without the path of the API; the secret is empty, `user:password`, or a bearer token.

    Raises:
        Invalid: names the field.
    """
    url = check_http(url, means)
    if secret and (len(secret) > MAX_SECRET or not secret.isascii() or not secret.isprintable()):
        raise Invalid.field("secret", "must be user:password, or a bearer token, in printable ASCII")
    return url, secret or ""


def endpoint(url: str) -> str:
    """Where alerts are posted, from the address of an Alertmanager as people copy it."""
    base = url.partition("#")[0].rstrip("/")
    return base if base.endswith(PATH) else base + PATH


def authorization(secret: str) -> dict[str, str]:
    """The header for `user:password` or a bearer token; nothing without one."""
    if not secret:
        return {}
    if ":" in secret:
        return {"authorization": "Basic " + base64.b64encode(secret.encode()).decode()}
    return {"authorization": f"Bearer {secret}"}


def _name(message: Message) -> str:
    return {"channel.test": "KeepwatchTest", "channel.disabled": "KeepwatchChannel"}.get(message.type, "Keepwatch")


def _started(data: dict[str, Any], now: int) -> int:
    """When the alert opened; never later than now, since a model may have a clock of its own."""
    try:
        return min(clock.parse(str(data.get("opened_at"))), now)
    except ValueError:
        return now
