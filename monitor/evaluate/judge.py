"""Judges one window of a model: every family's detectors take it in and say what its alert should do.

A family has a detector for the model's windows, and one each for the days and weeks that they make up, where the
reference is long enough: a small lasting change is clearer in days than in hours that all differ. They split the
family's budget by fixed parts, and each alarms by itself, so that their false alarms add up to the budget. (A sum of
an hour's evidence and the last day's would look an hour ahead of the day: it is no e-process of either.) The family
has one alert: it opens with the first and ends with the last of their incidents.

Pure: a baseline (from the reference), windows' profiles and the stored states in; verdicts and new states out. The
caller stores both in one transaction, and calls once for each window and kind, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from monitor.evaluate.causes import cause_of, harm_expected
from monitor.evaluate.longer import LONGER, together
from monitor.stats import detector
from monitor.stats.binning import Binning
from monitor.stats.detector import Memory, Step
from monitor.stats.plan import Plan
from monitor.stats.profile import Profile
from monitor.stats.signals import plans
from monitor.stats.verdict import Cause, Family, Verdict

Kind = Literal["inputs", "performance"]
KINDS: dict[Kind, tuple[Family, ...]] = {
    "inputs": ("features", "volume", "latency", "quality"),
    "performance": ("performance",),
}
MOST_CAUSES = 5
LONGER_SHARE = 0.3  # of a family's budget, for all its longer windows together


@dataclass(frozen=True)
class Baseline:
    """What a model's windows are judged against. Costly to make (it reads every reference window): keep it.

    `longer`: the plans of longer windows, by their name in LONGER.
    """

    reference: Profile
    plans: dict[Family, Plan]
    longer: dict[str, dict[Family, Plan]] = field(default_factory=dict)


class Longer(NamedTuple):
    """A longer window, of that name in LONGER, that ends with the one that is judged."""

    name: str
    profile: Profile
    start: int
    end: int


def baseline(
    binning: Binning,
    reference: Profile,
    windows: Sequence[Profile],
    budget_windows: float,
    starts: Sequence[int] | None = None,
    timezone: str = "UTC",
    without: Sequence[tuple[int, int]] = (),
    unit: int | None = None,
) -> Baseline:
    """Prepares the judgement.

    reference: the profile of all reference rows with their outcomes; windows: the same rows cut into windows of the
    monitored length, in order (empty list where the reference has no timestamps); budget_windows: how many windows
    pass per bearable false alarm, for instance 2160 for one in 90 days of hourly windows; starts: start of each
    reference window in us, timezone: the model's. Without starts no daily or weekly rhythm can be told from a change.
    without: stretches that were left out of the reference; a gap there is no window without rows. unit: the length of
    a window in us; without it (or starts) there are no longer ones.
    """
    longer: dict[str, dict[Family, Plan]] = {}
    found = together(binning, windows, starts or (), unit, timezone, without)
    for name, (merged, begins) in found.items():
        assert unit is not None
        budget = budget_windows * unit / LONGER[name] * len(found) / LONGER_SHARE
        longer[name] = plans(binning, reference, merged, budget, begins, timezone, without)
    share = 1 - LONGER_SHARE if longer else 1.0
    own = plans(binning, reference, windows, budget_windows / share, starts, timezone, without)
    return Baseline(reference, own, longer)


def judge_window(
    base: Baseline,
    window: Profile,
    states: Mapping[str, bytes],
    kind: Kind,
    start: int,
    end: int,
    longer: Sequence[Longer] = (),
) -> tuple[list[Verdict], dict[str, bytes]]:
    """Verdicts of one window and the states that follow it.

    base: see `baseline`; window: its profile (kind "performance": with the outcomes it has now that it is mature);
    states: by detector, what the last call for this kind returned (missing: a fresh start); start, end in us; longer:
    the longer windows that end with this one. Families that the reference cannot judge, and those of the other kind,
    are left out. A detector that gets too few rows is silent and keeps them for its next window.
    """
    memories = {name: detector.load(state) for name, state in states.items() if _of_kind(name, kind)}
    verdicts, after = take(base, window, memories, kind, start, end, longer)
    return verdicts, {name: detector.dump(memory) for name, memory in after.items()}


def take(
    base: Baseline,
    window: Profile,
    memories: Mapping[str, Memory],
    kind: Kind,
    start: int,
    end: int,
    longer: Sequence[Longer] = (),
) -> tuple[list[Verdict], dict[str, Memory]]:
    """As `judge_window`, with states that were not written in between."""
    verdicts: list[Verdict] = []
    after: dict[str, Memory] = {}
    for family in KINDS[kind]:
        plan = base.plans.get(family)
        if plan is None:
            continue
        runs = [_Run(family, plan, window, start, end)]
        for one in longer:
            if (its := base.longer.get(one.name, {}).get(family)) is not None:
                name = detector_name(family, one.name)
                runs.append(_Run(name, its, one.profile, one.start, one.end, f" (by {one.name})"))
        verdict, changed = _judge(base, family, runs, memories, start, end)
        verdicts.append(verdict)
        after |= changed
    return verdicts, after


def detector_name(family: str, longer: str | None = None) -> str:
    """The name under which a detector's state is kept."""
    return family if longer is None else f"{family} by {longer}"


def _of_kind(name: str, kind: Kind) -> bool:
    return name.split(" by ")[0] in KINDS[kind]


class _Run(NamedTuple):
    """One detector's turn: its name and plan, the window it takes in, and what its causes say of the window."""

    name: str
    plan: Plan
    profile: Profile
    start: int
    end: int
    remark: str = ""


def _judge(
    base: Baseline, family: Family, runs: Sequence[_Run], memories: Mapping[str, Memory], start: int, end: int
) -> tuple[Verdict, dict[str, Memory]]:
    """The verdict of one family, from those of its detectors whose windows end now."""
    own: dict[str, Plan | None] = {family: base.plans.get(family)}
    own |= {detector_name(family, name): base.longer.get(name, {}).get(family) for name in LONGER}
    before = {name: memories[name] for name in own if name in memories}
    after: dict[str, Memory] = {}
    steps: list[tuple[_Run, Step]] = []
    for run in runs:
        memory = before.get(run.name) or detector.fresh(run.plan.watch)
        after[run.name], step = detector.advance(
            run.plan.watch, memory, run.plan.window(run.profile, run.start, run.end)
        )
        steps.append((run, step))
    for name, memory in before.items():
        if own[name] is None and memory.incident is not None:  # the new reference has no such windows
            after[name] = replace(memory, incident=None)
    was = [memory.incident for memory in before.values() if memory.incident is not None]
    now = [memory.incident for memory in {**before, **after}.values() if memory.incident is not None]
    alarms = [(run, step) for run, step in steps if step.alarm and after[run.name].incident is not None]
    known = _known(own, before)
    told = [run.plan.signals[item.signal] for run, step in alarms for item in step.named]
    action: Literal["none", "open", "update", "resolve"] = "none"
    if not was and now:
        action = "open"
    elif was and not now:
        action = "resolve"
    elif any(signal not in known for signal in told):
        action = "update"
    severity: Literal["warning", "critical"] = "warning"
    if any(incident.severity == "critical" for incident in now):
        severity = "critical"
    causes = _causes(base, alarms, after)
    if family == "features" and causes:
        first = next(run for run, step in alarms if step.named)  # whose cause is the first one
        if (harm := harm_expected(base.reference, first.profile)) is not None:
            grave = harm.text if harm.large else None
            causes = (replace(causes[0], text=f"{causes[0].text}; {harm.text}", critical=grave), *causes[1:])
    if severity != "critical" and any(cause.critical is not None for cause in causes):
        severity = "critical"
        for run, _ in alarms:
            if (incident := after[run.name].incident) is not None:
                incident.severity = severity
        action = "open" if action == "open" else "update"
    begin = min((step.begin for _, step in alarms), default=steps[0][1].begin)
    if action == "resolve":
        begin = min(incident.begin for incident in was)
    threshold = runs[0].plan.watch.threshold
    evidence = threshold * max(step.evidence / run.plan.watch.threshold for run, step in steps)
    shown = causes if action in ("open", "update") else ()
    return Verdict(family, action, start, end, begin, evidence, threshold, shown, severity), after


def _known(own: Mapping[str, Plan | None], before: Mapping[str, Memory]) -> set[object]:
    """The signals that take part in an incident already; one against an earlier reference is over with it."""
    return {
        plan.signals[signal]
        for name, plan in own.items()
        if plan is not None and name in before and before[name].mark == plan.watch.mark
        for incident in [before[name].incident]
        if incident is not None
        for signal in incident.signals
    }


def _causes(base: Baseline, alarms: Sequence[tuple[_Run, Step]], after: Mapping[str, Memory]) -> tuple[Cause, ...]:
    """What the alarms name, those of the model's own windows first, each thing once, with its first evidence."""
    found: list[Cause] = []
    seen = set()
    for run, step in alarms:
        for item in step.named[:MOST_CAUSES]:
            signal = run.plan.signals[item.signal]
            if signal not in seen and len(found) < MOST_CAUSES:
                seen.add(signal)
                incident = after[run.name].incident
                begin = item.begin if incident is None else incident.since(item.signal, item.begin)
                cause = cause_of(run.plan, replace(item, begin=begin), base.reference, run.profile)
                found.append(replace(cause, text=cause.text + run.remark))
    return tuple(found)
