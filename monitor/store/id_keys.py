"""Keys of ids as numbers: sorted entries, and the search of many keys in them at once.

A key (store/identity) is 16 bytes; here it is a pair of unsigned 64-bit numbers, the first half and the second, in the
order of its bytes. Searching goes by the first half, which is nearly always enough, and looks at the second only where
the first was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def numbers(keys: Sequence[bytes]) -> np.ndarray:
    """Keys of 16 bytes as uint64[n, 2]."""
    return np.frombuffer(b"".join(keys), ">u8").astype(np.uint64).reshape(-1, 2)


def raw(keys: np.ndarray) -> list[bytes]:
    """The keys of uint64[n, 2] as 16 bytes each."""
    joined = keys.astype(">u8").tobytes()
    return [joined[at : at + 16] for at in range(0, len(joined), 16)]


def order_of(keys: np.ndarray) -> np.ndarray:
    """The places of keys in ascending order: int64[n]."""
    high = keys[:, 0]
    if (high[1:] > high[:-1]).all():
        return np.arange(len(keys))
    order = np.argsort(high)
    tied = high[order[1:]] == high[order[:-1]]
    if tied.any():  # only these need their second halves
        among = np.flatnonzero(np.concatenate([tied, [False]]) | np.concatenate([[False], tied]))
        part = order[among]
        order[among] = part[np.lexsort((keys[part, 1], high[part]))]
    return order


@dataclass(frozen=True)
class Entries:
    """Rows by key, ascending: what the index says of them."""

    keys: np.ndarray  # uint64[n, 2]
    version: np.ndarray  # int32[n], model_version.id
    row: np.ndarray  # int64[n], number in the log

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, keys: np.ndarray, version: np.ndarray, row: np.ndarray) -> "Entries":
        """Entries in any order, sorted."""
        order = order_of(keys)
        return cls(keys[order], version[order], row[order])

    @classmethod
    def joined(cls, parts: Sequence["Entries"]) -> "Entries":
        """The entries of several, sorted."""
        return cls.of(*_concatenated(parts))

    def upto(self, key: np.ndarray) -> int:
        """How many entries have a key that is not above this one (uint64[2])."""
        low, high = (int(np.searchsorted(self.keys[:, 0], key[0], side)) for side in ("left", "right"))
        return low + int(np.searchsorted(self.keys[low:high, 1], key[1], "right"))

    def part(self, chosen: slice | np.ndarray) -> "Entries":
        return Entries(self.keys[chosen], self.version[chosen], self.row[chosen])


NONE = Entries(np.zeros((0, 2), np.uint64), np.zeros(0, np.int32), np.zeros(0, np.int64))


def side_by_side(parts: Sequence[Entries]) -> Entries:
    """The entries of several as they come."""
    return Entries(*_concatenated(parts))


def _concatenated(parts: Sequence[Entries]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys, versions, rows = zip(*((one.keys, one.version, one.row) for one in parts), strict=True)
    return np.concatenate(keys), np.concatenate(versions), np.concatenate(rows)


def match(entries: Entries, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where ascending `keys` (uint64[m, 2]) stand among the entries: pairs (place in keys, place in entries).

    A key may stand there several times, once a version.
    """
    high = entries.keys[:, 0]
    left = np.searchsorted(high, keys[:, 0], "left")
    at = np.flatnonzero(high[np.minimum(left, len(high) - 1)] == keys[:, 0]) if len(high) else left[:0]
    if not len(at):
        return at, at
    low, up = left[at], np.searchsorted(high, keys[at, 0], "right")
    for start, end in _runs(keys[at, 0], up - low > 1):
        first, last = low[start], up[start]
        second = keys[at[start:end], 1]
        low[start:end] = first + np.searchsorted(entries.keys[first:last, 1], second, "left")
        up[start:end] = first + np.searchsorted(entries.keys[first:last, 1], second, "right")
    counts = up - low
    place = np.repeat(at, counts)
    found = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(len(place))
    same = entries.keys[found, 1] == keys[place, 1]
    return place[same], found[same]


def _runs(values: np.ndarray, several: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [start, end) of equal values at which `several` is true."""
    if not several.any():
        return []
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    ends = np.concatenate([starts[1:], [len(values)]])
    chosen = several[starts]
    return list(zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True))
