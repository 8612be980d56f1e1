"""Rows for the tests of statistics: seeded, small, with every kind of value that a sender may send."""

import numpy as np

from monitor.stats.binning import Binning
from monitor.stats.profile import Profile, profile_inputs, profile_outcomes
from monitor.stats.rows import Codes, Numbers, Rows


def binary_rows(n: int, seed: int = 0, *, shift: float = 0.0, labelled: float = 1.0) -> Rows:
    """A calibrated binary model with two numeric and two categorical features, some of it missing or odd."""
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1.0, n)
    odd = np.where(rng.random(n) < 0.02, np.nan, rng.exponential(2.0, n))
    odd = np.where(rng.random(n) < 0.01, np.inf, odd)
    score = 1 / (1 + np.exp(-(x + rng.normal(0, 0.5, n) - 1)))
    actual = np.where(rng.random(n) < labelled, rng.random(n) < score, -1).astype(np.int64)
    bare = rng.random(n) < 0.05
    return Rows(
        n,
        {
            "x": Numbers(x),
            "odd": Numbers(odd, rng.random(n) < 0.1),
            "colour": Codes(rng.integers(-1, 4, n), ("red", "green", "blue", "grey")),
            "member": Codes.of_booleans(rng.random(n) < 0.3),
        },
        prediction=Codes(np.where(bare, -1, score >= 0.5).astype(np.int64), ("no", "yes")),
        score=np.where(rng.random(n) < 0.03, np.nan, score),
        latency_ms=np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(3, 0.5, n)),
        is_error=rng.random(n) < 0.02,
        actual=Codes(actual, ("no", "yes")),
        label_delay=np.where(actual < 0, np.nan, rng.lognormal(8, 1, n)),
        segments={"region": Codes(rng.integers(-1, 3, n), ("north", "south", "west"))},
    )


def multiclass_rows(n: int, seed: int = 0) -> Rows:
    """Three classes; the scores are probabilities that mean what they say."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet((1.0, 0.7, 0.4), n)
    actual = (rng.random(n)[:, None] > scores.cumsum(axis=1)).sum(axis=1)
    labels = ("a", "b", "c")
    return Rows(
        n,
        {"x": Numbers(rng.normal(size=n))},
        prediction=Codes(scores.argmax(axis=1).astype(np.int64), labels),
        scores=scores,
        score_classes=labels,
        actual=Codes(np.minimum(actual, 2).astype(np.int64), labels),
    )


def regression_rows(n: int, seed: int = 0, *, bias: float = 0.0) -> Rows:
    """A regression whose errors grow with the value."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    actual = 100 + 15 * x + rng.normal(0, 5, n)
    predicted = 100 + 15 * x + bias
    return Rows(n, {"x": Numbers(x)}, prediction=Numbers(predicted), actual=Numbers(actual))


def profile_of(binning: Binning, rows: Rows) -> Profile:
    """Inputs and outcomes."""
    return profile_inputs(binning, rows) + profile_outcomes(binning, rows)


def binary_binning(segments: tuple[str, ...] = ("region", "colour")) -> Binning:
    return Binning.build(1, "binary", binary_rows(4000, 99), positive_class="yes", segments=segments)
