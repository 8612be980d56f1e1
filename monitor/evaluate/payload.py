"""The numbers of a window as bytes: every metric with its interval, and arrays over the signals.

One compressed row a window, never a row a number: 100 features in hourly windows would make 74 million rows a year.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from monitor.stats.measure import Columns, Measures, Value
from monitor.stats.values import to_value

FORMAT = 1

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Numbers:
    """What `dump` wrote. `columns` are arrays over the binning's features, then prediction and score; a metric is
    unpacked when it is asked for, since most questions are about few of them. `size`: about how many bytes it takes."""

    binning: int
    rows: int
    labelled: int
    values: Mapping[str, Value]
    columns: Mapping[str, Columns]
    stored: Mapping[str, Sequence[bytes]]
    size: int

    def at(self, metric: str, place: int) -> Value:
        """What `columns[metric].at(place)` gives, without the arrays; nothing where the metric or the place is not."""
        found = self.stored.get(metric)
        if found is None or 8 * place >= len(found[3]):
            return Value()
        value, low, high = (struct.unpack_from("<d", raw, 8 * place)[0] if raw else math.nan for raw in found[:3])
        return to_value((value, low, high, struct.unpack_from("<q", found[3], 8 * place)[0]))


def dump(binning: int, measures: Measures) -> bytes:
    """Deterministic bytes of a profile's measures, counted in the binning of that number."""
    content = {
        "format": FORMAT,
        "binning": binning,
        "rows": measures.rows,
        "labelled": measures.labelled,
        "values": {name: [one.value, one.low, one.high, one.n] for name, one in measures.values.items()},
        "columns": {
            name: [_bytes(one.value), _bytes(one.low), _bytes(one.high), one.n.astype("<i8").tobytes()]
            for name, one in measures.columns.items()
        },
    }
    raw = msgspec.msgpack.encode(content)
    compressed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
    return binning.to_bytes(4, "little") + len(raw).to_bytes(4, "little") + compressed


def _bytes(values: np.ndarray[Any, np.dtype[np.float64]]) -> bytes:
    return b"" if np.isnan(values).all() else values.astype("<f8").tobytes()


def load(content: bytes) -> Numbers | None:
    """None for a window without numbers."""
    if not content:
        return None
    size = int.from_bytes(content[4:8], "little")
    data = msgspec.msgpack.decode(pa.decompress(content[8:], decompressed_size=size, codec="zstd", asbytes=True))
    return Numbers(
        data["binning"],
        data["rows"],
        data["labelled"],
        _Lazy(data["values"], Value),
        _Lazy(data["columns"], _columns),
        data["columns"],
        3 * size,
    )


class _Lazy(Mapping[str, T]):
    """Stored arguments by name, given out as what they make."""

    def __init__(self, stored: dict[str, list[Any]], make: Callable[..., T]) -> None:
        self._stored, self._make = stored, make

    def __getitem__(self, name: str) -> T:
        return self._make(*self._stored[name])

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def _columns(value: bytes, low: bytes, high: bytes, n: bytes) -> Columns:
    rows = np.frombuffer(n, "<i8").astype(np.int64)

    def floats(raw: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.frombuffer(raw, "<f8").astype(np.float64) if raw else np.full(len(rows), np.nan)

    return Columns(floats(value), floats(low), floats(high), rows)


def binning_of(content: bytes) -> int | None:
    """The number of the binning, without reading the rest."""
    return int.from_bytes(content[:4], "little") if content else None
