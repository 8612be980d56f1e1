"""Profiles add up exactly: order, grouping, splitting and taking back change nothing, down to the bytes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats import additive
from monitor.stats.binning import Binning
from monitor.stats.profile import Profile, empty, merge, profile_inputs, profile_outcomes
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import binary_binning, binary_rows, multiclass_rows, profile_of, regression_rows

BINARY = binary_binning()
CASES = {
    "binary": (BINARY, binary_rows(900, 5, labelled=0.6)),
    "multiclass": (Binning.build(2, "multiclass", multiclass_rows(800)), multiclass_rows(900, 5)),
    "regression": (Binning.build(3, "regression", regression_rows(800)), regression_rows(900, 5, bias=40.0)),
}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 2**32), st.lists(st.integers(0, 900), max_size=6))
def test_however_rows_are_ordered_and_cut_the_bytes_are_equal(task: str, seed: int, cuts: list[int]) -> None:
    binning, rows = CASES[task]
    mixed = rows.take(np.random.default_rng(seed).permutation(rows.n))
    edges = [0, *sorted(cuts), rows.n]
    parts = [profile_of(binning, mixed.take(slice(a, b))) for a, b in pairwise(edges)]
    one_by_one = empty(binning)
    for part in reversed(parts):
        one_by_one = part + one_by_one
    whole = profile_of(binning, rows)
    assert merge(binning, parts) == one_by_one == whole
    assert merge(binning, parts).dump() == one_by_one.dump() == whole.dump()


@pytest.mark.parametrize("task", sorted(CASES))
def test_cells_that_are_sorted_and_cells_that_are_added_where_they_stand_are_the_same(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    binning, rows = CASES[task]
    parts = [profile_of(binning, rows.take(slice(a, a + 90))) for a in range(0, 900, 90)]
    parts += [-parts[0], -parts[3]]  # so that cells become zero
    found = []
    for few in (1e-9, 1e9):  # always sorted, never sorted
        monkeypatch.setattr(additive, "_FEW_OF_ALL", few)
        found.append(merge(binning, parts).dump())
    assert found[0] == found[1]


@pytest.mark.parametrize("task", sorted(CASES))
def test_an_outcome_taken_back_leaves_no_trace(task: str) -> None:
    binning, rows = CASES[task]
    inputs = profile_inputs(binning, rows)
    undone = inputs + profile_outcomes(binning, rows) + profile_outcomes(binning, rows, sign=-1)
    assert undone == inputs
    assert undone.dump() == inputs.dump()


@pytest.mark.parametrize("task", sorted(CASES))
def test_a_revised_outcome_moves_its_counts(task: str) -> None:
    binning, rows = CASES[task]
    first = profile_of(binning, rows)
    assert first - first == empty(binning)
    some = profile_outcomes(binning, rows.take(slice(0, 100)))
    later = first - some + some
    assert later.dump() == first.dump()


def test_more_rows_than_one_run_give_the_sum_of_their_runs() -> None:
    rows = binary_rows(20_000, 6)
    halves = [profile_of(BINARY, rows.take(slice(a, a + 5000))) for a in range(0, 20_000, 5000)]
    assert profile_of(BINARY, rows) == merge(BINARY, halves)


def test_a_profile_survives_storage_with_and_without_its_segments() -> None:
    profile = profile_of(BINARY, binary_rows(700, 7))
    assert Profile.load(profile.dump(), BINARY) == profile
    parts = Profile.load_parts(profile.dump_whole(), profile.dump_segments(), BINARY)
    assert parts == profile
    alone = Profile.load_parts(profile.dump_whole(), None, BINARY)
    assert np.array_equal(alone.vector, profile.vector)
    with pytest.raises(ValueError):
        alone.segment("region", "north")
    assert (alone + profile).segments is None


def test_an_hour_of_a_small_model_is_about_a_kilobyte() -> None:
    assert len(profile_of(BINARY, binary_rows(60, 8)).dump_whole()) < 1500


def test_negative_deltas_survive_storage() -> None:
    delta = profile_outcomes(BINARY, binary_rows(50, 9), sign=-1)
    assert Profile.load(delta.dump(), BINARY) == delta


@pytest.mark.parametrize("content", [b"", b"abc", b"\x00" * 40, b"\x05\x00\x00\x00hello"])
def test_other_bytes_are_not_a_profile(content: bytes) -> None:
    with pytest.raises(ValueError):
        Profile.load(content, BINARY)


def test_a_profile_of_another_binning_is_refused() -> None:
    binning, rows = CASES["multiclass"]
    other = profile_of(binning, rows)
    with pytest.raises(ValueError):
        Profile.load(other.dump(), BINARY)
    with pytest.raises(ValueError):
        merge(BINARY, [empty(BINARY), other])


def test_a_segment_is_the_profile_of_its_rows() -> None:
    rows = binary_rows(3000, 10)
    profile = profile_of(BINARY, rows)
    codes = rows.segments["region"]
    for value in ("north", "south", "west", None):
        wanted = -1 if value is None else codes.levels.index(value)
        only = profile_of(BINARY, rows.take(codes.codes == wanted)).in_coarse()
        assert profile.segment("region", value) == only
    assert profile.segment("colour", "blue").rows == int((rows.features["colour"].codes == 2).sum())
    with pytest.raises(KeyError):
        profile.segment("region", "nowhere")


def test_segments_add_up_to_the_whole() -> None:
    profile = profile_of(BINARY, binary_rows(2000, 11))
    whole = profile.in_coarse()
    for name, values in BINARY.segments:
        parts = merge(BINARY, [profile.segment(name, value) for value in (*values, None)])
        assert np.array_equal(parts.vector, whole.vector)


def test_a_feature_that_did_not_come_is_missing_in_every_row() -> None:
    profile = profile_inputs(BINARY, Rows(7))
    for bins in BINARY.features:
        assert profile.of(("feature", bins.name))[bins.missing] == 7
    assert profile.of("prediction").tolist() == [0, 0, 7]
    assert profile.rows == 7


def test_a_row_without_prediction_is_decided_by_its_score() -> None:
    rows = Rows(3, prediction=Codes(np.asarray([-1, -1, 0]), ("yes",)), score=np.asarray([0.5, 0.4999, np.nan]))
    assert profile_inputs(BINARY, rows).of("prediction").tolist() == [1, 2, 0]


def test_numbers_for_a_categorical_feature_are_an_error() -> None:
    with pytest.raises(TypeError):
        profile_inputs(BINARY, Rows(2, {"colour": Numbers(np.zeros(2))}))


def test_values_beyond_all_bounds_do_not_overflow() -> None:
    wild = Rows(4, {"x": Numbers(np.asarray([1.7e308, -1.7e308, 1e200, 5.0]))})
    once = profile_inputs(BINARY, wild)
    assert (once + once - once) == once
    binning, _ = CASES["regression"]
    far = Rows(2, prediction=Numbers(np.asarray([1e308, -1e308])), actual=Numbers(np.asarray([-1e308, 1.0])))
    profile = profile_of(binning, far)
    assert Profile.load(profile.dump(), binning) == profile


def test_the_mean_of_a_feature_is_exact() -> None:
    from monitor.stats.measure import feature_moments

    rows = binary_rows(5000, 12, shift=3.0)
    values = rows.features["x"].values
    mean, sd, n = feature_moments(profile_inputs(BINARY, rows), "x")
    assert mean == pytest.approx(values.mean(), abs=1e-9)
    assert sd == pytest.approx(values.std(), abs=1e-9)
    assert n == 5000
