"""JSON, a row a line, of any length: lines are gathered into groups, and each group is decoded and committed by itself.

A line that cannot be read is rejected like any other bad row; the lines around it are stored.
"""

from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from monitor.errors import TooLarge
from monitor.ingest import assemble, decode
from monitor.ingest.draft import Draft, Rejection, clip
from monitor.ingest.rowtypes import LOOSE_ROW, LOOSE_ROW_WITH_ACTUAL, OutcomeRow, typed
from monitor.ingest.wording import not_json, told
from monitor.store.catalog import Model

GROUP_ROWS = 5_000
GROUP_BYTES = 2 << 20
MAX_LINE = 8 << 20

_OUTCOME = msgspec.json.Decoder(OutcomeRow)


class Lines:
    """Bytes in, groups of whole lines out; what is held is bounded by one group and one line."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._lines = 0

    @property
    def held(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The groups that are full now.

        Raises:
            TooLarge: a line without end.
        """
        self._held += data
        self._lines += data.count(b"\n")
        if len(self._held) < GROUP_BYTES and self._lines < GROUP_ROWS:
            return []
        end = self._held.rfind(b"\n") + 1
        if not end:
            if len(self._held) > MAX_LINE:
                raise TooLarge(f"a line may have {MAX_LINE >> 20} MiB: is each row on a line of its own?")
            return []
        return [self._taken(end)]

    def rest(self) -> list[bytes]:
        """What is left at the end."""
        return [self._taken(len(self._held))] if self._held.strip() else []

    def _taken(self, end: int) -> bytes:
        group = bytes(memoryview(self._held)[:end])
        del self._held[:end]
        self._lines = 0
        return group


def drafts(group: bytes, model: Model, kind: str) -> list[Draft]:
    """The rows of a group of lines; blank lines count for nothing.

    Args:
        kind: `predictions`, `outcomes` or `reference`.
    """
    fast = _fast_decoder(model, kind)
    if fast is not None and group.count(b"\n") <= GROUP_ROWS:
        try:
            return [_assembled(fast.decode_lines(group), model, kind)]
        except (msgspec.MsgspecError, pa.ArrowException, RecursionError, OverflowError, UnicodeDecodeError):
            pass  # the slow way finds out which line it was
    lines = [line for line in group.split(b"\n") if line.strip()]
    return [_loose(lines[at : at + GROUP_ROWS], model, kind) for at in range(0, len(lines), GROUP_ROWS)]


def _fast_decoder(model: Model, kind: str) -> "msgspec.json.Decoder[Any] | None":
    if kind == "outcomes":
        return _OUTCOME
    structs = None if model.features is None else typed(tuple(model.features.items()), kind == "reference")
    return None if structs is None else structs.row


def _assembled(rows: list[Any], model: Model, kind: str) -> Draft:
    if kind == "outcomes":
        return decode.outcome_draft(rows, model, np.arange(len(rows)), len(rows), [])
    structs = typed(tuple((model.features or {}).items()), kind == "reference")
    assert structs is not None
    return decode.typed_draft(rows, structs, model)


@lru_cache(maxsize=3)
def _loose_decoder(kind: str) -> "msgspec.json.Decoder[Any]":
    if kind == "outcomes":
        return _OUTCOME
    return msgspec.json.Decoder(LOOSE_ROW_WITH_ACTUAL if kind == "reference" else LOOSE_ROW)


def _loose(lines: list[bytes], model: Model, kind: str) -> Draft:
    """Each line by itself."""
    decoder = _loose_decoder(kind)
    rows: list[Any] = []
    places: list[int] = []
    rejected: list[Rejection] = []
    for place, line in enumerate(lines):
        try:
            rows.append(decoder.decode(line))
            places.append(place)
        except msgspec.ValidationError as error:
            row_id, why = decode.id_of(msgspec.Raw(line)), told(error, line, decode.names_of(decoder))
            rejected.append(Rejection(place, row_id, "invalid", why, clip(line)))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            rejected.append(Rejection(place, None, "invalid", not_json(line, "the line"), clip(line)))
    index = np.array(places, np.int64)
    if kind == "outcomes":
        return decode.outcome_draft(rows, model, index, len(lines), rejected)
    values, extra = assemble.fit_features([row.features or {} for row in rows], model.features)
    return assemble.from_rows(rows, values, extra, model, index, len(lines), rejected)
