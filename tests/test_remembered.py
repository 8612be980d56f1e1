"""Answers that are remembered for a moment: asked for once, renewed before they are too old, never later than that."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from monitor import clock
from monitor.remembered import RENEW, RENEWALS, Remembered

LIFE = 3.0


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The clock stands; call with the seconds that pass."""
    now = [clock.monotonic()]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def passing(seconds: float) -> None:
        now[0] += seconds

    return passing


class Database:
    """Answers with the number of the question; waits for `open` when it is shut."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.failing = False

    def __call__(self, about: str) -> str:
        self.asked.append(about)
        number = len(self.asked)
        assert self.open.wait(10)
        if self.failing:
            raise RuntimeError("the database is gone")
        return f"{about} {number}"


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.open.set()


@pytest.fixture
def remembered(database: Database) -> Remembered[str, str]:
    return Remembered(database, LIFE)


def until(true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if true():
            return
        time.sleep(0.001)
    raise AssertionError("waited in vain")


def test_an_answer_is_given_again_as_long_as_it_is_young(
    remembered: Remembered[str, str], database: Database, let_pass: Callable[[float], None]
) -> None:
    assert not remembered.has("a")
    assert [remembered.get("a"), remembered.get("b"), remembered.get("a")] == ["a 1", "b 2", "a 1"]
    let_pass(RENEW * LIFE - 0.1)
    assert remembered.has("a")
    assert remembered.get("a") == "a 1"
    assert database.asked == ["a", "b"]


def test_a_hundred_that_need_it_at_once_ask_once(remembered: Remembered[str, str], database: Database) -> None:
    database.open.clear()
    with ThreadPoolExecutor(100) as threads:
        answers = [threads.submit(remembered.get, "a") for _ in range(100)]
        until(lambda: len(database.asked) == 1)
        database.open.set()
        assert {one.result(10) for one in answers} == {"a 1"}
    assert database.asked == ["a"]


def test_it_is_renewed_before_it_is_too_old_and_nobody_waits(
    remembered: Remembered[str, str], database: Database, let_pass: Callable[[float], None]
) -> None:
    remembered.get("a")
    database.open.clear()
    let_pass(RENEW * LIFE)
    assert [remembered.get("a") for _ in range(5)] == ["a 1"] * 5  # the renewal hangs
    database.open.set()
    until(lambda: remembered.last("a") == "a 2")
    assert database.asked == ["a", "a"]


def test_what_nobody_asked_for_in_its_last_half_is_not_given_later(
    remembered: Remembered[str, str], let_pass: Callable[[float], None]
) -> None:
    remembered.get("a")
    let_pass(LIFE)
    assert not remembered.has("a")
    assert remembered.get("a") == "a 2"


def test_the_age_counts_from_the_question(
    remembered: Remembered[str, str], database: Database, let_pass: Callable[[float], None]
) -> None:
    """What was true when it was asked may have changed while the answer was on its way."""
    database.open.clear()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(remembered.get, "a")
        until(lambda: len(database.asked) == 1)
        let_pass(LIFE)
        database.open.set()
        assert answer.result(10) == "a 1"
    assert not remembered.has("a")


def test_a_failure_reaches_all_who_wait_and_is_not_remembered(
    remembered: Remembered[str, str], database: Database
) -> None:
    database.failing = True
    database.open.clear()
    with ThreadPoolExecutor(5) as threads:
        answers = [threads.submit(remembered.get, "a") for _ in range(5)]
        until(lambda: len(database.asked) == 1)
        time.sleep(0.05)
        database.open.set()
        assert all(isinstance(one.exception(10), RuntimeError) for one in answers)
    database.failing = False
    assert remembered.get("a").startswith("a ")


def test_a_renewal_that_fails_is_not_tried_by_every_request(
    remembered: Remembered[str, str], database: Database, let_pass: Callable[[float], None]
) -> None:
    remembered.get("a")
    database.failing = True
    let_pass(RENEW * LIFE)
    assert [remembered.get("a") for _ in range(50)] == ["a 1"] * 50
    until(lambda: len(database.asked) == 2)
    assert [remembered.get("a") for _ in range(50)] == ["a 1"] * 50
    assert len(database.asked) == 2
    let_pass(LIFE)
    with pytest.raises(RuntimeError, match="gone"):
        remembered.get("a")


def test_an_answer_from_before_it_was_to_be_forgotten_is_not_remembered(
    remembered: Remembered[str, str], database: Database
) -> None:
    """A log-out during the look at a session: who asks after it must not be let in by that look."""
    database.open.clear()
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(remembered.get, "a")
        until(lambda: len(database.asked) == 1)
        remembered.forget()
        after = threads.submit(remembered.get, "a")
        until(lambda: len(database.asked) == 2)
        database.open.set()
        assert (before.result(10), after.result(10)) == ("a 1", "a 2")
    assert remembered.get("a") == "a 2"


def test_one_is_forgotten_and_the_others_are_kept(remembered: Remembered[str, str]) -> None:
    remembered.get("a")
    remembered.get("b")
    remembered.forget("a")
    assert remembered.get("b") == "b 2"
    assert remembered.get("a") == "a 3"


def test_who_comes_when_a_question_is_old_does_not_wait_for_its_answer(
    remembered: Remembered[str, str], database: Database, let_pass: Callable[[float], None]
) -> None:
    """It may tell of a key before it was revoked; and over a connection that is dead it never comes."""
    database.open.clear()
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(remembered.get, "a")
        until(lambda: len(database.asked) == 1)
        let_pass(LIFE)
        after = threads.submit(remembered.get, "a")
        until(lambda: len(database.asked) == 2)
        database.open.set()
        assert (before.result(10), after.result(10)) == ("a 1", "a 2")
    assert remembered.get("a") == "a 2"


def test_who_waits_for_another_ones_question_asks_again_when_that_is_old() -> None:
    dead, asked = threading.Event(), 0

    def ask(_: str) -> int:
        nonlocal asked
        asked += 1
        number = asked
        assert number > 1 or dead.wait(10)  # the first one's connection is dead
        return number

    remembered = Remembered(ask, 0.2)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(remembered.get, "a")
        until(lambda: asked == 1)
        assert threads.submit(remembered.get, "a").result(10) == 2
        dead.set()
        assert first.result(10) == 1


def test_what_is_about_to_be_too_old_is_not_promised(
    remembered: Remembered[str, str], let_pass: Callable[[float], None]
) -> None:
    """Between the promise and its use time passes, and an event loop must not wait for a database."""
    remembered.get("a")
    let_pass(LIFE - 0.01)
    assert not remembered.has("a")
    assert remembered.get("a") == "a 1"


def test_a_database_that_hangs_gathers_only_a_few_renewals(
    remembered: Remembered[str, str], database: Database, let_pass: Callable[[float], None]
) -> None:
    names = [f"key {at}" for at in range(200)]
    for name in names:
        remembered.get(name)
    database.open.clear()
    let_pass(RENEW * LIFE)
    for name in names:
        remembered.get(name)
    assert sum(thread.name == "remembered" for thread in threading.enumerate()) <= RENEWALS
    database.open.set()
    until(lambda: not any(thread.name == "remembered" for thread in threading.enumerate()))
    remembered.get(names[-1])  # and then it goes on
    until(lambda: database.asked.count(names[-1]) == 2)


def test_where_no_thread_can_be_started_the_answer_is_still_given(
    remembered: Remembered[str, str], let_pass: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    remembered.get("a")
    let_pass(RENEW * LIFE)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [remembered.get("a") for _ in range(2 * RENEWALS)] == ["a 1"] * (2 * RENEWALS)
