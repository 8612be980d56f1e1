"""The causes of an alert as they are kept and shown: JSON objects, the strongest first, each with when it joined.

`joined_at` is when an alarm named the cause for the first time, `joined_share` its part of the evidence then: `share`
fades when later alarms name other causes, so it no longer says what the alert opened on.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from monitor import clock
from monitor.stats.verdict import Cause

MAX_CAUSES = 20
MAX_CAUSE_BYTES = 11_000  # of all causes as JSON, so that a webhook's body stays below its bound
MAX_TEXT = 600  # characters of the alert's sentence
MAX_CAUSE_TEXT = 300


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
    joined = {key(cause): (cause.get("joined_at"), cause.get("joined_share")) for cause in earlier}
    found = []
    for cause in ranked:
        share = (cause["share"] or 0.0) / whole
        at, then = joined.get(key(cause), (clock.render(now), share))
        found.append({**cause, "share": share, "joined_at": at, "joined_share": then})
    return fit(found)


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


def sentence(model: str, family: str, causes: Sequence[dict[str, Any]]) -> str:
    if not causes:
        return f"{model}: {family} changed"
    more = f" (and {len(causes) - 1} more)" if len(causes) > 1 else ""
    return _clip(f"{model}: {causes[0]['text']}", MAX_TEXT - len(more)) + more


def _json(cause: Cause) -> dict[str, Any]:
    values = asdict(cause)
    for name in ("effect", "low", "high", "share"):
        number = float(values[name])
        values[name] = number if abs(number) <= sys.float_info.max else None  # JSON has no NaN and no infinity
    values["text"] = _clip(cause.text, MAX_CAUSE_TEXT)
    return values


def _clip(text: str, length: int) -> str:
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps no NUL
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
