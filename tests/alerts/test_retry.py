"""The schedule of retries is that of Standard Webhooks."""

import pytest

from monitor.alerts.retry import ATTEMPTS, JITTER, LONGEST_RETRY_AFTER, PAUSES, pause_after
from monitor.clock import HOUR, MINUTE, SECOND


@pytest.mark.parametrize(
    ("attempt", "pause"),
    [
        (1, 5 * SECOND),
        (2, 5 * MINUTE),
        (3, 30 * MINUTE),
        (4, 2 * HOUR),
        (5, 5 * HOUR),
        (6, 10 * HOUR),
        (7, 14 * HOUR),
        (8, 20 * HOUR),
        (9, 24 * HOUR),
    ],
)
def test_the_pause_after_each_failure_is_the_one_of_the_schedule(attempt: int, pause: int) -> None:
    got = pause_after(attempt, "msg_1")
    assert got is not None and pause <= got <= pause * (1 + JITTER)


def test_after_the_last_attempt_nothing_more_is_tried() -> None:
    assert ATTEMPTS == 10 and sum(PAUSES) == 75 * HOUR + 35 * MINUTE + 5 * SECOND
    assert pause_after(10, "msg_1") is None and pause_after(11, "msg_1", retry_after=5) is None


def test_the_jitter_is_the_same_for_the_same_message_and_differs_between_messages() -> None:
    assert pause_after(4, "msg_1") == pause_after(4, "msg_1")
    pauses = {pause_after(4, f"msg_{i}") for i in range(200)}
    assert len(pauses) == 200
    assert max(p for p in pauses if p) - min(p for p in pauses if p) > 0.9 * JITTER * 2 * HOUR


@pytest.mark.parametrize(("asked", "least"), [(1, 5 * SECOND), (60, 60 * SECOND), (10**9, LONGEST_RETRY_AFTER)])
def test_a_receiver_can_ask_for_a_longer_pause_up_to_a_day_and_never_for_a_shorter_one(asked: int, least: int) -> None:
    got = pause_after(1, "msg_1", asked)
    assert got is not None and least <= got <= max(least, 5 * SECOND) * (1 + JITTER)
