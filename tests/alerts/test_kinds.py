"""What each kind of channel says, against the published limits of the services, and over real HTTP."""

import base64
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft6Validator, Draft202012Validator, ValidationError
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from dashboards.words import CAUSES
from monitor import clock
from monitor.alerts import effects
from monitor.alerts.kinds import alertmanager, pagerduty, slack, teams
from monitor.alerts.message import plain_text, read_message
from monitor.alerts.picture import Curve, draw
from monitor.alerts.senders import Means, SendError, send
from monitor.store.channels import Channel
from tests.alerts.receivers import NOW, Receiver, message

LOOPBACK = Means((ip_network("127.0.0.0/8"),))
Receivers = Callable[..., Receiver]
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
CURVE = Curve("PSI of f0", [(0.1, 0.05, 0.2)] * 40 + [(None, None, None)] + [(0.5, 0.4, 0.6)] * 9, 41)

TYPES = ["alert.firing", "alert.updated", "alert.acknowledged", "alert.resolved", "channel.test", "alert.unheard_of"]
NASTY = {
    "model": "<!channel> " + "m" * 200,
    "text": "</script><https://evil.example|click> [x](https://evil.example) & \u202e " + "t" * 5000,
    "causes": [{"metric": "psi", "text": "*_`<@U1>`_* " + "c" * 4000, "effect": None} for _ in range(20)],
    "url": "https://keepwatch.example/" + "u" * 4000,
}
BODIES = (
    [message(type_) for type_ in TYPES]
    + [message(type_, **NASTY) for type_ in TYPES]
    + [
        message("alert.firing", causes=[], evidence=None, url="/alerts/alert_1", budget=None),
        message("alert.digest", causes=None, alerts=[{"text": "one", "severity": "warning"}], evidence=None),
    ]
)


def _channel(kind: str, url: str, secret: str = "") -> Channel:
    return Channel("channel_1", 1, kind, "pager", url, secret, (), NOW)


def _sent(receiver: Receiver, number: int = -1) -> Any:
    return json.loads(receiver.requests[number][1])


def test_a_message_says_what_since_when_how_sure_and_the_three_strongest_causes() -> None:
    found = read_message(message())
    assert found.title == "Firing: churn, features" and found.text.startswith("churn: `f0` moved up")
    assert found.since == "2027-01-15 06:00 UTC"
    assert found.sure == "evidence 9,120, 4.22 times the threshold; at most 1 false alarm per 90d"
    assert [line.text for line in found.causes] == [f"`f{n}` moved up by 0.4 sd" for n in range(3)] and found.more == 2
    assert found.causes[0].effect == "effect PSI 0.3, 95 % 0.2 to 0.4"
    text = plain_text(found)
    assert "and 2 more" in text and text.rstrip().endswith("https://keepwatch.example/alerts/alert_1")


@pytest.mark.parametrize(
    ("metric", "effect", "said"),
    [
        ("accuracy", (-0.125, -0.14, -0.11), "effect -12.5 accuracy points, 95 % -14 to -11"),
        ("missing_share", (0.3, 0.2, 0.4), "effect +30 points, 95 % +20 to +40"),
        ("volume", (-0.16, -0.24, -0.07), "effect -16 %, 95 % -24 to -7"),
        ("log_loss", (0.709, 0.486, 0.932), "effect +0.709 log loss, 95 % +0.486 to +0.932"),
        ("correlation", (-1.2, -1.3, -1.1), "effect -1.2 correlation, 95 % -1.3 to -1.1"),
        ("classifier_auc", (0.42, 0.32, None), "effect +0.42 AUC above chance"),
        ("unheard_of", (0.3, 0.2, 0.4), "effect 0.3, 95 % 0.2 to 0.4"),
        ("psi", (None, None, None), ""),
    ],
)
def test_an_effect_says_of_what_it_is(
    metric: str, effect: tuple[float | None, float | None, float | None], said: str
) -> None:
    assert effects.told(metric, *effect) == said


def test_pages_and_messages_tell_every_signal_in_the_same_unit() -> None:
    assert {name: told.unit for name, told in CAUSES.items()} == effects.UNITS


def test_what_a_monitor_by_hand_found_is_a_value_not_a_change() -> None:
    causes = [{"metric": "accuracy", "text": "low", "effect": 0.7, "low": 0.65, "high": 0.75}]
    found = read_message(message(family="monitor:low", causes=causes))
    assert found.causes[0].effect == "value 0.7, 95 % 0.65 to 0.75"


def test_a_message_of_an_update_says_what_changed_first() -> None:
    body = {"type": "alert.updated", "timestamp": clock.render(NOW), "change": "Joined: `x`", "data": {"text": "t"}}
    found = read_message(replace(message(), body=json.dumps(body)))
    assert found.facts == [("What changed", "Joined: `x`")]
    assert "What changed: Joined: `x`" in plain_text(found)


def test_a_link_without_a_host_is_left_out() -> None:
    assert read_message(message(url="/alerts/alert_1")).url is None


# ---------------------------------------------------------------- Slack


def _check_blocks(body: dict[str, Any]) -> None:
    """The limits of https://docs.slack.dev/reference/block-kit/blocks, in characters."""
    assert set(body) == {"text", "blocks"} and 0 < len(body["text"]) <= 4000 and 0 < len(body["blocks"]) <= 50
    for block in body["blocks"]:
        if block["type"] == "header":
            assert block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            assert ("text" in block) != ("fields" in block)
            texts = [block["text"]] if "text" in block else block["fields"]
            assert 0 < len(texts) <= 10
            for text in texts:
                assert text["type"] == "mrkdwn" and 0 < len(text["text"]) <= (3000 if "text" in block else 2000)
        else:
            assert block["type"] == "actions"
            (button,) = block["elements"]
            assert button["type"] == "button" and len(button["text"]["text"]) <= 75 and len(button["url"]) <= 3000
    _check_with_slacks_own_package(body["blocks"])


def _check_with_slacks_own_package(blocks: list[dict[str, Any]]) -> None:
    """Slack's package reads each block, finds nothing wrong, and would send the same."""
    for block in blocks:
        read = Block.parse(block)
        assert read is not None
        read.validate_json()
        assert {name: value for name, value in read.to_dict().items() if name != "block_id"} == block


def test_slacks_package_refuses_what_slack_does() -> None:
    with pytest.raises(SlackObjectFormationError):
        _check_with_slacks_own_package([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}])


@pytest.mark.parametrize("delivery", BODIES, ids=range(len(BODIES)))
def test_blocks_keep_slacks_limits_and_mention_nobody(delivery: Any) -> None:
    body = slack.slack_body(read_message(delivery))
    _check_blocks(body)
    marked = [body["text"]] + [
        text["text"]
        for block in body["blocks"]
        for text in (block.get("fields") or [block.get("text") or {}])
        if text.get("type") == "mrkdwn"
    ]
    assert not any("<" in text or ">" in text for text in marked)


def test_slack_is_told_everything_in_one_post(receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(200, b"ok"))
    assert send(_channel("slack", one.url), message(), NOW, LOOPBACK).response == "ok"
    told = json.dumps(_sent(one))
    for words in ("churn", "2027-01-15 06:00 UTC", "4.22 times", "f0", "f1", "f2", "and 2 more", "alerts/alert_1"):
        assert words in told


# ---------------------------------------------------------------- Teams


def _card_schema(version: str) -> Draft6Validator:
    """Microsoft's schema of that version, as a package ships it; its references name the schema itself."""
    found = importlib.util.find_spec("adaptive_cards")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    return Draft6Validator(json.loads((folder / f"schemas/schema-{version}.json").read_text()))


CARD = _card_schema("1.4")


def test_the_schema_of_cards_refuses_what_is_none() -> None:
    with pytest.raises(ValidationError):
        CARD.validate({"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "size": "huge"}]})


def _check_card(body: dict[str, Any]) -> None:
    """What a workflow takes, and elements of Adaptive Cards 1.4."""
    assert len(json.dumps(body)) <= 28_000 * 1.1 and body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive" and attachment["contentUrl"] is None
    card = attachment["content"]
    assert card["type"] == "AdaptiveCard" and card["version"] == "1.4" and card["body"]
    assert card["msteams"] == {"width": "full"}  # Teams' own: learn.microsoft.com, "Format cards in Microsoft Teams"
    CARD.validate({name: value for name, value in card.items() if name != "msteams"})
    for element in card["body"]:
        if element["type"] == "Image":
            assert element["url"].startswith("data:image/png;base64,") and element["altText"]
        else:
            assert element["type"] == "RichTextBlock"  # reads no Markdown: a name cannot become a link
            assert all(run["type"] == "TextRun" and run["text"] for run in element["inlines"])
    assert all(action["type"] == "Action.OpenUrl" and action["url"] for action in card.get("actions", []))


@pytest.mark.parametrize("delivery", BODIES, ids=range(len(BODIES)))
def test_cards_keep_the_limits_of_teams(delivery: Any) -> None:
    _check_card(teams.teams_body(read_message(delivery), draw(CURVE), CURVE.title))


def test_teams_gets_a_card_with_the_chart_inside(receiver: Receivers) -> None:
    one = receiver()
    send(_channel("teams", one.url), message(), NOW, Means(LOOPBACK.networks, None, lambda delivery: CURVE))
    _check_card(_sent(one))
    (image,) = [e for e in _sent(one)["attachments"][0]["content"]["body"] if e["type"] == "Image"]
    png = base64.b64decode(image["url"].partition(",")[2])
    assert png.startswith(b"\x89PNG\r\n\x1a\n") and png.endswith(b"IEND\xaeB`\x82") and len(png) < 10_000


# ---------------------------------------------------------------- PagerDuty


# After the OpenAPI description of the Events API v2 (PagerDuty/api-schema, reference/events-v2) and, for the lengths,
# https://developer.pagerduty.com/docs/send-alert-event
_TEXT = {"type": "string", "minLength": 1}
EVENT = Draft202012Validator(
    {
        "type": "object",
        "required": ["routing_key", "event_action", "dedup_key", "payload"],
        "additionalProperties": False,
        "properties": {
            "routing_key": {"type": "string", "pattern": "^[A-Za-z0-9]{32}$"},
            "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
            "dedup_key": {**_TEXT, "maxLength": 255},
            "client": _TEXT,
            "client_url": {"type": "string", "pattern": "^https?://"},
            "links": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["href"],
                    "additionalProperties": False,
                    "properties": {"href": {"type": "string", "pattern": "^https?://"}, "text": _TEXT},
                },
            },
            "payload": {
                "type": "object",
                "required": ["summary", "severity", "source"],
                "additionalProperties": False,
                "properties": {
                    "summary": {**_TEXT, "maxLength": 1024},
                    "severity": {"enum": ["critical", "error", "warning", "info"]},
                    "timestamp": {"type": "string", "format": "date-time"},
                    "custom_details": {"type": "object"},
                    **dict.fromkeys(("source", "component", "group", "class"), _TEXT),
                },
            },
        },
    }
)


def _check_event(body: dict[str, Any]) -> None:
    """Its schema, its size, and a time that is no later than now."""
    EVENT.validate(body)
    assert clock.parse(body["payload"]["timestamp"]) <= NOW and len(json.dumps(body)) < 512 * 1024


@pytest.mark.parametrize("delivery", BODIES, ids=range(len(BODIES)))
def test_events_keep_pagerdutys_limits(delivery: Any) -> None:
    _check_event(pagerduty.event(ROUTING_KEY, read_message(delivery), delivery, NOW))


def test_one_incident_is_opened_acknowledged_and_resolved_under_one_key(receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(202, b"{}"))
    for type_ in ("alert.firing", "alert.updated", "alert.acknowledged", "alert.resolved"):
        assert send(_channel("pagerduty", one.url, ROUTING_KEY), message(type_), NOW, LOOPBACK).status == 202
    bodies = [_sent(one, number) for number in range(4)]
    assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {body["dedup_key"] for body in bodies} == {"keepwatch:alert_1"}


def test_a_test_of_pagerduty_leaves_no_incident_open(receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(202))
    send(_channel("pagerduty", one.url, ROUTING_KEY), message("channel.test", "msg_7"), NOW, LOOPBACK)
    assert [(_sent(one, n)["event_action"], _sent(one, n)["dedup_key"]) for n in (0, 1)] == [
        ("trigger", "msg_7"),
        ("resolve", "msg_7"),
    ]


# ---------------------------------------------------------------- Alertmanager


def test_alertmanager_gets_labels_that_stay_and_annotations_that_change(receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(200))
    channel = _channel("alertmanager", one.url.replace("/hooks/token-in-the-path", ""), "user:pass-word")
    for type_, more in (("alert.firing", {}), ("alert.updated", {"severity": "warning"}), ("alert.resolved", {})):
        send(channel, message(type_, **more), NOW, LOOPBACK)
    alerts = [_sent(one, number)[0] for number in range(3)]
    assert len({json.dumps(alert["labels"], sort_keys=True) for alert in alerts}) == 1
    assert alerts[0]["labels"]["alertname"] == "Keepwatch" and alerts[0]["labels"]["model"] == "churn"
    assert [clock.parse(alert["endsAt"]) - NOW for alert in alerts] == [alertmanager.ENDS_AFTER] * 2 + [0]
    for alert in alerts:
        assert all(isinstance(value, str) for part in ("labels", "annotations") for value in alert[part].values())
    headers, _, path = one.requests[0]
    assert path == "/api/v2/alerts"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"user:pass-word").decode()
    send(_channel("alertmanager", one.url, "a-token"), message(), NOW, LOOPBACK)
    assert one.requests[-1][0]["authorization"] == "Bearer a-token"


def test_what_a_receiver_repeats_of_our_credentials_is_not_kept(receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(403, handler.path.encode() + b" " + ROUTING_KEY.encode()))
    with pytest.raises(SendError) as caught:
        send(_channel("pagerduty", one.url, ROUTING_KEY), message(), NOW, LOOPBACK)
    assert "token-in-the-path" not in str(caught.value.response) and ROUTING_KEY not in str(caught.value.response)
    assert "…" in str(caught.value.response)
