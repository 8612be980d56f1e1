"""What a process keeps in memory, bounded in bytes: what was not asked for longest goes first."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Values by what they are of; safe for threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._held: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, of: Hashable) -> T | None:
        with self._lock:
            found = self._held.get(of)
            if found is None:
                return None
            self._held.move_to_end(of)
            return found[0]

    def put(self, of: Hashable, value: T, size: int) -> None:
        """Keep a value of that many bytes; the newest is kept even where it is larger than all the room."""
        with self._lock:
            self._drop(of)
            self._held[of] = value, size
            self._taken += size
            while self._taken > self._size and len(self._held) > 1:
                self._drop(next(iter(self._held)))

    def drop(self, of: Hashable) -> None:
        with self._lock:
            self._drop(of)

    def _drop(self, of: Hashable) -> None:
        found = self._held.pop(of, None)
        if found is not None:
            self._taken -= found[1]
