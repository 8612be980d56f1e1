"""A detector's state between windows, and its written form."""

import zlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.stats import incident
from monitor.stats.evidence import Floats
from monitor.stats.incident import HOLD

_LZ4 = b"\x04\x22\x4d\x18"  # how an lz4 frame begins
CAP = 600.0  # log values are cut here: far beyond every threshold, safely inside float64


@dataclass(frozen=True)
class Window:
    """One window's values: start and end in us, rows, counts on the flat axis of bins, scalars (NaN: no value)."""

    start: int
    end: int
    rows: int
    counts: Floats
    scalars: Floats


@dataclass
class Memory:
    """The detector's state. Axis 0 of the arrays is the kept starts, oldest first.

    age: windows since the last reset; births: number of the window in which each start was born (first is 1); begins:
    that window's start in us; counts: weighted counts since each start [starts, bins]; sums: number, sum and sum of
    squares of the scalars' deviations [starts, scalars, 3]; log_e: log E of each start [starts, signals], minus
    infinity where it counts as nothing; extra: log of what multiplies it, from starts that went (minus infinity: told
    in an alarm); hold: windows in a row that the last incident had to be back; quiet: windows since it closed, -1 while
    none has.
    """

    mark: str
    age: int
    births: NDArray[np.int64]
    begins: NDArray[np.int64]
    counts: Floats
    sums: Floats
    log_e: Floats
    extra: Floats
    waiting: Window | None = None
    incident: "incident.Incident | None" = None
    hold: int = HOLD
    quiet: int = -1

    @property
    def log_m(self) -> Floats:
        """log of each start's part of M, [starts, signals]."""
        return np.asarray(np.minimum(self.log_e + self.extra, CAP))


class _Stored(msgspec.Struct, array_like=True):
    """The written form: shapes, then the arrays one after the other, compressed."""

    mark: str
    age: int
    starts: int
    bins: int
    scalars: int
    signals: int
    arrays: bytes
    waiting: tuple[int, int, int, bytes, bytes] | None
    incident: bytes | None
    hold: int = HOLD
    quiet: int = -1


def dump(memory: Memory) -> bytes:
    """The memory as bytes (MessagePack; all of it in single precision, as `advance` keeps them)."""
    arrays = b"".join(
        [
            memory.births.tobytes(),
            memory.begins.tobytes(),
            memory.counts.astype(np.float32).tobytes(),
            memory.sums.astype(np.float32).tobytes(),
            memory.log_e.astype(np.float32).tobytes(),
            memory.extra.astype(np.float32).tobytes(),
        ]
    )
    waiting = memory.waiting
    stored = _Stored(
        memory.mark,
        memory.age,
        memory.births.size,
        memory.counts.shape[1],
        memory.sums.shape[1],
        memory.log_e.shape[1],
        len(arrays).to_bytes(4, "little") + pa.compress(arrays, codec="lz4", asbytes=True),
        (waiting.start, waiting.end, waiting.rows, waiting.counts.tobytes(), waiting.scalars.tobytes())
        if waiting is not None
        else None,
        incident.dump(memory.incident) if memory.incident is not None else None,
        memory.hold,
        memory.quiet,
    )
    return msgspec.msgpack.encode(stored)


def _unpacked(arrays: bytes) -> bytes:
    if arrays[:1] == b"\x78" and arrays[4:8] != _LZ4:  # as it was written before
        return zlib.decompress(arrays)
    size = int.from_bytes(arrays[:4], "little")
    found: bytes = pa.decompress(arrays[4:], decompressed_size=size, codec="lz4", asbytes=True)
    return found


def load(data: bytes) -> Memory:
    """Reads what `dump` wrote; raises msgspec.DecodeError or ValueError where it is something else."""
    stored = msgspec.msgpack.decode(data, type=_Stored)
    raw, position = _unpacked(stored.arrays), 0

    def take(kind: type, *shape: int) -> Floats:
        nonlocal position
        size = int(np.prod(shape)) if shape else 1
        array: NDArray[Any] = np.frombuffer(raw, kind, size, position).reshape(shape)
        position += int(array.nbytes)
        return array.astype(np.int64 if kind is np.int64 else np.float64)

    births, begins = take(np.int64, stored.starts), take(np.int64, stored.starts)
    counts = take(np.float32, stored.starts, stored.bins)
    sums = take(np.float32, stored.starts, stored.scalars, 3)
    log_e, extra = take(np.float32, stored.starts, stored.signals), take(np.float32, stored.starts, stored.signals)
    waiting = None
    if stored.waiting is not None:
        start, end, rows, held, scalars = stored.waiting
        waiting = Window(start, end, rows, np.frombuffer(held).copy(), np.frombuffer(scalars).copy())
    ongoing = incident.load(stored.incident) if stored.incident is not None else None
    return Memory(
        stored.mark,
        stored.age,
        births.astype(np.int64),
        begins.astype(np.int64),
        counts,
        sums,
        log_e,
        extra,
        waiting,
        ongoing,
        stored.hold,
        stored.quiet,
    )
