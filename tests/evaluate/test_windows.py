"""Windows in a timezone: tiling, clock changes, weeks, and odd offsets."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import clock
from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate import windows

ZONES = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Apia",
    "America/Sao_Paulo",
]
UNITS = [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR, DAY, 7 * DAY]

instants = st.integers(clock.parse("2005-01-01T00:00:00Z"), clock.parse("2030-01-01T00:00:00Z"))


def local(at: int, zone: str) -> datetime:
    return clock.to_datetime(at).astimezone(ZoneInfo(zone))


@settings(deadline=None, max_examples=60)
@given(at=instants, unit=st.sampled_from(UNITS), zone=st.sampled_from(ZONES))
def test_every_instant_lies_in_exactly_one_window(at: int, unit: int, zone: str) -> None:
    start = windows.start_of(at, unit, zone)
    end = windows.next_start(start, unit, zone)
    assert start <= at < end
    assert windows.start_of(start, unit, zone) == start
    assert windows.start_of(end - 1, unit, zone) == start
    assert windows.previous_start(end, unit, zone) == start
    assert windows.next_start(at, unit, zone) == end


@settings(deadline=None, max_examples=60)
@given(at=instants, unit=st.sampled_from(UNITS), zone=st.sampled_from(ZONES))
def test_windows_are_whole_numbers_of_profiled_hours_or_days(at: int, unit: int, zone: str) -> None:
    span = windows.profile_span(unit) * clock.SECOND
    start = windows.start_of(at, unit, zone)
    assert windows.is_boundary(start, span, zone)
    assert windows.is_boundary(start, HOUR, zone)


@settings(deadline=None, max_examples=60)
@given(at=instants, zone=st.sampled_from(ZONES))
def test_days_begin_at_the_first_instant_of_the_local_date(at: int, zone: str) -> None:
    start = windows.start_of(at, DAY, zone)
    assert local(start, zone).date() == local(at, zone).date()
    assert local(start - 1, zone).date() < local(start, zone).date()


@settings(deadline=None, max_examples=60)
@given(at=instants, zone=st.sampled_from(ZONES))
def test_weeks_begin_on_mondays(at: int, zone: str) -> None:
    start = windows.start_of(at, 7 * DAY, zone)
    first = local(start, zone)
    assert first.weekday() == 0 or zone == "Pacific/Apia"
    assert (local(at, zone).date() - first.date()).days < 7


@settings(deadline=None, max_examples=60)
@given(values=st.lists(instants, min_size=1, max_size=30), unit=st.sampled_from(UNITS), zone=st.sampled_from(ZONES))
def test_many_instants_at_once_agree_with_one_at_a_time(values: list[int], unit: int, zone: str) -> None:
    together = windows.starts_of(np.array(values), unit, zone)
    assert together.tolist() == [windows.start_of(value, unit, zone) for value in values]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-06-01", 24)])
def test_days_have_23_or_25_hours_where_the_clocks_change(day: str, hours: int) -> None:
    start = windows.start_of(clock.parse(f"{day}T12:00:00-05:00"), DAY, "America/New_York")
    end = windows.next_start(start, DAY, "America/New_York")
    assert end - start == hours * HOUR
    assert len(windows.between(start, end, HOUR, "America/New_York")) == hours


def test_a_six_hour_window_takes_the_repeated_hour_in() -> None:
    spans = windows.spans(
        clock.parse("2026-10-31T22:00:00Z"), clock.parse("2026-11-01T22:00:00Z"), 6 * HOUR, "America/New_York"
    )
    assert [(end - start) // HOUR for start, end in spans] == [6, 7, 6, 6]


def test_hours_follow_an_offset_of_a_half_hour() -> None:
    at = clock.parse("2026-05-01T10:45:00Z")
    assert windows.start_of(at, HOUR, "Asia/Kolkata") == clock.parse("2026-05-01T10:30:00Z")
    assert windows.start_of(at, HOUR, "Asia/Kathmandu") == clock.parse("2026-05-01T10:15:00Z")
    assert windows.start_of(at, DAY, "Asia/Kolkata") == clock.parse("2026-04-30T18:30:00Z")


def test_spans_cover_a_stretch_and_are_whole() -> None:
    start, end = clock.parse("2026-01-01T05:10:00Z"), clock.parse("2026-01-01T08:00:00Z")
    spans = windows.spans(start, end, HOUR, "UTC")
    assert [clock.render(low)[11:16] for low, _ in spans] == ["05:00", "06:00", "07:00"]
    assert spans[-1][1] == end
    assert windows.spans(end, end, HOUR, "UTC") == []


@pytest.mark.parametrize("unit", [0, -HOUR, 5 * HOUR, 30 * MINUTE, 25 * HOUR, 32 * DAY])
def test_units_that_do_not_tile_a_day_are_refused(unit: int) -> None:
    with pytest.raises(ValueError, match="whole hours"):
        windows.check_unit(unit)


@pytest.mark.parametrize("unit", UNITS)
def test_units_that_tile_a_day_pass(unit: int) -> None:
    windows.check_unit(unit)


def test_no_instants_have_no_windows() -> None:
    assert windows.starts_of(np.empty(0, dtype=np.int64), HOUR, "UTC").size == 0
