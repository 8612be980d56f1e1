"""Alertmanager's matchers over the labels of an alert: {"name", "value", "isRegex", "isEqual"}.

Regular expressions are RE2's (pyarrow brings it), as in Alertmanager: matching takes linear time whatever the pattern,
and one that would need too much memory is refused when it is read. As there, a pattern must match the whole value.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from monitor.errors import Invalid

LABELS = ("model", "family", "severity")
MAX_MATCHERS = 20
MAX_VALUE = 256  # bytes
_FIELDS = {"name": str, "value": str, "isRegex": bool, "isEqual": bool}


def read_matchers(value: object, field: str = "match") -> tuple[dict[str, Any], ...]:
    """The matchers of a body, checked, with `isRegex` (false) and `isEqual` (true) filled in.

    Raises:
        Invalid: names the matcher and its field.
    """
    if not isinstance(value, list):
        raise Invalid.field(field, 'must be a list of matchers such as {"name": "model", "value": "churn"}')
    if len(value) > MAX_MATCHERS:
        raise Invalid.field(field, f"at most {MAX_MATCHERS} matchers")
    return tuple(_read(item, f"{field}[{index}]") for index, item in enumerate(value))


def matches(matchers: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether every matcher holds; no matchers hold always. A label that is absent counts as empty."""
    return all(_holds(matcher, labels.get(matcher["name"], "")) for matcher in matchers)


def _holds(matcher: Mapping[str, Any], label: str) -> bool:
    same = _whole_match(matcher["value"], label) if matcher["isRegex"] else matcher["value"] == label
    return bool(same is matcher["isEqual"])


def _read(item: object, field: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Invalid.field(field, "must be an object with name, value, isRegex and isEqual")
    for key, value in item.items():
        if key not in _FIELDS:
            raise Invalid.field(field, "has a field that is not one of " + ", ".join(_FIELDS))
        if not isinstance(value, _FIELDS[key]):
            kind = "true or false" if _FIELDS[key] is bool else "a text"
            raise Invalid.field(f"{field}.{key}", f"must be {kind}")
    for key in ("name", "value"):
        if key not in item:
            raise Invalid.field(f"{field}.{key}", "is required")
    if item["name"] not in LABELS:
        raise Invalid.field(f"{field}.name", "must be one of the labels " + ", ".join(LABELS))
    matcher = {"isRegex": False, "isEqual": True, **item}
    _check_value(matcher, f"{field}.value")
    return matcher


def _check_value(matcher: Mapping[str, Any], field: str) -> None:
    value = matcher["value"]
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Invalid.field(field, "is not valid Unicode") from None
    if size > MAX_VALUE or "\0" in value:
        raise Invalid.field(field, f"must be at most {MAX_VALUE} bytes, without NUL")
    if not matcher["isRegex"]:
        return
    try:
        pc.match_substring_regex(pa.scalar(""), value)  # on its own first: "a)|(b" must not become valid by wrapping
        _whole_match(value, "")
    except pa.ArrowInvalid:
        raise Invalid.field(field, "must be a regular expression of RE2 (no look-around, no references)") from None


def _whole_match(pattern: str, label: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(label), f"^(?s:{pattern})$").as_py())
