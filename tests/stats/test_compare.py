"""Two versions on the same rows: every difference and interval against another way to compute it."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar as oracle

from monitor.stats.compare import (
    PAIRED,
    Answers,
    Contrast,
    agreement,
    answers_apart,
    apart,
    flips,
    mcnemar,
    on_the_same_rows,
)  # fmt: skip
from monitor.stats.values import Value

N = 600


def binary(n: int = N, seed: int = 1) -> tuple[Answers, Answers]:
    """Two versions that agree more often than chance; scores with ties."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(np.int64)
    shared = rng.normal(truth, 1.0)
    made = []
    for noise in (0.3, 0.8):
        score = (1 / (1 + np.exp(-(shared + rng.normal(0, noise, n) - 0.5)))).round(2)
        made.append(Answers((score >= 0.5).astype(np.int64), truth, score, np.where(truth == 1, score, 1 - score)))
    return made[0], made[1]


def multiclass(n: int = N) -> tuple[Answers, Answers]:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, n)
    said = [np.where(rng.random(n) < right, truth, rng.integers(0, 4, n)) for right in (0.7, 0.6)]
    return Answers(said[0], truth), Answers(said[1], truth)


def regression(n: int = N) -> tuple[Answers, Answers]:
    rng = np.random.default_rng(3)
    truth = rng.normal(10, 3, n)
    shared = rng.standard_t(5, n)
    return Answers(truth + shared, truth), Answers(truth + 0.8 * shared + rng.normal(0.2, 0.5, n), truth)


def resampled(metric: str, pair: tuple[Answers, Answers], times: int = 600) -> tuple[float, float]:
    """Bootstrap of rows: standard deviation of the difference, and its mean."""
    rng = np.random.default_rng(5)
    n, found = len(pair[0].actual), []
    for _ in range(times):
        at = rng.integers(0, n, n)
        values = []
        for one in pair:
            drawn = Answers(one.predicted[at], one.actual[at], *(c[at] if c is not None else None
                                                                 for c in (one.score, one.likely)))  # fmt: skip
            values.append(PAIRED[metric][1](drawn).value)  # type: ignore[union-attr]
        found.append(values[1] - values[0])
    return float(np.std(found)), float(np.mean(found))


CASES = {
    **dict.fromkeys(("roc_auc", "accuracy", "precision", "recall", "f1", "log_loss", "brier"), binary()),
    **dict.fromkeys(("f1_macro",), multiclass()),
    **dict.fromkeys(("mae", "rmse", "bias", "r2"), regression()),
}


def test_every_paired_metric_is_tried_here() -> None:
    assert CASES.keys() == PAIRED.keys()


def of_scikit_learn(metric: str, one: Answers) -> float:
    true, said = one.actual, one.predicted
    asked: dict[str, Callable[[], float]] = {
        "roc_auc": lambda: metrics.roc_auc_score(true, one.score),
        "accuracy": lambda: metrics.accuracy_score(true, said),
        "precision": lambda: metrics.precision_score(true, said),
        "recall": lambda: metrics.recall_score(true, said),
        "f1": lambda: metrics.f1_score(true, said),
        "f1_macro": lambda: metrics.f1_score(true, said, average="macro"),
        "log_loss": lambda: metrics.log_loss(true, one.score),
        "brier": lambda: metrics.brier_score_loss(true, one.score),
        "mae": lambda: metrics.mean_absolute_error(true, said),
        "rmse": lambda: metrics.root_mean_squared_error(true, said),
        "bias": lambda: np.mean(said - true),
        "r2": lambda: metrics.r2_score(true, said),
    }
    return float(asked[metric]())


@pytest.mark.parametrize("metric", CASES)
def test_values_are_those_of_scikit_learn(metric: str) -> None:
    pair = CASES[metric]
    found = on_the_same_rows(metric, *pair)
    for one, value in zip(pair, (found.baseline, found.candidate), strict=True):
        assert value.value == pytest.approx(of_scikit_learn(metric, one), abs=1e-9)
        assert value.low < value.value < value.high  # type: ignore[operator]
    assert found.difference.value == pytest.approx(found.candidate.value - found.baseline.value)  # type: ignore[operator]
    assert found.difference.n == N and found.paired


@pytest.mark.parametrize("metric", CASES)
def test_the_width_of_every_interval_is_the_bootstraps(metric: str) -> None:
    found = on_the_same_rows(metric, *CASES[metric]).difference
    sd, middle = resampled(metric, CASES[metric])
    assert found.low is not None and found.high is not None and found.value is not None
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(sd, rel=0.12)
    assert found.value == pytest.approx(middle, abs=sd / 4)


@pytest.mark.parametrize("metric", ["mae", "bias", "log_loss", "brier"])
def test_intervals_of_means_are_the_paired_t_test_s(metric: str) -> None:
    pair = CASES[metric]
    mine, theirs = (PAIRED[metric][1](one).numbers for one in pair)  # type: ignore[union-attr]
    found = on_the_same_rows(metric, *pair).difference
    expected = stats.ttest_rel(theirs, mine)
    error = expected.statistic and float(np.mean(theirs - mine)) / expected.statistic
    half = stats.norm.ppf(0.975) * error
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=1e-12)


def test_roc_auc_is_delong_s() -> None:
    """The covariances of the paper, entry by entry over all pairs of rows."""
    pair = binary(200, 4)
    truth = pair[0].actual == 1
    v10, v01 = [], []
    for one in pair:
        psi = (one.score[truth][:, None] > one.score[~truth]) + 0.5 * (one.score[truth][:, None] == one.score[~truth])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    s = np.cov(v10) / truth.sum() + np.cov(v01) / (~truth).sum()
    sd = math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    found = on_the_same_rows("roc_auc", *pair)
    assert found.difference.value == pytest.approx(np.mean(v10[1]) - np.mean(v10[0]), abs=1e-12)
    half = stats.norm.ppf(0.975) * sd
    assert found.difference.high == pytest.approx(found.difference.value + half, abs=1e-12)
    assert found.baseline.high == pytest.approx(np.mean(v10[0]) + stats.norm.ppf(0.975) * math.sqrt(s[0, 0]), abs=1e-12)


def test_roc_auc_alone_has_the_variance_of_the_counted_one() -> None:
    from monitor.stats.classification import roc_auc

    one = binary()[0]
    bins, place = np.unique(one.score, return_inverse=True)
    table = np.bincount(place * 2 + one.actual, minlength=2 * len(bins)).reshape(-1, 2)
    value, low, high, _ = roc_auc(table[:, 1], table[:, 0])
    found = on_the_same_rows("roc_auc", one, one)
    assert found.baseline.value == pytest.approx(value, abs=1e-12)
    assert found.baseline.high - found.baseline.low == pytest.approx(high - low, rel=0.02)  # type: ignore[operator]
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 5), (3, 3), (1, 9), (40, 12), (86, 150), (1500, 1400)])
def test_mcnemar_is_statsmodels_exact_test(lost: int, won: int) -> None:
    expected = oracle([[7, lost], [won, 9]], exact=True).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_very_many_pairs_goes_over_into_chi_square() -> None:
    n = 2_100_000
    found = mcnemar(n // 2 - 1500, n - n // 2 + 1500)
    expected = oracle([[0, n // 2 - 1500], [n - n // 2 + 1500, 0]], exact=False, correction=True).pvalue
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_ratings_of_a_prime_minister() -> None:
    """Agresti, Categorical Data Analysis, 3rd edition, table 11.1: difference 0.04, interval 0.02 to 0.06."""
    cells = {(1, 1): 794, (1, 0): 150, (0, 1): 86, (0, 0): 570}
    first = np.concatenate([np.full(n, a) for (a, _), n in cells.items()])
    second = np.concatenate([np.full(n, b) for (_, b), n in cells.items()])
    truth = np.ones(1600, dtype=np.int64)
    found = on_the_same_rows("accuracy", Answers(first, truth), Answers(second, truth)).difference
    assert (found.value, found.low, found.high) == pytest.approx((-0.04, -0.0587, -0.0212), abs=5e-4)
    counted = flips(Answers(first, truth), Answers(second, truth))
    assert (counted.both_right, counted.only_baseline, counted.only_candidate, counted.both_wrong) == (
        794,
        150,
        86,
        570,
    )
    assert counted.p == pytest.approx(stats.binomtest(86, 236).pvalue, rel=1e-9)


def test_versions_that_never_differ_are_not_known_to_be_equal() -> None:
    one = binary(50)[0]
    found = on_the_same_rows("accuracy", one, one).difference
    assert found.value == 0 and found.low < 0 < found.high  # type: ignore[operator]


def test_agreement_counts_rows_that_both_answered() -> None:
    mine, theirs = Answers(np.array([1, 0, -1, 1]), np.full(4, -1)), Answers(np.array([1, 1, 1, -1]), np.full(4, -1))
    value, low, high, n = agreement(mine, theirs)
    assert (value, n) == (0.5, 2) and low < 0.5 < high  # type: ignore[operator]
    assert flips(mine, theirs).p is None
    assert on_the_same_rows("accuracy", mine, theirs) == Contrast("accuracy", Value(), Value(), Value(), True)


def test_regressions_are_apart_by_a_mean() -> None:
    mine, theirs = regression()
    value, low, high, n = answers_apart(mine, theirs)
    assert value == pytest.approx(np.mean(theirs.predicted - mine.predicted)) and low < value < high and n == N  # type: ignore[operator]
    assert agreement(mine, theirs) == (None, None, None, N)


def test_numbers_apart_cover_their_difference() -> None:
    """MOVER of Wilson's intervals is Newcombe's tenth method for two shares (Statistics in Medicine 17, 1998): of
    56/70 against 48/80 it gives 0.0524 to 0.3339."""
    from monitor.stats.classification import share

    def value(hits: int, n: int) -> Value:
        return Value(*share(hits, n))

    found = apart("accuracy", value(48, 80), value(56, 70)).difference
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert apart("accuracy", Value(), value(1, 2)).difference == Value()
    assert apart("psi", Value(0.1, n=5), Value(0.3, n=9)).difference == Value(pytest.approx(0.2), None, None, 5)
