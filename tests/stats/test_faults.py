"""Signals of data quality: what is out of range, and rows that one value has too many of."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.faults import excess, extremes
from monitor.stats.profile import profile_inputs
from monitor.stats.rows import Numbers, Rows
from monitor.stats.signals import plans

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: rng.standard_t(2, n),
    "rounded": lambda rng, n: np.round(rng.normal(size=n) * 2) / 2,
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.6, 0, rng.exponential(size=n)),
}


def rows_of(values):
    return Rows(len(values), features={"x": Numbers(np.asarray(values, float))})


@pytest.fixture(scope="module", params=SHAPES)
def world(request):
    """A binning, the plan of quality with a reference of 28 windows of 1,000 rows, and how to draw more."""
    rng, draw = np.random.default_rng(1), SHAPES[request.param]
    parts = [draw(rng, 1000) for _ in range(28)]
    binning = Binning.build(1, "binary", rows_of(np.concatenate(parts)))
    windows = [profile_inputs(binning, rows_of(part)) for part in parts]
    whole = profile_inputs(binning, rows_of(np.concatenate(parts)))
    plan = plans(binning, whole, windows, 1000)["quality"]
    return rng, draw, binning, plan


def share(world, metric, values):
    """The second bin's share of a signal in a window of these values."""
    _, _, binning, plan = world
    at = next(place for place, signal in enumerate(plan.signals) if signal.metric == metric)
    first = plan.watch.counts.offsets[at]
    cells = plan.window(profile_inputs(binning, rows_of(values)), 0, 1).counts[first : first + 2]
    return cells[1] / cells.sum()


def test_a_value_that_takes_over_is_counted_and_a_distribution_that_moves_is_not(world):
    rng, draw, *_ = world
    usual, wider = draw(rng, 2000), draw(rng, 2000) * 1.5
    moved = usual + 0.5 if (usual == 0).mean() < 0.5 else np.where(usual == 0, 0.0, usual + 0.5)
    stuck = np.where(rng.random(2000) < 0.3, 0.5, draw(rng, 2000))
    assert share(world, "stuck_share", usual) == 0
    assert share(world, "stuck_share", moved) < 0.02
    assert share(world, "stuck_share", wider) < 0.02
    assert share(world, "stuck_share", stuck) == pytest.approx(0.3, abs=0.1)


def test_another_unit_is_out_of_range_and_the_usual_rows_hardly_are(world):
    rng, draw, *_ = world
    usual = draw(rng, 2000)
    swapped = np.where((rng.random(2000) < 0.2) & (usual != 0), usual * 1000, usual)
    assert share(world, "out_of_range_share", usual) < 0.005
    assert share(world, "out_of_range_share", swapped) > 0.05


def test_the_excess_of_features_side_by_side_is_that_of_each():
    rng = np.random.default_rng(2)
    shares = [rng.dirichlet(np.ones(size)) for size in (8, 30, 112)]
    counts = [rng.multinomial(500, share) + (np.arange(share.size) == 3) * 200.0 for share in shares]
    firsts = np.array([0, 8, 38])
    together = excess(np.concatenate(counts), np.concatenate(shares), firsts)
    alone = [excess(one, of, np.zeros(1, np.int64))[0] for one, of in zip(counts, shares, strict=True)]
    assert together == pytest.approx(alone)
    assert (together > 100).all()


def test_the_ends_of_a_column_with_few_values_are_no_extremes():
    binning = Binning.build(1, "binary", rows_of(np.arange(1000) % 10))
    assert extremes(binning.features[0], np.full(15, 100)) == []
