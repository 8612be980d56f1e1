"""What is kept between requests is what would be computed anew, whatever came in between."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection

from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate import cuts
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.kept import KEPT, Kept, KeptShelf, numbers_of
from monitor.stats.measure import measure
from monitor.stats.profile import Profile
from monitor.store import blocks, profiles
from monitor.store.profiles import HOUR_SPAN, StoredProfile
from monitor.store.session import reading, writing
from monitor.store.tables import log_position
from tests.evaluate.small import START, Log, actuals, binary_rows

STRETCHES = [
    (START, START + 40 * DAY),
    (START + 5 * HOUR, START + 33 * DAY + 7 * HOUR),
    (START + 30 * MINUTE, START + 20 * DAY + 45 * MINUTE),
    (START + DAY, START + 2 * DAY),
    (START + 3 * HOUR, START + 9 * HOUR),
    (START - 9 * DAY, START - 8 * DAY),
]
WANTS = [Want(), Want(segments=True), Want(as_of=START + 21 * DAY + 90 * MINUTE), Want(role=None)]
METRICS = ("volume", "accuracy", "psi", "missing_share")


@pytest.fixture
def month(log: Log) -> Log:
    KEPT.clear()
    rows = binary_rows(35 * 12, step=2 * HOUR)
    log.reference(rows[:300])
    log.predictions(rows)
    log.outcomes(actuals(rows, delay=2 * DAY))
    log.build()
    return log


def agree(log: Log, wants: Sequence[Want] = WANTS[:2], stretches: Sequence[tuple[int, int]] = STRETCHES[:2]) -> None:
    """Kept and plain shelves answer the same, the kept one also when it is asked again."""
    for want in wants:
        for low, high in stretches:
            with reading(log.engine) as connection:
                plain, model = Shelf(connection, log.model, want), log.model
                alone = plain.profile(low, high)
                for _ in range(2):
                    kept = KeptShelf(connection, model, want)
                    assert kept.profile(low, high) == alone
                    found = kept.measures(low, high, METRICS)
                    assert (found is None) == (alone is None)
                    if found is None or alone is None:
                        continue
                    reference = plain.reference(alone.binning.number)
                    again = measure(alone, None if reference is None else reference.profile, METRICS)
                    assert (found.rows, found.values) == (again.rows, again.values)
                    assert np.array_equal(found.features["psi"], again.features["psi"], equal_nan=True)


def test_kept_answers_are_those_of_the_stored_profiles(month: Log) -> None:
    agree(month, WANTS, STRETCHES)
    assert KEPT.size > 0


def test_of_hours_before_and_behind_many_days_those_between_are_not_read(
    month: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    between = profiles.profiles_between

    def counted(connection: Connection, model_id: int, span: int, *rest: Any, **asked: Any) -> list[StoredProfile]:
        found = between(connection, model_id, span, *rest, **asked)
        if span == HOUR_SPAN and asked.get("content", True):
            read.append(len(found))
        return found

    monkeypatch.setattr(profiles, "profiles_between", counted)
    with reading(month.engine) as connection:
        shelf = KeptShelf(connection, month.model)
        found = shelf.measures(START + 10 * HOUR, START + 30 * DAY + 10 * HOUR, METRICS)
    assert found is not None and found.rows == 30 * 12
    assert sum(read) == 12  # of 360


def test_rows_outcomes_and_references_that_come_later_are_seen_at_once(month: Log) -> None:
    agree(month)
    late = binary_rows(200, START + 10 * DAY, seed=5, prefix="late")
    month.predictions(late)
    month.build()
    agree(month)
    # An outcome that is corrected changes no count of rows or labels, only what they say.
    corrected = [(name, "0" if actual == "1" else "1", at + HOUR) for name, actual, at in actuals(late)]
    month.outcomes(actuals(late))
    month.build()
    agree(month)
    month.outcomes(corrected)
    month.build()
    agree(month)
    month.reference(binary_rows(300, seed=9, shift=40.0))  # does not fit: a new binning under the next number
    month.build()
    agree(month)


def test_what_must_be_counted_again_is_counted_once_and_anew_where_something_came_or_went(
    month: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(rows: range) -> None:
        with writing(month.engine) as connection:
            blocks.lock_log(connection, month.model_id)
            blocks.remove_rows(connection, month.model_id, rows)

    remove(range(30 * 12))  # so these days stay in the binning that they are counted in, and the others do not
    month.reference(binary_rows(300, seed=9, shift=40.0))
    fresh = binary_rows(14 * 12, START + 35 * DAY, step=2 * HOUR, seed=6, prefix="fresh")
    month.predictions(fresh)
    month.outcomes(actuals(fresh[:100]))
    month.build()
    counted: list[int] = []
    count = cuts.profile_together

    def counting(model: Any, binning: Any, batch: Any, held: Any) -> Profile:
        counted.append(batch.num_rows)
        return count(model, binning, batch, held)

    monkeypatch.setattr(cuts, "profile_together", counting)
    stretch = START, START + 49 * DAY

    def counted_again() -> int:
        counted.clear()
        with reading(month.engine) as connection:
            KeptShelf(connection, month.model).measures(*stretch, METRICS)
        return sum(counted)

    rows = (5 + 14) * 12
    assert counted_again() == rows
    assert counted_again() == 0
    month.predictions(binary_rows(5, START + 48 * DAY, seed=7, prefix="late"))
    month.build()
    assert 5 < counted_again() <= 7 * 12 + 5  # of one week
    month.outcomes(actuals(fresh[100:]))
    month.build()
    assert counted_again() > 0
    agree(month, stretches=[stretch])
    remove(range(30 * 12, 30 * 12 + 2))
    with writing(month.engine) as connection:
        connection.execute(sa.update(log_position).values(erased=2))
    assert counted_again() == rows + 5 - 2
    agree(month, stretches=[stretch])


def test_the_whole_is_merged_from_the_weeks_that_a_chart_has_loaded(
    month: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = Shelf._loaded
    monkeypatch.setattr(
        Shelf, "_loaded", lambda self, ready, binning: loaded.extend(ready) or load(self, ready, binning)
    )
    with reading(month.engine) as connection:
        shelf = KeptShelf(connection, month.model)
        for week in range(5):
            shelf.measures(START + 7 * week * DAY, START + 7 * (week + 1) * DAY, METRICS)
        assert len(loaded) == 35
        whole = shelf.measures(START, START + 35 * DAY, METRICS)
    assert whole is not None and whole.rows == 35 * 12
    assert len(loaded) == 35


def test_a_kept_profile_cannot_be_changed(month: Log) -> None:
    with reading(month.engine) as connection:
        found = KeptShelf(connection, month.model).profile(START, START + DAY)
    assert found is not None
    with pytest.raises(ValueError, match="read-only"):
        found.counts += 1


def test_the_least_recently_used_goes_first_and_the_limit_holds() -> None:
    kept, binning = Kept(100), object()
    kept.put("a", binning, (7,), 1, 32)
    kept.put("b", binning, (7,), 2, 32)
    assert kept.get("a", binning, (7,)) == 1
    kept.put("c", binning, (7,), 3, 32)
    assert kept.get("b", binning, (7,)) is None
    assert kept.get("a", binning, (7,)) == 1
    assert kept.get("a", binning, (8,)) is None
    assert kept.get("a", object(), (7,)) is None
    kept.put("a", binning, (), 9, 101)
    assert kept.get("a", binning, ()) is None
    assert kept.size == 40


def test_what_is_kept_is_not_read_again(month: Log) -> None:
    read = []
    event.listen(month.engine, "before_cursor_execute", lambda *given: read.append(given[2]))
    for _ in range(2):
        read.clear()
        with reading(month.engine) as connection:
            KeptShelf(connection, month.model, Want(segments=True)).profile(START, START + 35 * DAY)
    assert not [one for one in read if "profile.payload" in one]


def test_the_numbers_of_a_window_are_unpacked_once_and_those_measured_anew_are_seen(log: Log) -> None:
    rows = binary_rows(90, step=MINUTE)
    log.reference(binary_rows(300, seed=3, start=START - 10 * DAY))
    log.predictions(rows[:30])
    log.evaluate()
    first = log.measurements()[0].payload
    assert numbers_of(first) is numbers_of(bytes(bytearray(first)))
    log.predictions(rows[30:50])
    log.evaluate()
    found = numbers_of(log.measurements()[0].payload)
    assert found is not None and (found.rows, found.values["volume"].value) == (50, 50)
    assert numbers_of(b"") is None
