"""Days and weeks beside the model's own windows: one budget, one alert."""

import numpy as np
import pytest

from monitor.clock import DAY, HOUR
from monitor.evaluate import judge
from monitor.evaluate.judge import LONGER_SHARE, Longer, baseline, judge_window
from monitor.evaluate.longer import LONGER, ending, together
from monitor.stats.binning import Binning
from monitor.stats.profile import merge, profile_inputs
from monitor.stats.rows import Numbers, Rows
from monitor.stats.signals import WEIGHTS

DAYS, UNIT, BUDGET = 16, 6 * HOUR, 1000.0
PER_DAY = DAY // UNIT


def rows_of(rng, shift=0.0):
    return Rows(100, features={"x": Numbers(rng.normal(shift, 1, 100))})


class World:
    """A model with windows of six hours, and a reference of 16 days."""

    def __init__(self):
        self.rng = np.random.default_rng(3)
        parts = [rows_of(self.rng) for _ in range(DAYS * PER_DAY)]
        whole = Rows(
            sum(p.n for p in parts), features={"x": Numbers(np.concatenate([p.features["x"].values for p in parts]))}
        )
        self.binning = Binning.build(1, "binary", whole)
        self.windows = [profile_inputs(self.binning, part) for part in parts]
        self.starts = [at * UNIT for at in range(len(parts))]
        reference = merge(self.binning, self.windows)
        self.base = baseline(self.binning, reference, self.windows, BUDGET, self.starts, unit=UNIT)
        self.at, self.states, self.day = len(parts), {}, []

    def judge(self, shift=0.0, profile=None):
        profile = profile_inputs(self.binning, rows_of(self.rng, shift)) if profile is None else profile
        start, end = self.at * UNIT, (self.at + 1) * UNIT
        self.at += 1
        self.day.append(profile)
        longer = []
        for name, begin in ending(list(self.base.longer), end, "UTC"):
            longer.append(Longer(name, merge(self.binning, self.day[-PER_DAY:]), begin, end))
        verdicts, after = judge_window(self.base, profile, self.states, "inputs", start, end, longer)
        self.states.update(after)
        return next(verdict for verdict in verdicts if verdict.family == "features")


def test_all_detectors_together_have_the_budget_of_one():
    base = World().base
    assert set(base.longer) == {"day"}
    alarms = sum(1 / plan.watch.threshold for plan in base.plans.values())
    alarms += sum(
        UNIT / LONGER[name] / plan.watch.threshold for name, of in base.longer.items() for plan in of.values()
    )
    assert alarms == pytest.approx(sum(WEIGHTS[family] for family in base.plans) / BUDGET)
    share = WEIGHTS["features"] * LONGER_SHARE
    assert base.longer["day"]["features"].watch.threshold == pytest.approx(BUDGET / 4 / share)


def test_a_change_that_only_days_show_opens_the_familys_one_alert_and_ends_it():
    world = World()
    for name in world.base.plans:  # deaf to windows of six hours
        object.__setattr__(world.base.plans[name].watch, "threshold", 1e300)
    before = [world.judge().action for _ in range(2 * PER_DAY)]
    during = [world.judge(0.8) for _ in range(3 * PER_DAY)]
    after = [world.judge().action for _ in range(6 * PER_DAY)]
    assert set(before) == {"none"}
    opened = [verdict for verdict in during if verdict.action == "open"]
    assert len(opened) == 1 and opened[0].window_end % DAY == 0
    assert opened[0].causes[0].text.startswith("`x` moved up by 0.") and opened[0].causes[0].text.endswith(" (by day)")
    assert after.count("resolve") == 1 and after.count("open") == 0


def test_what_a_change_costs_is_asked_of_the_day_that_shows_it_not_of_its_last_hours(monkeypatch):
    asked = []
    monkeypatch.setattr(judge, "harm_expected", lambda _, window: asked.append(window.rows))
    world = World()
    for name in world.base.plans:  # deaf to windows of six hours
        object.__setattr__(world.base.plans[name].watch, "threshold", 1e300)
    assert "open" in [world.judge(0.8).action for _ in range(3 * PER_DAY)]
    assert set(asked) == {PER_DAY * 100}


def test_what_both_have_found_is_told_once_and_ends_when_both_are_back():
    world = World()
    during = [world.judge(2.0).action for _ in range(3 * PER_DAY)]
    assert during.count("open") == 1 and during.count("update") == 0 and during.count("resolve") == 0
    after = [world.judge().action for _ in range(8 * PER_DAY)]
    assert after.count("resolve") == 1 and after.count("open") == 0
    assert after.index("resolve") % PER_DAY == PER_DAY - 1  # the days' incident ends last


def test_only_whole_days_of_the_reference_count_and_a_short_one_has_none():
    world = World()
    found = together(
        world.binning, world.windows[1:], world.starts[1:], UNIT, "UTC", [(3 * DAY + HOUR, 3 * DAY + 2 * HOUR)]
    )
    assert [start // DAY for start in found["day"][1]] == [1, 2, *range(4, DAYS)]
    assert together(world.binning, world.windows[:40], world.starts[:40], UNIT, "UTC") == {}
    assert together(world.binning, world.windows, world.starts, DAY, "UTC") == {}
