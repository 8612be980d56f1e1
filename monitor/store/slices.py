"""Slices that are followed as segments: which rows lie in one, as a model's settings hold it.

A slice is up to MAX_TERMS terms, all of which a row must meet; each is a range, some levels, all but some levels, or no
usable value of one feature. As a segment it is called `NAME:in`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.store.body import Reader, printable, text_error

MAX_SLICES = 10
MAX_TERMS = 2
MAX_LEVELS = 100
IN = "in"  # the value of the segment


@dataclass(frozen=True)
class Term:
    """low <= value < high (None: no end); or one of `levels`, or with `but` none of them; or `missing`: no value that
    is usable (null, not a number, infinite)."""

    feature: str
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] | None = None
    but: bool = False
    missing: bool = False

    def shown(self) -> dict[str, Any]:
        """As the API shows it and takes it."""
        if self.missing:
            return {"feature": self.feature, "missing": True}
        if self.levels is not None:
            return {"feature": self.feature, "is_not" if self.but else "is": list(self.levels)}
        ends = {"from": self.low, "to": self.high}
        return {"feature": self.feature, **{name: end for name, end in ends.items() if end is not None}}

    def told(self) -> str:
        """For a person."""
        name = f"`{self.feature}`"
        if self.missing:
            return f"{name} has no usable value"
        if self.levels is not None:
            several = ", ".join(f"'{level}'" for level in self.levels[:5]) + (" …" if len(self.levels) > 5 else "")
            return f"{name} is {'none of ' if self.but else ''}{several}"
        if self.low is None:
            return f"{name} below {self.high:,.4g}"
        return f"{name} from {self.low:,.4g}" + ("" if self.high is None else f" to {self.high:,.4g}")


Slice = tuple[Term, ...]


def told(terms: Slice) -> str:
    """A slice for a person."""
    return " and ".join(term.told() for term in terms)


def shown(slices: Mapping[str, Slice]) -> dict[str, Any]:
    """All slices of a model as the API shows them."""
    return {name: [term.shown() for term in terms] for name, terms in slices.items()}


def loaded(content: Mapping[str, Any]) -> dict[str, Slice]:
    """What `shown` gave."""
    return {name: tuple(_term(Reader(one)) for one in terms) for name, terms in content.items()}


def read_slices(reader: Reader, field: str) -> dict[str, Slice] | None:
    """The slices of a body, name to terms; None when the body does not speak of them."""
    value = reader.body.pop(field, None)
    if value is None:
        return None
    if not isinstance(value, Mapping) or len(value) > MAX_SLICES:
        reader.wrong(field, f"must be an object of at most {MAX_SLICES} slices, each a list of terms")
        return None
    found = {}
    for name, terms in value.items():
        place = f"{field}.{printable(name)}"
        if (error := text_error(name)) is not None:
            reader.wrong(place, f"the name {error}")
        elif not isinstance(terms, list) or not 1 <= len(terms) <= MAX_TERMS:
            reader.wrong(place, f"must be a list of 1 to {MAX_TERMS} terms")
        else:
            found[name] = tuple(_read_term(reader, f"{place}[{at}]", one) for at, one in enumerate(terms))
    return found


def _read_term(reader: Reader, place: str, one: object) -> Term:
    if not isinstance(one, Mapping):
        reader.wrong(place, "must be an object with a feature and a range, levels, or `missing`")
        return Term("")
    inner = Reader(one)
    term = _term(inner)
    for field in inner.body:
        inner.wrong(printable(field), "is not a field of a term")
    reader.errors += [{**said, "field": f"{place}.{said['field']}"} for said in inner.errors]
    return term


def _term(reader: Reader) -> Term:
    feature = reader.body.pop("feature", None)
    if (error := text_error(feature)) is not None:
        reader.wrong("feature", error)
    low, high = _end(reader, "from"), _end(reader, "to")
    only, but = _levels(reader, "is"), _levels(reader, "is_not")
    missing = reader.body.pop("missing", False)
    if sum((low is not None or high is not None, only is not None, but is not None, missing is True)) != 1:
        reader.wrong("feature", "needs one of: a range (`from`, `to` or both), `is`, `is_not`, or `missing`: true")
    if low is not None and high is not None and low >= high:
        reader.wrong("to", "must be above `from`")
    levels = only if only is not None else but
    return Term(str(feature), low, high, levels, but is not None, missing is True)


def _end(reader: Reader, field: str) -> float | None:
    value = reader.body.pop(field, None)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        return float(value)
    reader.wrong(field, "must be a number")
    return None


def _levels(reader: Reader, field: str) -> tuple[str, ...] | None:
    value = reader.body.pop(field, None)
    if value is None:
        return None
    if isinstance(value, list) and 1 <= len(value) <= MAX_LEVELS and all(text_error(one) is None for one in value):
        return tuple(value)
    reader.wrong(field, f"must be a list of 1 to {MAX_LEVELS} levels")
    return None


TERM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["feature"],
    "additionalProperties": False,
    "properties": {
        "feature": {"type": "string"},
        "from": {"type": "number", "description": "inclusive"},
        "to": {"type": "number", "description": "exclusive"},
        "is": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_LEVELS},
        "is_not": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_LEVELS},
        "missing": {"type": "boolean"},
    },
}
SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "maxProperties": MAX_SLICES,
    "description": "slices of rows followed as segments (NAME:in); left out: those that are there stay",
    "additionalProperties": {"type": "array", "minItems": 1, "maxItems": MAX_TERMS, "items": TERM_SCHEMA},
}
