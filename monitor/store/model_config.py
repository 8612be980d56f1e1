"""What a model's settings are, and the strict reading of the body that sets them."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from monitor import clock
from monitor.errors import Invalid
from monitor.store import slices
from monitor.store.body import MOST_ERRORS, Reader, printable, text_error, unknown
from monitor.store.slices import Slice

TASKS = ("binary", "multiclass", "regression")
KINDS = ("numeric", "categorical", "boolean", "text", "ignored")
CLOCKS = ("wall", "events")
MAX_FEATURES = 1000
MAX_SEGMENTS = 50
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_WINDOW_HOURS = (1, 2, 3, 4, 6, 8, 12, 24, 7 * 24)


@dataclass(frozen=True)
class ModelConfig:
    """A model's settings with their defaults; spans are kept as they were written (`10m`)."""

    task: str
    positive_class: str | None = None
    threshold: float = 0.5
    window: str = "1h"
    grace: str = "10m"
    timezone: str = "UTC"
    clock: str = "wall"
    label_delay: str = "2d"
    false_alarms: float = 1
    per: str = "90d"
    segments: tuple[str, ...] | None = None
    latency_budget_ms: float | None = None
    variant_of: str | None = None
    slices: Mapping[str, Slice] = field(default_factory=dict)

    @property
    def window_us(self) -> int:
        return clock.parse_span(self.window)

    @property
    def grace_us(self) -> int:
        return clock.parse_span(self.grace)

    @property
    def label_delay_us(self) -> int:
        return clock.parse_span(self.label_delay)

    @property
    def budget_windows(self) -> float:
        """How many windows one false alarm may be spread over: 90d and 1h give 2160."""
        return clock.parse_span(self.per) / self.window_us / self.false_alarms

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ModelConfig":
        """The settings of a new model's PUT body.

        Raises:
            Invalid: a field is unknown, missing or of a wrong type or value; the errors name the fields.
        """
        return read_body("model", body, None)[0]

    def to_dict(self) -> dict[str, Any]:
        """The settings as the API shows and takes them, without `features`."""
        fields = {**asdict(self), "slices": slices.shown(self.slices)}
        budget = {"false_alarms": fields.pop("false_alarms"), "per": fields.pop("per")}
        return {**fields, "segments": None if self.segments is None else list(self.segments), "alert_budget": budget}

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    @lru_cache(maxsize=4096)
    def from_json(cls, text: str) -> "ModelConfig":
        """What `to_json` wrote; fields that a later version wrote are left out. Lists read the same ones again."""
        stored = json.loads(text)
        budget = stored.pop("alert_budget")
        segments = stored.pop("segments")
        stored["slices"] = slices.loaded(stored.get("slices", {}))
        known = {name: value for name, value in stored.items() if name in cls.__dataclass_fields__}
        return cls(**known, **budget, segments=None if segments is None else tuple(segments))


def read_body(
    name: str, body: Mapping[str, Any], current: ModelConfig | None
) -> tuple[ModelConfig, dict[str, str] | None]:
    """The settings and the features (name -> kind, None when not given) of a PUT body.

    Args:
        name: the model's name.
        body: the decoded JSON object.
        current: the settings that are replaced; its `task` and `positive_class` stay, and its slices when the body does
            not speak of them: a service that PUTs its model at every start must not undo what somebody chose to follow.

    Raises:
        Invalid: with one error for every field that is not right.
    """
    reader = _ModelReader(body)
    if NAME.fullmatch(name) is None:
        reader.wrong("model", "a name is 1 to 128 of A-Z a-z 0-9 . _ - and starts with a letter or a digit")
    task = reader.choice("task", TASKS, None)
    if current is not None and task is not None and task != current.task:
        reader.wrong("task", f"is {current.task} and cannot change")
    values: dict[str, Any] = {
        "task": task,
        "positive_class": _positive_class(reader, task, current),
        "threshold": reader.number("threshold", 0.5, above=0, below=1),
        "window": reader.window(),
        "grace": reader.span("grace", "10m", longest=7 * clock.DAY),
        "timezone": reader.timezone(),
        "clock": reader.choice("clock", CLOCKS, "wall"),
        "label_delay": reader.span("label_delay", "2d"),
        "segments": reader.segments(),
        "latency_budget_ms": reader.number("latency_budget_ms", None, above=0),
        "variant_of": reader.variant_of(name),
        **reader.budget(),
    }
    given = slices.read_slices(reader, "slices")
    values["slices"] = given if given is not None else current.slices if current is not None else {}
    features = reader.features()
    for slice_name in values["slices"]:
        if slice_name in (features or {}) or slice_name in (values["segments"] or ()):
            reader.wrong(f"slices.{printable(slice_name)}", "is the name of a feature or segment already")
    reader.finish()
    config = ModelConfig(**values)
    if config.budget_windows < 1:
        raise Invalid.field("alert_budget", "allows more than one false alarm a window: lower false_alarms")
    return config, features


def _positive_class(reader: "_ModelReader", task: str | None, current: ModelConfig | None) -> str | None:
    given = reader.label("positive_class")
    if task != "binary":
        if given is not None and task is not None:
            reader.wrong("positive_class", "only a binary model has one")
        return None
    if current is None or current.positive_class is None:
        return "1" if given is None else given
    if given not in (None, current.positive_class):
        reader.wrong("positive_class", "cannot change: outcomes are counted by it")
    return current.positive_class


class _ModelReader(Reader):
    """The fields of a model that are more than one value."""

    def window(self) -> str:
        text = self.span("window", "1h")
        if clock.parse_span(text) not in [hours * clock.HOUR for hours in _WINDOW_HOURS]:
            self.wrong("window", "must be 1h, 2h, 3h, 4h, 6h, 8h, 12h, 1d or 7d")
            return "1h"
        return text

    def timezone(self) -> str:
        value = self.body.pop("timezone", None)
        if value is None:
            return "UTC"
        try:
            if isinstance(value, str) and value.isascii() and value.isprintable():
                return ZoneInfo(value).key
        except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder of the database
            pass
        self.wrong("timezone", "is not a time zone of the IANA database, for instance Europe/Berlin")
        return "UTC"

    def budget(self) -> dict[str, Any]:
        value = self.body.pop("alert_budget", None)
        budget = dict(value) if isinstance(value, Mapping) else {}
        if value is not None and not isinstance(value, Mapping):
            self.wrong("alert_budget", 'must be an object such as {"false_alarms": 1, "per": "90d"}')
        read = {
            "false_alarms": self.number("alert_budget.false_alarms", 1, above=0, below=1e6, body=budget),
            "per": self.span("alert_budget.per", "90d", shortest=clock.HOUR, body=budget),
        }
        for name in islice(budget, MOST_ERRORS):
            self.wrong(f"alert_budget.{printable(name)}", unknown(name, ("false_alarms", "per")))
        return read

    def segments(self) -> tuple[str, ...] | None:
        value = self.body.pop("segments", None)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > MAX_SEGMENTS:
            self.wrong("segments", f"must be a list of at most {MAX_SEGMENTS} names of tags or features")
            return None
        for position, name in enumerate(value):
            error = text_error(name)
            if error is not None:
                self.wrong(f"segments[{position}]", error)
        return tuple(dict.fromkeys(name for name in value if isinstance(name, str)))

    def variant_of(self, name: str) -> str | None:
        value = self.body.pop("variant_of", None)
        if value is None:
            return None
        if not isinstance(value, str) or NAME.fullmatch(value) is None or value == name:
            self.wrong("variant_of", "must be the name of another model")
            return None
        return value

    def features(self) -> dict[str, str] | None:
        value = self.body.pop("features", None)
        if value is None:
            return None
        if not isinstance(value, Mapping) or len(value) > MAX_FEATURES:
            self.wrong("features", f"must be an object of at most {MAX_FEATURES} features")
            return None
        kinds: dict[str, str] = {}
        for name, feature in value.items():
            error = text_error(name)
            field = f"features.{printable(name)}"
            if error is not None:
                self.wrong(field, f"the name {error}")
            elif not isinstance(feature, Mapping) or set(feature) != {"kind"} or feature["kind"] not in KINDS:
                self.wrong(field, 'must be {"kind": …} with one of ' + ", ".join(KINDS))
            else:
                kinds[name] = feature["kind"]
        return kinds
