"""The sequential classifier two-sample test: its promise, what it finds, and its written form."""

from dataclasses import replace

import numpy as np
import pytest

from monitor.stats import two_sample
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.rows import Codes, Numbers
from monitor.stats.terms import Encoding, chosen, values
from monitor.stats.two_sample import Reference, State
from monitor.stats.two_sample_state import dump, dump_rows, load, load_rows

ROWS, COLUMNS = 200, 6
TRIPLE = (0, 2, 4)


def day(number: np.random.Generator, bound: float = 0.0, wander: float = 0.0, rows: int = ROWS) -> np.ndarray:
    """Independent columns of mean 0 and variance 1; of `bound` of the rows the sign of one column is the product of
    those of two others: no column and no pair of columns shows it. `wander`: sd of each day's shift."""
    found = np.sqrt(3) * number.uniform(-1, 1, (rows, COLUMNS)) + wander * number.standard_normal(COLUMNS)
    first, second, third = TRIPLE
    tied = number.random(rows) < bound
    found[tied, third] = np.abs(found[tied, third]) * np.sign(found[tied, first] * found[tied, second])
    return found.astype(np.float32)


def reference(number: np.random.Generator, days: int = 28, wander: float = 0.0) -> Reference:
    columns = np.vstack([day(number, wander=wander) for _ in range(days)])
    return Reference(columns, np.repeat(np.arange(days), ROWS))


def play(
    seed: int,
    nights: int,
    threshold: float,
    since: int = 10**9,
    until: int = 10**9,
    days: int = 28,
    wander: float = 0.0,
    calm: tuple[int, ...] = (),
) -> list[tuple[int, str, int]]:
    """(night, action, since) of everything that happened; from `since` until `until` three columns go together, but on
    the nights `calm`."""
    number = np.random.default_rng(seed)
    known, state, told = reference(number, days, wander), State(), []
    for night in range(nights):
        today = day(number, 0.8 if since <= night < until and night not in calm else 0.0, wander)
        state, step = two_sample.advance(known, state, today, night, threshold)
        if step.action != "none":
            told.append((night, step.action, step.since))
    return told


@pytest.mark.parametrize(("days", "wander"), [(14, 0.0), (20, 0.1)], ids=["two weeks", "days that wander"])
def test_without_a_change_there_are_no_more_alarms_than_budgeted(days: int, wander: float) -> None:
    """4 streams of 20 nights at A = 40: two alarms are allowed on average, and more than six a clear breach. The long
    form is tests.benchmarks.nightly."""
    told = [one for seed in range(4) for one in play(seed, 20, 40, days=days, wander=wander)]
    assert sum(action != "resolve" for _, action, _ in told) <= 6


def test_three_features_that_begin_to_go_together_are_found_and_the_end_too() -> None:
    for seed in range(2):
        told = play(50 + seed, 26, 1800, since=6, until=16)
        night, action, since = told[0]
        assert action == "open" and 6 <= night <= 11 and 5 <= since <= 7
        over = [at for at, what, _ in told if what == "resolve"]
        assert over and 16 <= over[0] <= 20


def test_calm_days_in_between_end_nothing_and_what_comes_back_soon_must_hold_twice_as_long() -> None:
    told = play(50, 40, 1800, since=6, until=24, calm=(14, 15, 19, 20))
    assert [action for _, action, _ in told if action != "update"] == ["open", "resolve"]
    assert next(night for night, action, _ in told if action == "resolve") >= 26
    again = play(51, 60, 1800, since=6, until=50, calm=tuple(range(20, 28)))
    ends = [night for night, action, _ in again if action == "resolve"]
    assert len(ends) == 2 and 22 <= ends[0] < 28 and ends[1] >= 55


def test_the_features_that_are_used_are_named_and_the_auc_holds_its_value() -> None:
    number = np.random.default_rng(3)
    known, tied = reference(number), day(number, 0.9, rows=1000)
    made = two_sample.learn(known, day(number, 0.9, rows=1000), 0)
    assert made is not None and TRIPLE in made.terms
    found = two_sample.importance(made, tied, range(COLUMNS))
    assert set(np.argsort(-found)[:3].tolist()) == set(TRIPLE)
    area, low, high = two_sample.separation(made, known, tied)
    assert low < area < high and area > 0.7
    same, low, high = two_sample.separation(made, known, day(number, rows=1000))
    assert low < 0.5 < high and abs(same - 0.5) < 0.05


def test_a_day_of_few_rows_counts_for_less() -> None:
    number = np.random.default_rng(4)
    known = reference(number)
    made = two_sample.learn(known, day(number, 0.9), 0)
    assert made is not None
    few, many = made.seen(day(number, 0.9, rows=20)), made.seen(day(number, 0.9))
    assert few.total < 0.7 * many.total


def test_columns_that_do_not_vary_make_no_classifier() -> None:
    flat = Reference(np.zeros((2800, 3), np.float32), np.repeat(np.arange(28), 100))
    assert two_sample.learn(flat, np.zeros((100, 3), np.float32), 0) is None
    state, step = two_sample.advance(flat, State(), np.zeros((100, 3), np.float32), 0, 10.0)
    assert step.action == "none" and state.classifiers == ()


def test_what_is_written_comes_back() -> None:
    number = np.random.default_rng(5)
    known = reference(number, 14)
    known = Reference(known.columns.astype(np.float16).astype(np.float32), known.day)
    state = State()
    for night in range(9):
        today = day(number, 0.9 if night > 2 else 0.0).astype(np.float16).astype(np.float32)
        state, _ = two_sample.advance(known, state, today, night, 100)
    assert state.incident is not None
    rows, days = load_rows(dump_rows(known, state.days))
    again = load(dump(state), days)
    assert dump(again) == dump(state) and dump_rows(rows, days) == dump_rows(known, state.days)
    today = day(number, 0.9)
    assert two_sample.advance(rows, again, today, 9, 100)[1].evidence == pytest.approx(
        two_sample.advance(known, state, today, 9, 100)[1].evidence
    )


def test_old_nights_are_dropped() -> None:
    number = np.random.default_rng(6)
    known, state = reference(number, 14), State()
    made = two_sample.learn(known, day(number), 0)
    assert made is not None
    state = replace(state, classifiers=(made,) * 100)
    state, _ = two_sample.advance(known, state, day(number), 1, 1e9)
    assert len(state.classifiers) == len(two_sample.MEMORIES) * two_sample.KEPT


def test_products_of_up_to_three_columns_are_looked_at() -> None:
    number = np.random.default_rng(7)
    old, new = day(number, rows=3000), day(number, 0.5, rows=3000)
    assert chosen(old, new)[0] == TRIPLE
    np.testing.assert_allclose(values(((0,), (1, 2), TRIPLE), new)[:, 2], np.prod(new[:, TRIPLE], axis=1), rtol=1e-5)
    assert chosen(old[:2], new) == () and chosen(old[:, :0], new[:, :0]) == ()


def test_rows_become_columns_of_mean_zero_and_variance_one() -> None:
    number = np.random.default_rng(8)
    x = number.exponential(size=5000)
    levels = Codes.of(number.choice(["a", "b", "c"], 5000, p=[0.6, 0.39, 0.01]).tolist())
    two = Codes.of_booleans(number.random(5000) < 0.3)
    bins = [NumericBins.build("x", x), CategoricalBins.build("c", levels), CategoricalBins.build("t", two)]
    columns = {"x": Numbers(x), "c": levels, "t": two}
    counts = [
        bins[0].histogram(x),
        *(np.bincount(one.slots(col), minlength=one.size) for one, col in zip(bins[1:], (levels, two), strict=True)),
    ]
    encoding = Encoding(bins, counts)
    found = encoding.columns(columns, 5000)
    assert encoding.feature.tolist() == [0, 1, 1, 2]  # the rare level has none, of two levels one is enough
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.03)
    assert (encoding.columns({}, 3) == 0).all()
    odd = encoding.columns({"x": Numbers(np.array([np.nan, np.inf, -1.0]))}, 3)[:, 0]
    assert odd[0] == odd[1] == 0 and odd[2] < -1.5
