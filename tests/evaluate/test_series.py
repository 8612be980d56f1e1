"""Series, summaries, heatmaps and distributions, against the same sums over raw rows."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.clock import DAY, HOUR, MINUTE, SECOND
from monitor.errors import Invalid
from monitor.evaluate import by_feature
from monitor.evaluate import series as data
from monitor.evaluate.series import Query
from monitor.store.session import reading
from tests.evaluate.small import START, Log, actuals, binary_rows

NOW = START + 3 * DAY
FEATURES = {"x": "numeric", "carrier": "categorical"}
Outcomes = Sequence[tuple[str, str, int, int]]


def ask(log: Log, now: int = NOW, **query: Any) -> list[data.Point]:
    with reading(log.engine) as connection:
        return data.series(connection, log.model, Query(**query), now)


def total(log: Log, now: int = NOW, exact: bool = False, **query: Any) -> data.Summary:
    with reading(log.engine) as connection:
        return data.summary(connection, log.model, Query(**query), now, exact)


def brute(
    rows: Sequence[dict[str, Any]], outcomes: Outcomes, start: int, end: int, as_of: int | None = None
) -> tuple[int, int, int]:
    """Rows, labelled rows and right ones, one by one."""
    held: dict[str, tuple[int, str]] = {}
    for row_id, actual, observed_at, known_at in outcomes:
        if as_of is None or known_at <= as_of:
            held[row_id] = max(held.get(row_id, (-1, "")), (observed_at, actual))
    inside = [
        row
        for row in rows
        if start <= row["timestamp"] < end and (as_of is None or row.get("known_at", row["timestamp"]) <= as_of)
    ]
    labelled = [row for row in inside if row["id"] in held]
    return len(inside), len(labelled), sum(held[row["id"]][1] == row["prediction"] for row in labelled)


@pytest.fixture
def two_days(make_log: Callable[..., Log]) -> tuple[Log, list[dict[str, Any]], Outcomes]:
    """Rows every three minutes for two days; late rows, late outcomes, corrections."""
    log = make_log(features=FEATURES)
    log.reference(binary_rows(500, seed=5, start=START - 9 * DAY), ["0", "1"] * 250)
    rows = binary_rows(900, step=3 * MINUTE)
    for i in range(0, 900, 7):
        rows[i]["known_at"] = rows[i]["timestamp"] + (i % 5) * HOUR
    plain = [(i, actual, at, at + (n % 4) * HOUR) for n, (i, actual, at) in enumerate(actuals(rows))]
    fixed = [(i, "1", at + HOUR, at + 9 * HOUR) for i, _, at, _ in plain[::5]]
    log.predictions(rows[:600])
    log.outcomes(plain[:700])
    log.build()
    log.predictions(rows[600:])
    log.outcomes([*plain[700:], *fixed])
    log.evaluate()
    return log, rows, [*plain, *fixed]


def test_a_series_gives_every_window_with_its_state(two_days: tuple[Log, list[dict[str, Any]], Outcomes]) -> None:
    log, rows, outcomes = two_days
    points = ask(log, metric="accuracy", from_us=START, to_us=START + 2 * DAY)
    assert len(points) == 48
    for point in points[:45]:
        _, labelled, right = brute(rows, outcomes, point.start, point.end)
        assert point.n == labelled and point.value == pytest.approx(right / labelled)
        assert point.low is not None and point.high is not None and point.low < point.value < point.high
        assert point.state in ("provisional", "final") and point.coverage == 1.0
    assert points[46].state == "no_data" and points[46].value is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours=st.integers(0, 60), minutes=st.integers(0, 59))
def test_a_view_of_the_past_is_exact(
    two_days: tuple[Log, list[dict[str, Any]], Outcomes], hours: int, minutes: int
) -> None:
    log, rows, outcomes = two_days
    as_of = START + hours * HOUR + minutes * MINUTE
    for point in ask(log, metric="accuracy", from_us=START, to_us=START + 2 * DAY, as_of_us=as_of, step_us=6 * HOUR):
        count, labelled, right = brute(rows, outcomes, point.start, point.end, as_of)
        assert point.n == labelled
        assert point.value == (pytest.approx(right / labelled) if labelled else None)
        assert point.coverage == (pytest.approx(labelled / count) if count else None)
    volume = ask(log, metric="volume", from_us=START, to_us=START + 2 * DAY, as_of_us=as_of, step_us=DAY)
    assert [point.n for point in volume] == [
        brute(rows, outcomes, START + d * DAY, START + (d + 1) * DAY, as_of)[0] for d in (0, 1)
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 3 * 86400), length=st.integers(1, 3 * 86400))
def test_a_summary_counts_to_the_row(
    two_days: tuple[Log, list[dict[str, Any]], Outcomes], start: int, length: int
) -> None:
    log, rows, outcomes = two_days
    low, high = START + start * SECOND, START + (start + length) * SECOND
    count, labelled, right = brute(rows, outcomes, low, high)
    found = total(log, metric="accuracy", from_us=low, to_us=high)
    assert (found.n, found.labelled) == (labelled, labelled)
    assert found.value == (pytest.approx(right / labelled) if labelled else None)
    assert found.coverage == (pytest.approx(labelled / count) if count else None)
    assert total(log, metric="volume", from_us=low, to_us=high).n == count


def test_a_summary_from_profiles_is_near_the_exact_one(two_days: tuple[Log, list[dict[str, Any]], Outcomes]) -> None:
    log, _, _ = two_days
    stretch = {"from_us": START + 17 * MINUTE, "to_us": START + 40 * HOUR}
    for metric, within in (("roc_auc", 1e-3), ("average_precision", 1e-3), ("accuracy", 1e-12), ("log_loss", 1e-9)):
        merged = total(log, metric=metric, **stretch)
        exact = total(log, metric=metric, exact=True, **stretch)
        assert merged.value == pytest.approx(exact.value, abs=within)
        assert (merged.n, merged.labelled) == (exact.n, exact.labelled)
    assert total(log, metric="latency_p95", exact=True, **stretch).value == pytest.approx(
        total(log, metric="latency_p95", **stretch).value, rel=0.03
    )
    psi = total(log, metric="psi", feature="x", **stretch)
    assert psi.value == pytest.approx(total(log, metric="psi", feature="x", exact=True, **stretch).value)


def test_segments_add_up_to_the_whole(two_days: tuple[Log, list[dict[str, Any]], Outcomes]) -> None:
    log, rows, _ = two_days
    for carrier in ("AA", "BB", "CC"):
        found = total(log, metric="volume", segment=f"carrier:{carrier}", from_us=START, to_us=NOW)
        assert found.n == sum(row["features"]["carrier"] == carrier for row in rows)
        exact = total(log, metric="accuracy", segment=f"carrier:{carrier}", from_us=START, to_us=NOW, exact=True)
        merged = total(log, metric="accuracy", segment=f"carrier:{carrier}", from_us=START, to_us=NOW)
        assert merged.value == pytest.approx(exact.value) and merged.n == exact.n
    assert total(log, metric="volume", segment="carrier:other", from_us=START, to_us=NOW).n == 0
    points = ask(log, metric="accuracy", segment="carrier:AA", from_us=START, to_us=START + DAY)
    assert len(points) == 24 and all(point.n for point in points)


def test_a_step_of_days_merges_windows(two_days: tuple[Log, list[dict[str, Any]], Outcomes]) -> None:
    log, _, _ = two_days
    days = ask(log, metric="volume", from_us=START, to_us=START + 2 * DAY, step_us=DAY)
    assert [point.value for point in days] == [480, 420]
    assert [point.end - point.start for point in days] == [DAY, DAY]


def test_live_rows_only_unless_a_version_is_named(make_log: Callable[..., Log]) -> None:
    log = make_log(features=FEATURES)
    log.predictions([{**row, "version": "1"} for row in binary_rows(50)])
    log.predictions([{**row, "version": "2", "role": "shadow"} for row in binary_rows(40, prefix="s")])
    log.evaluate()
    stretch = {"from_us": START, "to_us": START + HOUR}
    assert total(log, metric="volume", **stretch).n == 50
    assert total(log, metric="volume", version="2", **stretch).n == 40
    assert [point.n for point in ask(log, metric="volume", version="2", **stretch)] == [40]
    with pytest.raises(Invalid, match="version"):
        total(log, metric="volume", version="3", **stretch)


def test_the_default_stretch_is_the_last_seven_days(log: Log) -> None:
    log.predictions(binary_rows(10))
    log.evaluate()
    points = ask(log, now=START + HOUR, metric="volume")
    assert len(points) == 7 * 24 and points[-1].start == START and points[-1].n == 10


def test_a_model_without_rows_has_no_data(log: Log) -> None:
    assert {point.state for point in ask(log, metric="volume")} == {"no_data"}
    assert total(log, metric="accuracy") == data.Summary(None, None, None, 0, 0, None)
    assert total(log, metric="accuracy", exact=True).n == 0
    with reading(log.engine) as connection:
        found = data.distribution(connection, log.model, "x", START, NOW)
    assert found.rows == 0 and found.reference_number is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"metric": "nonsense"}, "metric"),
        ({"metric": "rmse"}, "metric"),
        ({"metric": "psi", "feature": "nobody"}, "feature"),
        ({"metric": "accuracy", "feature": "x"}, "feature"),
        ({"metric": "volume", "from_us": NOW, "to_us": START}, "from"),
        ({"metric": "volume", "step_us": 5 * HOUR}, "step"),
        ({"metric": "volume", "from_us": 0}, "step"),
        ({"metric": "volume", "version": "nobody"}, "version"),
        ({"metric": "volume", "segment": "carrier:ZZ"}, "segment"),
        ({"metric": "volume", "segment": "carrier"}, "segment"),
    ],
)
def test_a_question_that_makes_no_sense_names_its_field(log: Log, query: dict[str, Any], field: str) -> None:
    log.predictions(binary_rows(100))
    log.evaluate()
    with pytest.raises(Invalid) as caught:
        ask(log, now=START + DAY, **query)
    assert caught.value.errors[0]["field"] == field


def test_a_heatmap_holds_every_feature_at_every_step(two_days: tuple[Log, list[dict[str, Any]], Outcomes]) -> None:
    log, _, _ = two_days
    with reading(log.engine) as connection:
        hours = by_feature.heatmap(connection, log.model, "psi", START, START + DAY, HOUR)
        days = by_feature.heatmap(connection, log.model, "psi", START, START + 3 * DAY, DAY)
    assert sorted(hours.features) == ["carrier", "x"] and len(hours.starts) == 24
    assert all(value is not None for line in hours.values for value in line)
    point = ask(log, metric="psi", feature="x", from_us=START, to_us=START + HOUR)[0]
    assert hours.values[hours.features.index("x")][0] == point.value
    assert [value is None for value in days.values[0]] == [False, False, True]


def test_a_distribution_counts_every_row(two_days: tuple[Log, list[dict[str, Any]], Outcomes]) -> None:
    log, rows, _ = two_days
    with reading(log.engine) as connection:
        numeric = data.distribution(connection, log.model, "x", START, START + 2 * DAY)
        levels = data.distribution(connection, log.model, "carrier", START, START + 2 * DAY)
        with pytest.raises(Invalid):
            data.distribution(connection, log.model, "nobody", START, NOW)
    assert numeric.kind == "numeric" and len(numeric.edges) == len(numeric.current) + 1 == 33
    assert sum(numeric.current) == numeric.rows == 900 and sum(numeric.reference) == 500
    assert levels.kind == "categorical" and levels.reference_number == 1
    counts = dict(zip(levels.labels, levels.current, strict=True))
    assert counts["AA"] == sum(row["features"]["carrier"] == "AA" for row in rows)


def test_a_distribution_of_few_values_says_that_each_bin_is_one(make_log: Callable[..., Log]) -> None:
    log = make_log(features=FEATURES)
    rows = binary_rows(100, start=START - 9 * DAY)
    for place, row in enumerate(rows):
        row["features"]["x"] = (1.0, 2.0, 4.0)[place % 3]
    log.reference(rows, ["0", "1"] * 50)
    with reading(log.engine) as connection:
        found = data.distribution(connection, log.model, "x", START, NOW)
    assert found.discrete and found.edges[:-1] == [1, 2, 4] and found.reference == [34, 33, 33]
