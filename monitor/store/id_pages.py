"""Pages of the id index: 512 entries as bytes, and a filter that tells which keys a page cannot hold.

A page is its number of entries, its smallest row number and either the version that all of them have or none (a signed
32-bit number, -1 for none), then the first halves of the keys, the second halves, the row numbers counted from the
smallest, and the versions where they differ; all little-endian. Nothing is compressed: keys are noise.

The filter is a Bloom filter of 24 bits an entry and 6 probes: one key in 8,000 that is not there passes it. Pages that
are stored are read by later versions of this code, and so keep this form.
"""

import struct

import numpy as np

from monitor.store.id_keys import Entries

PAGE = 512  # entries
FILTER_BYTES = 3 * PAGE
_BITS = 8 * FILTER_BYTES
_PROBES = 6
_HEAD = struct.Struct("<IqiB")  # entries, smallest row, version or -1, bytes of a row number
_AT_ONCE = 256  # pages whose filters are made together
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_LOW = np.uint64(0xFFFFFFFF)


def encode(entries: Entries) -> bytes:
    """At most `PAGE` sorted entries as bytes."""
    base = int(entries.row.min()) if len(entries) else 0
    width = 4 if int(entries.row.max(initial=base)) - base < 1 << 32 else 8
    shared = int(entries.version[0]) if len(entries) and (entries.version == entries.version[0]).all() else -1
    parts = [
        _HEAD.pack(len(entries), base, shared, width),
        entries.keys[:, 0].astype("<u8").tobytes(),
        entries.keys[:, 1].astype("<u8").tobytes(),
        (entries.row - base).astype(f"<u{width}").tobytes(),
    ]
    if shared < 0:
        parts.append(entries.version.astype("<i4").tobytes())
    return b"".join(parts)


def decode(payload: bytes) -> Entries:
    """The entries of a page, ascending by key."""
    count, base, shared, width = _HEAD.unpack_from(payload)
    at = _HEAD.size
    keys = np.frombuffer(payload, "<u8", 2 * count, at).reshape(2, count).T.astype(np.uint64)
    at += 16 * count
    row = np.frombuffer(payload, f"<u{width}", count, at).astype(np.int64) + base
    at += width * count
    version = np.full(count, shared, np.int32) if shared >= 0 else np.frombuffer(payload, "<i4", count, at)
    return Entries(keys, version.astype(np.int32), row)


def hashes(keys: np.ndarray) -> np.ndarray:
    """Well mixed 64-bit numbers of keys (uint64[n, 2]), also where clients count their ids up."""
    mixed = keys[:, 0] * _MIX[0] ^ keys[:, 1]
    for factor, shift in ((_MIX[1], 30), (_MIX[2], 27)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def filters(keys: np.ndarray) -> list[bytes]:
    """A filter for each page that ascending keys (uint64[n, 2]) are cut into."""
    made: list[bytes] = []
    for first in range(0, len(keys), _AT_ONCE * PAGE):
        part = hashes(keys[first : first + _AT_ONCE * PAGE])
        pages = -(-len(part) // PAGE)
        bits = np.zeros(pages * _BITS, bool)
        start = np.arange(len(part)) // PAGE * _BITS
        for probe in range(_PROBES):
            bits[start + _bit(part, probe)] = True
        packed = np.packbits(bits, bitorder="little").tobytes()
        made += [packed[at : at + FILTER_BYTES] for at in range(0, len(packed), FILTER_BYTES)]
    return made


def may_hold(bits: np.ndarray, page: np.ndarray, hashed: np.ndarray) -> np.ndarray:
    """Which of some pairs (page, hash of a key) may be there: ascending places.

    Args:
        bits: the filters of all pages, one after the other: uint8[pages * FILTER_BYTES].
    """
    places = np.arange(len(page))
    for probe in range(_PROBES):
        bit = _bit(hashed, probe)
        stays = (bits[page * FILTER_BYTES + (bit >> 3)] >> (bit & 7).astype(np.uint8) & 1).astype(bool)
        places, page, hashed = places[stays], page[stays], hashed[stays]
        if not len(places):
            break
    return places


def _bit(hashed: np.ndarray, probe: int) -> np.ndarray:
    step = hashed >> np.uint64(32) | np.uint64(1)
    return (((hashed & _LOW) + np.uint64(probe) * step) % np.uint64(_BITS)).astype(np.int64)
