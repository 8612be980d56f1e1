"""What was computed from stored profiles, kept in this process for the next page that asks for the same.

A value is kept together with the very bytes that it was computed from, and the binning or reference that they were
read with, and given out only for the same: so it can be forgotten at any time, and can never be out of date. The least
recently used go first.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
from sqlalchemy.engine import Connection

from monitor.clock import DAY
from monitor.evaluate import windows
from monitor.evaluate.cuts import Part, Plan, Shelf, Want
from monitor.stats.binning import Binning
from monitor.stats.measure import Measures, measure
from monitor.stats.profile import Profile, merge
from monitor.store.catalog import Model
from monitor.store.profiles import StoredProfile

LIMIT = 64 << 20
_LONG = 14  # a stretch of more parts is merged from weeks, which stretches that overlap share

Contents = tuple[bytes, ...]
Found = TypeVar("Found")


class _Entry(NamedTuple):
    read_with: object
    contents: Contents
    value: Any
    size: int


class Kept:
    """Values by key, at most `limit` bytes of them with what they came from. Threads may share it."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable, read_with: object, contents: Contents) -> Any:
        """The value that was computed from these contents, None when there is none.

        `read_with` is compared by identity: `loaded` gives one object for one content.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
        if entry is None or entry.read_with is not read_with or entry.contents != contents:
            return None
        return entry.value

    def put(self, key: Hashable, read_with: object, contents: Contents, value: Any, size: int) -> None:
        """Keep a value of `size` bytes in place of what stood under its key; one larger than the limit is not kept."""
        size += sum(map(len, contents))
        with self._lock:
            earlier = self._entries.pop(key, None)
            self.size -= 0 if earlier is None else earlier.size
            if size > self._limit:
                return
            self._entries[key] = _Entry(read_with, contents, value, size)
            self.size += size
            while self.size > self._limit:
                self.size -= self._entries.popitem(last=False)[1].size

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self.size = 0


KEPT = Kept()


class KeptShelf(Shelf):
    """A shelf for pages and answers: what it merges and measures is kept from one request to the next."""

    with_windows = False

    def __init__(self, connection: Connection, model: Model, want: Want | None = None) -> None:
        super().__init__(connection, model, want)
        self._plans: dict[tuple[int, int], Plan | None] = {}
        self._readies: dict[tuple[Hashable, ...], tuple[list[StoredProfile], list[tuple[int, int]]]] = {}

    def _plan(self, from_at: int, to_at: int) -> Plan | None:
        """The charts of a page have the same steps."""
        asked = from_at, to_at
        if asked not in self._plans:
            self._plans[asked] = super()._plan(from_at, to_at)
        return self._plans[asked]

    def _ready(self, parts: Iterable[Part], number: int) -> tuple[list[StoredProfile], list[tuple[int, int]]]:
        key = number, *parts
        if key not in self._readies:
            self._readies[key] = super()._ready(parts, number)
        return self._readies[key]

    def measures(self, from_at: int, to_at: int, metrics: Sequence[str]) -> Measures | None:
        """These metrics of [from_at, to_at) against the reference of its binning; None where nothing was profiled."""

        def measured(profile: Profile) -> Measures:
            reference = self.reference(profile.binning.number)
            return measure(profile, None if reference is None else reference.profile, metrics)

        return self.of_profile(from_at, to_at, ("measures", *metrics), measured, _size)

    def of_profile(
        self,
        from_at: int,
        to_at: int,
        name: tuple[Hashable, ...],
        compute: Callable[[Profile], Found],
        size: Callable[[Found], int],
    ) -> Found | None:
        """What `compute` makes of the profile of [from_at, to_at) and of its reference; None where nothing was
        profiled. It is kept under `name`, which has to say all that it depends on beside those two."""
        plan = self._plan(from_at, to_at)
        if plan is None or plan.number is None:
            return None
        ready, again = self._ready(plan.parts, plan.number)
        key = ("found", self._key(plan.parts, plan.number), name)
        read_with, contents = self.reference(plan.number) or self.binning(plan.number), self._contents(ready)
        is_whole = not again and not plan.edges and len(plan.parts) <= _LONG
        if is_whole and (known := KEPT.get(key, read_with, contents)) is not None:
            return known  # type: ignore[no-any-return]
        profile = self._merged(plan, plan.number)
        if profile is None:
            return None
        found = compute(profile)
        if is_whole:
            KEPT.put(key, read_with, contents, found, size(found))
        return found

    def _merged(self, plan: Plan, number: int) -> Profile | None:
        if plan.edges:
            return super()._merged(plan, number)
        binning = self.binning(number)
        found: list[Profile] = []
        for parts in self._pieces(plan.parts):
            ready, again = self._ready(parts, number)
            if again:
                return super()._merged(plan, number)
            if ready:
                found.append(self._piece(parts, ready, binning))
        return found[0] if len(found) == 1 else merge(binning, found) if found else None

    def _pieces(self, parts: list[Part]) -> Iterator[list[Part]]:
        """The parts together, or week by week where they are many."""
        if len(parts) <= _LONG:
            yield parts
            return
        weeks = windows.starts_of(np.array([start for _, start in parts]), 7 * DAY, self.model.config.timezone)
        pairs = zip(weeks.tolist(), parts, strict=True)
        for _, group in groupby(pairs, key=lambda pair: pair[0]):
            yield [part for _, part in group]

    def _piece(self, parts: list[Part], ready: list[StoredProfile], binning: Binning) -> Profile:
        key, contents = ("profile", self._key(parts, binning.number)), self._contents(ready)
        known: Profile | None = KEPT.get(key, binning, contents)
        if known is None:
            made = merge(binning, [self._load(one, binning) for one in ready])
            made.vector.setflags(write=False)
            known, inner = Profile(binning, made.vector, made.segments), made.segments
            more = 0 if inner is None else inner.at.nbytes + inner.counts.nbytes + inner.sums.nbytes
            KEPT.put(key, binning, contents, known, known.vector.nbytes + more)
        return known

    def _key(self, parts: list[Part], number: int) -> tuple[Hashable, ...]:
        return self.model.id, number, self.want, tuple(parts)

    def _contents(self, ready: list[StoredProfile]) -> Contents:
        if not self.want.segments:
            return tuple(one.payload for one in ready)
        return tuple(part for one in ready for part in (one.payload, one.segments or b""))


def _size(measures: Measures) -> int:
    return sum(4 * one.value.nbytes for one in measures.columns.values()) + 200 * len(measures.values)
