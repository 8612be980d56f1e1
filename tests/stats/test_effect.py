"""Performance by the bins of a feature: every bin's number is scikit-learn's on the rows of that bin."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from monitor.stats.binning import Binning
from monitor.stats.bins import NumericBins
from monitor.stats.effect import by_bin, places, slots_of
from monitor.stats.rows import Codes, Numbers, Rows, sample
from tests.stats.examples import binary_binning, binary_rows, multiclass_rows, regression_rows

BINARY = binary_binning()


def inside(values: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """The rows below, in each bin [a, b), and above, by comparison alone."""
    bins = [(values >= low) & (values < high) for low, high in pairwise(edges)]
    return [values < edges[0], *bins, values >= edges[-1]]


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_each_bin_of_a_number_has_scikit_learns_value_on_its_rows(shift: float) -> None:
    rows = binary_rows(8000, 5, shift=shift, labelled=0.8)
    bins = BINARY.whole.by_name["x"]
    assert isinstance(bins, NumericBins)
    found = by_bin(BINARY, "x", rows, "roc_auc")
    parts = inside(rows.features["x"].values, bins.coarse.edges)
    assert len(found) == len(parts) + 1 == slots_of(bins)
    for group, part in zip(found, parts, strict=False):
        assert group.rows == part.sum() and group.share == pytest.approx(part.mean())
        kept = part & rows.labelled() & ~np.isnan(rows.score)
        if len(set(rows.actual.codes[kept])) == 2:
            expected = sk.roc_auc_score(rows.actual.codes[kept], rows.score[kept])
            assert group.value.value == pytest.approx(expected, abs=0.005)
            assert group.value.low < group.value.value < group.value.high
    assert sum(group.rows for group in found) == rows.n


def test_each_level_has_its_accuracy_with_wilsons_interval() -> None:
    rows = binary_rows(6000, 6, labelled=0.7)
    bins, column = BINARY.whole.by_name["colour"], rows.features["colour"]
    found = by_bin(BINARY, "colour", rows, "accuracy")
    predicted = rows.prediction.codes.copy()
    bare = (predicted < 0) & ~np.isnan(rows.score)
    predicted[bare] = rows.score[bare] >= 0.5
    for place, level in enumerate(bins.levels):
        kept = (column.codes == column.levels.index(level)) & rows.labelled() & (predicted >= 0)
        right = int((predicted[kept] == rows.actual.codes[kept]).sum())
        interval = scipy_stats.binomtest(right, int(kept.sum())).proportion_ci(method="wilson")
        assert found[place].value.value == pytest.approx(right / kept.sum())
        assert (found[place].value.low, found[place].value.high) == pytest.approx((interval.low, interval.high))
    assert found[-1].rows == (column.codes < 0).sum()


def test_the_error_of_a_regression_is_told_by_bin() -> None:
    rows = regression_rows(5000, 7, bias=2.0)
    binning = Binning.build(1, "regression", regression_rows(4000, 8))
    bins = binning.whole.by_name["x"]
    found = by_bin(binning, "x", rows, "mae")
    for group, part in zip(found, inside(rows.features["x"].values, bins.coarse.edges), strict=False):
        if part.sum() > 1:
            expected = sk.mean_absolute_error(rows.actual.values[part], rows.prediction.values[part])
            assert group.value.value == pytest.approx(expected, rel=1e-6)


def test_classes_are_told_by_bin_too() -> None:
    rows = multiclass_rows(3000, 9)
    binning = Binning.build(1, "multiclass", multiclass_rows(3000, 10))
    found = by_bin(binning, "x", rows, "accuracy")
    hits = sum(group.value.value * group.value.n for group in found if group.value.value is not None)
    assert hits / rows.n == pytest.approx(sk.accuracy_score(rows.actual.codes, rows.prediction.codes))


def test_values_that_are_none_levels_never_seen_and_absent_columns_have_a_place() -> None:
    number, level = BINARY.whole.by_name["x"], BINARY.whole.by_name["colour"]
    odd = Numbers(np.asarray([np.nan, np.inf, 0.0]), np.asarray([False, False, True]))
    assert set(places(number, odd, 3).tolist()) == {slots_of(number) - 1}
    assert places(level, Codes.of(["mauve", None]), 2).tolist() == [slots_of(level) - 2, slots_of(level) - 1]
    assert places(number, Codes.of(["red"]), 1).tolist() == places(number, None, 1).tolist() == [slots_of(number) - 1]


def test_a_bin_without_outcomes_has_rows_and_no_value() -> None:
    rows = binary_rows(500, 11, labelled=0.0)
    found = by_bin(BINARY, "x", rows, "accuracy")
    assert all(group.value.value is None for group in found) and sum(group.share for group in found) == pytest.approx(1)


def test_a_sample_is_the_same_each_time_ordered_and_no_larger_than_asked() -> None:
    assert sample(5, 5) == slice(None)
    chosen = sample(10_000, 100)
    assert len(chosen) == len(set(chosen.tolist())) == 100 and (np.diff(chosen) > 0).all()
    assert (chosen == sample(10_000, 100)).all()
    assert isinstance(Rows(10_000).take(chosen), Rows)
