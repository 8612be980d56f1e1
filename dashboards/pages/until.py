"""When a new silence ends: one of the choices of its form, or what somebody wrote."""

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from monitor import clock
from monitor.errors import Invalid

TOMORROW, OWN = "tomorrow", "own"
MORNING = time(9)
CHOICES = {
    "1h": "1 hour",
    "4h": "4 hours",
    "8h": "8 hours",
    TOMORROW: "until tomorrow, 9:00",
    "1d": "1 day",
    "3d": "3 days",
    "7d": "a week",
    "30d": "30 days",
    OWN: "as I write",
}
USUAL = "4h"
_WRITTEN = re.compile(r"(\d{1,6})\s*(m|h|d|w)(?:in|inutes?|ours?|ays?|eeks?)?", re.IGNORECASE)


def read(fields: Mapping[str, str], now: int) -> int:
    """The end of a silence from the fields `span`, `own` and `zone` of its form.

    What was written counts, whatever is chosen beside it. `zone` is the time zone of who fills the form in: the page's
    script knows it, without scripts it is UTC, as the foot of the page says.

    Raises:
        Invalid: names the field that is wrong.
    """
    chosen, own = fields.get("span", ""), fields.get("own", "").strip()
    if own:
        return _written(own, fields, now)
    if chosen == OWN:
        raise Invalid.field("own", "is empty: write how long, for instance 36h, or until when: 2026-03-05 18:00")
    if chosen not in CHOICES:
        raise Invalid.field("span", "must be one of " + ", ".join(CHOICES))
    if chosen != TOMORROW:
        return now + clock.parse_span(chosen)
    zone = _zone(fields)
    day = clock.to_datetime(now).astimezone(zone).date() + timedelta(days=1)
    return clock.from_datetime(datetime.combine(day, MORNING, zone))


def _written(text: str, fields: Mapping[str, str], now: int) -> int:
    if found := _WRITTEN.fullmatch(text):
        return now + clock.parse_span(found[1] + found[2].lower())
    try:
        moment = datetime.fromisoformat(text)
        at = clock.in_range(clock.from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=_zone(fields))))
    except (ValueError, OverflowError):
        raise Invalid.field("own", "is neither a span, for instance 36h, nor a time: 2026-03-05 18:00") from None
    if at <= now:
        raise Invalid.field("own", "is in the past")
    return at


def _zone(fields: Mapping[str, str]) -> ZoneInfo:
    try:
        return ZoneInfo(fields.get("zone") or "UTC")
    except (KeyError, ValueError, OSError):
        raise Invalid.field("zone", "is not a time zone of the IANA database, for instance Europe/Berlin") from None
