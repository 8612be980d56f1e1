"""The device's clock, as rows are stamped with it, and ids that ascend whatever the clock does.

A device may have been set back by a second or by a day. Times within a process go on ascending over a small step back
(at most `HELD`), and follow a larger one, which corrects a clock that was wrong. The ids never go back: their sequence
tells the order of rows whose times cannot.
"""

import os
import threading
import time
from collections.abc import Callable

SECOND = 1_000_000
HELD = 60 * SECOND  # a step back up to this is bridged


def wall() -> int:
    """The device's clock, in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds that only grow, for measuring durations."""
    return time.monotonic()


class DeviceClock:
    """Stamps rows with a time and an id; safe to use from many threads."""

    def __init__(self, read: Callable[[], int] = wall) -> None:
        self._read = read
        self.reset()

    def reset(self) -> None:
        """A lock and a sequence of its own, for a process that was forked."""
        self._lock = threading.Lock()
        self._last = 0  # microseconds
        self._sequence = 0  # milliseconds << 12 | counter

    def stamp(self) -> tuple[int, str]:
        """(microseconds since 1970, a fresh UUIDv7); the ids of a process ascend in the order of the calls."""
        noise = os.urandom(8)
        with self._lock:
            at = self._read()
            if at <= self._last < at + HELD:
                at = self._last + 1
            self._last = at
            self._sequence = max((at // 1000) << 12, self._sequence + 1)
            sequence = self._sequence
        milliseconds, counter = divmod(sequence, 1 << 12)
        tail = int.from_bytes(noise, "big") & ((1 << 62) - 1) | (2 << 62)
        digits = f"{milliseconds:012x}7{counter:03x}{tail:016x}"
        return at, f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def render(at: int) -> str:
    """RFC 3339 in UTC, with microseconds."""
    seconds, rest = divmod(at, SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"
