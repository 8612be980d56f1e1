"""The name that was probably meant."""

import time

import pytest

from monitor.nearest import COMPARED, nearest

KNOWN = ("range", "from", "to", "Latency_ms", "distance_km")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("rnage", "range"),
        ("RANGE", "range"),
        ("latency_MS", "Latency_ms"),
        ("distance", "distance_km"),
        ("xyz", None),
        ("", None),
    ],
)
def test_the_nearest_is_named_as_it_is_written_and_nothing_where_none_is_near(given: str, meant: str | None) -> None:
    assert nearest(given, KNOWN) == meant


def test_how_alike_it_must_be_can_be_asked_for() -> None:
    assert nearest("ab", ("ax",)) is None
    assert nearest("ab", ("ax",), 0.5) == "ax"


def test_endless_names_and_endless_lists_take_no_endless_time() -> None:
    began = time.monotonic()
    nearest("ab" * 100_000, [f"{at}{'ba' * 128}" for at in range(100 * COMPARED)])
    assert time.monotonic() - began < 5


def test_nothing_is_near_where_nothing_is_known() -> None:
    assert nearest("range", ()) is None
