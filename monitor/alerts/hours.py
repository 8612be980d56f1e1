"""Hours of a week, in a time zone: `{"days": ["sat", "sun"], "from": "22:00", "to": "06:00", "timezone": "UTC"}`.

Hours that end before they begin go on past midnight; the days are those on which they begin. The clock is the local
one, so that a night is a night on the days of the change to summer time, too.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from monitor import clock
from monitor.store.body import Reader

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


def read_hours(reader: Reader, field: str) -> dict[str, Any] | None:
    """Take hours out of a body, with `days` (every day) and `timezone` (UTC) filled in; None when not given."""
    value = reader.body.pop(field, None)
    if value is None:
        return None
    example = 'must be an object such as {"days": ["sat"], "from": "22:00", "to": "06:00", "timezone": "Europe/Berlin"}'
    if not isinstance(value, Mapping):
        reader.wrong(field, example)
        return None
    given = {"days": list(DAYS), "timezone": "UTC", **value}
    for name in given.keys() - {"days", "from", "to", "timezone"}:
        reader.wrong(field, f"has a field that is not one of days, from, to, timezone ({name[:40]!r})")
    days = given["days"]
    if not isinstance(days, list) or not days or any(day not in DAYS for day in days):
        reader.wrong(f"{field}.days", "must be a list of " + ", ".join(DAYS))
        days = []
    for name in ("from", "to"):
        if not isinstance(given.get(name), str) or _TIME.fullmatch(given[name]) is None:
            reader.wrong(f"{field}.{name}", "must be a time of day such as 22:00")
    if not _is_zone(given["timezone"]):
        reader.wrong(f"{field}.timezone", "is not a time zone of the IANA database, for instance Europe/Berlin")
    return {
        "days": [day for day in DAYS if day in days],
        "from": given.get("from"),
        "to": given.get("to"),
        "timezone": given["timezone"],
    }


def end_of(hours: Mapping[str, Any], now: int) -> int | None:
    """When the hours that `now` lies in end, in microseconds; None when it lies in none of them.

    >>> night = {"days": ["mon"], "from": "22:00", "to": "06:00", "timezone": "UTC"}
    >>> clock.render(end_of(night, clock.parse("2026-03-03T01:00:00Z")))  # the night that began on Monday
    '2026-03-03T06:00:00Z'
    """
    zone = ZoneInfo(hours["timezone"])
    local = clock.to_datetime(now).astimezone(zone)
    minute = local.hour * 60 + local.minute
    begin, end = _minutes(hours["from"]), _minutes(hours["to"])
    today, yesterday = local.date(), local.date() - timedelta(days=1)
    ends = []
    if end > begin:
        if begin <= minute < end and DAYS[today.weekday()] in hours["days"]:
            ends.append(_instant(today, end, zone))
    else:
        if minute >= begin and DAYS[today.weekday()] in hours["days"]:
            ends.append(_instant(today + timedelta(days=1), end, zone))
        if minute < end and DAYS[yesterday.weekday()] in hours["days"]:
            ends.append(_instant(today, end, zone))
    return max(max(ends), now + 1) if ends else None


def told(hours: Mapping[str, Any]) -> str:
    """The hours for people: `sat, sun 22:00 to 06:00 Europe/Berlin`."""
    days = "every day" if len(hours["days"]) == len(DAYS) else ", ".join(hours["days"])
    return f"{days} {hours['from']} to {hours['to']} {hours['timezone']}"


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _instant(day: date, minute: int, zone: ZoneInfo) -> int:
    midnight = datetime.combine(day + timedelta(days=minute // 1440), time(), zone)
    return clock.from_datetime(midnight.replace(hour=minute % 1440 // 60, minute=minute % 60))


def _is_zone(value: object) -> bool:
    try:
        return isinstance(value, str) and value.isascii() and value.isprintable() and bool(ZoneInfo(value).key)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder of the database
        return False
