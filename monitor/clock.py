"""Time: the one place that reads the wall clock, and the conversions between text and microseconds.

Everywhere else time is an argument, an integer of microseconds since 1970-01-01 UTC.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Times from outside lie in between. Calendars can be computed around both ends, and all of it is few enough windows.
EARLIEST = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
LATEST = (datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


def now() -> int:
    """The wall clock, in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds that only grow, for measuring durations."""
    return time.monotonic()


def to_datetime(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)


def spoken(at: int, timezone: str) -> str:
    """By the clock of a zone, as sentences have it: Monday 2013-03-04 14:00 America/New_York."""
    return f"{to_datetime(at).astimezone(ZoneInfo(timezone)):%A %Y-%m-%d %H:%M} {timezone}"


def from_datetime(at: datetime) -> int:
    """Microseconds of an aware datetime.

    Raises:
        ValueError: the datetime has no offset.
    """
    if at.tzinfo is None:
        raise ValueError("a time needs an offset, for instance Z or +02:00")
    return (at - _EPOCH) // timedelta(microseconds=1)


def parse(text: str) -> int:
    """Microseconds of an RFC 3339 time; a date and an offset are required.

    Raises:
        ValueError: not a time, without an offset, or beyond the years that are known here.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not a time as RFC 3339 writes it, for instance 2026-01-31T12:00:00Z") from None
    return in_range(from_datetime(at))


def in_range(at: int) -> int:
    """The same time, if it lies in the years that are known here.

    Raises:
        ValueError: it does not.
    """
    if not EARLIEST <= at < LATEST:
        raise ValueError("a time must lie in the years 1900 to 2199")
    return at


def render(at: int) -> str:
    """RFC 3339 in UTC, with as many decimals as the time has: none, three or six."""
    moment = to_datetime(at)
    spec = "seconds" if at % SECOND == 0 else "milliseconds" if at % 1000 == 0 else "microseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


@lru_cache(maxsize=1024)
def parse_span(text: str) -> int:
    """Microseconds of a span such as 90s, 10m, 1h, 2d, 1w.

    Raises:
        ValueError: not a span.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("not a span: a number and one of s, m, h, d, w, for instance 10m or 90d")
    return int(match[1]) * _UNITS[match[2]]
