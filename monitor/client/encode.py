"""Rows as JSON that the service reads: what Python services hold, numpy's numbers and times included."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any


MAX_ROW = 1 << 20  # bytes of one row


class Unfit(ValueError):
    """A row that cannot be sent at all; the text says why."""


def as_json(row: dict[str, Any]) -> bytes:
    """One row as JSON text, without what is None.

    NaN is a missing value and becomes null, and so do infinities, which JSON cannot carry.

    Raises:
        Unfit: too large, or nested without end.
    """
    import json  # here, since importing it takes milliseconds; `Client` has done so

    given = {name: value for name, value in row.items() if value is not None}
    try:
        try:
            text = json.dumps(given, default=_plain, allow_nan=False, separators=(",", ":"))
        except (ValueError, TypeError):  # a NaN, or names that are no texts
            text = json.dumps(_cleaned(given), default=_plain, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise Unfit(f"the row is no JSON: {type(error).__name__}") from None
    if len(text) > MAX_ROW:
        raise Unfit(f"the row has {len(text)} bytes, at most {MAX_ROW} are sent")
    return text.encode("ascii")


def _plain(value: Any) -> Any:
    """What json does not know: numpy's scalars and arrays, times, and for the rest its text."""
    if hasattr(value, "tolist"):
        return _cleaned(value.tolist())
    if hasattr(value, "isoformat"):
        return moment(value)
    if hasattr(value, "__float__"):
        return _cleaned(float(value))
    return str(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(name): _cleaned(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _cleaned(value.tolist())
    return value


def moment(value: Any) -> str:
    """A time as RFC 3339; one without an offset is the device's local time, as everywhere in Python."""
    if isinstance(value, str):
        return value
    if getattr(value, "tzinfo", True) is None and hasattr(value, "astimezone"):
        value = value.astimezone()
    return str(value.isoformat())
