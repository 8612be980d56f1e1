"""Reading the JSON object of a request strictly: every field is taken out, and what is left over is an error."""

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from monitor import clock
from monitor.columns import label_text
from monitor.errors import Invalid
from monitor.nearest import nearest

MAX_TEXT = 256  # bytes of UTF-8
LONGEST = 3650 * clock.DAY
MOST_LISTED = 20
MOST_ERRORS = 100  # that are told of one body: to look for the name that was meant takes time for each


def text_error(value: object) -> str | None:
    """Why a value is no id, feature, tag or level; None when it is one."""
    if not isinstance(value, str):
        return "must be a text"
    if not value:
        return "must not be empty"
    if "\0" in value:
        return "must not contain a NUL character"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return f"is longer than {MAX_TEXT} bytes" if size > MAX_TEXT else None


def printable(name: object) -> str:
    """A field's name, short and safe to show."""
    text = str(name)[:100]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def listed(names: Iterable[str]) -> str:
    """The names that there are, for who gave another one: `default, lab`; of many the first twenty by name."""
    known = sorted(names)
    more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    return ", ".join(map(printable, known[:MOST_LISTED])) + more


def unknown(field: str, known: Iterable[str]) -> str:
    """What is said of a field that nobody asks for: the name that was probably meant, where one is near."""
    near = nearest(field, known)
    return "is not a field that is known here" + (f": did you mean {near}?" if near else "")


class _Fields(dict[str, Any]):
    """The fields of a body that are left; it remembers which were asked for, so that a mistyped one can be told."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__(body)
        self.known: dict[str, None] = {}

    def pop(self, field: str, default: Any = None) -> Any:
        self.known[field] = None
        return super().pop(field, default)


class Reader:
    """Takes fields out of a body and collects what is wrong with them."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        if not isinstance(body, Mapping):
            raise Invalid("the body must be a JSON object")
        self.body = _Fields(body)
        self.errors: list[dict[str, str]] = []

    def wrong(self, field: str, detail: str) -> None:
        self.errors.append({"field": field, "detail": detail})

    def finish(self) -> None:
        for field in islice(self.body, MOST_ERRORS):
            self.wrong(printable(field), unknown(field, self.body.known))
        if self.errors:
            first = self.errors[0]
            raise Invalid(f"{first['field']}: {first['detail']}", errors=self.errors[:MOST_ERRORS])

    def choice(self, field: str, allowed: tuple[str, ...], default: str | None) -> str | None:
        value = self.body.pop(field, None)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value in allowed:
            return value
        self.wrong(field, "must be one of " + ", ".join(allowed))
        return None

    def number(
        self,
        field: str,
        default: float | None,
        above: float,
        below: float = math.inf,
        body: dict[str, Any] | None = None,
    ) -> float | None:
        value = (self.body if body is None else body).pop(field.rpartition(".")[2], None)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and above < value < below:
            return value
        limit = "" if below == math.inf else f" and below {below:g}"
        self.wrong(field, f"must be a number above {above:g}{limit}")
        return default

    def span(
        self, field: str, default: str, shortest: int = 0, longest: int = LONGEST, body: dict[str, Any] | None = None
    ) -> str:
        value = (self.body if body is None else body).pop(field.rpartition(".")[2], None)
        if value is None:
            return default
        try:
            span = clock.parse_span(value if isinstance(value, str) else "")
        except ValueError as error:
            self.wrong(field, str(error))
            return default
        if not shortest <= span <= longest:
            self.wrong(field, f"must be between {shortest // clock.MINUTE} minutes and {longest // clock.DAY} days")
            return default
        return str(value)

    def label(self, field: str) -> str | None:
        value = self.body.pop(field, None)
        if value is None:
            return None
        is_label = isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
        text = label_text(value) if is_label else None
        error = text_error(text)
        if error is not None:
            self.wrong(field, error)
            return None
        return str(text)
