"""The rows behind a chart that reads rows: bounded, spread over the stretch, the same each time."""

import pytest
from sqlalchemy.engine import Engine

from monitor.clock import HOUR, MINUTE
from monitor.evaluate import sample
from monitor.evaluate.effect import effect
from monitor.evaluate.loaded import binning_numbered, reference_for
from monitor.store import profiles
from monitor.store.session import reading
from tests.evaluate.small import START, Log, actuals, binary_rows

FEATURES = {"x": "numeric", "carrier": "categorical"}


@pytest.fixture
def log(engine: Engine) -> Log:
    made = Log.make(engine, features=FEATURES)
    rows = binary_rows(600, seed=3, prefix="ref")
    made.reference(rows, [outcome for _, outcome, _ in actuals(rows)])
    rows = binary_rows(1200)
    made.predictions(rows, block=50)
    made.outcomes(actuals(rows))
    made.build()
    return made


def looked_at(log: Log) -> tuple[sample.Sampled, sample.Sampled]:
    """What is looked at of the whole log, and of the reference."""
    with reading(log.engine) as connection:
        number = profiles.current_number(connection, log.model_id)
        binning = binning_numbered(connection, log.model_id, number)
        found = reference_for(connection, log.model_id, number)
        now = sample.of_stretch(connection, log.model, binning, "x", START, START + 100 * HOUR)
        before = sample.of_reference(connection, log.model, found, "x")
    assert now is not None and before is not None
    return now, before


def test_few_rows_are_all_looked_at_with_their_outcomes(log: Log) -> None:
    now, before = looked_at(log)
    assert now.whole and before.whole and (now.rows.n, before.rows.n) == (1200, 600)
    assert now.rows.labelled().all() and before.rows.labelled().all()
    assert set(now.rows.features) == {"x"}


def test_of_many_rows_a_fixed_sample_from_all_over_the_stretch_is_looked_at(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "MOST_READ", 400)
    monkeypatch.setattr(sample, "MOST_ROWS", 100)
    now, before = looked_at(log)
    assert not now.whole and not before.whole and now.rows.n == before.rows.n == 100
    again, _ = looked_at(log)
    assert (now.rows.features["x"].values == again.rows.features["x"].values).all()
    assert now.rows.labelled().all()
    monkeypatch.setattr(sample, "MOST_ROWS", 10_000)
    monkeypatch.setattr(sample, "MOST_BLOCKS", 4)
    assert looked_at(log)[0].rows.n == 4 * 50


def test_an_effect_has_both_sides_and_none_where_no_row_is_kept(log: Log) -> None:
    with reading(log.engine) as connection:
        found = effect(connection, log.model, "x", "accuracy", START, START + 10 * HOUR)
        nothing = effect(connection, log.model, "x", "accuracy", START - HOUR, START)
        unknown = effect(connection, log.model, "none", "accuracy", START, START + HOUR)
    assert found is not None and found.now is not None and found.reference is not None
    assert found.now.rows == 10 * HOUR // MINUTE and len(found.now.groups) == len(found.reference.groups)
    shares = [group.share for group in found.reference.groups]
    assert sum(shares) == pytest.approx(1) and max(shares) < 0.25
    assert nothing is not None and nothing.now is None and unknown is None


def test_a_reference_from_the_log_is_sampled_from_the_log(engine: Engine) -> None:
    made = Log.make(engine, features=FEATURES)
    rows = binary_rows(900)
    made.predictions(rows)
    made.outcomes(actuals(rows))
    made.build()
    with reading(engine) as connection:
        found = effect(connection, made.model, "carrier", "accuracy", START, START + 100 * HOUR)
    assert found is not None and found.now is not None and found.reference is not None  # the provisional one
    assert found.reference.rows <= 900
