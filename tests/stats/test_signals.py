"""What is watched of a model, and that it stays silent where nothing is wrong."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.plan import adjust
from monitor.stats.profile import merge, profile_inputs, profile_outcomes
from monitor.stats.rows import Codes, Numbers, Rows
from monitor.stats.signals import WEIGHTS, plans

YES = ("no", "yes")


def binary_rows(rng, n=400, shift=0.0, labels=True):
    """Two features, a calibrated score made of the first one, and outcomes that follow the score."""
    x = rng.normal(shift, 1, n)
    score = 1 / (1 + np.exp(-(x - 0.5)))
    actual = (rng.random(n) < score).astype(np.int64)
    return Rows(
        n,
        features={"x": Numbers(x), "level": Codes(rng.integers(0, 3, n), ("a", "b", "c"))},
        prediction=Codes((score >= 0.5).astype(np.int64), YES),
        score=score,
        latency_ms=rng.lognormal(3, 0.5, n),
        actual=Codes(actual, YES) if labels else None,
    )


def profile_of(binning, rows):
    return profile_inputs(binning, rows) + profile_outcomes(binning, rows)


def reference_of(make, task, windows=20, **settings):
    rng = np.random.default_rng(1)
    parts = [make(rng) for _ in range(windows)]
    whole = Rows(
        sum(part.n for part in parts),
        features={
            name: Numbers(np.concatenate([part.features[name].values for part in parts]))
            if isinstance(parts[0].features[name], Numbers)
            else Codes(np.concatenate([part.features[name].codes for part in parts]), parts[0].features[name].levels)
            for name in parts[0].features
        },
        prediction=joined([part.prediction for part in parts]),
        score=None if parts[0].score is None else np.concatenate([part.score for part in parts]),
        latency_ms=None if parts[0].latency_ms is None else np.concatenate([part.latency_ms for part in parts]),
        actual=joined([part.actual for part in parts]),
    )
    binning = Binning.build(1, task, whole, **settings)
    profiles = [profile_of(binning, part) for part in parts]
    return binning, merge(binning, profiles), profiles


def joined(columns):
    if columns[0] is None:
        return None
    if isinstance(columns[0], Numbers):
        return Numbers(np.concatenate([column.values for column in columns]))
    return Codes(np.concatenate([column.codes for column in columns]), columns[0].levels)


@pytest.fixture(scope="module")
def binary():
    return reference_of(binary_rows, "binary", positive_class="yes")


def test_every_family_is_there_and_their_weights_sum_to_one(binary):
    found = plans(*binary, budget_windows=1000)
    assert set(found) == {"features", "performance", "volume", "latency", "quality"}
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    for family, plan in found.items():
        assert plan.watch.threshold == pytest.approx(1000 / WEIGHTS[family])
        assert plan.watch.weights.sum() == pytest.approx(1)
        assert len(plan.signals) == plan.watch.weights.size


def test_a_window_is_counted_once_in_every_feature_signal(binary):
    binning, whole, windows = binary
    plan = plans(binning, whole, windows, 1000)["features"]
    window = plan.window(windows[0], 0, 1)
    assert window.rows == 400
    assert (plan.watch.counts.totals(window.counts) == 400).all()


def test_without_outcomes_or_latency_their_families_are_not_there():
    def make(rng):
        rows = binary_rows(rng, labels=False)
        return Rows(rows.n, features=rows.features, prediction=rows.prediction, score=rows.score)

    found = plans(*reference_of(make, "binary", positive_class="yes"), budget_windows=1000)
    assert set(found) == {"features", "volume", "quality"}


def test_without_reference_windows_the_variation_is_charged_and_volume_is_left_out(binary):
    binning, whole, _ = binary
    found = plans(binning, whole, [], 1000)
    assert "volume" not in found
    assert (found["features"].watch.counts.phi > 1).all()
    assert (found["features"].watch.counts.scale < 1).all()


def test_other_inputs_with_the_same_outcomes_given_the_score_are_no_calibration_error(binary):
    binning, whole, windows = binary
    plan = plans(binning, whole, windows, 1000)["performance"]
    moved = profile_of(binning, binary_rows(np.random.default_rng(5), 20_000, shift=0.8))
    counts = plan.window(moved, 0, 1).counts[:2]
    assert counts[1] / counts.sum() == pytest.approx(plan.watch.counts.p[1], abs=0.02)


def test_adjusting_the_reference_itself_changes_nothing():
    cells = np.array([[30.0, 10], [5, 20]])
    mean = cells.sum(axis=0) / cells.sum()
    expected = np.vstack([cells / cells.sum(axis=1, keepdims=True), mean])
    assert np.allclose(adjust(cells, expected), cells.sum(axis=0))


def test_a_never_seen_level_has_the_mass_of_levels_seen_once():
    def make(rng):
        return Rows(300, features={"place": Codes(rng.zipf(1.5, 300).clip(1, 999) - 1, tuple(map(str, range(999))))})

    binning, whole, windows = reference_of(make, "binary")
    plan = plans(binning, whole, windows, 1000)["quality"]
    index = next(i for i, signal in enumerate(plan.signals) if signal.metric == "unseen_share")
    share = plan.watch.counts.p[plan.watch.counts.offsets[index] + 1]
    assert 0.005 < share < 0.1


def test_nights_without_any_row_are_part_of_the_usual_volume():
    """Windows of six hours, none at night: the reference holds three of four, and the fourth is no outage."""
    binning, whole, windows = reference_of(binary_rows, "binary", windows=24, positive_class="yes")
    step = 6 * 3_600_000_000
    starts = [(day * 4 + part) * step for day in range(8) for part in (1, 2, 3)]
    plan = plans(binning, whole, windows, 1000, starts)["volume"]
    nothing = merge(binning, [])
    assert plan.phases[0] is not None and plan.phases[0].kind == "slot"
    night = plan.window(nothing, 40 * step, 41 * step).scalars
    noon = plan.window(nothing, 42 * step, 43 * step).scalars
    assert abs(plan.watch.scalars.deviation(night)[0]) < 0.5
    assert plan.watch.scalars.deviation(noon)[0] < -5


def test_a_multiclass_model_is_watched_by_predicted_class():
    classes = ("a", "b", "c")

    def make(rng):
        actual = rng.integers(0, 3, 300)
        predicted = np.where(rng.random(300) < 0.8, actual, rng.integers(0, 3, 300))
        return Rows(300, prediction=Codes(predicted, classes), actual=Codes(actual, classes))

    binning, whole, windows = reference_of(make, "multiclass")
    plan = plans(binning, whole, windows, 1000)["performance"]
    assert [signal.metric for signal in plan.signals] == ["outcome_mix", "accuracy", *["class_error_rate"] * 3]
    first = plan.watch.counts.offsets[1]
    assert plan.watch.counts.p[first + 1] == pytest.approx(0.133, abs=0.03)


def test_a_regression_is_watched_by_its_residuals():
    def make(rng):
        y = rng.normal(size=300)
        return Rows(300, prediction=Numbers(y + rng.normal(0, 0.3, 300)), actual=Numbers(y))

    binning, whole, windows = reference_of(make, "regression")
    found = plans(binning, whole, windows, 1000)
    assert [signal.metric for signal in found["performance"].signals] == ["residual"]
    assert found["performance"].window(windows[0], 0, 1).counts.sum() == 300


def test_another_reference_gives_another_mark(binary):
    binning, whole, windows = binary
    first = plans(binning, whole, windows, 1000)["features"].watch.mark
    again = plans(binning, whole, windows, 1000)["features"].watch.mark
    other = plans(binning, merge(binning, windows[:10]), windows[:10], 1000)["features"].watch.mark
    assert first == again != other
