"""The index key of a prediction id: 16 bytes that sort in arrival order where ids do.

A UUIDv7 in its canonical text is its own key, so an index over such ids grows at its end and stays fast. Any other text
becomes its 128-bit BLAKE2b digest; two ids that share one are as likely as a broken disk going unnoticed.
"""

import os
import threading
from collections.abc import Sequence
from hashlib import blake2b

from monitor import clock

_lock = threading.Lock()
_last = 0


def key_of(row_id: str) -> bytes:
    """The 16-byte key of an id."""
    if len(row_id) == 36 and row_id[14] == "7" and row_id[8] == "-":
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
