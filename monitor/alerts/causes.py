"""The causes of an alert as they are kept and shown: JSON objects, the strongest first, each with when it joined.

`joined_at` is when an alarm named the cause for the first time, `joined_share` its part of the evidence then: `share`
fades when later alarms name other causes, so it no longer says what the alert opened on. `critical` says why a cause
made the alert critical; an alert stays critical until it ends, and so does the reason.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from monitor import clock
from monitor.stats.verdict import Cause
from monitor.store.alerts import Alert

MAX_CAUSES = 20
MAX_CAUSE_BYTES = 11_000  # of all causes as JSON, so that a webhook's body stays below its bound
MAX_TEXT = 600  # characters of the alert's sentence
MAX_CAUSE_TEXT = 300
NAMED = 2  # causes that joined an alert, beside the one that leads, when it is told what has changed


def merge(earlier: Sequence[dict[str, Any]], causes: Iterable[Cause], now: int) -> tuple[dict[str, Any], ...]:
    """The causes of an alert after one more alarm, strongest first; `now` is when those that are new have joined.

    An earlier cause that the newest alarm does not name keeps half of its share, so that what goes on leads over what
    has passed. Shares of different alarms are then made to add up to at most 1.
    """
    latest = [_json(cause) for cause in causes]
    named = {key(cause) for cause in latest}
    faded = [{**cause, "share": (cause["share"] or 0.0) / 2} for cause in earlier if key(cause) not in named]
    ranked = sorted(latest + faded, key=lambda cause: -(cause["share"] or 0.0))
    whole = max(1.0, sum(cause["share"] or 0.0 for cause in ranked))
    known = {key(cause): cause for cause in earlier}
    found = []
    for cause in ranked:
        share = (cause["share"] or 0.0) / whole
        before = known.get(key(cause), {"joined_at": clock.render(now), "joined_share": share})
        then = {name: before.get(name) for name in ("joined_at", "joined_share")}
        found.append({**cause, "share": share, **then, "critical": cause.get("critical") or before.get("critical")})
    return _with_reason(found, fit(found))


def over(earlier: Sequence[dict[str, Any]], causes: Iterable[Cause], severity: str) -> tuple[dict[str, Any], ...]:
    """The causes of an alert that was resolved, when another alarm opens it again: what made it critical then is past.

    It holds on when the alarm is critical too and gives no reason of its own: a person has resolved the alert, and the
    incident has gone on.
    """
    if severity == "critical" and all(cause.critical is None for cause in causes):
        return tuple(earlier)
    return tuple({**cause, "critical": None} for cause in earlier)


def _with_reason(causes: Sequence[dict[str, Any]], kept: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The causes that are kept; the reason for being critical goes over to the first when its own cause is not."""
    reason = reason_of(causes)
    if reason is None or not kept or reason_of(kept) is not None:
        return tuple(kept)
    return fit([{**kept[0], "critical": reason}, *kept[1:]])


def reason_of(causes: Sequence[dict[str, Any]]) -> str | None:
    """Why an alert with these causes is critical: what the strongest of those says that made it so."""
    return next((str(cause["critical"]) for cause in causes if cause.get("critical")), None)


def fit(causes: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The strongest causes that an alert has room for."""
    kept, room = [], MAX_CAUSE_BYTES
    for cause in causes[:MAX_CAUSES]:
        room -= len(orjson.dumps(cause))
        if room < 0:
            break
        kept.append(cause)
    return tuple(kept)


def key(cause: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return cause["metric"], cause["feature"], cause["segment"]


def sentence(model: str, family: str, severity: str, causes: Sequence[dict[str, Any]]) -> str:
    """The alert in a sentence: its first cause, how many more there are, and why it is critical, where another says."""
    if not causes:
        return f"{model}: {family} changed"
    reason = reason_of(causes) if severity == "critical" else None
    more = f" (and {len(causes) - 1} more)" if len(causes) > 1 else ""
    if reason is not None and reason not in causes[0]["text"]:
        more += f"; critical: {reason}"
    return _clip(f"{model}: {causes[0]['text']}", MAX_TEXT - len(more)) + more


def changes(before: Alert, after: Alert, since: int) -> str:
    """What is new of an alert since it was told of, in words: its severity, what joined, and what leads now.

    Causes join without a message as long as another one leads: those that did after `since` are named too.
    """
    said = []
    if after.severity != before.severity:
        reason = reason_of(after.causes) if after.severity == "critical" else None
        said.append(f"severity from {before.severity} to {after.severity}" + (f": {reason}" if reason else ""))
    known = {key(cause) for cause in before.causes}
    joined = [cause for cause in after.causes if key(cause) not in known or _joined_after(cause, since)]
    lead = after.causes[0] if after.causes else None
    if lead is not None and (not before.causes or key(lead) != key(before.causes[0])):
        said.append(f"{'joined, and' if lead in joined else 'an earlier cause'} leads now: {_short(lead)}")
        joined = [cause for cause in joined if cause is not lead]
    if joined:
        more = f" (and {len(joined) - NAMED} more)" if len(joined) > NAMED else ""
        said.append("joined: " + ", ".join(_short(cause) for cause in joined[:NAMED]) + more)
    text = "; ".join(said)
    return _clip(text[:1].upper() + text[1:], MAX_TEXT)


def _joined_after(cause: dict[str, Any], since: int) -> bool:
    return bool(cause.get("joined_at")) and clock.parse(cause["joined_at"]) > since


def _short(cause: dict[str, Any]) -> str:
    """The cause's sentence without when it began."""
    return str(cause["text"].partition(", since ")[0])


def _json(cause: Cause) -> dict[str, Any]:
    values = asdict(cause)
    for name in ("effect", "low", "high", "share"):
        number = float(values[name])
        values[name] = number if abs(number) <= sys.float_info.max else None  # JSON has no NaN and no infinity
    values["text"] = _clip(cause.text, MAX_CAUSE_TEXT)
    values["critical"] = None if cause.critical is None else _clip(cause.critical, MAX_CAUSE_TEXT)
    return values


def _clip(text: str, length: int) -> str:
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps no NUL
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
