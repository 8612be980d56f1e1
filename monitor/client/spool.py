"""The queue directory of one model: lanes of processes, rows that the service refused, counts of what was not taken.

    DIRECTORY/MODEL/0000019a…-4711-1f00/0000000001.log   rows that wait, in the lane of one process
    DIRECTORY/MODEL/dead-letters.ndjson                   rows that the service will not take, with its reason
    DIRECTORY/MODEL/not-taken.json                        how many rows were not taken into the queue, and why

All of it together is bounded in bytes. When it is full, new rows are not taken: what was promised stays.
"""

from __future__ import annotations

import os
from contextlib import suppress

from monitor.client import clock
from monitor.client.lane import SEGMENT, Lane, sync_folder

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any


DEAD_LETTERS = "dead-letters.ndjson"
NOT_TAKEN = "not-taken.json"
LOOK_AGAIN = 5.0  # seconds that the size of the directory is believed, our own writing counted


class Full(Exception):
    """The queue has no room for these rows; `room` bytes are left."""

    def __init__(self, room: int) -> None:
        super().__init__(f"{room} bytes are left")
        self.room = room


def size_on_disk(contents: list[bytes]) -> int:
    """Bytes that rows take in a lane, at most."""
    return sum(map(len, contents)) + 10 * len(contents)


class Spool:
    """What a process sees of a queue directory. Appending and reading may happen in two threads, one each."""

    def __init__(self, directory: str, model: str, max_bytes: int) -> None:
        self.folder = os.path.join(directory, model)
        self._max_bytes = max_bytes
        self._own: Lane | None = None
        self._adopted: list[Lane] = []
        self._turn = 0
        self._size = 0
        self._sized_at = -LOOK_AGAIN

    # -------------------------------------------------------------- writing

    def append(self, contents: list[bytes]) -> None:
        """Write rows to our lane, synced.

        Raises:
            Full: the directory would grow beyond its bytes.
            OSError: the disk does not take them.
        """
        size = size_on_disk(contents)
        if self._directory_size() + size > self._max_bytes:
            self._sized_at = -LOOK_AGAIN  # something may have been sent meanwhile
            if (used := self._directory_size()) + size > self._max_bytes:
                raise Full(max(0, self._max_bytes - used))
        if self._own is None:
            name = f"{clock.wall() // 1000:013x}-{os.getpid()}-{os.urandom(2).hex()}"
            self._own = Lane.create(self.folder, name, min(SEGMENT, self._max_bytes // 64))
        self._own.append(contents)
        self._size += size

    def probe(self) -> None:
        """Try whether the disk takes a little.

        Raises:
            OSError: it does not.
        """
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        path = os.path.join(self.folder, f".probe-{os.getpid()}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(file, b"\0" * 65536)
            os.fsync(file)
        finally:
            os.close(file)
            os.unlink(path)

    def _directory_size(self) -> int:
        now = clock.monotonic()
        if now - self._sized_at >= LOOK_AGAIN:
            self._size, self._sized_at = size_of(self.folder), now
        return self._size

    # -------------------------------------------------------------- reading

    def adopt(self) -> int:
        """Take over the lanes of processes that ended; how many lanes of others we hold."""
        for name in sorted(_names(self.folder)):
            path = os.path.join(self.folder, name)
            if not os.path.isdir(path) or self._holds(path):
                continue
            lane = Lane.adopt(path)
            if lane is not None and name.startswith(".new-"):  # its process ended before it could write
                with suppress(OSError):
                    lane.close()
            elif lane is not None:
                self._adopted.append(lane)
        return len(self._adopted)

    def _holds(self, path: str) -> bool:
        return any(lane.folder == path for lane in self.lanes())

    def lanes(self) -> list[Lane]:
        """Every lane that is ours to read."""
        return [*self._adopted, *([] if self._own is None else [self._own])]

    def next_lane(self) -> Lane | None:
        """The lane to read from, in turns, so that an old backlog does not hold up what is new."""
        for lane in list(self._adopted):
            if lane.peek(1, 1 << 16) is None:
                self._adopted.remove(lane)
                with suppress(OSError):
                    lane.close()
        lanes = [lane for lane in self.lanes() if lane.peek(1, 1 << 16) is not None]
        if not lanes:
            return None
        self._turn += 1
        return lanes[self._turn % len(lanes)]

    def waiting_bytes(self) -> int:
        total = 0
        for lane in self.lanes():
            with suppress(OSError):  # drained and removed meanwhile
                total += lane.waiting_bytes()
        return total

    # -------------------------------------------------------------- what did not arrive

    def bury(self, letters: list[dict[str, Any]]) -> None:
        """Keep rows that the service will not take, with its reasons, synced.

        Raises:
            OSError: the disk does not take them: their rows must stay in their lane.
        """
        if not letters:
            return
        import json

        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        data = b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in letters)
        file = os.open(os.path.join(self.folder, DEAD_LETTERS), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            end = os.lseek(file, 0, os.SEEK_END)
            if end and os.pread(file, 1, end - 1) != b"\n":
                data = b"\n" + data  # a line that a power cut tore: the next one begins on its own
            if os.write(file, data) < len(data):
                raise OSError("the disk took a part of the dead letters only")
            os.fsync(file)
        finally:
            os.close(file)

    def note_not_taken(self, reasons: dict[str, int]) -> None:
        """Add to the counts of rows that were not taken, by reason; one process at a time.

        Raises:
            OSError: the disk does not take it.
        """
        import fcntl
        import json

        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        path = os.path.join(self.folder, NOT_TAKEN)
        lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            counts = not_taken(self.folder)
            for reason, rows in reasons.items():
                counts[reason] = counts.get(reason, 0) + rows
            with open(path + ".new", "w") as file:
                json.dump(counts, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".new", path)
            sync_folder(self.folder)
        finally:
            os.close(lock)

    # -------------------------------------------------------------- life

    def forget(self) -> None:
        """After a fork: these lanes are the parent's."""
        for lane in self.lanes():
            lane.forget()
        self._own, self._adopted = None, []

    def close(self) -> None:
        """Give up our lanes; what waits in them is for the next process."""
        for lane in self.lanes():
            with suppress(OSError):
                lane.close()
        self._own, self._adopted = None, []


def not_taken(folder: str) -> dict[str, int]:
    """Rows that were not taken into the queue, by reason, since the directory was made."""
    import json

    try:
        with open(os.path.join(folder, NOT_TAKEN)) as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def size_of(folder: str) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
