"""Numbers, times and spans as people read them."""

import math
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from monitor import clock

NONE = "–"
MINUS = "\u2212"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_THIN = "\u202f"  # narrow no-break space, between thousands
_SPACE = "\u00a0"  # no-break space, before units


def count(value: float | None) -> str:
    """A whole number with thousands apart: 12345 -> 12 345."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{round(value):,}".replace(",", _THIN).replace("-", MINUS)


def short_count(value: float | None) -> str:
    """A whole number in at most four characters and a letter: 12345 -> 12.3k."""
    if value is None or not math.isfinite(value):
        return NONE
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if letter == "k" else size)
            return f"{scaled:.3g}{letter}" if scaled < 1000 else f"{scaled:.0f}{letter}"
    return count(value)


def number(value: float | None, unit: str = "") -> str:
    """A measured value to three significant digits, as a percentage when the unit is a share, whole for a count."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if unit == "share":
        return percent(value)
    if unit == "count":
        return count(value)
    text = _digits(value)
    return f"{text}{_SPACE}{unit}" if unit else text


def signed(value: float | None, unit: str = "") -> str:
    """A change: its number with a sign in front."""
    if value is None or math.isnan(value):
        return NONE
    return ("+" if value > 0 else "") + number(value, unit)


def _digits(value: float) -> str:
    size = abs(value)
    if size != 0 and (size < 1e-4 or size >= 1e7):
        return _power(value)
    if size >= 1000:
        return count(value)
    decimals = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:.{decimals}f}".replace("-", MINUS)


def _power(value: float) -> str:
    """1.6·10⁸"""
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}·10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", MINUS)


def points(
    change: float | None, low: float | None = None, high: float | None = None, unit: str = "points"
) -> tuple[str, str]:
    """A change of a share in percentage points, and its interval: ("−4.2 points", "−5.1 to −3.3 points")."""

    def one(value: float) -> str:
        return f"{value * 100:+.1f}".replace("-", MINUS)

    between = "" if low is None or high is None else f"{one(low)} to {one(high)}{_SPACE}{unit}"
    return NONE if change is None else f"{one(change)}{_SPACE}{unit}", between


def percent(share: float | None) -> str:
    """A share of 0 to 1 as a percentage: 0.1234 -> 12.3 %."""
    if share is None or not math.isfinite(share):
        return NONE
    points = share * 100
    if 0 < abs(points) < 0.05:
        return f"<{_SPACE}0.1{_SPACE}%"
    text = f"{points:.0f}" if abs(points) >= 99.95 or points == 0 else f"{points:.1f}"
    return f"{text.replace('-', MINUS)}{_SPACE}%"


def interval(low: float | None, high: float | None, unit: str = "") -> str:
    """A 95 % interval: 0.812 to 0.845; empty when a bound is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, unit)} to {number(high, unit)}"


def span(microseconds: float) -> str:
    """A span in its largest fitting unit: 3 h, 12 days."""
    size = abs(microseconds)
    for unit, one, many in (
        (365 * clock.DAY, "year", "years"),
        (clock.DAY, "day", "days"),
        (clock.HOUR, "h", "h"),
        (clock.MINUTE, "min", "min"),
    ):
        if size >= 2 * unit or (size >= unit and unit <= clock.DAY):
            whole = round(size / unit)
            return f"{whole}{_SPACE}{one if whole == 1 else many}"
    return f"{round(size / clock.SECOND)}{_SPACE}s"


def per(microseconds: float) -> str:
    """A span as what something is counted by: hour, 6 h, day."""
    names = {clock.HOUR: "hour", clock.DAY: "day", 7 * clock.DAY: "week"}
    return names.get(round(microseconds)) or span(microseconds)


def sentence(text: str) -> str:
    """The text with a full stop, if it has no end yet."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@dataclass(frozen=True)
class Zone:
    """Times in one time zone; `name` is an IANA name, unknown ones fall back to UTC."""

    name: str = "UTC"

    @property
    def info(self) -> ZoneInfo:
        return ZoneInfo(self.name)

    def local(self, at: int) -> datetime:
        return _local(self, at)

    def minute(self, at: int) -> str:
        """4 Mar 2013, 14:00"""
        moment = self.local(at)
        return f"{moment.day} {moment:%b %Y, %H:%M}"

    def day(self, at: int) -> str:
        """4 Mar 2013"""
        moment = self.local(at)
        return f"{moment.day} {moment:%b %Y}"

    def label(self, at: int, step: int) -> str:
        """A window's start: the day alone when windows are days."""
        return self.day(at) if step >= clock.DAY else self.minute(at)

    def axis(self, at: int) -> str:
        """The wall time as a chart's axis takes it: 2013-03-04 14:00."""
        return f"{self.local(at):%Y-%m-%d %H:%M}"


@lru_cache(maxsize=16_384)
def _local(zone: Zone, at: int) -> datetime:
    """A page names the same instants in every chart, and the next page again."""
    return clock.to_datetime(at).astimezone(zone.info)
