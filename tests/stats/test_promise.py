"""The short form of `tests.benchmarks.calibration`: clean streams alarm no more often than the budget allows."""

import numpy as np
import pytest

from tests.benchmarks.calibration import KINDS, measured

STREAMS, WINDOWS = 60, 120


@pytest.mark.parametrize("kind", KINDS)
def test_clean_streams_keep_to_the_budget_with_a_short_reference_of_thin_windows(kind: str) -> None:
    for rate in measured(kind, 14, 50, STREAMS, WINDOWS, seed=1):
        promised = STREAMS * WINDOWS / rate.threshold
        assert rate.alarms <= promised + 2 * np.sqrt(promised), rate


def test_the_count_of_alarms_would_show_a_promise_that_is_broken() -> None:
    """Windows that depend on the one before are no part of the promise; with so many streams that is seen."""
    rates = measured("autoregressive", 14, 1000, STREAMS, WINDOWS, seed=1)
    assert max(rate.used for rate in rates) > 2
