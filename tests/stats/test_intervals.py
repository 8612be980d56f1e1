"""95 % intervals hold the truth in about 95 % of seeded simulations."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.intervals import quantile_shares, wilson
from monitor.stats.measure import measure
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import profile_of

RUNS = 300


def covered(name: str, windows: list[dict[str, tuple[float, float]]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in (window[name] for window in windows)]))


def measured(binning: Binning, rows: Rows) -> dict[str, tuple[float, float]]:
    return {name: (value.low, value.high) for name, value in measure(profile_of(binning, rows)).values.items()}


def binary(n: int, rng: np.random.Generator) -> Rows:
    score = rng.beta(1, 3, n)
    actual = Codes((rng.random(n) < score).astype(np.int64), ("no", "yes"))
    return Rows(n, score=score, actual=actual, latency_ms=rng.lognormal(3, 1, n))


def regression(n: int, rng: np.random.Generator) -> Rows:
    x = rng.normal(size=n)
    return Rows(n, prediction=Numbers(2 * x), actual=Numbers(2 * x + rng.standard_t(8, n) - 0.5))


def test_binary_metrics() -> None:
    rng = np.random.default_rng(0)
    large = binary(400_000, rng)
    binning = Binning.build(1, "binary", large.take(slice(0, 5000)), positive_class="yes")
    truth = measure(profile_of(binning, large)).values
    windows = [measured(binning, binary(300, rng)) for _ in range(RUNS)]
    for name in ("accuracy", "precision", "recall", "f1", "f1_macro", "roc_auc", "log_loss", "brier", "latency_p50",
                 "latency_p95"):  # fmt: skip
        assert 0.91 <= covered(name, windows, truth[name].value) <= 0.99, name
    assert covered("average_precision", windows, truth["average_precision"].value) >= 0.9


def test_regression_metrics() -> None:
    rng = np.random.default_rng(1)
    large = regression(400_000, rng)
    binning = Binning.build(1, "regression", large.take(slice(0, 5000)))
    truth = measure(profile_of(binning, large)).values
    windows = [measured(binning, regression(300, rng)) for _ in range(RUNS)]
    for name in ("mae", "rmse", "bias", "r2"):
        assert 0.9 <= covered(name, windows, truth[name].value) <= 0.985, name


def test_wilsons_interval_is_the_published_one() -> None:
    low, high = wilson(10, 100)
    assert (float(low), float(high)) == (pytest.approx(0.05523, abs=1e-5), pytest.approx(0.17437, abs=1e-5))
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1
    assert np.isnan(wilson(0, 0)[0])


def test_delongs_variance_is_that_of_the_placements() -> None:
    from monitor.stats.classification import roc_auc

    rng = np.random.default_rng(2)
    x, y = rng.integers(3, 9, 40), rng.integers(1, 7, 60)
    value, low, high, _ = roc_auc(np.bincount(x, minlength=10), np.bincount(y, minlength=10))
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    variance = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 60
    assert value == pytest.approx(wins.mean())
    half = (np.log(high / (1 - high)) - np.log(low / (1 - low))) / 2
    assert half == pytest.approx(1.959964 * np.sqrt(variance) / (value * (1 - value)), rel=1e-6)


def test_the_shares_of_order_statistics_stay_between_zero_and_one() -> None:
    assert quantile_shares(0.99, 20) == (pytest.approx(0.9464, abs=1e-4), 1.0)
