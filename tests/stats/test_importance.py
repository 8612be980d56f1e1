"""How much of the answer a feature tells: scikit-learn's mutual information over scipy's entropy, less its bias."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from monitor.stats.binning import Binning
from monitor.stats.importance import importances, uncertainty
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import binary_binning, binary_rows, multiclass_rows, regression_rows


def test_theils_coefficient_is_mutual_information_over_entropy() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, 4000)
    y = np.where(rng.random(4000) < 0.4, x, rng.integers(0, 4, 4000))
    table = np.bincount(x * 5 + y, minlength=25).reshape(5, 5)
    entropy = scipy_stats.entropy(np.bincount(y))
    cells = [np.count_nonzero(part) for part in (table, table.sum(axis=1), table.sum(axis=0))]
    bias = (cells[0] - cells[1] - cells[2] + 1) / (2 * 4000)
    assert uncertainty(table) == pytest.approx((sk.mutual_info_score(x, y) - bias) / entropy, abs=1e-12)


def test_what_decides_the_answer_tells_all_and_what_is_apart_from_it_nothing() -> None:
    assert uncertainty(np.diag([500, 300, 200])) == pytest.approx(1.0, abs=0.01)
    assert uncertainty(np.full((4, 4), 250)) == 0.0
    assert uncertainty(np.asarray([[7, 0], [3, 0]])) == 0.0 and uncertainty(np.zeros((2, 2), np.int64)) == 0.0


def test_the_correction_takes_away_what_chance_tells() -> None:
    rng = np.random.default_rng(2)
    found = [uncertainty(np.bincount(rng.integers(0, 144, 600), minlength=144).reshape(12, 12)) for _ in range(50)]
    assert np.mean(found) < 0.01  # without it: 121 / 1200 over 2.5 nats, 0.04


def test_the_feature_that_makes_the_score_comes_before_those_that_do_not() -> None:
    binning = binary_binning()
    found = dict(zip([bins.name for bins in binning.features], importances(binning, binary_rows(6000, 3)), strict=True))
    assert found["x"] > 0.2 > 10 * max(found["odd"], found["colour"], found["member"])


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_every_task_has_an_answer(task: str) -> None:
    rows = multiclass_rows(3000, 4) if task == "multiclass" else regression_rows(3000, 4)
    (found,) = importances(Binning.build(1, task, rows), rows)
    assert found < 0.01 if task == "multiclass" else found > 0.9


def test_rows_without_an_answer_tell_nothing() -> None:
    binning = binary_binning()
    assert importances(binning, Rows(50, {"x": Numbers(np.zeros(50))})).tolist() == [0.0] * 4
    bare = Rows(4, {"member": Codes.of(["true", "false"] * 2)}, prediction=Codes.of(["yes", "no"] * 2))
    assert dict(zip([bins.name for bins in binning.features], importances(binning, bare), strict=True))["member"] > 0
