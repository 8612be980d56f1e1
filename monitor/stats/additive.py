"""Profiles: counts and exact sums of some rows, which add up in any order to the same integers and the same bytes."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from monitor.stats.binning import Binning
from monitor.stats.layout import Key, Layout
from monitor.stats.packing import pack, unpack
from monitor.stats.rows import Floats, Ints

QUANTUM = 2.0**-40
_FEW_OF_ALL = 32  # with fewer entries than cells over this, sorting them is faster than a look at all cells


@dataclass(eq=False)
class Segments:
    """Counts and sums of all segments, sparse: `at` int64[m] rising places in the [segments, coarse layout] matrix,
    `counts` int64[m] (never 0), `sums` int64[segments, S, 2]."""

    at: Ints
    counts: Ints
    sums: Ints


class Profile:
    """Counts int64[layout.size] and sums int64[S, 2] (high, low: high * 2**32 + low quanta, low in 0..2**32-1).

    Profiles of one binning add and subtract; equality is of content. A segment's profile is one in the coarse layout,
    without segments of its own. `segments` is None where they were not loaded: then the sum has none either.
    """

    __slots__ = ("binning", "counts", "layout", "segments", "sums", "vector")

    def __init__(
        self,
        binning: Binning,
        vector: Ints | None = None,
        segments: Segments | None = None,
        layout: Layout | None = None,
    ) -> None:
        self.binning = binning
        self.layout = layout = layout or binning.whole
        size, many = layout.size, len(layout.quantities)
        # One vector: counts, high parts, low parts; the other two are views of it.
        self.vector: Ints = np.zeros(size + 2 * many, dtype=np.int64) if vector is None else vector
        if len(self.vector) != size + 2 * many:
            raise ValueError("a profile of another binning")
        self.counts: Ints = self.vector[:size]
        self.sums: Ints = self.vector[size:].reshape(2, many).T
        self.segments = segments

    @property
    def rows(self) -> int:
        return int(self.counts[0])  # the layout begins with rows and labelled

    @property
    def labelled(self) -> int:
        return int(self.counts[1])

    @property
    def scored(self) -> int:
        """Labelled rows that carry what losses need: a score (classification) or a prediction (regression)."""
        return int(self.counts[2])

    def of(self, key: Key) -> Ints:
        """The counts of a signal, in its shape."""
        return self.counts[self.layout.slices[key]].reshape(self.layout.shapes[key])

    def total(self, key: Key) -> float:
        """A sum in its own units (of x - centre, for those with a centre)."""
        quantity = self.layout.quantities[key]
        high, low = self.sums[quantity.row].tolist()
        return float(((high << 32) + low) * QUANTUM * quantity.unit)

    def totals(self, first: Key, number: int) -> Floats:
        """`total` of so many sums of one unit that stand one after the other, float64[number]."""
        quantity = self.layout.quantities[first]
        found = self.sums[quantity.row : quantity.row + number].astype(np.float64)
        return np.asarray((found[:, 0] * 2.0**32 + found[:, 1]) * (QUANTUM * quantity.unit))

    def __add__(self, other: "Profile") -> "Profile":
        return merge(self.binning, (self, other))

    def __sub__(self, other: "Profile") -> "Profile":
        return self + -other

    def __neg__(self) -> "Profile":
        inner = self.segments
        turned = None if inner is None else Segments(inner.at, -inner.counts, carried(-inner.sums))
        found = Profile(self.binning, -self.vector, turned, self.layout)
        carried(found.sums)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        mine, theirs = self.segments, other.segments
        return (
            np.array_equal(self.vector, other.vector)
            and (mine is None) == (theirs is None)
            and (mine is None or theirs is None or _same(mine, theirs))
        )

    __hash__ = None  # type: ignore[assignment]

    def segment(self, name: str, value: str | None) -> "Profile":
        """The rows of one segment (None: the values without counts of their own), in the coarse layout.

        KeyError for a segment that the binning does not know; ValueError where segments were not loaded.
        """
        row = self.binning.segment_rows[name, value]
        if self.segments is None:
            raise ValueError("this profile was loaded without its segments")
        layout = self.binning.coarse
        found = Profile(self.binning, layout=layout)
        first, last = np.searchsorted(self.segments.at, [row * layout.size, (row + 1) * layout.size])
        found.counts[self.segments.at[first:last] - row * layout.size] = self.segments.counts[first:last]
        found.sums[:] = self.segments.sums[row]
        return found

    def in_coarse(self) -> "Profile":
        """The same rows in the coarse layout: what a segment is compared with."""
        fine, coarse = self.binning.whole, self.binning.coarse
        if self.layout is coarse:
            return self
        found = Profile(self.binning, layout=coarse)
        for key, where in coarse.slices.items():
            np.add.at(found.counts[where], self.binning.coarse_slots[key], self.counts[fine.slices[key]])
        for key, quantity in coarse.quantities.items():
            found.sums[quantity.row] = self.sums[fine.quantities[key].row]
        return found

    def dump_whole(self) -> bytes:
        """All but the segments: about 1 to 3 kB for an hour of a small model. Equal profiles give equal bytes."""
        return pack(self.binning.number, self.counts, self.sums[:, 0], self.sums[:, 1])

    def dump_segments(self) -> bytes:
        """The segments; ValueError where they were not loaded."""
        inner = self.segments
        if inner is None:
            raise ValueError("this profile was loaded without its segments")
        flat = inner.sums.reshape(-1, 2)
        return pack(self.binning.number, np.diff(inner.at, prepend=0), inner.counts, flat[:, 0], flat[:, 1])

    def dump(self) -> bytes:
        """Both parts in one."""
        whole = self.dump_whole()
        inner = b"" if self.segments is None else self.dump_segments()
        return struct.pack("<I", len(whole)) + whole + inner

    @classmethod
    def load(cls, content: bytes, binning: Binning) -> "Profile":
        """Reads what `dump` wrote; ValueError for other bytes or another binning."""
        if len(content) < 4:
            raise ValueError("not a profile")
        end = 4 + struct.unpack_from("<I", content)[0]
        return cls.load_parts(content[4:end], content[end:] or None, binning)

    @classmethod
    def load_parts(cls, whole: bytes, segments: bytes | None, binning: Binning) -> "Profile":
        """Reads the two parts; without the second the profile has no segments."""
        try:
            counts, high, low = unpack(whole, binning.number)
            found = cls(binning, np.concatenate((counts, high, low)))
            found.segments = None if segments is None else _segments(segments, binning)
        except ValueError as error:
            raise ValueError("not a profile of this binning") from error
        return found


def _segments(content: bytes, binning: Binning) -> Segments:
    gaps, counts, high, low = unpack(content, binning.number)
    sums = np.stack((high, low), axis=1).reshape(len(binning.segment_rows), len(binning.coarse.quantities), 2)
    return Segments(np.cumsum(gaps), counts, sums)


def empty(binning: Binning) -> Profile:
    """The profile of no rows, with (empty) segments: the zero of addition."""
    nothing = np.zeros(0, dtype=np.int64)
    sums = np.zeros((len(binning.segment_rows), len(binning.coarse.quantities), 2), dtype=np.int64)
    return Profile(binning, segments=Segments(nothing, nothing, sums))


def merge(binning: Binning, profiles: Iterable[Profile]) -> Profile:
    """The sum of many profiles of one layout, in one go; the empty profile for none."""
    parts = list(profiles)
    if not parts:
        return empty(binning)
    layout = parts[0].layout
    if any(part.layout.size != layout.size or part.binning.number != binning.number for part in parts):
        raise ValueError("profiles of different binnings do not add up")
    found = Profile(binning, parts[0].vector.copy(), layout=layout)
    for part in parts[1:]:
        found.vector += part.vector
    carried(found.sums)
    inner = [part.segments for part in parts if part.segments is not None]
    if len(inner) == len(parts):
        at, counts = _added(inner, len(binning.segment_rows) * binning.coarse.size)
        sums = carried(np.sum([part.sums for part in inner], axis=0))
        found.segments = Segments(at, counts, sums)
    return found


def _added(parts: list[Segments], cells: int) -> tuple[Ints, Ints]:
    """The cells that are not zero in the sum, ascending, and their counts.

    Many entries are added where they stand among all cells, which is ten times as fast as sorting them; few are sorted.
    """
    if sum(len(part.at) for part in parts) > cells // _FEW_OF_ALL:
        everywhere = np.zeros(cells, dtype=np.int64)
        for part in parts:
            everywhere[part.at] += part.counts  # a part has each cell once
        at = np.flatnonzero(everywhere != 0)
        return at, everywhere[at]
    at, where = np.unique(np.concatenate([part.at for part in parts]), return_inverse=True)
    counts = np.zeros(len(at), dtype=np.int64)
    np.add.at(counts, where, np.concatenate([part.counts for part in parts]))
    return at[counts != 0], counts[counts != 0]


def carried(sums: Ints) -> Ints:
    """Brings low parts back into 0..2**32-1, in place: one form for one number."""
    carry = sums[..., 1] >> 32
    sums[..., 0] += carry
    sums[..., 1] -= carry << 32
    return sums


def _same(mine: Segments, theirs: Segments) -> bool:
    return (
        np.array_equal(mine.at, theirs.at)
        and np.array_equal(mine.counts, theirs.counts)
        and np.array_equal(mine.sums, theirs.sums)
    )
