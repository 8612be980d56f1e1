"""What a person reads: the frozen body of a delivery as a heading, a sentence, few facts and the strongest causes.

Every kind that talks to people renders this; none of them has a text of its own. Bodies of types that are not known
here are told by what they carry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from monitor import clock
from monitor.alerts import effects
from monitor.store.outbox import Delivery

CAUSES = 3
HEADINGS = {
    "alert.firing": "Firing",
    "alert.updated": "Updated",
    "alert.acknowledged": "Acknowledged",
    "alert.resolved": "Resolved",
    "channel.test": "Test",
    "channel.disabled": "Channel switched off",
}
WITHOUT_FACTS = ("channel.test", "channel.disabled")


@dataclass(frozen=True)
class Line:
    """A cause in words, and its effect with its 95 % interval."""

    text: str
    effect: str


@dataclass(frozen=True)
class Message:
    """All that is said. `change`, `since` and `sure` may be empty; `url` is None where no address that people use is
    known."""

    type: str
    heading: str
    title: str
    text: str
    change: str
    severity: str
    state: str
    since: str
    sure: str
    causes: tuple[Line, ...]
    more: int
    url: str | None
    alert_id: str
    model: str
    family: str
    at: str

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Names and values, at most a handful; those that are not known are left out."""
        every = [
            ("What changed", self.change),
            ("Severity", self.severity),
            ("Since", self.since),
            ("How sure", self.sure),
        ]
        return [(name, value) for name, value in every if value]


def read_message(delivery: Delivery) -> Message:
    """The message of a delivery's body."""
    body = orjson.loads(delivery.body)
    data: Mapping[str, Any] = body.get("data") or {}
    type_ = str(body.get("type") or delivery.type)
    heading = HEADINGS.get(type_) or type_.rpartition(".")[2].replace("_", " ").capitalize()
    model, family = str(data.get("model") or ""), str(data.get("family") or "")
    subject = f"{model}, {family}" if model and family else model or family
    plain = type_ in WITHOUT_FACTS
    lines = _lines(data)
    url = str(data.get("url") or "")
    return Message(
        type=type_,
        heading=heading,
        title=heading if plain or not subject else f"{heading}: {subject}",
        text=str(data.get("text") or heading),
        change=str(body.get("change") or ""),
        severity="" if plain else str(data.get("severity") or ""),
        state=str(data.get("state") or ""),
        since="" if plain else time_words(data.get("first_evidence_at")),
        sure="" if plain else _sure(data),
        causes=tuple(lines[:CAUSES]),
        more=max(0, len(lines) - CAUSES),
        url=url if url.startswith(("http://", "https://")) else None,
        alert_id=str(data.get("id") or delivery.id),
        model=model,
        family=family,
        at=str(body.get("timestamp") or clock.render(delivery.created_at)),
    )


def plain_text(message: Message) -> str:
    """The message as lines of text, for mails, apprise and wherever there is no better form."""
    lines = [message.text, ""]
    lines += [f"{name}: {value}" for name, value in message.facts]
    if message.causes:
        lines += ["", "Strongest causes:"]
        lines += [f"{place}. {told(cause)}" for place, cause in enumerate(message.causes, 1)]
    if message.more:
        lines.append(f"and {message.more} more")
    if message.url:
        lines += ["", message.url]
    return "\n".join(lines).strip() + "\n"


def told(cause: Line) -> str:
    """A cause in one line."""
    return f"{cause.text} ({cause.effect})" if cause.effect else cause.text


def time_words(value: object) -> str:
    """An RFC 3339 time for people: `2026-03-02 06:00 UTC`; empty when it is none."""
    try:
        at = clock.to_datetime(clock.parse(str(value)))
    except ValueError:
        return ""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _lines(data: Mapping[str, Any]) -> list[Line]:
    """The causes of an alert; of a message about several alerts, those."""
    causes = data.get("causes")
    if isinstance(causes, list) and causes:
        by_hand = str(data.get("family") or "").startswith("monitor:")
        return [Line(str(one.get("text") or one.get("metric") or ""), _effect(one, by_hand)) for one in causes]
    alerts = data.get("alerts")
    if isinstance(alerts, list):
        return [Line(str(one.get("text") or ""), str(one.get("severity") or "")) for one in alerts]
    return []


def _effect(cause: Mapping[str, Any], is_monitor: bool) -> str:
    """A monitor by hand has the value that met its rule in place of a change."""
    effect, low, high = (cause.get(name) for name in ("effect", "low", "high"))
    if not is_monitor:
        return effects.told(str(cause.get("metric") or ""), effect, low, high)
    if effect is None:
        return ""
    return f"value {effect:.3g}" + ("" if low is None or high is None else f", 95 % {low:.3g} to {high:.3g}")


def _sure(data: Mapping[str, Any]) -> str:
    evidence, budget = data.get("evidence"), data.get("budget") or {}
    if evidence is None:
        return ""
    threshold = budget.get("threshold")
    strength = f"evidence {evidence:,.4g}"
    if threshold:
        strength += f", {evidence / threshold:,.3g} times the threshold"
    if budget.get("per"):
        count = budget.get("false_alarms", 1)
        strength += f"; at most {count:g} false alarm{'' if count == 1 else 's'} per {budget['per']}"
    return strength
