"""The share of positives that the reference leads one to expect at each score."""

import numpy as np
import pytest

from monitor.stats.calibration import expected_rates

BINS = 100
SCORES = (np.arange(BINS) + 0.5) / BINS
GROUPS = np.arange(BINS) // 10


def cells_of(rates, rows=1000):
    return np.column_stack([rows * (1 - rates), rows * rates])


def test_a_calibrated_score_is_its_own_expectation():
    assert expected_rates(SCORES, GROUPS, cells_of(SCORES)) == pytest.approx(SCORES, abs=0.01)


def test_an_over_confident_score_is_recalibrated():
    truth = 1 / (1 + np.exp(-0.5 * np.log(SCORES / (1 - SCORES))))
    assert expected_rates(SCORES, GROUPS, cells_of(truth)) == pytest.approx(truth, abs=0.01)


def test_the_sum_of_every_group_is_right_whatever_the_shape():
    truth = 0.3 + 0.2 * np.sin(GROUPS)
    rates = expected_rates(SCORES, GROUPS, cells_of(truth))
    assert np.bincount(GROUPS, weights=rates) == pytest.approx(np.bincount(GROUPS, weights=truth), rel=0.01)


def test_empty_bins_and_a_single_row_give_rates_between_0_and_1():
    cells = np.zeros((BINS, 2))
    cells[50, 1] = 1
    rates = expected_rates(SCORES, GROUPS, cells)
    assert np.isfinite(rates).all() and (rates > 0).all() and (rates < 1).all()
