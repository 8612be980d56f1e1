"""Content-Encoding undone piece by piece, so that a small body never becomes a large one in memory.

A bomb is a body that inflates a thousandfold. So output is made in steps of `STEP` bytes and counted by the caller,
who stops at the budget; a decompressor never runs ahead of it.
"""

import sys
import zlib
from collections.abc import Iterator
from typing import Protocol

from monitor.errors import Unreadable, UnsupportedEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STEP = 256 * 1024  # bytes inflated at once
_WINDOW_LOG = 23  # the largest window that a sender may ask us to hold: 8 MiB, as RFC 8878 recommends
_GZIP = 31  # zlib's window bits for gzip


class Inflater(Protocol):
    """Undoes one Content-Encoding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` inflates to, in steps; raises Unreadable."""
        ...

    def finish(self) -> None:
        """Raises Unreadable where the stream is cut off."""
        ...


class Plain:
    """Bodies that are not compressed."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data

    def finish(self) -> None:
        return


class Gzip:
    """RFC 1952, any number of members."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                self._member = zlib.decompressobj(_GZIP)
            try:
                made = self._member.decompress(data, STEP)
            except zlib.error:
                raise Unreadable("the body is not valid gzip") from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if made:
                yield made
            if self._member.eof:
                self._member = None

    def finish(self) -> None:
        if self._member is not None:
            raise Unreadable("the gzip body is cut off")


class Zstd:
    """RFC 8878, any number of frames."""

    def __init__(self) -> None:
        self._frame: zstd.ZstdDecompressor | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or (self._frame is not None and not self._frame.needs_input):
            if self._frame is None:
                options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
                self._frame = zstd.ZstdDecompressor(options=options)
            try:
                made = self._frame.decompress(data, STEP)
            except (zstd.ZstdError, EOFError, MemoryError):
                raise Unreadable("the body is not valid zstd, or was packed with a window of over 8 MiB") from None
            data = b""
            if made:
                yield made
            if self._frame.eof:
                data, self._frame = self._frame.unused_data, None

    def finish(self) -> None:
        if self._frame is not None:
            raise Unreadable("the zstd body is cut off")


_KINDS: dict[str, type[Inflater]] = {"": Plain, "identity": Plain, "gzip": Gzip, "x-gzip": Gzip, "zstd": Zstd}


def inflater(content_encoding: str | None) -> Inflater:
    """What undoes a Content-Encoding.

    Raises:
        UnsupportedEncoding: names what is read.
    """
    kind = _KINDS.get((content_encoding or "").strip().lower())
    if kind is None:
        raise UnsupportedEncoding("send the body as it is, or with Content-Encoding gzip or zstd")
    return kind()
