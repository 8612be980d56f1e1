"""What charts draw of few rows, and what they say when they draw nothing."""

import pytest

from dashboards.formats import Zone
from dashboards.pages import charts, performance
from monitor.clock import DAY
from monitor.evaluate.series import Point
from monitor.stats.values import Value


def point(day: int, value: float | None, n: int, coverage: float | None = 1.0, state: str = "final") -> Point:
    return Point(day * DAY, (day + 1) * DAY, value, value, value, n, coverage, state, 0)


def test_a_single_labelled_row_is_no_point_and_no_headline() -> None:
    chart = charts.of_metric("k", "mae", [point(0, 0.2, 50), point(1, 1.0, 1)], Zone(), DAY)
    assert chart.figure is not None and chart.figure["data"][-1]["y"] == [0.2, None]
    assert chart.headline == "last 0.200", "a single value of a chart says which one it is"
    assert not performance.is_enough("mae", Value(1.0, 1.0, 1.0, 1)) and performance.is_enough("psi", Value(1.0, n=1))


def test_drift_needs_no_labels() -> None:
    assert charts.enough("psi", [point(0, 0.2, 3)])[0].value == 0.2


@pytest.mark.parametrize(
    ("task", "metric", "one", "title"),
    [
        ("regression", "mae", point(0, None, 0, None, "no_data"), "No data in this stretch"),
        ("regression", "mae", point(0, None, 0, 0.0), "No labels yet"),
        ("regression", "mae", point(0, 1.0, 1), "Too few labelled rows"),
        ("multiclass", "accuracy", point(0, 1.0, 1), "Too few labelled rows"),
        ("multiclass", "calibration_error", point(0, None, 0), "No scores sent"),
        ("binary", "roc_auc", point(0, None, 0), "No scores sent"),
    ],
)
def test_no_chart_says_what_is_missing(task: str, metric: str, one: Point, title: str) -> None:
    chart = charts.of_metric("k", metric, [one], Zone(), DAY, empty=performance.why_none(task, metric, [one]))
    assert chart.empty is not None and chart.empty.title == title
    assert ("`scores`" in chart.empty.text) == (title == "No scores sent" and task == "multiclass")


def test_windows_without_rows_count_as_zero_once_they_are_over() -> None:
    nothing = [point(day, None, 0, None, "no_data") for day in (0, 2, 3)]
    points = charts.with_zeros([nothing[0], point(1, 7.0, 7), *nothing[1:]], 3 * DAY)
    assert [one.value for one in points] == [None, 7.0, 0.0, None]
    chart = charts.of_metric("k", "volume", points, Zone(), DAY, zero=True)
    assert chart.headline == "last 0" and chart.figure is not None
    assert chart.figure["layout"]["yaxis"] == {"fixedrange": True, "rangemode": "tozero"}
