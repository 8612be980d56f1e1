"""What decoding hands to validation: raw columns as the sender gave them, and the rows that could not be read."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from monitor import clock
from monitor.columns import FEATURE, SCORE, TAG

_GROUPS = {FEATURE: "features", TAG: "tags", SCORE: "scores"}
_TIMES = ("timestamp", "known_at", "computed_at", "observed_at")


@dataclass(frozen=True)
class Rejection:
    """A row that was not stored: its place in the request, a stable code, and what to do."""

    index: int
    id: str | None
    code: str
    message: str
    row: str = field(repr=False)  # the row as JSON, for the quarantine

    def shown(self) -> dict[str, Any]:
        return {"index": self.index, "id": self.id, "code": self.code, "message": self.message}


@dataclass
class Draft:
    """Rows as columns of one length.

    `columns` holds what was given, by the names of monitor.columns, with `version` still a text and absent values null;
    `index` says which place of the request each row had; `total` counts the request's rows, the rejected included.
    """

    columns: dict[str, pa.Array]
    index: np.ndarray  # int64[n]
    total: int
    rejected: list[Rejection]

    @property
    def rows(self) -> int:
        return len(self.index)

    def keep(self, mask: np.ndarray) -> "Draft":
        """The rows where `mask` (bool[n]) is true."""
        if mask.all():
            return self
        chosen = pa.array(mask)
        return Draft(
            {name: array.filter(chosen) for name, array in self.columns.items()},
            self.index[mask],
            self.total,
            self.rejected,
        )

    def reject(self, mask: np.ndarray, code: str, message: str) -> "Draft":
        """Without the rows where `mask` is true; they are noted with this code and message."""
        if not mask.any():
            return self
        ids = self.columns.get("id")
        for at in np.flatnonzero(mask):
            row_id = ids[int(at)].as_py() if ids is not None else None
            self.rejected.append(Rejection(int(self.index[at]), row_id, code, message, self.as_json(int(at))))
        return self.keep(~mask)

    def as_json(self, at: int) -> str:
        """One row as JSON text, for the quarantine."""
        row: dict[str, Any] = {}
        for name, array in self.columns.items():
            value = array[at].as_py()
            if value is None:
                continue
            if name[:2] in _GROUPS:
                row.setdefault(_GROUPS[name[:2]], {})[name[2:]] = value
            else:
                row[name] = _time(value) if name in _TIMES else value
        return as_json(row)


def _time(value: int) -> str | int:
    try:
        return clock.render(value)
    except (ValueError, OverflowError):
        return value


def as_json(value: object) -> str:
    """JSON text of at most 8 KiB, to be shown; what JSON cannot carry becomes text."""
    return clip(_encoded(value))


def whole_json(value: object) -> str:
    """The same without a limit, to be kept."""
    return _encoded(value).decode()


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def clip(raw: bytes) -> str:
    return raw[:8192].decode("utf-8", "replace").replace("\x00", "\ufffd")
