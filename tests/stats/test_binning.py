"""Bins are frozen from a reference, hold every value that can come, and are the same bytes every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import binary_binning, binary_rows, multiclass_rows

finite = st.floats(allow_nan=False, allow_infinity=False)


def slots_by_hand(bins: NumericBins, values: np.ndarray) -> np.ndarray:
    return np.searchsorted(bins.edges, values, side="right")


@pytest.mark.parametrize("kind", ["normal", "lognormal", "pareto", "atom", "integers", "tiny", "huge", "far"])
def test_the_quick_lookup_agrees_with_bisection(kind: str) -> None:
    rng = np.random.default_rng(1)
    n = 20_000
    values = {
        "normal": rng.normal(size=n),
        "lognormal": rng.lognormal(0, 3, n),
        "pareto": rng.pareto(0.3, n),
        "atom": np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n)),
        "integers": rng.integers(-5, 400, n).astype(float),
        "tiny": rng.normal(size=n) * 5e-320,
        "huge": rng.normal(size=n) * 1e307,
        "far": 1e15 + rng.normal(size=n),
    }[kind]
    bins = NumericBins.build("x", values)
    probes = np.concatenate([values * 1.3, bins.edges, np.nextafter(bins.edges, -np.inf), [-1.7e308, 1.7e308, -0.0]])
    assert np.array_equal(bins.slots(probes), slots_by_hand(bins, probes))
    assert np.array_equal(bins.coarse.slots(probes), bins.coarse_slots[bins.slots(probes)])
    inside = probes[(probes >= bins.low) & (probes <= bins.high)]
    for some in (inside, inside[:50], inside[:0]):
        assert np.array_equal(bins.locate(some, within=True), slots_by_hand(bins, some))
        assert np.array_equal(bins.histogram(some), np.bincount(bins.slots(some), minlength=bins.size))
    odd = np.concatenate([probes, [np.nan, np.inf, -np.inf, np.nan]])
    missing = np.arange(len(odd)) % 7 == 0
    for some, gaps in ((probes, None), (odd, None), (odd, missing), (values, None)):
        slots = bins.slots(some, gaps)
        assert np.array_equal(bins.odd(some, gaps), np.flatnonzero((slots < 1) | (slots > bins.k)))


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=20), st.lists(finite, min_size=1, max_size=5))
def test_any_reference_and_any_value_have_a_slot(reference: list[float], values: list[float]) -> None:
    bins = NumericBins.build("x", np.asarray(reference))
    assert np.all(np.diff(bins.edges) > 0)
    probes = np.tile(np.asarray(values + reference), 65)  # short columns are bisected, long ones looked up
    slots = bins.slots(probes)
    assert np.array_equal(slots, slots_by_hand(bins, probes))
    inside = (probes >= min(reference)) & (probes <= max(reference))
    assert np.array_equal(inside, (slots >= 1) & (slots <= bins.k))


def test_bins_have_equal_mass_halved_towards_the_ends_and_groups_about_a_tenth() -> None:
    values = np.random.default_rng(2).normal(size=112_000)
    bins = NumericBins.build("x", values)
    counts = np.bincount(bins.slots(values), minlength=bins.size)
    assert bins.k == 128
    assert set(counts[10:120]) <= {999, 1000, 1001}
    assert counts[1:10].sum() == pytest.approx(1000, abs=1)
    assert counts[120:129].sum() == pytest.approx(1000, abs=1)
    assert counts[9] == 500
    groups = np.bincount(bins.coarse_slots[bins.slots(values)])
    assert len(groups) == 11
    assert groups[1:].min() > 0.09 * len(values)


def test_few_distinct_values_have_a_bin_each() -> None:
    bins = NumericBins.build("x", np.asarray([3.0, 1.0, 1.0, 2.0, np.nan, np.inf]))
    assert bins.discrete
    assert bins.k == 3
    assert bins.slots(np.asarray([0.5, 1, 2, 2.5, 3, 3.1, np.nan, -np.inf])).tolist() == [0, 1, 2, 2, 3, 4, 6, 7]


def test_a_value_that_many_rows_share_has_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(3)
    bins = NumericBins.build("x", np.where(rng.random(10_000) < 0.5, 0.0, rng.normal(size=10_000)))
    slot = bins.slots(np.zeros(1))[0]
    assert bins.slots(np.asarray([np.nextafter(0, 1)]))[0] == slot + 1
    assert bins.slots(np.asarray([np.nextafter(0, -1)]))[0] == slot - 1


def test_null_nan_and_infinite_are_three_different_things() -> None:
    bins = NumericBins.build("x", np.arange(10.0))
    slots = bins.slots(np.asarray([1.0, np.nan, np.inf, 1.0]), np.asarray([False, False, False, True]))
    assert slots.tolist() == [2, bins.nan, bins.infinite, bins.missing]


def test_a_column_without_values_in_the_reference_still_has_bins() -> None:
    bins = NumericBins.build("x", np.full(5, np.nan))
    assert bins.count == 0
    assert bins.slots(np.asarray([-1.0, 0.0, 1.0, np.nan])).tolist() == [0, 1, 2, 4]


def test_levels_are_ordered_by_traffic_and_the_rest_has_slots() -> None:
    levels = tuple(f"level {i}" for i in range(300))
    codes = np.repeat(np.arange(300), np.arange(300, 0, -1))
    bins = CategoricalBins.build("c", Codes(codes, levels))
    assert bins.levels == levels[:200]
    assert len(bins.known) == 300
    found = bins.slots(Codes(np.asarray([0, 1, 2, -1]), ("level 0", "level 250", "new")))
    assert found.tolist() == [0, bins.other, bins.unseen, bins.missing]
    assert bins.singletons == 1 / len(codes)


def test_a_binning_does_not_depend_on_the_order_of_levels() -> None:
    one = CategoricalBins.build("c", Codes(np.asarray([0, 0, 1, 2]), ("x", "b", "a")))
    two = CategoricalBins.build("c", Codes(np.asarray([2, 1, 2, 0]), ("a", "b", "x")))
    assert one.data() == two.data()


def test_a_dumped_binning_reads_back_to_the_same_bytes() -> None:
    for binning in (binary_binning(), Binning.build(7, "multiclass", multiclass_rows(500), segments=["nowhere"])):
        content = binning.dump()
        again = Binning.load(content)
        assert again.dump() == content
        assert again.whole.slices == binning.whole.slices
        assert again.coarse.slices == binning.coarse.slices
    assert binary_binning().dump() == binary_binning().dump()


@pytest.mark.parametrize("content", [b"", b"\x80", b"\xff" * 20, b"\x93\x01\x02\x03"])
def test_other_bytes_are_not_a_binning(content: bytes) -> None:
    with pytest.raises(ValueError):
        Binning.load(content)


def test_names_of_features_cannot_collide_with_ours() -> None:
    names = ("rows", "score", "prediction", "table", "mean", "", "a/b", "é")
    rows = Rows(3, {name: Numbers(np.arange(3.0)) for name in names}, score=np.asarray([0.1, 0.5, 0.9]))
    binning = Binning.build(1, "binary", rows)
    assert len(binning.whole.by_name) == len(names)
    ends = [where.stop for where in binning.layout.values()]
    assert [where.start for where in binning.layout.values()] == [0, *ends[:-1]]


def test_segments_keep_twenty_values_each_and_fifty_in_all() -> None:
    rng = np.random.default_rng(4)
    column = {name: Codes(rng.integers(0, 40, 5000), tuple(f"v{i}" for i in range(40))) for name in "abcd"}
    binning = Binning.build(
        1, "regression", Rows(5000, segments=column, prediction=Numbers(np.zeros(5000))), segments="abcd"
    )
    sizes = [len(values) for _, values in binning.segments]
    assert max(sizes) <= 20
    assert sum(sizes) == 50


def test_the_positive_class_is_guessed_only_where_it_is_not_given() -> None:
    rows = binary_rows(100)
    assert Binning.build(1, "binary", rows).classes == ("no", "yes")
    assert Binning.build(1, "binary", rows, positive_class="no").classes == ("yes", "no")
    assert Binning.build(1, "binary", Rows(0)).classes == ("not 1", "1")


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError):
        Binning.build(1, "ranking", Rows(0))
