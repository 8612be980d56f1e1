"""What was computed from stored profiles, kept in this process for the next page that asks for the same.

A value is kept together with the stamps of the profiles that it was computed from, and the binning or reference that
they were read with, and given out only for the same: so it can be forgotten at any time, and can never be out of date.
The least recently used go first. Of what is kept only the stamps are read from the database.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
from sqlalchemy.engine import Connection

from monitor.clock import DAY
from monitor.evaluate import payload, windows
from monitor.evaluate.cuts import Part, Plan, Shelf, Want, joined
from monitor.evaluate.payload import Numbers
from monitor.stats.binning import Binning
from monitor.stats.measure import Measures, measure
from monitor.stats.profile import Profile, merge
from monitor.store import blocks, profiles
from monitor.store.catalog import Model
from monitor.store.profiles import DAY_SPAN, ProfileKey, StoredProfile

LIMIT = 64 << 20
_LONG = 14  # a stretch of more parts is merged from weeks, which stretches that overlap share
_VERY_LONG = 100  # and one of more than these from four weeks each
_AHEAD = 64  # parts whose contents are read together

Stamps = tuple[int, ...]
Found = TypeVar("Found")


class _Entry(NamedTuple):
    read_with: object
    stamps: Stamps
    value: Any
    size: int


class Kept:
    """Values by key, at most `limit` bytes of them. Threads may share it."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable, read_with: object, stamps: Stamps) -> Any:
        """The value that was computed from the profiles of these stamps, None when there is none.

        `read_with` is compared by identity: `loaded` gives one object for one content.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
        if entry is None or entry.read_with is not read_with or entry.stamps != stamps:
            return None
        return entry.value

    def put(self, key: Hashable, read_with: object, stamps: Stamps, value: Any, size: int) -> None:
        """Keep a value of `size` bytes in place of what stood under its key; one larger than the limit is not kept."""
        size += 8 * len(stamps)
        with self._lock:
            earlier = self._entries.pop(key, None)
            self.size -= 0 if earlier is None else earlier.size
            if size > self._limit:
                return
            self._entries[key] = _Entry(read_with, stamps, value, size)
            self.size += size
            while self.size > self._limit:
                self.size -= self._entries.popitem(last=False)[1].size

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self.size = 0


KEPT = Kept()


def numbers_of(content: bytes) -> Numbers | None:
    """What `payload.load` makes of a window's stored numbers. They are their own key: other numbers are other bytes."""
    if not content:
        return None
    known: Numbers | None = KEPT.get(content, None, ())
    if known is None:
        known = payload.load(content)
        assert known is not None
        KEPT.put(content, None, (), known, len(content) + known.size)
    return known


class KeptShelf(Shelf):
    """A shelf for pages and answers: what it merges and measures is kept from one request to the next."""

    with_windows = False
    with_content = False

    def __init__(self, connection: Connection, model: Model, want: Want | None = None) -> None:
        super().__init__(connection, model, want)
        self._plans: dict[tuple[int, int], Plan | None] = {}
        self._readies: dict[tuple[Hashable, ...], tuple[list[StoredProfile], list[tuple[int, int]]]] = {}
        self._contents: dict[ProfileKey, StoredProfile] = {}
        self._gone: tuple[int, int] | None = None

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
        read_with, stamps = self.reference(plan.number) or self.binning(plan.number), _stamps(ready)
        is_whole = not again and not plan.edges and len(plan.parts) <= _LONG
        if is_whole and (known := KEPT.get(key, read_with, stamps)) is not None:
            return known  # type: ignore[no-any-return]
        profile = self._merged(plan, plan.number)
        if profile is None:
            return None
        found = compute(profile)
        if is_whole:
            KEPT.put(key, read_with, stamps, found, size(found))
        return found

    def _merged(self, plan: Plan, number: int) -> Profile | None:
        binning = self.binning(number)
        found: list[Profile] = []
        again = [*plan.edges]
        for parts in self._pieces(plan.parts):
            ready, rest = self._ready(parts, number)
            again += rest
            if ready:
                found.append(self._piece(parts, ready, binning))
        for low, high in joined(again):
            found.extend(self._recount(binning, low, high))
        return found[0] if len(found) == 1 else merge(binning, found) if found else None

    def _recount(self, binning: Binning, from_at: int, to_at: int) -> Iterator[Profile]:
        """What was counted again is kept week by week: as long as the stored profiles of its days are the same, which
        have seen each of their rows and outcomes in one binning or another, and nothing was removed from the log."""
        for week in windows.spans(from_at, to_at, 7 * DAY, self.model.config.timezone):
            low, high = max(week[0], from_at), min(week[1], to_at)
            days = [start for start, _ in windows.spans(low, high, DAY, self.model.config.timezone)]
            self.fetch(DAY_SPAN, days[0], days[-1] + 1)
            stamps = (*_stamps([one for day in days for one in self.stored(DAY_SPAN, day)]), *self._removed())
            key = ("again", self.model.id, binning.number, self.want, low, high)
            known: tuple[Profile, ...] | None = KEPT.get(key, binning, stamps)
            if known is None:
                known = tuple(_sealed(binning, one) for one in super()._recount(binning, low, high))
                KEPT.put(key, binning, stamps, known, sum(_bytes(one) for one in known))
            yield from known

    def _removed(self) -> tuple[int, int]:
        """Up to where rows have expired, and how many ids were erased."""
        if self._gone is None:
            end = blocks.log_end(self._connection, self.model.id)
            self._gone = end.expired_before or 0, end.erased or 0
        return self._gone

    def _pieces(self, parts: list[Part]) -> Iterator[list[Part]]:
        """The parts together, or by weeks where they are many."""
        if len(parts) <= _LONG:
            yield parts
            return
        length = (7 if len(parts) <= _VERY_LONG else 28) * DAY
        weeks = windows.starts_of(np.array([start for _, start in parts]), length, self.model.config.timezone)
        pairs = zip(weeks.tolist(), parts, strict=True)
        for _, group in groupby(pairs, key=lambda pair: pair[0]):
            yield [part for _, part in group]

    def _piece(self, parts: list[Part], ready: list[StoredProfile], binning: Binning) -> Profile:
        key, stamps = ("profile", self._key(parts, binning.number)), _stamps(ready)
        known: Profile | None = KEPT.get(key, binning, stamps)
        if known is None:
            known = _sealed(binning, merge(binning, self._loaded(ready, binning)))
            KEPT.put(key, binning, stamps, known, _bytes(known))
        return known

    def _key(self, parts: list[Part], number: int) -> tuple[Hashable, ...]:
        return self.model.id, number, self.want, tuple(parts)

    def _loaded(self, ready: list[StoredProfile], binning: Binning) -> list[Profile]:
        for one in ready:
            if one.key not in self._contents:
                self._read_from(one.span, one.start)
        return super()._loaded([self._contents[one.key] for one in ready], binning)

    def _read_from(self, span: int, start: int) -> None:
        """The contents of the profiles of this start, and of those after it that were fetched with it: who needs one
        mostly needs the next. What lies between two stretches that were fetched, as the hours before and behind many
        days, nobody needs."""
        end = start + 1
        for low, high in sorted(self._fetched[span]):
            end = max(end, high) if low <= end else end
        starts = sorted(one for one in self._stored[span] if start <= one < end)[:_AHEAD]
        found = profiles.profiles_between(
            self._connection,
            self.model.id,
            span,
            start,
            starts[-1] + 1,
            version_id=self.want.version_id,
            role=self.want.role,
            segments=self.want.segments,
        )
        self._contents |= {one.key: one for one in found}


def _stamps(ready: list[StoredProfile]) -> Stamps:
    return tuple(one.stamp for one in ready)


def _sealed(binning: Binning, made: Profile) -> Profile:
    """A profile that many may read, and nobody may change."""
    made.vector.setflags(write=False)
    return Profile(binning, made.vector, made.segments)


def _bytes(profile: Profile) -> int:
    inner = profile.segments
    return profile.vector.nbytes + (0 if inner is None else inner.at.nbytes + inner.counts.nbytes + inner.sums.nbytes)


def _size(measures: Measures) -> int:
    return sum(4 * one.value.nbytes for one in measures.columns.values()) + 200 * len(measures.values)
