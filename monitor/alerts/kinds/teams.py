"""Microsoft Teams by a workflow ("Post to a channel when a webhook request is received"): an Adaptive Card."""

import base64
from typing import Any

import orjson

from monitor.alerts.addresses import read_url
from monitor.alerts.message import Message, read_message, told
from monitor.alerts.picture import draw
from monitor.alerts.sending import Means, Receipt, check_http, clip, no_secret, post_json
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

MAX_BODY = 28_000  # bytes that Teams takes of one message
MAX_TEXT = 1500  # characters of one text
COLOURS = {"critical": "attention", "warning": "warning"}
RETIRED = (".webhook.office.com", ".office.com", "outlook.office365.com")


def send_teams(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """POST the card, with the chart where it fits."""
    message, curve = read_message(delivery), means.curve(delivery)
    picture = draw(curve) if curve is not None else None
    body = teams_body(message, picture, curve.title if curve else "")
    if len(orjson.dumps(body)) > MAX_BODY:
        body = teams_body(message)
    return post_json(channel, channel.url, body, now, means)


def teams_body(message: Message, picture: bytes | None = None, picture_words: str = "") -> dict[str, Any]:
    """A message with one card of version 1.4. Names stand in text runs, where no Markdown is read."""
    colour = "good" if message.state == "resolved" else COLOURS.get(message.severity, "default")
    body = [
        _text(message.title, size="large", weight="bolder", color=colour),
        _text(message.text),
        *(_fact(name, value) for name, value in message.facts),
    ]
    if picture is not None:
        data = "data:image/png;base64," + base64.b64encode(picture).decode()
        body.append({"type": "Image", "url": data, "altText": clip(picture_words, MAX_TEXT), "size": "stretch"})
    if message.causes:
        body.append(_text("Strongest causes", weight="bolder"))
        body += [_text(f"{place}. {told(cause)}") for place, cause in enumerate(message.causes, 1)]
        if message.more:
            body.append(_text(f"and {message.more} more"))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "full"},
    }
    if message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in Keepwatch", "url": message.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def check_teams(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """A workflow's URL; the connectors that came before take nothing any more.

    Raises:
        Invalid: names the field.
    """
    url = check_http(url, means)
    if read_url(url).host.endswith(RETIRED):
        detail = "is a connector, which Microsoft has retired: make a workflow with a webhook trigger and take its URL"
        raise Invalid.field("url", detail)
    return url, no_secret(secret, "the URL of a workflow is the credential")


def _text(text: str, **looks: str) -> dict[str, Any]:
    run = {"type": "TextRun", "text": clip(text, MAX_TEXT), **looks}
    return {"type": "RichTextBlock", "inlines": [run]}


def _fact(name: str, value: str) -> dict[str, Any]:
    runs = [
        {"type": "TextRun", "text": f"{name}: ", "weight": "bolder"},
        {"type": "TextRun", "text": clip(value, MAX_TEXT)},
    ]
    return {"type": "RichTextBlock", "inlines": runs}
