"""Hours of a week: nights that go past midnight, time zones, and the days on which clocks change."""

import pytest

from monitor import clock
from monitor.alerts.hours import DAYS, end_of, read_hours, told
from monitor.errors import Invalid
from monitor.store.body import Reader


def _hours(from_: str, to: str, days: tuple[str, ...] = DAYS, timezone: str = "UTC") -> dict[str, object]:
    return {"days": list(days), "from": from_, "to": to, "timezone": timezone}


@pytest.mark.parametrize(
    ("hours", "at", "end"),
    [
        (_hours("09:00", "17:00"), "2026-03-02T09:00:00Z", "2026-03-02T17:00:00Z"),
        (_hours("09:00", "17:00"), "2026-03-02T08:59:59Z", None),
        (_hours("09:00", "17:00"), "2026-03-02T17:00:00Z", None),
        (_hours("22:00", "06:00", ("mon",)), "2026-03-02T23:00:00Z", "2026-03-03T06:00:00Z"),
        (_hours("22:00", "06:00", ("mon",)), "2026-03-03T05:59:00Z", "2026-03-03T06:00:00Z"),
        (_hours("22:00", "06:00", ("mon",)), "2026-03-02T05:00:00Z", None),  # the night of Sunday
        (_hours("22:00", "06:00", ("mon",)), "2026-03-03T22:00:00Z", None),
        (_hours("00:00", "24:00", ("sun",)), "2026-03-01T12:00:00Z", "2026-03-02T00:00:00Z"),
        (_hours("06:00", "06:00"), "2026-03-01T05:00:00Z", "2026-03-01T06:00:00Z"),  # all the time
        (
            _hours("22:00", "06:00", timezone="Europe/Berlin"),
            "2026-03-28T22:00:00Z",
            "2026-03-29T04:00:00Z",
        ),  # to summer
        (
            _hours("22:00", "06:00", timezone="Europe/Berlin"),
            "2026-10-24T21:00:00Z",
            "2026-10-25T05:00:00Z",
        ),  # and back
        (_hours("22:00", "06:00", timezone="Asia/Kolkata"), "2026-03-01T17:00:00Z", "2026-03-02T00:30:00Z"),
    ],
)
def test_when_the_hours_that_a_time_lies_in_end(hours: dict[str, object], at: str, end: str | None) -> None:
    found = end_of(hours, clock.parse(at))
    assert (None if found is None else clock.render(found)) == end


def test_hours_are_read_with_every_day_and_utc_filled_in() -> None:
    reader = Reader({"quiet": {"from": "22:00", "to": "06:00"}})
    found = read_hours(reader, "quiet")
    reader.finish()
    assert found == _hours("22:00", "06:00") and told(found) == "every day 22:00 to 06:00 UTC"
    assert told(_hours("22:00", "06:00", ("sat", "sun"))) == "sat, sun 22:00 to 06:00 UTC"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("22:00", "quiet"),
        ({"to": "06:00"}, "quiet.from"),
        ({"from": 1320, "to": "06:00"}, "quiet.from"),
        ({"from": "25:00", "to": "06:00"}, "quiet.from"),
        ({"from": "22:00", "to": "06:00", "days": ["monday"]}, "quiet.days"),
        ({"from": "22:00", "to": "06:00", "days": []}, "quiet.days"),
        ({"from": "22:00", "to": "06:00", "timezone": "Mars/Base"}, "quiet.timezone"),
        ({"from": "22:00", "to": "06:00", "timezone": "../etc"}, "quiet.timezone"),
        ({"from": "22:00", "to": "06:00", "tz": "UTC"}, "quiet"),
    ],
)
def test_hours_that_are_none_are_refused_by_field(value: object, field: str) -> None:
    reader = Reader({"quiet": value})
    read_hours(reader, "quiet")
    with pytest.raises(Invalid) as caught:
        reader.finish()
    assert field in [error["field"] for error in caught.value.errors]
