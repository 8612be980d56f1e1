"""Arrow columns of any type into the types of monitor.columns, by the rules that JSON values follow."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor import clock
from monitor.columns import ARROW_KINDS, label_text

MAX_EXPANDED = 64 << 20  # bytes of text that dictionaries and views of one group of rows may expand to
_DEPTH = 4

Converted = tuple[pa.Array, np.ndarray | None, str]  # the column, where values were of a wrong type, and why


class Unknown(Exception):
    """A type that is not read here."""


class Expands(Exception):
    """More text than `MAX_EXPANDED` would come out."""


class Budget:
    """How much text the columns of one group may still expand to."""

    def __init__(self) -> None:
        self.left = MAX_EXPANDED

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Expands


def plain(array: pa.Array, budget: Budget) -> pa.Array:
    """The array without dictionary, view, extension or large offsets: null, bool, number, string, time, or what
    JSON could say with lists and objects.

    Raises:
        Unknown: another type.
        Expands: a few texts stand for very many.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        values = array.dictionary
        if pa.types.is_dictionary(values.type):
            raise Unknown
        if _is_text(values.type):
            sizes = np.append(_lengths(values), 0)
            chosen = pc.fill_null(array.indices, len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
            budget.take(int(sizes[chosen].sum()))
        return plain(array.dictionary_decode(), Budget())
    if pa.types.is_string(kind):
        return array
    if _is_text(kind):
        budget.take(int(_lengths(array).sum()))
        return array.cast(pa.string())
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return array.cast(pa.float64())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind) or _is_json(kind, _DEPTH):
        _weigh(array, budget)
        return array
    raise Unknown


def _weigh(array: pa.Array, budget: Budget) -> None:
    """Lists of nulls take no space of their own, and so could be without end."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        budget.take(8 * len(array.values))
        _weigh(array.values, budget)
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            _weigh(child, budget)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_json(kind: pa.DataType, depth: int) -> bool:
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or _is_number(kind):
        return True
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    if depth and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return _is_json(kind.value_type, depth - 1)
    return bool(depth and pa.types.is_struct(kind) and all(_is_json(one.type, depth - 1) for one in kind))


def _lengths(array: pa.Array) -> np.ndarray:
    """Bytes of each text; 0 for nulls."""
    if pa.types.is_string_view(array.type):  # each view begins with its length
        views = np.frombuffer(array.buffers()[1], np.int32)[0::4]
        sizes = views[array.offset : array.offset + len(array)].astype(np.int64)
        return np.where(np.asarray(array.is_null()), 0, sizes)
    return np.asarray(pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False), np.int64)


def _all_wrong(array: pa.Array, kind: pa.DataType, message: str) -> Converted:
    return pa.nulls(len(array), kind), ~np.asarray(array.is_null()), message


def numbers(array: pa.Array) -> Converted:
    """Doubles of numbers. Whole numbers beyond 2^53 are rounded, as JSON readers do."""
    if not _is_number(array.type):
        return _all_wrong(array, pa.float64(), "expected a number")
    return array.cast(pa.float64(), safe=False), None, ""


def labels(array: pa.Array) -> Converted:
    """The canonical texts of labels, levels and tags."""
    made = _label_texts(array)
    if made is None:
        return _all_wrong(array, pa.string(), "expected a text, a number or a truth value")
    return made, None, ""


def _label_texts(array: pa.Array) -> pa.Array | None:
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        coded = array.cast(pa.float64()).dictionary_encode()
        said = [None if v is None or v != v else label_text(v) for v in coded.dictionary.to_pylist()]
        return pa.array(said, pa.string()).take(coded.indices)
    return None


def texts(array: pa.Array, *, numbers: bool) -> Converted:
    """Texts; with `numbers` whole numbers too."""
    if pa.types.is_string(array.type):
        return array, None, ""
    if numbers and pa.types.is_integer(array.type):
        return array.cast(pa.string()), None, ""
    return _all_wrong(array, pa.string(), "expected a text")


def errors(array: pa.Array) -> Converted:
    """A text, or whether there was an error; `false` says that there was none."""
    if pa.types.is_boolean(array.type):
        return pc.if_else(array, "true", pa.scalar(None, pa.string())), None, ""
    return texts(array, numbers=False)


def times(array: pa.Array) -> Converted:
    """Microseconds since 1970 UTC of timestamps with a time zone, or of RFC 3339 texts with an offset."""
    kind = array.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        if kind.unit in ("s", "ms"):  # what would leave the range of 64 bits is no time of this calendar either
            scale = 1_000_000 if kind.unit == "s" else 1_000
            raw = array.cast(pa.int64())
            limit = np.iinfo(np.int64).max // scale
            inside = pc.and_(pc.greater(raw, -limit), pc.less(raw, limit))
            raw = pc.if_else(pc.or_kleene(inside, pc.is_null(raw)), raw, pa.scalar(limit - 1, pa.int64()))
            return pc.multiply(raw, scale), None, ""
        return array.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64()), None, ""
    if pa.types.is_string(kind):
        return _parsed(array)
    return _all_wrong(array, pa.int64(), "a time needs an offset: a timestamp with a time zone, or RFC 3339 text")


def _parsed(array: pa.Array) -> Converted:
    try:
        return array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()), None, ""
    except pa.ArrowInvalid:
        pass
    coded = array.dictionary_encode()
    parsed: list[int | None] = []
    for text in coded.dictionary.to_pylist():
        try:
            parsed.append(clock.parse(text))
        except (ValueError, OverflowError):
            parsed.append(None)
    made = pa.array(parsed, pa.int64()).take(coded.indices)
    wrong = np.asarray(made.is_null()) & ~np.asarray(array.is_null())
    return made, wrong, "not a time with an offset, for instance 2026-01-31T12:00:00Z"


def feature(array: pa.Array, kind: str | None) -> pa.Array | None:
    """A feature in the type of its kind; None where it does not fit, and so belongs into `extra`.

    Before a schema is known (`kind` None) a column keeps what it is: numbers, truth values or texts.
    """
    of = array.type
    if array.null_count == len(array):
        return pa.nulls(len(array), pa.float64() if kind is None else ARROW_KINDS.get(kind, pa.string()))
    if kind == "numeric" or (kind is None and _is_number(of)):
        return array.cast(pa.float64(), safe=False) if _is_number(of) else None
    if kind == "boolean" or (kind is None and pa.types.is_boolean(of)):
        return array if pa.types.is_boolean(of) else None
    if pa.types.is_timestamp(of) or pa.types.is_date(of) or pa.types.is_time(of):
        return array.cast(pa.string())
    return _label_texts(array)
