"""The answer to a request that was committed in several groups, in bounded memory whatever its length."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from monitor.ingest.draft import Rejection
from monitor.ingest.write import Answer

SHOWN = 1000  # rejections that are listed
_IN_MEMORY = 1 << 20  # bytes of ids that are kept here; more go to a file
_PIECE = 64 * 1024


class Totals:
    """The sum of the groups' answers.

    `ids` has a place for each row, from the first group on in which one was made here; rows of groups in which every
    row brought its own have an empty text there.
    """

    def __init__(self) -> None:
        self.accepted = self.duplicates = self.revised = self.pending = 0
        self.rejected: list[Rejection] = []
        self.rejected_codes: Counter[str] = Counter()
        self.rows = 0
        self._ids: tempfile.SpooledTemporaryFile[bytes] | None = None

    def add(self, answer: Answer, rows: int) -> None:
        """The answer to the next group, of that many rows."""
        self.accepted += answer.accepted
        self.duplicates += answer.duplicates
        self.revised += answer.revised
        self.pending += answer.pending
        self.rejected_codes.update(one.code for one in answer.rejected)
        if room := SHOWN - len(self.rejected):
            first = sorted(answer.rejected, key=lambda one: one.index)[:room]
            self.rejected += [replace(one, index=one.index + self.rows, row="") for one in first]
        if answer.ids is not None or self._ids is not None:
            self._add_ids(answer.ids or [""] * rows)
        self.rows += rows

    def _add_ids(self, ids: list[str]) -> None:
        if self._ids is None:
            self._ids = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - `close` closes it
            for start in range(0, self.rows, 100_000):
                self._write([""] * min(100_000, self.rows - start))
        self._write(ids)

    def _write(self, ids: list[str]) -> None:
        assert self._ids is not None
        if ids:
            self._ids.write((b"," if self._ids.tell() else b"") + orjson.dumps(ids)[1:-1])

    @property
    def rejected_count(self) -> int:
        return self.rejected_codes.total()

    @property
    def unusable(self) -> bool:
        """Whether there were rows, and none of them could be used."""
        return bool(self.rejected_count) and not (self.accepted or self.duplicates or self.revised)

    def shown(self) -> dict[str, Any]:
        """The answer without its ids."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "revised": self.revised,
            "pending": self.pending,
            "rejected": [one.shown() for one in self.rejected],
            "rejected_count": self.rejected_count,
        }

    def pieces(self) -> Iterator[bytes]:
        """The whole answer as JSON, piece by piece."""
        body = orjson.dumps(self.shown())
        if self._ids is None:
            yield body
            return
        yield body[:-1] + b',"ids":['
        self._ids.seek(0)
        while piece := self._ids.read(_PIECE):
            yield piece
        yield b"]}"

    def close(self) -> None:
        if self._ids is not None:
            self._ids.close()
