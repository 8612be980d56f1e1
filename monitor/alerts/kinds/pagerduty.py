"""PagerDuty by its Events API v2: one incident for one alert, triggered, acknowledged and resolved under one key."""

import re
from typing import Any

import orjson

from monitor import clock
from monitor.alerts.message import Message, read_message, told
from monitor.alerts.sending import Means, Receipt, check_http, clip, post_json
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

URL = "https://events.pagerduty.com/v2/enqueue"
# PagerDuty's limits, in characters.
MAX_SUMMARY, MAX_KEY = 1024, 255
SEVERITIES = ("critical", "error", "warning", "info")
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")


def send_pagerduty(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """POST the event; a test opens an incident and resolves it at once, so that nobody stays paged."""
    message = read_message(delivery)
    receipt = post_json(channel, channel.url, event(channel.secret, message, delivery, now), now, means)
    if message.type == "channel.test":
        closing = event(channel.secret, message, delivery, now, "resolve")
        receipt = post_json(channel, channel.url, closing, now, means)
    return receipt


def event(
    routing_key: str, message: Message, delivery: Delivery, now: int, action: str | None = None
) -> dict[str, Any]:
    """The event; the alert's id is the key, so that every message about an alert lands on its incident."""
    test = message.type == "channel.test"
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action or _action(message),
        "dedup_key": clip(delivery.id if test else f"keepwatch:{message.alert_id}", MAX_KEY),
        "payload": {
            "summary": clip(message.text, MAX_SUMMARY),
            "source": message.model or "keepwatch",
            "severity": message.severity if message.severity in SEVERITIES else "info" if test else "warning",
            "timestamp": clock.render(min(now, clock.parse(message.at))),
            "component": message.model or "keepwatch",
            "group": message.model or "keepwatch",
            "class": message.family or "channel",
            "custom_details": _details(message, delivery),
        },
        "client": "Keepwatch",
    }
    if message.url:
        body["client_url"] = message.url
        body["links"] = [{"href": message.url, "text": "Open in Keepwatch"}]
    return body


def check_pagerduty(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """The Events API's URL (without one that of the US service) and the integration's key.

    Raises:
        Invalid: names the field.
    """
    url = check_http(url or URL, means)
    if not secret or not _ROUTING_KEY.fullmatch(secret):
        detail = "must be the integration key (routing key) of an Events API v2 integration: 32 letters and digits"
        raise Invalid.field("secret", detail)
    return url, secret


def _action(message: Message) -> str:
    if message.type == "alert.resolved" or (message.type == "alert.digest" and message.state == "resolved"):
        return "resolve"
    return "acknowledge" if message.type == "alert.acknowledged" else "trigger"


def _details(message: Message, delivery: Delivery) -> dict[str, Any]:
    details: dict[str, Any] = dict(message.facts)
    details |= {f"cause {place}": told(cause) for place, cause in enumerate(message.causes, 1)}
    if message.more:
        details["more causes"] = message.more
    data = orjson.loads(delivery.body).get("data") or {}
    return details | {"alert": message.alert_id, "budget": data.get("budget")}
