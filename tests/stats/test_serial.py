"""Windows that resemble the one before are told from those that do not."""

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.profile import profile_inputs
from monitor.stats.rows import Codes, Numbers, Rows
from monitor.stats.serial import correlation, dependent

WINDOWS, HOUR = 48, 3_600_000_000


def reference(level):
    """Windows of 200 rows, `x` around a level of each window, `y` and `c` as ever."""
    rng = np.random.default_rng(4)
    parts = [
        Rows(
            200,
            features={
                "x": Numbers(rng.normal(at, 1, 200)),
                "y": Numbers(rng.normal(size=200)),
                "c": Codes(rng.integers(0, 3, 200), ("a", "b", "c")),
            },
        )
        for at in level
    ]
    x, y = (np.concatenate([part.features[name].values for part in parts]) for name in "xy")
    codes = Codes(np.concatenate([part.features["c"].codes for part in parts]), ("a", "b", "c"))
    binning = Binning.build(1, "binary", Rows(x.size, features={"x": Numbers(x), "y": Numbers(y), "c": codes}))
    return [profile_inputs(binning, part) for part in parts]


def autoregressive(rng, r):
    level = np.zeros(WINDOWS)
    for at in range(1, WINDOWS):
        level[at] = r * level[at - 1] + rng.normal(0, 0.3)
    return level


def test_a_feature_that_wanders_is_named_with_its_correlation():
    windows = reference(autoregressive(np.random.default_rng(1), 0.9))
    ((name, r),) = dependent(windows, [at * HOUR for at in range(WINDOWS)], "UTC")
    assert name == "x" and 0.6 < r < 1


@pytest.mark.parametrize("level", ["independent", "daily"])
def test_windows_that_vary_independently_and_daily_rhythms_are_not(level):
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.3, WINDOWS)
    daily = np.sin(np.arange(WINDOWS) / 4 * 2 * np.pi)
    starts = [at * 6 * HOUR for at in range(WINDOWS)]
    assert dependent(reference(noise if level == "independent" else noise + 2 * daily), starts, "UTC") == []


def test_a_short_reference_tells_nothing_and_constants_have_no_correlation():
    windows = reference(autoregressive(np.random.default_rng(1), 0.9))[:19]
    assert dependent(windows, [at * HOUR for at in range(19)], "UTC") == []
    assert correlation(np.zeros(30)) == 0
    assert correlation(np.full(30, np.nan)) == 0
