"""Distances against scipy on the rows themselves, with the bounds that bins allow."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from monitor.stats import distances
from monitor.stats.binning import Binning
from monitor.stats.measure import measure, measure_one
from monitor.stats.profile import empty, profile_inputs
from monitor.stats.rows import Codes, Numbers, Rows

rng = np.random.default_rng(0)
REFERENCE = Rows(
    20_000,
    {
        "normal": Numbers(rng.normal(size=20_000)),
        "skewed": Numbers(rng.lognormal(0, 1, 20_000)),
        "count": Numbers(rng.poisson(4, 20_000).astype(float)),
        "constant": Numbers(np.full(20_000, 3.0)),
        "level": Codes(rng.integers(0, 12, 20_000), tuple("abcdefghijkl")),
    },
    prediction=Codes(rng.integers(0, 2, 20_000), ("no", "yes")),
    score=rng.beta(2, 5, 20_000),
)
WINDOW = Rows(
    3_000,
    {
        "normal": Numbers(np.append(rng.normal(0.3, 1.6, 2_900), np.full(100, 40.0))),
        "skewed": Numbers(rng.lognormal(0.2, 1.2, 3_000)),
        "count": Numbers(rng.poisson(5, 3_000).astype(float)),
        "constant": Numbers(np.full(3_000, 3.0)),
        "level": Codes(rng.integers(2, 12, 3_000), tuple("abcdefghijkl")),
    },
    prediction=Codes(rng.integers(0, 2, 3_000), ("no", "yes")),
    score=rng.beta(2, 4, 3_000),
)
BINNING = Binning.build(1, "binary", REFERENCE, positive_class="yes", segments=["level"])
BASE, PROFILE = profile_inputs(BINNING, REFERENCE), profile_inputs(BINNING, WINDOW)
NAMES = list(REFERENCE.features)


@pytest.mark.parametrize("name", ["normal", "skewed", "count"])
def test_ks_is_within_a_bin_of_scipys(name: str) -> None:
    ours = distances.ks(PROFILE, BASE)[NAMES.index(name)]
    exact = ks_2samp(WINDOW.features[name].values, REFERENCE.features[name].values).statistic
    assert ours <= exact + 1e-12
    assert ours == pytest.approx(exact, abs=1e-12 if name == "count" else 0.004)


@pytest.mark.parametrize("name", ["normal", "skewed", "count"])
def test_wasserstein_is_within_a_fiftieth_of_a_deviation_of_scipys(name: str) -> None:
    ours = distances.wasserstein(PROFILE, BASE)[NAMES.index(name)]
    mine, theirs = WINDOW.features[name].values, REFERENCE.features[name].values
    exact = wasserstein_distance(mine, theirs) / theirs.std()
    # Beyond the reference's range, where 100 rows stand 40 deviations out, sums make it exact.
    assert ours == pytest.approx(exact, abs=0.02 if name != "count" else 0.01)


def test_a_column_that_is_constant_in_the_reference_has_no_scale() -> None:
    place = NAMES.index("constant")
    assert np.isnan(distances.wasserstein(PROFILE, BASE)[place])
    assert distances.ks(PROFILE, BASE)[place] == 0
    assert distances.psi(PROFILE, BASE)[place] == pytest.approx(0)


def test_jensen_shannon_of_levels_is_scipys_distance_in_base_two() -> None:
    counts = [np.bincount(rows.features["level"].codes, minlength=12) for rows in (WINDOW, REFERENCE)]
    ours = distances.jensen_shannon(PROFILE, BASE)
    assert ours[NAMES.index("level")] == pytest.approx(jensenshannon(*counts, base=2), abs=1e-12)
    classes = [np.bincount(rows.prediction.codes, minlength=2) for rows in (WINDOW, REFERENCE)]
    assert ours[len(NAMES)] == pytest.approx(jensenshannon(*classes, base=2), abs=1e-12)


def test_psi_is_its_formula_over_the_smoothed_shares() -> None:
    counts = [np.bincount(rows.features["level"].codes, minlength=12) + 0.5 for rows in (WINDOW, REFERENCE)]
    p, q = (part / part.sum() for part in counts)
    assert distances.psi(PROFILE, BASE)[NAMES.index("level")] == pytest.approx(
        ((p - q) * np.log(p / q)).sum(), abs=1e-12
    )


def test_psi_of_numbers_is_over_tenths_of_the_reference() -> None:
    column = BINNING.features[0].coarse
    edges = np.concatenate([[-np.inf], column.edges[1:-1], [np.inf]])
    p, q = (np.histogram(rows.features["normal"].values, edges)[0] + 0.5 for rows in (WINDOW, REFERENCE))
    p, q = p / p.sum(), q / q.sum()
    assert len(p) == 10
    assert distances.psi(PROFILE, BASE)[0] == pytest.approx(((p - q) * np.log(p / q)).sum(), abs=1e-12)


def test_a_profile_has_no_distance_to_itself() -> None:
    for of in (distances.psi, distances.jensen_shannon, distances.ks, distances.wasserstein):
        found = of(BASE, BASE)
        assert np.nanmax(found) == pytest.approx(0, abs=1e-12)


def test_rows_that_go_missing_are_a_distance_of_shares_but_not_of_values() -> None:
    half = Rows(20_000, {"normal": Numbers(REFERENCE.features["normal"].values, np.arange(20_000) % 2 == 0)})
    profile = profile_inputs(BINNING, half)
    assert distances.psi(profile, BASE)[0] > 1
    assert distances.ks(profile, BASE)[0] < 0.02


def test_without_rows_or_without_a_reference_nothing_is_defined() -> None:
    for name in ("psi", "jensen_shannon", "ks", "wasserstein"):
        assert measure_one(empty(BINNING), BASE, name).value is None
        assert measure_one(PROFILE, None, name).value is None
        assert np.isnan(measure(empty(BINNING), BASE, [name]).columns[name].value).all()


def test_without_a_feature_the_one_that_moved_most_is_given() -> None:
    found = measure(PROFILE, BASE, ["psi"])
    assert found.values["psi"].value == pytest.approx(np.nanmax(found.features["psi"]))
    assert measure_one(PROFILE, BASE, "psi", "skewed").value == pytest.approx(found.features["psi"][1])


def test_a_segment_is_compared_with_the_coarse_reference() -> None:
    found = measure(PROFILE.segment("level", "c"), BASE.segment("level", "c"), ["psi", "ks", "wasserstein"])
    assert found.features["psi"][0] == pytest.approx(distances.psi(PROFILE, BASE)[0], abs=0.1)
    assert found.features["ks"][0] == pytest.approx(0.13, abs=0.05)


def test_profiles_of_different_layouts_are_not_compared() -> None:
    with pytest.raises(ValueError):
        distances.psi(PROFILE.segment("level", "c"), BASE)


def test_a_model_of_labels_only_has_no_cumulated_distances() -> None:
    rows = Rows(10, prediction=Numbers(np.arange(10.0)), actual=Numbers(np.arange(10.0)))
    binning = Binning.build(1, "regression", rows)
    profile = profile_inputs(binning, rows)
    assert distances.ks(profile, profile).tolist() == [0.0]
    labels = Binning.build(
        1, "multiclass", Rows(4, {"c": Codes.of(["a", "b", None, "a"])}, prediction=Codes.of(list("xyxy")))
    )
    none = profile_inputs(labels, Rows(2))
    assert np.isnan(distances.ks(none, none)).all()
