"""Day and night, weekdays and weekends."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from monitor.stats.phases import Clock, groups, of_counts, of_scalars

DAY = 86_400_000_000
HOUR = DAY // 24
MONDAY = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
P = np.array([0.5, 0.3, 0.2])
WEEKEND = np.array([0.2, 0.3, 0.5])


def days(number):
    return [MONDAY + day * DAY for day in range(number)]


def counts_of(rng, starts, weekly=True, rows=400):
    weekend = [weekly and (start - MONDAY) // DAY % 7 >= 5 for start in starts]
    return np.array([rng.multinomial(rows, WEEKEND if away else P) for away in weekend]).astype(float)


def test_a_weekly_pattern_is_found_and_taken_out():
    rng = np.random.default_rng(1)
    starts = days(28)
    clock = Clock.of(starts, "UTC")
    blocks = counts_of(rng, starts)
    usable = groups(clock, starts)
    phases = of_counts(usable, blocks)
    assert phases is not None and phases.kind == "weekend" and phases.number == 2
    turned = phases.turn_all(usable, blocks)
    shares = turned / turned.sum(axis=1, keepdims=True)
    assert np.abs(shares[5:7].mean(axis=0) - shares[:5].mean(axis=0)).max() < 0.06


def test_without_a_pattern_there_are_no_phases():
    rng = np.random.default_rng(2)
    starts = days(28)
    usable = groups(Clock.of(starts, "UTC"), starts)
    assert of_counts(usable, counts_of(rng, starts, weekly=False)) is None
    assert of_scalars(usable, rng.normal(size=28), 0.0) is None


def test_three_weekend_days_are_too_few_for_phases():
    starts = days(12)
    usable = groups(Clock.of(starts, "UTC"), starts)
    assert usable == {}


def test_hours_of_the_day_are_phases_of_short_windows():
    rng = np.random.default_rng(3)
    starts = [MONDAY + index * 6 * HOUR for index in range(40)]
    clock = Clock.of(starts, "UTC")
    night = np.arange(40) % 4 == 0
    phases = of_scalars(groups(clock, starts), np.where(night, 4.0, 6.0) + rng.normal(0, 0.1, 40), 0.05)
    assert phases is not None and phases.kind == "slot"
    assert abs(phases.shift(clock.phase("slot", MONDAY), 4.0) - 5.5) < 0.2


def test_the_time_zone_decides_what_is_a_weekend():
    friday_night = int(datetime(2024, 1, 5, 23, 0, tzinfo=UTC).timestamp()) * 1_000_000
    assert Clock(3600, "UTC").phase("weekend", friday_night) == 0
    assert Clock(3600, "Asia/Tokyo").phase("weekend", friday_night) == 1


def test_a_day_that_starts_an_hour_off_when_clocks_change_keeps_its_phase():
    zone = ZoneInfo("America/New_York")
    starts = [int(datetime(2024, 3, day, tzinfo=zone).timestamp()) * 1_000_000 for day in range(2, 26)]
    clock = Clock.of(starts, "America/New_York")
    got = [clock.phase("weekend", start) for start in starts]
    assert got == [int(datetime(2024, 3, day, tzinfo=UTC).weekday() >= 5) for day in range(2, 26)]


def test_windows_longer_than_a_day_have_no_phases():
    assert Clock.of([MONDAY + 7 * index * DAY for index in range(20)], "UTC") is None
    assert Clock.of(days(3), "UTC") is None


def test_a_phase_that_the_reference_never_had_changes_nothing():
    rng = np.random.default_rng(4)
    starts = days(28)
    phases = of_counts(groups(Clock.of(starts, "UTC"), starts), counts_of(rng, starts))
    assert phases is not None
    assert (phases.turn(99, np.array([1.0, 2.0, 3.0])) == [1, 2, 3]).all()
