"""Performance against scikit-learn: equal to 1e-9 where sums and counts are exact, ranking within 0.001."""

import numpy as np
import pytest
from sklearn import metrics as sk

from monitor.stats.binning import Binning
from monitor.stats.exact import exact_metric
from monitor.stats.measure import measure, measure_one
from monitor.stats.profile import empty, profile_outcomes
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import binary_rows, multiclass_rows, profile_of, regression_rows

BINARY = Binning.build(1, "binary", binary_rows(4000, 1), positive_class="yes")


def truth(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actual, predicted (with the threshold where absent; -1 unknown), score of labelled rows."""
    kept = rows.labelled()
    predicted = rows.prediction.codes.copy()
    bare = (predicted < 0) & ~np.isnan(rows.score)
    predicted[bare] = rows.score[bare] >= 0.5
    return rows.actual.codes[kept], predicted[kept], rows.score[kept]


@pytest.mark.parametrize("shift", [-1.5, 0.0, 1.0])
def test_confusion_metrics_of_a_binary_model_are_scikit_learns(shift: float) -> None:
    rows = binary_rows(6000, 2, shift=shift, labelled=0.7)
    actual, predicted, _ = truth(rows)
    actual, predicted = actual[predicted >= 0], predicted[predicted >= 0]
    found = measure(profile_of(BINARY, rows)).values
    for name, of in (("accuracy", sk.accuracy_score), ("precision", sk.precision_score), ("recall", sk.recall_score),
                     ("f1", sk.f1_score)):  # fmt: skip
        assert found[name].value == pytest.approx(of(actual, predicted), abs=1e-12), name
    assert found["f1_macro"].value == pytest.approx(sk.f1_score(actual, predicted, average="macro"), abs=1e-12)
    assert found["coverage"].value == pytest.approx(rows.labelled().mean())


def test_losses_of_a_binary_model_are_scikit_learns_to_nine_digits() -> None:
    rows = binary_rows(6000, 3, labelled=0.8)
    scores = rows.score.copy()
    scores[:40] = np.tile([0.0, 1.0], 20)  # certain and sometimes wrong: clipped as scikit-learn clips
    rows = Rows(rows.n, rows.features, prediction=rows.prediction, score=scores, actual=rows.actual)
    actual, _, score = truth(rows)
    actual, score = actual[~np.isnan(score)], score[~np.isnan(score)]
    found = measure(profile_of(BINARY, rows)).values
    assert found["log_loss"].value == pytest.approx(sk.log_loss(actual, score), abs=1e-9)
    assert found["brier"].value == pytest.approx(sk.brier_score_loss(actual, score), abs=1e-9)
    bins = np.minimum((score * 16).astype(int), 15)
    gap = sum(abs((actual[bins == b] - score[bins == b]).sum()) for b in range(16))
    assert found["calibration_error"].value == pytest.approx(gap / len(score), abs=1e-9)


@pytest.mark.parametrize("kind", ["calibrated", "fraud", "rounded", "tree", "no reference scores"])
def test_ranking_metrics_are_within_a_thousandth(kind: str) -> None:
    rng = np.random.default_rng(4)
    n = 30_000

    def rows(seed: int) -> Rows:
        x = np.random.default_rng(seed).normal(size=n)
        score = 1 / (1 + np.exp(-(2 * x - (7 if kind == "fraud" else 1))))
        score = np.round(score, 2) if kind == "rounded" else score
        score = np.ceil(score * 7) / 8 if kind == "tree" else score
        return Rows(n, score=score, actual=Codes((rng.random(n) < score).astype(np.int64), ("0", "1")))

    reference, window = rows(1), rows(2)
    binning = Binning.build(1, "binary", Rows(0) if kind.startswith("no") else reference, positive_class="1")
    found = measure(profile_of(binning, window)).values
    auc = sk.roc_auc_score(window.actual.codes, window.score)
    average = sk.average_precision_score(window.actual.codes, window.score)
    assert found["roc_auc"].value == pytest.approx(auc, abs=0.001)
    assert found["average_precision"].value == pytest.approx(average, abs=0.001)
    assert exact_metric("roc_auc", binning, window).value == pytest.approx(auc, abs=1e-12)
    assert exact_metric("average_precision", binning, window).value == pytest.approx(average, abs=1e-12)


def test_predictions_without_scores_have_confusion_but_no_ranking() -> None:
    rows = binary_rows(500, 5)
    found = measure(profile_of(BINARY, Rows(500, prediction=rows.prediction, actual=rows.actual))).values
    assert found["accuracy"].value is not None
    for name in ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error"):
        assert found[name].value is None, name


def test_one_class_alone_has_no_ranking() -> None:
    rows = Rows(3, score=np.asarray([0.1, 0.5, 0.9]), actual=Codes(np.ones(3, dtype=np.int64), ("no", "yes")))
    profile = profile_of(BINARY, rows)
    assert measure_one(profile, None, "roc_auc").value is None
    assert measure_one(profile, None, "recall").value == pytest.approx(2 / 3)


def test_multiclass_metrics_are_scikit_learns() -> None:
    rows = multiclass_rows(5000, 6)
    binning = Binning.build(1, "multiclass", multiclass_rows(3000, 7))
    found = measure(profile_of(binning, rows)).values
    actual, predicted = rows.actual.codes, rows.prediction.codes
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(actual, predicted), abs=1e-12)
    assert found["f1_macro"].value == pytest.approx(sk.f1_score(actual, predicted, average="macro"), abs=1e-12)
    assert found["log_loss"].value == pytest.approx(sk.log_loss(actual, rows.scores), abs=1e-9)
    squares = ((rows.scores - np.eye(3)[actual]) ** 2).sum(axis=1)
    assert found["brier"].value == pytest.approx(squares.mean(), abs=1e-9)
    assert found["calibration_error"].value < 0.04
    assert "roc_auc" not in found
    assert "precision" not in found


def test_classes_that_the_binning_does_not_know_are_right_only_when_they_match() -> None:
    binning = Binning.build(1, "multiclass", multiclass_rows(300))
    rows = Rows(4, prediction=Codes.of(["z", "z", "a", "z"]), actual=Codes.of(["z", "y", "a", "b"]))
    assert measure_one(profile_of(binning, rows), None, "accuracy").value == 0.5


@pytest.mark.parametrize("bias", [0.0, 3.0, -400.0])
def test_regression_metrics_are_scikit_learns(bias: float) -> None:
    rows = regression_rows(5000, 8, bias=bias)
    binning = Binning.build(1, "regression", regression_rows(3000, 9))
    found = measure(profile_of(binning, rows)).values
    actual, predicted = rows.actual.values, rows.prediction.values
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(actual, predicted), rel=1e-9)
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(actual, predicted), rel=1e-9)
    assert found["r2"].value == pytest.approx(sk.r2_score(actual, predicted), rel=1e-9)
    assert found["bias"].value == pytest.approx((predicted - actual).mean(), abs=1e-8)


def test_a_regression_whose_reference_has_no_actuals_is_measured_all_the_same() -> None:
    reference = regression_rows(500, 10)
    binning = Binning.build(1, "regression", Rows(500, reference.features, prediction=reference.prediction))
    assert binning.residual is None
    rows = regression_rows(800, 11)
    found = measure(profile_of(binning, rows)).values
    assert found["mae"].value == pytest.approx(
        sk.mean_absolute_error(rows.actual.values, rows.prediction.values), rel=1e-9
    )


def test_an_outcome_that_does_not_vary_has_no_r2() -> None:
    binning = Binning.build(1, "regression", regression_rows(500))
    rows = Rows(5, prediction=Numbers(np.arange(5.0)), actual=Numbers(np.full(5, 7.0)))
    assert measure_one(profile_of(binning, rows), None, "r2").value is None


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_no_rows_and_no_labels_give_no_numbers_and_no_errors(task: str) -> None:
    rows = {"binary": binary_rows, "multiclass": multiclass_rows, "regression": regression_rows}[task](200)
    binning = Binning.build(1, task, rows)
    for profile in (empty(binning), profile_outcomes(binning, Rows(0))):
        found = measure(profile, profile).values
        assert {name for name, value in found.items() if value.value is not None} == {"volume"}
