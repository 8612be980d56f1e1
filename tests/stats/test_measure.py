"""The registry, data quality, latency, and the lazy way to one metric."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.exact import exact_metric
from monitor.stats.measure import METRICS, measure, measure_one
from monitor.stats.profile import profile_inputs
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import binary_binning, binary_rows, profile_of

BINNING = binary_binning()
PROMISED = [
    "volume", "latency_p50", "latency_p95", "latency_p99", "error_rate", "missing_share", "unseen_share",
    "out_of_range_share", "psi", "jensen_shannon", "ks", "wasserstein", "accuracy", "precision", "recall",
    "f1", "f1_macro", "roc_auc", "average_precision", "log_loss", "brier", "calibration_error", "mae", "rmse",
    "bias", "r2", "coverage", "label_delay_p50",
]  # fmt: skip


def test_every_promised_metric_is_registered_and_no_other() -> None:
    estimated = [f"estimated_{name}" for name in ("roc_auc", "accuracy", "precision", "recall", "f1")]
    assert list(METRICS) == PROMISED + estimated
    assert {metric.direction for metric in METRICS.values()} == {"higher", "lower", "none"}


@pytest.mark.parametrize("name", PROMISED)
def test_one_metric_alone_is_the_same_as_among_all(name: str) -> None:
    profile, reference = profile_of(BINNING, binary_rows(800, 1)), profile_of(BINNING, binary_rows(2000, 2))
    every = measure(profile, reference)
    assert measure_one(profile, reference, name) == every.values.get(name, measure_one(profile, None, "mae"))


@pytest.mark.parametrize("name", PROMISED)
def test_intervals_hold_their_value(name: str) -> None:
    found = measure_one(profile_of(BINNING, binary_rows(800, 3)), None, name)
    if found.low is not None and found.high is not None:
        assert found.low <= found.value <= found.high


def test_shares_of_missing_unseen_and_out_of_range_values() -> None:
    rows = Rows(
        4,
        {
            "x": Numbers(np.asarray([0.0, 100.0, -100.0, np.inf])),
            "odd": Numbers(np.asarray([1.0, np.nan, 1.0, 1.0]), np.asarray([True, False, False, False])),
            "colour": Codes(np.asarray([0, 1, 1, -1]), ("red", "mauve")),
            "member": Codes.of_booleans(np.asarray([True, False, True, True])),
        },
    )
    found = measure(profile_inputs(BINNING, rows))
    assert found.names == ("x", "odd", "colour", "member")
    assert found.features["missing_share"].tolist() == [0, 0.5, 0.25, 0]
    assert np.array_equal(found.features["unseen_share"], [np.nan, np.nan, 0.5, 0], equal_nan=True)
    assert np.array_equal(found.features["out_of_range_share"], [0.75, 0, np.nan, np.nan], equal_nan=True)
    assert found.values["missing_share"].value == pytest.approx(0.75 / 4)
    one = measure_one(profile_inputs(BINNING, rows), None, "unseen_share", "colour")
    assert (one.value, one.n) == (0.5, 4)
    assert one.low < 0.5 < one.high


def test_latency_quantiles_are_within_two_percent() -> None:
    rows = binary_rows(20_000, 4)
    profile = profile_of(BINNING, rows)
    for name, q in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        exact = np.nanquantile(rows.latency_ms, q)
        assert measure_one(profile, None, name).value == pytest.approx(exact, rel=0.02)
        assert exact_metric(name, BINNING, rows).value == pytest.approx(exact, rel=1e-12)
    delay = measure_one(profile, None, "label_delay_p50")
    assert delay.value == pytest.approx(np.nanquantile(rows.label_delay, 0.5), rel=0.02)


def test_latencies_beyond_an_hour_stay_at_the_end_of_the_scale() -> None:
    rows = Rows(2, latency_ms=np.asarray([1e9, 1e12]))
    assert measure_one(profile_inputs(BINNING, rows), None, "latency_p50").value == pytest.approx(3.6e6, rel=0.05)


def test_a_segment_is_measured_like_a_model() -> None:
    rows = binary_rows(5000, 5)
    profile = profile_of(BINNING, rows)
    only = rows.take(rows.segments["region"].codes == 1)
    whole = measure(profile_of(BINNING, only)).values
    for name, value in measure(profile.segment("region", "south")).values.items():
        assert value == whole[name], name


def test_exact_distances_come_from_the_rows() -> None:
    from scipy.stats import ks_2samp, wasserstein_distance

    rows, reference = binary_rows(1000, 6, shift=0.5), binary_rows(1500, 7)
    mine, theirs = rows.features["x"].values, reference.features["x"].values
    ks = exact_metric("ks", BINNING, rows, reference=reference, feature="x")
    assert ks.value == pytest.approx(ks_2samp(mine, theirs).statistic, abs=1e-12)
    moved = exact_metric("wasserstein", BINNING, rows, reference=reference, feature="x")
    assert moved.value == pytest.approx(wasserstein_distance(mine, theirs) / theirs.std(), abs=1e-9)
    assert exact_metric("brier", BINNING, rows) == measure_one(profile_of(BINNING, rows), None, "brier")


def test_unknown_names_are_errors() -> None:
    profile = profile_of(BINNING, binary_rows(10))
    with pytest.raises(KeyError):
        measure_one(profile, None, "sharpness")
    with pytest.raises(KeyError):
        measure_one(profile, None, "missing_share", "nothing")
    with pytest.raises(ValueError):
        measure_one(profile, None, "brier", "x")


def test_a_model_without_features_is_measured() -> None:
    binning = Binning.build(1, "binary", Rows(4, score=np.asarray([0.1, 0.2, 0.6, 0.7])), positive_class="1")
    found = measure(profile_inputs(binning, Rows(2, score=np.asarray([0.3, 0.4]))))
    assert found.values["volume"].value == 2
    assert found.values["missing_share"].value is None
