"""What is said about an alert: one shape for GET /v1/alerts and for the body of a webhook."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from monitor import clock
from monitor.alerts.causes import fit
from monitor.store.alerts import SEVERITIES, Alert
from monitor.store.channels import Channel

MAX_BODY = 20_000  # bytes, the bound of Standard Webhooks
_SHORT = ("id", "model", "family", "state", "severity", "opened_at", "resolved_at", "text", "url")


def alert_json(alert: Alert, public_url: str) -> dict[str, Any]:
    """The alert as the API and webhooks show it: times in RFC 3339, causes strongest first."""
    return {
        "id": alert.id,
        "model": alert.model,
        "family": alert.family,
        "state": alert.state,
        "severity": alert.severity,
        "opened_at": clock.render(alert.opened_at),
        "first_evidence_at": clock.render(alert.first_evidence_at),
        "resolved_at": None if alert.resolved_at is None else clock.render(alert.resolved_at),
        "evidence": alert.evidence,
        "budget": alert.budget,
        "causes": list(alert.causes),
        "text": alert.text,
        "url": f"{public_url.rstrip('/')}/alerts/{alert.id}",
    }


def event_body(type_: str, at: int, data: dict[str, Any], change: str = "") -> str:
    """The body of a webhook, as it is stored and signed: compact JSON below 20 kB.

    `change` says what an update changed; it stands beside the data, which is the alert as the API shows it.

    Raises:
        ValueError: the data is too large; alerts are cut to size when they are written (`causes.fit`).
    """
    said = {"change": change} if change else {}
    body = orjson.dumps({"type": type_, "timestamp": clock.render(at), **said, "data": data})
    if len(body) >= MAX_BODY:
        raise ValueError(f"a webhook body of {len(body)} bytes; at most {MAX_BODY} are allowed")
    return body.decode()


def digest_body(at: int, found: Sequence[Alert], digest_id: str, public_url: str) -> str:
    """The body of an `alert.digest`: the most severe alerts first, as many as there is room for.

    Its data has the shape of an alert, so that whatever shows alerts shows it: the severity is the highest, the causes
    are the leading ones of the first alerts. `count` says how many alerts it stands for, `alerts` lists them in short.
    """
    ranked = sorted(found, key=lambda one: (one.state == "resolved", -SEVERITIES.index(one.severity), one.opened_at))
    models = sorted({one.model for one in found})
    still_open = [one for one in found if one.state != "resolved"]
    named = ", ".join(models[:5]) + (f" and {len(models) - 5} more" if len(models) > 5 else "")
    ended = len(found) - len(still_open)
    more = f" ({ended} of them over already)" if ended else ""
    summary = Alert(
        id=digest_id,
        project_id=ranked[0].project_id,
        model_id=0,
        model=models[0] if len(models) == 1 else f"{len(models)} models",
        family="digest",
        state="firing" if still_open else "resolved",
        severity=max((one.severity for one in found), key=SEVERITIES.index),
        opened_at=min(one.opened_at for one in found),
        first_evidence_at=min(one.first_evidence_at for one in found),
        updated_at=at,
        resolved_at=None if still_open else at,
        evidence=max(one.evidence for one in found),
        budget={"false_alarms": None, "per": None, "threshold": None},
        causes=fit([_leading(one) for one in ranked[:3] if one.causes]),
        text=f"{len(found)} alerts of {named}{more}",
    )
    data = {**alert_json(summary, public_url), "url": f"{public_url.rstrip('/')}/alerts", "count": len(found)}
    listed, room = [], MAX_BODY - 2000 - len(orjson.dumps(data))
    for alert in ranked:
        short = {name: alert_json(alert, public_url)[name] for name in _SHORT}
        short["text"] = alert.text[:200]
        room -= len(orjson.dumps(short)) + 1
        if room < 0:
            break
        listed.append(short)
    return event_body("alert.digest", at, {**data, "alerts": listed})


def digest_id_of(body: str) -> str:
    """The id under which a digest went out."""
    return str(orjson.loads(body)["data"]["id"])


def _leading(alert: Alert) -> dict[str, Any]:
    cause = alert.causes[0]
    return {**cause, "text": f"{alert.model}: {cause.get('text', '')}"}


def sample_body(channel: Channel, at: int, public_url: str) -> str:
    """The body of a `channel.test`: an alert in the usual shape that says it is none."""
    text = "This is a test of the channel. Nothing is wrong."
    return event_body("channel.test", at, alert_json(_notice(channel, "alert_test", at, text), public_url))


def channel_body(channel: Channel, at: int, reason: str, public_url: str) -> str:
    """The body of a `channel.disabled`, in the usual shape: another channel was switched off, and why."""
    text = f"The channel {channel.name} was switched off and gets no alerts any more: {reason}"
    notice = replace(_notice(channel, channel.id, at, text), family="channel", model="", state="firing")
    notice = replace(notice, severity="warning", resolved_at=None)
    url = f"{public_url.rstrip('/')}/channels"
    return event_body("channel.disabled", at, {**alert_json(notice, public_url), "url": url})


def _notice(channel: Channel, id_: str, at: int, text: str) -> Alert:
    return Alert(
        id=id_,
        project_id=channel.project_id,
        model_id=0,
        model="example",
        family="features",
        state="resolved",
        severity="info",
        opened_at=at,
        first_evidence_at=at,
        updated_at=at,
        resolved_at=at,
        evidence=0.0,
        budget={"false_alarms": 1, "per": "90d", "threshold": None},
        causes=(),
        text=text,
    )
