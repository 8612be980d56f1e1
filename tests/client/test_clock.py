"""Times and ids of rows when the device's clock jumps."""

import os
from datetime import UTC, datetime

from monitor.client.clock import SECOND, DeviceClock, render, wall
from monitor.store.identity import key_of

DAY = 86_400 * SECOND


def stamps(readings: list[int]) -> tuple[list[int], list[str]]:
    given = iter(readings)
    clock = DeviceClock(lambda: next(given))
    made = [clock.stamp() for _ in readings]
    return [at for at, _ in made], [row_id for _, row_id in made]


def test_times_ascend_over_a_small_step_back_and_over_readings_that_repeat():
    start = wall()
    times, ids = stamps([start, start, start - 30 * SECOND, start - 29 * SECOND, start + SECOND])
    assert times == [start, start + 1, start + 2, start + 3, start + SECOND]
    assert ids == sorted(ids)


def test_a_large_step_back_is_believed_but_ids_go_on_ascending():
    start = wall()
    times, ids = stamps([start, start - 3 * DAY, start - 3 * DAY + 1, start + SECOND])
    assert times == [start, start - 3 * DAY, start - 3 * DAY + 1, start + SECOND]
    assert ids == sorted(ids) and len(set(ids)) == 4


def test_ids_are_uuid7_that_the_service_indexes_as_such():
    clock = DeviceClock()
    ids = [clock.stamp()[1] for _ in range(10_000)]  # more than one millisecond's counter holds
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    assert all(key_of(one).hex() == one.replace("-", "") and one[14] == "7" and one[19] in "89ab" for one in ids)


def test_times_are_written_as_rfc_3339():
    at = int(datetime(2026, 1, 31, 12, 0, 0, 42, tzinfo=UTC).timestamp() * SECOND)
    assert render(at) == "2026-01-31T12:00:00.000042Z"


def test_a_forked_child_makes_other_ids():
    clock = DeviceClock()
    clock.stamp()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        clock.reset()
        os.write(writer, "".join(clock.stamp()[1] for _ in range(20)).encode())
        os._exit(0)
    mine = {clock.stamp()[1] for _ in range(20)}
    os.waitpid(child, 0)
    theirs = os.read(reader, 4096).decode()
    os.close(reader), os.close(writer)
    assert not mine & {theirs[at : at + 36] for at in range(0, len(theirs), 36)}
