"""Integer vectors as few bytes: what profiles are stored as."""

import struct

import numpy as np
import pyarrow as pa

from monitor.stats.rows import Ints

FORMAT = 1
_HEAD = struct.Struct("<BIQ")  # format, number of the binning, bytes before compression
_PART = struct.Struct("<IBB")  # length, bytes a value, signed


def pack(number: int, *vectors: Ints) -> bytes:
    """Each vector in the narrowest width that holds it, byte plane by byte plane; then zstd over all.

    Most counts of an hour are 0 to 255 and stand in the first plane; the higher planes are nearly empty and cost
    next to nothing. Deterministic: equal vectors give equal bytes. `number` (of the binning) stands in the head.
    """
    raw = []
    for vector in vectors:
        low, high = (int(vector.min()), int(vector.max())) if len(vector) else (0, 0)
        signed = low < 0
        width = next(w for w in range(1, 9) if high < 1 << (8 * w - signed) and low >= -(1 << (8 * w - 1)))
        planes = vector.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
        raw += [_PART.pack(len(vector), width, signed), planes.T.tobytes()]
    joined = b"".join(raw)
    compressed: bytes = pa.compress(joined, codec="zstd", asbytes=True)
    return _HEAD.pack(FORMAT, number, len(joined)) + compressed


def unpack(content: bytes, number: int) -> list[Ints]:
    """Reads what `pack` wrote. ValueError for other bytes, or another binning's number."""
    try:
        kind, of, size = _HEAD.unpack_from(content)
        if kind != FORMAT or size > 2**31:
            raise ValueError("a profile of another format")
        if of != number:
            raise ValueError("a profile of another binning")
        raw = pa.decompress(content[_HEAD.size :], decompressed_size=size, codec="zstd", asbytes=True)
        vectors, at = [], 0
        while at < size:
            n, width, signed = _PART.unpack_from(raw, at)
            planes = np.frombuffer(raw, np.uint8, n * width, at + _PART.size).reshape(width, n)
            at += _PART.size + n * width
            top = planes[-1].view(np.int8) if signed else planes[-1]
            vector = top.astype(np.int64)
            for plane in planes[-2::-1]:
                vector <<= 8
                vector |= plane
            vectors.append(vector)
    except (struct.error, OSError, IndexError) as error:
        raise ValueError("not a profile") from error
    return vectors
