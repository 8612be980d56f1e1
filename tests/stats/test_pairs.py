"""Pairs of features: what is summed, and what moves it."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.pairs import MOST
from monitor.stats.plan import correlations_of
from monitor.stats.profile import merge, profile_inputs
from monitor.stats.rows import Numbers, Rows


def together(rng, n, rho=0.7, shift=0.0, spread=1.0, missing=0.0):
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    return Rows(n, features={"x": Numbers(x, rng.random(n) < missing), "y": Numbers(spread * y + shift)})


def correlation(binning, rows):
    profile = profile_inputs(binning, rows)
    return np.tanh(correlations_of(profile))


@pytest.fixture(scope="module")
def binning():
    return Binning.build(1, "regression", together(np.random.default_rng(1), 20_000))


def test_the_correlation_of_normal_scores_is_that_of_normal_values(binning):
    assert binning.pairs == [("x", "y")]
    for rho in (0.7, 0.0, -0.7):
        found = correlation(binning, together(np.random.default_rng(2), 20_000, rho))
        assert found[0] == pytest.approx(rho, abs=0.02)


@pytest.mark.parametrize("broken", [{"shift": 0.5}, {"spread": 1.5}, {"shift": -0.3, "spread": 0.7}], ids=str)
def test_a_feature_that_moves_or_spreads_alone_hardly_moves_its_correlation(binning, broken):
    assert correlation(binning, together(np.random.default_rng(3), 20_000, **broken))[0] == pytest.approx(0.7, abs=0.03)


def test_sums_of_products_add_up_exactly_however_the_rows_are_cut(binning):
    rows = together(np.random.default_rng(4), 20_000, missing=0.1)
    whole = profile_inputs(binning, rows)
    order = np.random.default_rng(5).permutation(rows.n)
    parts = [profile_inputs(binning, rows.take(part)) for part in np.array_split(order, 7)]
    assert merge(binning, parts) == whole


def test_a_binning_comes_back_with_its_normal_scores(binning):
    again = Binning.load(binning.dump())
    assert again.normals == binning.normals and again.whole.quantities.keys() == binning.whole.quantities.keys()


def test_a_constant_feature_has_no_pairs_and_a_silent_one_no_correlation(binning):
    rng = np.random.default_rng(6)
    rows = Rows(500, features={"x": Numbers(np.ones(500)), "y": Numbers(rng.normal(size=500))})
    assert Binning.build(1, "regression", rows).pairs == []
    assert np.isnan(correlation(binning, rows)[0])


def test_the_features_that_go_most_with_the_score_are_chosen_of_many():
    rng = np.random.default_rng(7)
    values = rng.normal(size=(2000, MOST + 5))
    features = {f"x{place:02}": Numbers(values[:, place]) for place in range(MOST + 5)}
    score = 1 / (1 + np.exp(-values[:, 5:].sum(axis=1)))
    found = Binning.build(1, "binary", Rows(2000, features=features, score=score))
    assert [name for name, _ in found.normals] == [f"x{place:02}" for place in range(5, MOST + 5)]
