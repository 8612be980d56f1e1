"""Reading a YAML file that declares things: plain values only, and for every field the line on which it stands.

The file is read as YAML 1.2 reads it: `22:00`, `no` and `2026-01-31` are texts, not a number, a truth and a date. Tags
make nothing here, keys stand once, and `${NAME}` in a text is the environment's (`$${` is a plain `${`).
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monitor import settings
from monitor.errors import SetupError

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 30
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
_VARIABLE = re.compile(r"\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PREFIX = "tag:yaml.org,2002:"


class ManifestError(SetupError):
    """What is wrong with a file: one line for each place, `file:line: field: what to do`."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__(self.lines[0])


@dataclass
class Manifest:
    """The content of a file and the line of each field (`models.loans.window`, `routes.night.channels[0]`)."""

    name: str
    content: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def told(self, place: str, detail: str) -> str:
        """An error at a field; where the field itself is missing, at the line of what it is missing from."""
        known = place
        while known and known not in self.lines:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        return f"{self.name}:{self.lines.get(known, 1)}: {place + ': ' if place else ''}{detail}"


def read_manifest(path: Path) -> Manifest:
    """The declared content of a file.

    Raises:
        ManifestError: it is no YAML, or holds what is not read here; names line and field.
        SetupError: it cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{path}: is not UTF-8") from None
    if len(raw) > MAX_BYTES:
        raise SetupError(f"{path}: is larger than {MAX_BYTES // 1_000_000} MB")
    found = Manifest(path.name)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise ManifestError([f"{path.name}:{line}: is no YAML: {error.problem or error.context}"]) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ManifestError([f"{path.name}:1: is no YAML that can be read here"]) from None
    if root is None:
        return found
    content = _Walk(found).value(root, "")
    if not isinstance(content, dict):
        raise ManifestError([f"{path.name}:1: must hold sections such as `models:` and `channels:`"])
    found.content = content
    return found


class _Walk:
    """Turns nodes into values, and notes their lines."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.values = 0
        self.above: list[int] = []

    def value(self, node: Any, place: str) -> Any:
        self.manifest.lines.setdefault(place, node.start_mark.line + 1)
        self.values += 1
        if id(node) in self.above or len(self.above) > MAX_DEPTH or self.values > MAX_VALUES:
            raise self._wrong(node, place, "holds too much, or itself")
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, kind, place)
        if kind not in ("map", "seq"):
            raise self._wrong(node, place, "has a tag that is not read here")
        self.above.append(id(node))
        found = self._mapping(node, place) if isinstance(node, yaml.MappingNode) else self._list(node, place)
        self.above.pop()
        return found

    def _list(self, node: Any, place: str) -> list[Any]:
        return [self.value(item, f"{place}[{index}]") for index, item in enumerate(node.value)]

    def _mapping(self, node: Any, place: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _PREFIX + "merge":
                raise self._wrong(key, place, "has a key that is no plain text (merge keys are not read)")
            name = str(key.value)
            below = f"{place}.{name}" if place else name
            if name in found:
                raise self._wrong(key, below, "stands here twice")
            self.manifest.lines[below] = key.start_mark.line + 1
            found[name] = self.value(item, below)
        return found

    def _scalar(self, node: Any, kind: str, place: str) -> Any:
        text = str(node.value)
        if kind not in ("str", "null", "bool", "int", "float", "timestamp", "value"):
            raise self._wrong(node, place, "has a tag that is not read here")
        if node.style is not None or kind in ("timestamp", "value"):
            return self._text(node, text, place)
        if kind == "null":
            return None
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return text[0] in "tT"
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text) and len(text) < 40 and math.isfinite(float(text)):
            return float(text)
        return self._text(node, text, place)

    def _text(self, node: Any, text: str, place: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            if match[0].startswith("$$"):
                return match[0][1:]
            found = settings.environment(match[1])
            if found is None:
                raise self._wrong(node, place, f"the environment has no {match[1]}")
            return found

        return _VARIABLE.sub(replaced, text)

    def _wrong(self, node: Any, place: str, detail: str) -> ManifestError:
        self.manifest.lines[place] = node.start_mark.line + 1
        return ManifestError([self.manifest.told(place, detail)])
