"""What is wrong, and the change to make: for `keepwatch doctor` and for the dashboard's own health.

service.py  the installation, the database, the schedule, deliveries
models.py   monitors that are noisy, deaf, starved or stale

Nothing here changes anything, and nothing reads rows: profiles, measurements and counts answer.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `change`: what to do about it, empty where nothing is to do; `model`: whose."""

    area: str
    level: Level
    text: str
    change: str = ""
    model: str | None = None


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing asks for a change."""
    return all(one.level in ("ok", "note") for one in findings)
