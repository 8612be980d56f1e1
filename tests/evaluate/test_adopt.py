"""A change that is here to stay becomes the reference."""

from collections.abc import Callable

import pytest

from monitor.clock import HOUR, MINUTE
from monitor.errors import Conflict
from monitor.evaluate.adopt import LEAST_WINDOWS, adopt
from tests.evaluate.small import START, Log, binary_rows

SOON = {"grace": "10m", "label_delay": "1h"}


@pytest.fixture
def changed(make_log: Callable[..., Log]) -> Log:
    """A reference of 12 hours, and after it a shift that stays."""
    log = make_log(features={"x": "numeric", "carrier": "categorical"}, **SOON)
    before = [{**row, "known_at": row["timestamp"]} for row in binary_rows(12 * 60, start=START - 12 * HOUR)]
    log.reference(before)
    return log


def shifted(log: Log, first: int, hours: int) -> list[str]:
    """So many more hours of the shift; what each alert of the features does."""
    rows = binary_rows(hours * 60 + 15, start=START + first * HOUR, seed=first + 9, shift=2.0, prefix=f"s{first}-")
    log.predictions(rows)
    return [one.action for one in log.evaluate()[1] if one.family == "features" and one.action != "none"]


def test_a_change_can_be_adopted_after_fourteen_windows_and_is_no_change_any_more(changed: Log) -> None:
    assert shifted(changed, 0, 6)[0] == "open"
    with pytest.raises(Conflict, match="14 windows since the first evidence, and there are 6"):
        adopt(changed.engine, changed.model, "features", START, START, "ann")
    shifted(changed, 7, 10)
    made = adopt(changed.engine, changed.model, "features", START + 5 * MINUTE, START, "ann")
    assert made["number"] == 2 and made["source"]["from"] == "2026-03-02T00:00:00Z"
    assert made["rows"] >= LEAST_WINDOWS * 15
    after = shifted(changed, 18, 6)
    assert after[0] == "resolve" and "open" not in after
