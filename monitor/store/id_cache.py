"""What a process keeps in memory, bounded in bytes: what was not asked for longest goes first."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Values by number; safe for threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._held: OrderedDict[int, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, number: int) -> T | None:
        with self._lock:
            found = self._held.get(number)
            if found is None:
                return None
            self._held.move_to_end(number)
            return found[0]

    def put(self, number: int, value: T, size: int) -> None:
        """Keep a value of that many bytes; the newest is kept even where it is larger than all the room."""
        with self._lock:
            self._drop(number)
            self._held[number] = value, size
            self._taken += size
            while self._taken > self._size and len(self._held) > 1:
                self._drop(next(iter(self._held)))

    def drop(self, number: int) -> None:
        with self._lock:
            self._drop(number)

    def _drop(self, number: int) -> None:
        found = self._held.pop(number, None)
        if found is not None:
            self._taken -= found[1]
