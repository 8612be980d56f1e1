"""Answers of the database that are remembered for a moment, and asked for again before it is over.

What every request needs to know, such as whose key it has, is asked for once and not by each of a hundred requests that
find it too old at the same time; and as long as requests come, none of them waits for it.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from monitor import clock

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

log = structlog.get_logger()

SIZE = 10_000
RENEW = 0.5  # share of its life after which an answer is asked for again
SURE = 0.9  # share of its life until which `has` promises that nobody waits: time passes before `get`
RENEWALS = 4  # at once: a database that hangs shall not gather threads and take its connections from the requests
SETTLE_SECONDS = 1.0


@dataclass
class _Held(Generic[T]):
    answer: T
    asked_at: float
    is_renewed: bool = False


@dataclass
class _Question(Generic[T]):
    asked_at: float
    answer: "Future[T]" = field(default_factory=Future)


class Remembered(Generic[K, T]):
    """Answers by what they are about; safe for threads.

    Args:
        ask: gives an answer; may raise, which is not remembered.
        seconds: how old an answer may be, counted from when it was asked for.
    """

    def __init__(self, ask: Callable[[K], T], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._held: dict[K, _Held[T]] = {}
        self._under_way: dict[K, _Question[T]] = {}
        self._lock = threading.Lock()
        self._renewals = threading.BoundedSemaphore(RENEWALS)

    def has(self, about: K) -> bool:
        """Whether `get`, called now, does not wait."""
        held = self._held.get(about)
        return held is not None and clock.monotonic() - held.asked_at < SURE * self._seconds

    def get(self, about: K) -> T:
        """The answer, asked for now if need be; whoever comes soon after gets the same one.

        Raises:
            what `ask` raises.
        """
        held = self._held.get(about)
        if held is not None:
            age = clock.monotonic() - held.asked_at
            if age < self._seconds:
                if age >= RENEW * self._seconds and not held.is_renewed and self._renewals.acquire(blocking=False):
                    held.is_renewed = True
                    self._start_renewal(about)
                return held.answer
        return self._asked(about)

    def last(self, about: K) -> T | None:
        """The last answer, however old."""
        held = self._held.get(about)
        return None if held is None else held.answer

    def forget(self, about: K | None = None) -> None:
        """Ask again for one answer, or for all; what is under way may be of before, and is not remembered either."""
        with self._lock:
            for those in (self._held, self._under_way):
                if about is None:
                    those.clear()
                else:
                    those.pop(about, None)

    def settle(self) -> None:
        """Wait a moment for the renewals that are under way: behind them the database may be let go."""
        until = clock.monotonic() + SETTLE_SECONDS
        taken = [self._renewals.acquire(timeout=max(0, until - clock.monotonic())) for _ in range(RENEWALS)]
        for _ in filter(None, taken):
            self._renewals.release()

    def _start_renewal(self, about: K) -> None:
        try:
            threading.Thread(target=self._renew, args=(about,), name="remembered", daemon=True).start()
        except RuntimeError:  # the system gives no thread: the answer is young enough, and whoever needs it later asks
            self._renewals.release()

    def _renew(self, about: K) -> None:
        try:
            self._asked(about)
        except Exception as error:  # whoever needs it when it is too old asks again, and is told
            log.warning("remembered.renewal_failed", error=type(error).__name__)
        finally:
            self._renewals.release()

    def _asked(self, about: K) -> T:
        mine = _Question[T](clock.monotonic())
        with self._lock:
            other = self._under_way.get(about)
            if other is not None and mine.asked_at - other.asked_at >= self._seconds:
                other = None
            if other is None:
                self._under_way[about] = mine
        if other is not None:
            # Only so long: its answer would be too old, and over a connection that is dead there comes none.
            wait([other.answer], other.asked_at + self._seconds - mine.asked_at)
            if other.answer.done():
                return other.answer.result()
            mine.asked_at = clock.monotonic()
            with self._lock:
                self._under_way[about] = mine
        try:
            answer = self._ask(about)
        except BaseException as error:
            self._end(about, mine)
            mine.answer.set_exception(error)
            raise
        self._end(about, mine, _Held(answer, mine.asked_at))
        mine.answer.set_result(answer)
        return answer

    def _end(self, about: K, mine: _Question[T], held: _Held[T] | None = None) -> None:
        with self._lock:
            if self._under_way.get(about) is not mine:  # it was to be forgotten, or too old
                return
            del self._under_way[about]
            if held is not None:
                if len(self._held) >= SIZE:
                    self._held.clear()
                self._held[about] = held
