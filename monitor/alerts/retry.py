"""When a delivery is tried again: the schedule of Standard Webhooks, ten attempts over about three days."""

import hashlib

from monitor.clock import HOUR, MINUTE, SECOND

# The pause before each attempt, counted from the end of the one before.
PAUSES = (
    0,
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
ATTEMPTS = len(PAUSES)
JITTER = 0.1  # a pause grows by up to this part, so that many deliveries that failed at once do not return at once
LONGEST_RETRY_AFTER = 24 * HOUR


def pause_after(attempt: int, seed: str, retry_after: int | None = None) -> int | None:
    """Microseconds to wait after the failure of the attempt with that number (1 is the first), or None: give up.

    A pure function: the jitter is drawn from `seed` (the delivery's id) and the number. `retry_after` is what the
    receiver asked for, in seconds; it can make the pause longer (up to a day), never shorter.
    """
    if attempt >= ATTEMPTS:
        return None
    digest = hashlib.sha256(f"{seed}:{attempt}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    pause = int(PAUSES[attempt] * (1 + JITTER * share))
    return max(pause, min((retry_after or 0) * SECOND, LONGEST_RETRY_AFTER))
