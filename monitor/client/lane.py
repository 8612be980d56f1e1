"""A lane: the queue of one process on disk, a folder of segments of checksummed records.

A process appends to its own lane alone, so no two ever write one file. A lock on the folder says that its process
lives; the lane of one that ended is taken over by another. Reading goes on from a cursor, which may be behind after a
power cut: what is sent twice then is a duplicate for the service.

A record is two bytes of mark, its length, the CRC-32 of length and content, and the content. A tail that was torn by
a power cut has no right checksum and ends the segment; damage in the middle is skipped up to the next good record.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

MARK = b"\xabK"
_HEAD = struct.Struct("<2sII")
SEGMENT = 4 << 20  # bytes, from which on a new segment is begun
_SUFFIX = ".log"
_TRIES = 4
_SYNC = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
Position = tuple[int, int]  # segment, byte


def pack(content: bytes) -> bytes:
    """A record as its bytes."""
    return _HEAD.pack(MARK, len(content), _checksum(content)) + content


def _checksum(content: bytes) -> int:
    return zlib.crc32(content, len(content))


def unpack(data: bytes) -> Iterator[tuple[bytes | None, int]]:
    """(content, place after it) of each record; (None, place) where damaged bytes were passed over.

    Ends before a record that is not whole.
    """
    at = 0
    while at + _HEAD.size <= len(data):
        mark, length, checksum = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        if mark == MARK and len(content) == length and _checksum(content) == checksum:
            at += _HEAD.size + length
            yield content, at
            continue
        following = _next_good(data, at + 1)
        if following is None:
            return
        at = following
        yield None, at


def _next_good(data: bytes, start: int) -> int | None:
    at = data.find(MARK, start)
    while at >= 0 and at + _HEAD.size <= len(data):
        _, length, checksum = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(content) == length and _checksum(content) == checksum:
            return at
        at = data.find(MARK, at + 1)
    return None


class Batch:
    """Records to send, where the lane goes on after them, and how often damaged bytes were passed over."""

    def __init__(self, records: list[bytes], end: Position, damaged: int) -> None:
        self.records, self.end, self.damaged = records, end, damaged


class Lane:
    """One folder of segments. `create` makes an own one, `adopt` takes over that of a process that ended."""

    def __init__(self, folder: str, lock: int, *, own: bool, segment: int = SEGMENT) -> None:
        self.folder, self.own = folder, own
        self._segment = segment
        self._lock = lock
        self._file = -1
        self._written: Position = (0, 0)  # everything before it is on disk
        self._cursor = self._read_cursor()

    # -------------------------------------------------------------- life

    @classmethod
    def create(cls, parent: str, name: str, segment: int = SEGMENT) -> "Lane":
        """A new lane; its folder appears under its name only once it is locked.

        Raises:
            OSError: the disk does not take it.
        """
        os.makedirs(parent, mode=0o700, exist_ok=True)
        for again in range(_TRIES):
            try:
                return cls._made(parent, f"{name}-{again}" if again else name, segment)
            except (BlockingIOError, FileNotFoundError):  # who looks for lanes to adopt took it for one that was left
                pass
        return cls._made(parent, f"{name}-{_TRIES}", segment)

    @classmethod
    def _made(cls, parent: str, name: str, segment: int) -> "Lane":
        hidden, folder = os.path.join(parent, ".new-" + name), os.path.join(parent, name)
        os.mkdir(hidden, mode=0o700)
        lock = os.open(os.path.join(hidden, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, folder)
            sync_folder(parent)
        except OSError:
            os.close(lock)
            raise
        return cls(folder, lock, own=True, segment=segment)

    @classmethod
    def adopt(cls, folder: str) -> "Lane | None":
        """The lane of a process that ended; None when it lives, or when another was faster."""
        path = os.path.join(folder, "lock")
        try:
            lock = os.open(path, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(path).st_ino == os.fstat(lock).st_ino:
                return cls(folder, lock, own=False)
        except OSError:
            pass
        os.close(lock)
        return None

    def forget(self) -> None:
        """Close the files of a lane that belongs to the parent of this process; the parent keeps its lock."""
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1

    def close(self) -> None:
        """Give the lane up: an empty one is removed, of another the rest waits for the next process."""
        try:
            if not self._segments() or (self.own and self._cursor >= self._written):
                self.remove()
        finally:
            self.forget()

    def remove(self) -> None:
        """Remove the folder, while its lock is held."""
        for name in sorted(os.listdir(self.folder), key=lambda name: name == "lock"):
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)

    # -------------------------------------------------------------- writing

    def append(self, contents: list[bytes], sync: Callable[[int], None] = _SYNC) -> None:
        """Write records and sync them. What had not been synced before an error is written again by the next try.

        Raises:
            OSError: the disk does not take them; none of them counts as written.
        """
        if self._file < 0 or self._written[1] >= self._segment:
            self._next_segment()
        data = b"".join(map(pack, contents))
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            sync(self._file)
        except OSError:
            self._give_up_segment()
            raise
        self._written = (self._written[0], self._written[1] + len(data))

    def _next_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        number = self._written[0] + 1
        path = os.path.join(self.folder, f"{number:010d}{_SUFFIX}")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        sync_folder(self.folder)
        self._written = (number, 0)

    def _give_up_segment(self) -> None:
        """Cut a segment off where it is known to be good, and write to it no more: after a failed sync nobody knows."""
        with suppress(OSError):  # the reader finds that the rest has no right checksum
            os.ftruncate(self._file, self._written[1])
        os.close(self._file)
        self._file = -1

    # -------------------------------------------------------------- reading

    def peek(self, rows: int, size: int) -> Batch | None:
        """The next records, at most so many rows and about so many bytes; None when there are none."""
        while True:
            number, at = self._cursor
            end = self._end_of(number)
            if end is None:
                newest = self._written[0]
                following = [one for one in self._segments() if one > number and (one <= newest or not self.own)]
                if not following:
                    return None
                self._cursor = (following[0], 0)
                continue
            records, damaged, stop = self._read(number, at, end, rows, size)
            if records or damaged:
                return Batch(records, (number, stop), damaged)
            if self.own and number == self._written[0]:
                return None
            self._pass(number)

    def _read(self, number: int, at: int, end: int, rows: int, size: int) -> tuple[list[bytes], int, int]:
        records: list[bytes] = []
        damaged, stop = 0, at
        wanted = size
        while True:
            with open(self._path(number), "rb") as file:
                file.seek(at)
                data = file.read(min(wanted, end - at))
            for content, place in unpack(data):
                stop = at + place
                if content is None:
                    damaged += 1
                else:
                    records.append(content)
                    if len(records) >= rows:
                        break
            if records or damaged or at + len(data) >= end:
                break
            wanted *= 4  # one record is longer than that
        if not records and not damaged and at < end:
            # Nothing good up to the end: a torn tail.
            return [], 1 if not self.own else 0, end
        return records, damaged, stop

    def _pass(self, number: int) -> None:
        """Go on to the next segment, and remove this one: all of it was answered for."""
        os.unlink(self._path(number))
        later = [one for one in self._segments() if one > number]
        self._cursor = (later[0] if later else number + 1, 0)

    def acknowledge(self, end: Position) -> None:
        """All before that place was answered for by the service, or kept as dead letters."""
        self._cursor = end
        path = os.path.join(self.folder, "cursor")
        with open(path + ".new", "w") as file:
            file.write(f"{end[0]} {end[1]}")
        os.replace(path + ".new", path)

    def waiting_bytes(self) -> int:
        """Bytes that were not answered for yet."""
        total = 0
        for number in self._segments():
            if number >= self._cursor[0]:
                total += (self._end_of(number) or 0) - (self._cursor[1] if number == self._cursor[0] else 0)
        return max(0, total)

    def _read_cursor(self) -> Position:
        try:
            with open(os.path.join(self.folder, "cursor")) as file:
                number, at = file.read().split()
                return int(number), int(at)
        except (OSError, ValueError):
            return 0, 0

    def _segments(self) -> list[int]:
        return sorted(int(name[: -len(_SUFFIX)]) for name in os.listdir(self.folder) if name.endswith(_SUFFIX))

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"{number:010d}{_SUFFIX}")

    def _end_of(self, number: int) -> int | None:
        """Up to where a segment may be read; None when there is no such segment (any more)."""
        if self.own and number == self._written[0]:
            return self._written[1] if number else None
        try:
            return os.stat(self._path(number)).st_size
        except FileNotFoundError:
            return None


def sync_folder(path: str) -> None:
    """Make the names in a folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
