"""Causes of data quality in words: another unit, a stuck value."""

import re

import numpy as np
import pytest

from monitor.evaluate.judge import KINDS, baseline, judge_window
from monitor.stats.binning import Binning
from monitor.stats.profile import merge, profile_inputs, profile_outcomes
from monitor.stats.rows import Codes, Numbers, Rows

HOUR = 3_600_000_000


def rows_of(values):
    return Rows(len(values), features={"amount": Numbers(values)})


def opened_by(broken):
    """The causes of the quality alert that a stream of broken amounts opens."""
    rng = np.random.default_rng(1)

    def draw():
        return rng.lognormal(3, 0.5, 400)

    parts = [draw() for _ in range(20)]
    binning = Binning.build(1, "binary", rows_of(np.concatenate(parts)))
    windows = [profile_inputs(binning, rows_of(part)) for part in parts]
    base = baseline(binning, merge(binning, windows), windows, 1000)
    states: dict[str, bytes] = {}
    for at in range(20, 26):
        profile = profile_inputs(binning, rows_of(broken(rng, draw())))
        verdicts, after = judge_window(base, profile, states, "inputs", at * HOUR, (at + 1) * HOUR)
        states |= after
        for verdict in verdicts:
            if verdict.family == "quality" and verdict.action == "open":
                return verdict.causes
    raise AssertionError("no alert")


@pytest.mark.parametrize(
    ("broken", "metric", "text"),
    [
        (
            lambda rng, x: np.where(rng.random(400) < 0.2, 1000 * x, x),
            "out_of_range_share",
            "about 1,000 times",
        ),
        (
            lambda rng, x: np.where(rng.random(400) < 0.2, -x, x),
            "out_of_range_share",
            "below the lowest",
        ),
        (lambda rng, x: np.where(rng.random(400) < 0.3, 20.0, x), "stuck_share", "% of rows have the value about 20"),
    ],
    ids=["unit", "sign", "stuck"],
)
def test_a_fault_is_named_as_a_person_would(broken, metric, text):
    cause = opened_by(broken)[0]
    assert (cause.metric, cause.feature) == (metric, "amount")
    assert text in cause.text
    assert cause.low <= cause.effect <= cause.high


def test_an_amount_that_falls_within_a_segment_is_told_in_percent_with_what_it_did_to_the_model():
    """`air_time` fell by a third for one carrier, and the model is wrong more often there."""
    rng = np.random.default_rng(2)

    def draw(n, factor, right):
        carrier = rng.integers(0, 3, n)
        inside = carrier == 2
        amount = rng.lognormal(3, 0.5, n) * np.where(inside, factor, 1.0)
        actual = rng.integers(0, 2, n)
        predicted = np.where(rng.random(n) > np.where(inside, right, 0.9), 1 - actual, actual)
        return Rows(
            n,
            features={"air_time": Numbers(amount), "carrier": Codes(carrier, ("AA", "UA", "MQ"))},
            prediction=Codes(predicted, ("no", "yes")),
            score=np.where(predicted == 1, 0.9, 0.1),
            actual=Codes(actual, ("no", "yes")),
        )

    whole = draw(8000, 1.0, 0.9)
    binning = Binning.build(1, "binary", whole, positive_class="yes", segments=["carrier"])
    windows = [
        profile_inputs(binning, part) + profile_outcomes(binning, part)
        for part in (whole.take(slice(at, at + 400)) for at in range(0, 8000, 400))
    ]
    base = baseline(binning, merge(binning, windows), windows, 1000)
    states: dict[str, bytes] = {}
    opened = {}
    for at in range(20, 26):
        rows = draw(400, 0.67, 0.6)
        profile = profile_inputs(binning, rows) + profile_outcomes(binning, rows)
        for kind in KINDS:
            verdicts, after = judge_window(base, profile, states, kind, at * HOUR, (at + 1) * HOUR)
            states |= after
            opened |= {one.family: one.causes for one in verdicts if one.action in ("open", "update")}
    drift = next(one for one in opened["features"] if one.segment == "carrier:MQ")
    assert drift.text.startswith("`air_time` fell by 3") and "where `carrier` is 'MQ', since Thursday " in drift.text
    told = opened["performance"][0].text
    assert re.search(r"; accuracy( there)? 0\.(89|90) -> 0\.[5-8]\d$", told), told
