"""What is wrong with JSON, in words for who sent it: which field of which row, what was expected, what to do.

Parsers say it in their own words. Here it is said again, only once something is wrong; what the sender wrote never
stands in it, but for the names of fields.
"""

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from monitor.nearest import nearest
from monitor.store.body import printable

LONGEST = 400  # characters of a message
SEARCHED = 1 << 19  # bytes in which the field of a syntax error is looked for: a quarter of a second
LONGEST_PLACE = 200  # of the place of a syntax error, which may be a thousand lists deep
LONGEST_NAME = 30  # characters of a name that may be a mistyped one

_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.S)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_BYTE = re.compile(r"\(byte (\d+)\)")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]', re.S)
_TIME = "2026-01-31T12:00:00Z"
_KINDS = {
    "str": "a text",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "datetime": "a time",
    "array": "a list",
    "object": "an object",
}
_GOT = {**_KINDS, "int": "a number", "null": "null"}
_TYPES = {str: "str", bool: "bool", int: "int", float: "float", list: "array", dict: "object", type(None): "null"}
_ENCODINGS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def told(error: msgspec.ValidationError, raw: bytes, known: tuple[str, ...]) -> str:
    """What does not fit in a row: `score: must be a number, and is a text: send it without quotes`.

    Args:
        error: what the parser raised.
        raw: the row.
        known: the names of the fields that a row may have.
    """
    message, path = str(error), ""
    if (found := _PATH.search(message)) is not None:
        message, path = message[: found.start()], found[1]
    if path.endswith("[...]"):
        path = _inside(path.removesuffix("[...]"), raw, _wrong(message))
    reason = _reason(message, known)
    if isinstance(reason, tuple):
        path, reason = reason
    if not path:
        reason = reason.replace("must be an object", 'a row must be an object such as {"id": "a", "features": {…}}')
    text = f"{path}: {reason}" if path else reason
    # A name that is not known stands in it: whatever the sender called it, this must be fit to be stored and shown.
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST])


def _reason(message: str, known: tuple[str, ...]) -> str | tuple[str, str]:
    """The message in our words; with the field where that stands in the message."""
    if (found := _EXPECTED.match(message)) is not None:
        return _mismatch(set(found[1].split(" | ")) - {"null"}, found[2])
    if (found := _UNKNOWN.match(message)) is not None:
        return printable(found[1]), _unknown(found[1], known)
    if (found := _MISSING.match(message)) is not None:
        return found[1], "is required"
    if "timezone" in message:
        return f"needs an offset, for instance {_TIME} or 2026-01-31T12:00:00+02:00"
    if "datetime" in message:
        return f"must be a time as RFC 3339 writes it, for instance {_TIME}"
    if "out of range" in message:
        return "is outside the range of a double"
    return "does not fit"


def _mismatch(wanted: set[str], got: str) -> str:
    if "datetime" in wanted:
        return f"must be a time as RFC 3339 writes it, for instance {_TIME}, and is {_GOT.get(got, got)}"
    if "float" in wanted:
        wanted = wanted - {"int"}
    said = (
        f"must be {' or '.join(words for kind, words in _KINDS.items() if kind in wanted)}, and is {_GOT.get(got, got)}"
    )
    if got == "str" and wanted == {"float"}:
        return said + ": send it without quotes"
    return said + ": send it in quotes" if wanted == {"str"} and got in ("int", "float", "bool") else said


@lru_cache(maxsize=256)  # a mistyped name comes in every row
def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = nearest(name, known) if len(name) <= LONGEST_NAME else None
    if near:
        return f"is not a field of a row, do you mean {near}?"
    if "features" in known:
        return "is not a field of a row: features belong into `features`, everything else into `tags`"
    return "is not a field of a row, which has " + ", ".join(known)


def _wrong(message: str) -> Callable[[object], bool]:
    """Which values a message is about."""
    found = _EXPECTED.match(message)
    if found is None:
        return lambda value: isinstance(value, float) and math.isinf(value)
    wanted = set(found[1].split(" | "))
    wanted |= {"int"} if "float" in wanted else set()
    return lambda value: _TYPES.get(type(value)) not in wanted


def _inside(path: str, raw: bytes, wrong: Callable[[object], bool]) -> str:
    """The path of the first wrong value in the object at `path`, which the parser does not name."""
    try:
        values = json.loads(raw).get(path)
    except (ValueError, RecursionError, AttributeError):
        return path
    names = [name for name, value in values.items() if wrong(value)] if isinstance(values, dict) else []
    return f"{path}.{printable(names[0])}" if names else path


def not_json(body: bytes, what: str = "the body") -> str:
    """Why a body, or a line, is not JSON in UTF-8, where, and what to do."""
    if not body.strip():
        return f"{what} is empty"
    if body.startswith(_ENCODINGS):
        return f"{what} must be JSON in UTF-8 without a byte order mark"
    try:
        msgspec.json.decode(body)
    except UnicodeDecodeError:
        return f"{what} is not UTF-8"
    except RecursionError:
        return "the JSON is nested too deeply"
    except msgspec.DecodeError as error:
        return f"{what} is not valid JSON{_where(body, str(error))}"
    return f"{what} is not valid JSON in UTF-8"


def _where(body: bytes, message: str) -> str:
    found = _BYTE.search(message)
    if found is None:
        return ": it ends too early; was it cut off, or is a bracket or a quote not closed?"
    at = int(found[1]) - ("trailing characters" in message)  # there the parser has gone one further
    line = body.count(b"\n", 0, at) + 1
    column = at - body.rfind(b"\n", 0, at)
    field = place_of(body[:at]) if at <= SEARCHED else ""
    place = f" at {field}" if field else ""
    return f"{place} (line {line}, column {column}): {_advice(body[at : at + 9], message)}"


def _advice(rest: bytes, message: str) -> str:
    if rest.startswith((b"NaN", b"nan", b"Infinity", b"inf")):
        return (
            "JSON has no NaN and no infinity: send null for a missing value, or send Arrow or Parquet, which have them"
        )
    if rest.startswith((b"None", b"True", b"False", b"undefined")):
        return "write null, true and false"
    if rest.startswith(b"'") or "keys must be strings" in message:
        return "names and texts stand in double quotes"
    if "trailing comma" in message:
        return "a comma too many stands before a closing bracket"
    if "trailing characters" in message:
        return "something follows its end: send rows, a line each, as application/x-ndjson"
    if "number" in message:
        return "a number is written as 0.5, 10 or 1e-3"
    return "this is no JSON value"


def place_of(before: bytes) -> str:
    """The field that JSON is at after `before`: `rows[3].features.income`; empty at its top."""
    path: list[str | int] = []
    name = ""
    for found in _TOKEN.finditer(before):
        token = found[0]
        if token == b"{":
            path.append("")
        elif token == b"[":
            path.append(0)
        elif token in (b"}", b"]"):
            del path[-1:]
        elif token == b"," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif token == b":" and path:
            path[-1] = name
        elif token.startswith(b'"'):
            name = printable(token[1:-1].decode("utf-8", "replace"))
    parts = [f"[{one}]" if isinstance(one, int) else f".{one}" for one in path if one != ""]
    place = "".join(parts).lstrip(".")
    return place if len(place) <= LONGEST_PLACE else "…" + place[1 - LONGEST_PLACE :]
