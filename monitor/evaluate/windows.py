"""Windows, hours and days in a model's timezone, as pure arithmetic on instants.

A timeline is cut at *boundaries*: the instants at which the local clock shows a full unit (an hour, every sixth hour,
midnight, Monday's midnight). A bucket is named by its first instant and ends where the next begins, so days last 23 or
25 hours where the clocks change, an hour that the clocks repeat is two buckets, and a local time that the clocks skip
begins where the skip does. Profiles are kept by hour and by day of the same timezone, also where its offset is not a
whole hour, so that every window is a whole number of stored buckets.

Instants are microseconds since 1970-01-01 UTC; a unit is microseconds too: whole hours that divide a day, or whole
days. Days are counted from a Monday, so that seven of them begin on Mondays.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from monitor import clock
from monitor.clock import DAY, HOUR

Instants = NDArray[np.int64]

_BLOCK_DAYS = 32
_BLOCK = _BLOCK_DAYS * DAY
_LONGEST = 31 * DAY


def check_unit(unit: int) -> None:
    """Refuse a unit that does not tile local days.

    Raises:
        ValueError: not whole hours that divide a day, nor 1 to 31 whole days.
    """
    whole_hours = unit > 0 and unit % HOUR == 0 and DAY % unit == 0
    whole_days = unit > 0 and unit % DAY == 0 and unit <= _LONGEST
    if not (whole_hours or whole_days):
        raise ValueError("a window is whole hours that divide a day, or whole days up to 31")


@lru_cache(maxsize=4096)
def _cuts(unit: int, timezone: str, block: int) -> Instants:
    """The boundaries that lie in one block of 32 days, ascending."""
    zone = ZoneInfo(timezone)
    low, high = block * _BLOCK, (block + 1) * _BLOCK
    first = clock.to_datetime(low).date() - timedelta(days=2)
    folds = (0, 1) if unit == HOUR else (0,)
    hours = range(0, 24, unit // HOUR) if unit < DAY else (0,)
    every = max(1, unit // DAY)
    cuts: set[int] = set()
    for number in range(_BLOCK_DAYS + 4):
        day = first + timedelta(days=number)
        if (day.toordinal() - 1) % every:
            continue
        cuts.update(_instants(day, hours, folds, zone))
    return np.array(sorted(at for at in cuts if low <= at < high), dtype=np.int64)


def _instants(day: date, hours: Sequence[int], folds: Sequence[int], zone: ZoneInfo) -> list[int]:
    return [
        clock.from_datetime(datetime(day.year, day.month, day.day, hour, tzinfo=zone, fold=fold))
        for hour in hours
        for fold in folds
    ]


def _cuts_around(unit: int, timezone: str, blocks: Sequence[int]) -> Instants:
    """The boundaries of some blocks and of the blocks before and after them: no bucket is longer than a block."""
    wanted = sorted({near for block in blocks for near in (block - 1, block, block + 1)})
    return np.concatenate([_cuts(unit, timezone, block) for block in wanted])


def starts_of(at: Instants, unit: int, timezone: str) -> Instants:
    """The first instant of the bucket that each instant lies in; same shape as `at`."""
    if at.size == 0:
        return at.astype(np.int64)
    low, high = int(at.min()) // _BLOCK, int(at.max()) // _BLOCK
    blocks = range(low, high + 1) if high - low < 64 else np.unique(at // _BLOCK).tolist()
    cuts = _cuts_around(unit, timezone, blocks)
    return cuts[np.searchsorted(cuts, at, side="right") - 1]


def start_of(at: int, unit: int, timezone: str) -> int:
    """The first instant of the bucket that `at` lies in."""
    return int(starts_of(np.array([at], dtype=np.int64), unit, timezone)[0])


def next_start(at: int, unit: int, timezone: str) -> int:
    """The first boundary after `at`: the end of its bucket."""
    cuts = _cuts_around(unit, timezone, [at // _BLOCK])
    return int(cuts[np.searchsorted(cuts, at, side="right")])


def previous_start(at: int, unit: int, timezone: str) -> int:
    """The last boundary before `at`."""
    cuts = _cuts_around(unit, timezone, [at // _BLOCK])
    return int(cuts[np.searchsorted(cuts, at, side="left") - 1])


def between(start: int, end: int, unit: int, timezone: str) -> Instants:
    """The boundaries in [start, end), ascending."""
    if end <= start:
        return np.empty(0, dtype=np.int64)
    cuts = _cuts_around(unit, timezone, range(start // _BLOCK, end // _BLOCK + 1))
    return cuts[np.searchsorted(cuts, start) : np.searchsorted(cuts, end)]


def spans(start: int, end: int, unit: int, timezone: str) -> list[tuple[int, int]]:
    """The buckets that overlap [start, end), as (first instant, end), ascending, whole: not clipped to the stretch."""
    if end <= start:
        return []
    first = start_of(start, unit, timezone)
    cuts = [*between(first, end, unit, timezone).tolist()]
    return list(zip(cuts, [*cuts[1:], next_start(cuts[-1], unit, timezone)], strict=True))


def is_boundary(at: int, unit: int, timezone: str) -> bool:
    return start_of(at, unit, timezone) == at


def profile_span(window: int) -> int:
    """Which stored profiles make up a window: those of hours (3600 s) or of days (86400 s)."""
    return 86400 if window % DAY == 0 else 3600
