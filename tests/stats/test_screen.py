"""Passing over what cannot matter changes no decision."""

import numpy as np

from monitor.stats.evidence import count_log_e
from monitor.stats.learned import count_model
from monitor.stats.screen import LEAST, log_e_at, screened_log_e

RNG = np.random.default_rng(1)
SIZES = (2, 10, 13, 3)


def model_and_counts(changed=0.0):
    signals, columns = [], []
    for size in SIZES:
        shares = RNG.dirichlet(np.full(size, 3.0))
        blocks = RNG.multinomial(500, shares, 28).astype(float)
        signals.append((blocks.sum(axis=0), blocks))
        moved = (1 - changed) * shares + changed * RNG.dirichlet(np.full(size, 3.0))
        columns.append(np.cumsum(RNG.multinomial(500, moved, 40), axis=0).astype(float))
    return count_model(signals, direction=[1, 0, 0, 0]), np.concatenate(columns, axis=1)


def test_pairs_that_are_computed_have_the_exact_value():
    model, counts = model_and_counts(0.1)
    exact = count_log_e(model, counts)
    starts, signals = (axis.ravel() for axis in np.indices(exact.shape))
    assert np.allclose(log_e_at(model, counts, starts, signals), exact.ravel(), atol=1e-8)


def test_what_is_passed_over_is_too_little_to_matter():
    for changed in (0.0, 0.02, 0.05, 0.1, 0.3):
        model, counts = model_and_counts(changed)
        exact, found = count_log_e(model, counts), screened_log_e(model, counts)
        kept = np.isfinite(found)
        assert np.allclose(found[kept], exact[kept], atol=1e-8)
        assert (exact[~kept] < LEAST + 3).all()  # the approximation is off by little: far below any threshold


def test_a_quiet_model_costs_little():
    model, counts = model_and_counts(0.0)
    assert np.isfinite(screened_log_e(model, counts))[:, 1:3].mean() < 0.5
