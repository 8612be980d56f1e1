"""Performance before outcomes: right while scores keep their meaning, silent where nothing can be said."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.measure import measure_one
from monitor.stats.profile import Profile, profile_inputs
from monitor.stats.rows import Codes, Rows
from tests.stats.examples import profile_of

METRICS = ("roc_auc", "accuracy", "precision", "recall", "f1")


def rows(n: int, seed: int, a: float, b: float, *, meaning: float = 1.0, segment: str = "x") -> Rows:
    """Scores from Beta(a, b) that overstate: P(positive) is score ** 1.5; `meaning` below 1 shrinks it to 0.3."""
    rng = np.random.default_rng(seed)
    score = rng.beta(a, b, n)
    chance = 0.3 + meaning * (score**1.5 - 0.3)
    truth = rng.random(n) < chance
    return Rows(
        n,
        prediction=Codes((score >= 0.5).astype(np.int64), ("no", "yes")),
        score=score,
        actual=Codes(truth.astype(np.int64), ("no", "yes")),
        segments={"s": Codes(np.zeros(n, np.int64), (segment,))},
    )


REFERENCE = rows(30_000, 1, 2, 3)
BINNING = Binning.build(1, "binary", REFERENCE, positive_class="yes")
BASE = profile_of(BINNING, REFERENCE)


@pytest.mark.parametrize("metric", METRICS)
def test_an_estimate_follows_a_shift_of_scores(metric: str) -> None:
    shifted = rows(30_000, 2, 4, 2)
    whole = profile_of(BINNING, shifted)
    realized, before = measure_one(whole, None, metric).value, measure_one(BASE, None, metric).value
    found = measure_one(profile_inputs(BINNING, shifted), BASE, f"estimated_{metric}")
    assert found.value == pytest.approx(realized, abs=0.01)
    assert abs(found.value - realized) < abs(before - realized) / 3  # type: ignore[operator]
    assert found.n == 30_000


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_hold_what_outcomes_come_to(metric: str) -> None:
    inside = 0
    for seed in range(60):
        window = rows(500, 100 + seed, 2, 3)
        found = measure_one(profile_inputs(BINNING, window), BASE, f"estimated_{metric}")
        realized = measure_one(profile_of(BINNING, window), None, metric).value
        inside += found.low <= realized <= found.high  # type: ignore[operator]
    assert inside >= 52  # 95 % of 60, three standard deviations below


def test_scores_that_lose_their_meaning_are_not_seen_by_the_estimate() -> None:
    broken = rows(20_000, 3, 2, 3, meaning=0.2)
    found = measure_one(profile_inputs(BINNING, broken), BASE, "estimated_roc_auc").value
    assert found == pytest.approx(measure_one(BASE, None, "roc_auc").value, abs=0.01)
    assert measure_one(profile_of(BINNING, broken), None, "roc_auc").value < found - 0.1  # type: ignore[operator]


def test_nothing_is_estimated_without_outcomes_of_the_reference() -> None:
    window = profile_inputs(BINNING, rows(500, 4, 2, 3))
    for reference in (None, profile_inputs(BINNING, REFERENCE), profile_of(BINNING, rows(150, 5, 2, 3))):
        assert measure_one(window, reference, "estimated_accuracy").value is None
    assert measure_one(Profile(BINNING), BASE, "estimated_f1").value is None


def test_a_segment_has_no_estimate() -> None:
    coarse = profile_of(BINNING, rows(2000, 7, 2, 3)).in_coarse()
    assert measure_one(coarse, BASE.in_coarse(), "estimated_roc_auc").value is None
