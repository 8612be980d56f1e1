"""Reading many metrics in one pass gives what reading them one by one gives."""

import pytest
from sqlalchemy.engine import Engine

from dashboards.pages.stretch import Stretch
from monitor import clock
from monitor.clock import DAY
from monitor.evaluate.panel import Signal, Wanted, panel
from monitor.evaluate.series import Query, series
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading
from tests.dashboards.seeded import START, WINDOW, Seeded


@pytest.mark.parametrize("step", [WINDOW, DAY])
def test_a_panel_is_the_series_of_its_metrics(seeded_engine: Engine, seeded: Seeded, step: int) -> None:
    wanted: list[Wanted] = [
        ("volume", None),
        ("roc_auc", None),
        ("latency_p95", None),
        ("psi", "amount"),
        ("missing_share", "plan"),
    ]
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        now = model_now(connection, model, clock.now())
        found = panel(connection, model, wanted, START, START + 20 * DAY, step, now)
        for metric, feature in wanted:
            assert not isinstance(feature, Signal)
            query = Query(metric, feature, from_us=START, to_us=START + 20 * DAY, step_us=step)
            alone = series(connection, model, query, now)
            assert len(alone) == len(found[metric, feature]) > 15
            for one, other in zip(alone, found[metric, feature], strict=True):
                assert repr(one) == repr(other)


@pytest.mark.parametrize("step", [WINDOW, DAY])
def test_drift_of_predictions_and_scores_is_there_beside_the_features(
    seeded_engine: Engine, seeded: Seeded, step: int
) -> None:
    wanted: list[Wanted] = [("psi", Signal.PREDICTION), ("psi", Signal.SCORE)]
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        found = panel(connection, model, wanted, START, START + 17 * DAY, step, START + 18 * DAY)
    for one in wanted:
        values = [point.value for point in found[one] if point.n]
        assert values and all(value is not None and value >= 0 for value in values)
    assert found["psi", Signal.PREDICTION] != found["psi", Signal.SCORE]


def test_pages_ask_for_whole_windows_only(seeded_engine: Engine, seeded: Seeded) -> None:
    from dashboards.pages import stretch

    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        now = model_now(connection, model, clock.now())
        shown = stretch.choose(connection, model, now, None, "2026-03-05T01:17:00Z", "2026-03-06T02:00:00")
    assert isinstance(shown, Stretch)
    assert shown.from_us == clock.parse("2026-03-04T23:00:00Z")  # midnight in Berlin
    assert shown.to_us == clock.parse("2026-03-06T05:00:00Z")
