"""The index key of a prediction id: 16 bytes that sort in arrival order where ids do.

A UUIDv7 in its canonical text is its own key, so an index over such ids grows at its end and stays fast. Any other text
becomes its 128-bit BLAKE2b digest; two ids that share one are as likely as a broken disk going unnoticed.
"""

import os
import threading
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from monitor import clock
from monitor.store.id_keys import numbers

_LENGTH = 36  # characters of a UUID
_HYPHENS = [8, 13, 18, 23]
_PLACES = [place for place in range(_LENGTH) if place not in _HYPHENS]
_DIGITS = np.full(256, 255, np.uint8)  # the value of a digit as a UUID writes it, 255 for other letters
_DIGITS[list(b"0123456789abcdef")] = range(16)

_lock = threading.Lock()
_last = 0


def key_of(row_id: str) -> bytes:
    """The 16-byte key of an id."""
    if len(row_id) == _LENGTH and row_id[14] == "7" and all(row_id[place] == "-" for place in _HYPHENS):
        digits = row_id.replace("-", "")
        try:
            raw = bytes.fromhex(digits)
        except ValueError:
            raw = b""
        if len(raw) == 16 and raw.hex() == digits:
            return raw
    return blake2b(row_id.encode(), digest_size=16).digest()


def keys_of(ids: Sequence[str]) -> list[bytes]:
    return [key_of(row_id) for row_id in ids]


def key_numbers(ids: pa.Array) -> np.ndarray:
    """The keys of an Arrow array of texts without nulls as uint64[n, 2]; UUIDv7s, keys themselves, all at once."""
    offset, count = ids.offset, len(ids)
    ends = np.frombuffer(ids.buffers()[1], np.int32, count + 1, 4 * offset) if count else np.zeros(1, np.int32)
    if not count or not (np.diff(ends) == _LENGTH).all():
        return numbers(keys_of(ids.to_pylist()))
    letters = np.frombuffer(ids.buffers()[2], np.uint8, _LENGTH * count, ends[0]).reshape(count, _LENGTH)
    digits = _DIGITS[letters[:, _PLACES]]
    canonical = (letters[:, _HYPHENS] == ord("-")).all() and (letters[:, 14] == ord("7")).all() and digits.max() < 16
    if not canonical:
        return numbers(keys_of(ids.to_pylist()))
    halves = np.ascontiguousarray(digits[:, 0::2] << 4 | digits[:, 1::2])
    return halves.view(">u8").astype(np.uint64)


def new_ids(count: int) -> list[str]:
    """Fresh UUIDv7 texts (RFC 9562), ascending within this process."""
    global _last
    with _lock:
        first = max((clock.now() // 1000) << 12, _last + 1)
        _last = first + count - 1
    noise = os.urandom(8 * count)
    made = []
    for i in range(count):
        stamp, counter = divmod(first + i, 1 << 12)
        tail = int.from_bytes(noise[8 * i : 8 * i + 8]) & ((1 << 62) - 1) | (2 << 62)
        digits = f"{stamp:012x}7{counter:03x}{tail:016x}"
        made.append(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
    return made
