"""Slack by an incoming webhook, and what understands its bodies (Mattermost, Rocket.Chat): Block Kit blocks."""

from typing import Any

from monitor.alerts.addresses import read_url
from monitor.alerts.message import Message, read_message, told
from monitor.alerts.sending import Means, Receipt, check_http, clip, no_secret, post_json
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

# Slack's limits, in characters.
MAX_HEADER, MAX_SECTION, MAX_FIELD, MAX_TEXT, MAX_LINK = 150, 3000, 2000, 4000, 3000
SIGNS = {"critical": "\N{LARGE RED CIRCLE}", "warning": "\N{LARGE ORANGE CIRCLE}"}
RESOLVED = "\N{WHITE HEAVY CHECK MARK}"


def send_slack(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """POST the message as blocks, with a text for notifications."""
    return post_json(channel, channel.url, slack_body(read_message(delivery)), now, means)


def slack_body(message: Message) -> dict[str, Any]:
    """Header, sentence, facts, causes and a button; within Slack's limits whatever the names are."""
    sign = RESOLVED if message.state == "resolved" else SIGNS.get(message.severity, "")
    heading = clip(f"{sign} {message.title}".strip(), MAX_HEADER)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": True}},
        _section(escape(message.text)),
    ]
    if message.facts:
        fields = [
            {"type": "mrkdwn", "text": clip(f"*{name}*\n{escape(value)}", MAX_FIELD)} for name, value in message.facts
        ]
        blocks.append({"type": "section", "fields": fields})
    if message.causes:
        lines = [f"{place}. {escape(told(cause))}" for place, cause in enumerate(message.causes, 1)]
        if message.more:
            lines.append(f"and {message.more} more")
        blocks.append(_section("*Strongest causes*\n" + "\n".join(lines)))
    if message.url and len(message.url) <= MAX_LINK:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open in Keepwatch"}, "url": message.url}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": clip(escape(f"{message.title}: {message.text}"), MAX_TEXT), "blocks": blocks}


def check_slack(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """An incoming webhook's URL; of Slack's own addresses only those that take a message.

    Raises:
        Invalid: names the field.
    """
    url = check_http(url, means)
    target = read_url(url)
    if target.host == "slack.com" or target.host.endswith(".slack.com"):
        if target.host != "hooks.slack.com" or not target.path.startswith("/services/"):
            raise Invalid.field("url", "must be an incoming webhook: https://hooks.slack.com/services/T…/B…/…")
        if target.scheme != "https":
            raise Invalid.field("url", "must start with https://")
    return url, no_secret(secret, "the URL of an incoming webhook is the credential")


def escape(text: str) -> str:
    """Slack's own escaping: without it a feature's name could mention everybody or forge a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": clip(text, MAX_SECTION)}}
