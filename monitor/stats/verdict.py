"""What a detector says after a window: the value that evaluation hands to the alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Family = Literal["features", "performance", "volume", "latency", "quality", "multivariate"]
FAMILIES: tuple[Family, ...] = ("features", "performance", "volume", "latency", "quality", "multivariate")


@dataclass(frozen=True)
class Cause:
    """One monitored thing that changed, with its effect in its own units.

    `effect`, `low`, `high` are the change against the reference (for instance PSI, a shift in standard deviations, a
    drop of accuracy) with its 95 % interval; `share` is this cause's part of the family's evidence, 0 to 1; `text` is
    one sentence for a person; `critical` says why it makes the alert critical, None where it does not.
    """

    metric: str
    feature: str | None
    segment: str | None
    effect: float
    low: float
    high: float
    share: float
    text: str
    critical: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The state of one family of one model after one window.

    `action` is what the alert should do: open it, update it (further alarms while it is open), resolve it, or nothing.
    `evidence` is the detector's value against its threshold; times are microseconds since 1970-01-01 UTC. `family` is
    one of FAMILIES, or `monitor:NAME` of a monitor by hand, which says in `budget` what it asks for.
    """

    family: str
    action: Literal["none", "open", "update", "resolve"]
    window_start: int
    window_end: int
    first_evidence_at: int
    evidence: float
    threshold: float
    causes: tuple[Cause, ...]
    severity: Literal["info", "warning", "critical"]
    budget: Mapping[str, object] | None = None
