"""Judges one window of a model: every family's detector takes it in and says what its alert should do.

Pure: a baseline (from the reference), a window's profile and the stored states in; verdicts and new states out. The
caller stores both in one transaction, and calls once for each window and kind, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from monitor.evaluate.causes import cause_of, is_large
from monitor.stats import detector
from monitor.stats.binning import Binning
from monitor.stats.detector import Memory, Step
from monitor.stats.plan import Plan
from monitor.stats.profile import Profile
from monitor.stats.signals import plans
from monitor.stats.verdict import Cause, Family, Verdict

Kind = Literal["inputs", "performance"]
Severity = Literal["info", "warning", "critical"]
KINDS: dict[Kind, tuple[Family, ...]] = {
    "inputs": ("features", "volume", "latency", "quality"),
    "performance": ("performance",),
}
MOST_CAUSES = 5


@dataclass(frozen=True)
class Baseline:
    """What a model's windows are judged against. Costly to make (it reads every reference window): keep it."""

    reference: Profile
    plans: dict[Family, Plan]


def baseline(
    binning: Binning,
    reference: Profile,
    windows: Sequence[Profile],
    budget_windows: float,
    starts: Sequence[int] | None = None,
    timezone: str = "UTC",
    without: Sequence[tuple[int, int]] = (),
) -> Baseline:
    """Prepares the judgement.

    reference: the profile of all reference rows with their outcomes; windows: the same rows cut into windows of the
    monitored length, in order (empty list where the reference has no timestamps); budget_windows: how many windows
    pass per bearable false alarm, for instance 2160 for one in 90 days of hourly windows; starts: start of each
    reference window in us, timezone: the model's. Without starts no daily or weekly rhythm can be told from a change.
    without: stretches that were left out of the reference; a gap there is no window without rows.
    """
    return Baseline(reference, plans(binning, reference, windows, budget_windows, starts, timezone, without))


def judge_window(
    base: Baseline, window: Profile, states: Mapping[Family, bytes], kind: Kind, start: int, end: int
) -> tuple[list[Verdict], dict[Family, bytes]]:
    """Verdicts of one window and the states that follow it.

    base: see `baseline`; window: its profile (kind "performance": with the outcomes it has now that it is mature);
    states: by family, what the last call for this kind returned (missing: a fresh start); start, end in us. Families
    that the reference cannot judge, and those of the other kind, are left out. A family that gets too few rows is
    silent and keeps them for its next window.
    """
    verdicts: list[Verdict] = []
    after: dict[Family, bytes] = {}
    for family in KINDS[kind]:
        plan = base.plans.get(family)
        if plan is None:
            continue
        stored = states.get(family)
        memory = detector.load(stored) if stored is not None else detector.fresh(plan.watch)
        new, step = detector.advance(plan.watch, memory, plan.window(window, start, end))
        if memory.mark != plan.watch.mark and memory.incident is not None:
            step = _superseded(step)
        verdicts.append(_verdict(base, plan, new, step, window, start, end))
        after[family] = detector.dump(new)
    return verdicts, after


def _superseded(step: Step) -> Step:
    """An incident against an earlier reference is over with it, unless the new one says the same at once."""
    return replace(step, action="update" if step.action == "open" else "resolve")


def _verdict(base: Baseline, plan: Plan, new: Memory, step: Step, window: Profile, start: int, end: int) -> Verdict:
    """The verdict of one family; raises the incident's severity in `new` where this window shows a larger loss."""
    causes: tuple[Cause, ...] = ()
    action = step.action
    severity: Severity = "critical" if new.incident is not None and new.incident.severity == "critical" else "warning"
    if step.alarm and new.incident is not None:
        causes = tuple(cause_of(plan, item, base.reference, window) for item in step.named[:MOST_CAUSES])
        large = plan.family == "performance" and any(is_large(cause) for cause in causes)
        if large and severity != "critical":
            new.incident.severity = severity = "critical"
            action = "open" if action == "open" else "update"
    told = causes if action in ("open", "update") else ()
    return Verdict(
        plan.family, action, start, end, step.begin, step.evidence, plan.watch.threshold, told, severity
    )  # fmt: skip
