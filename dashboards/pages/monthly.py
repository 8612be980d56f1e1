"""A model's month as a manager reads it: what happened, how well the model did, what became of alerts, what next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy.engine import Connection

from dashboards import drawn, formats, theme, words
from dashboards.formats import Zone
from dashboards.pages import alerts
from dashboards.theme import State
from monitor import clock, monthly
from monitor.monthly import Month
from monitor.store import tasks
from monitor.store.catalog import Model
from monitor.store.tasks import Task

NEWEST = 24
_PERFORMANCE = {*monthly.HEADLINE.values(), *(name for names in monthly.BESIDE.values() for name in names)}

MEANING = {  # the leading metric, for who does not know it
    "roc_auc": "how well the model tells the two classes apart: 0.5 is chance, 1 is perfect",
    "accuracy": "the share of answers that were right",
    "mae": "how far the answers were off on average, in the unit of the answer",
}
STEPS = {
    "open_month": "Read this report again when the month is over and its outcomes are in: its numbers are provisional.",
    "open_alerts": "Decide about the alerts that are still open: their pages name the causes, strongest first.",
    "no_outcomes": "Send outcomes: without them nobody knows how well the model does.",
    "few_outcomes": "Find out why most outcomes are missing: performance of the rest may not be that of all.",
    "retrain": "Performance changed: retrain on labelled rows since then, or serve the version before again.",
    "adopt": "Inputs changed, performance raised no alarm: if the change is here to stay, adopt it as the reference.",
    "missing": "Ask the producer of the features above that are often missing.",
    "rejected": "Look at the rejected rows: their senders break the schema.",
    "nothing": "Nothing asks for a change.",
}


@dataclass(frozen=True)
class Told:
    """An alert in the report; `end` says what became of it."""

    title: str
    severity: State
    text: str
    first: int
    end: str
    by: str
    comments: Sequence[str]
    id: str


@dataclass(frozen=True)
class Number:
    """A metric of the month, its interval, and the same of the month before."""

    name: str
    value: str
    interval: str
    before: str


@dataclass(frozen=True)
class Report:
    """A month, told."""

    summary: Sequence[str]
    numbers: Sequence[Number]
    lead: str
    chart: Markup | None
    meaning: str
    coverage: str
    alerts: Sequence[Told]
    drifted: Sequence[tuple[str, str]]
    missing: Sequence[tuple[str, str]]
    unseen: Sequence[tuple[str, str]]
    rejected: int
    events: Sequence[tuple[str, int, str]]
    steps: Sequence[str]
    complete: bool
    told_at: int


@dataclass(frozen=True)
class MonthlyPage:
    """One report; `told` None while it is made or when it failed."""

    model: Model
    zone: Zone
    title: str
    task: Task
    state: State
    told: Report | None


@dataclass(frozen=True)
class Listed:
    """The model's reports, and the months that can be asked for, the newest first as (YYYY-MM, March 2026); `chosen` is
    the last that is over."""

    model: Model
    zone: Zone
    rows: Sequence[MonthlyPage]
    months: Sequence[tuple[str, str]]
    chosen: str


def load(connection: Connection, model: Model, report_id: str) -> MonthlyPage:
    """One report.

    Raises:
        NotFound: the model has none of that id.
    """
    found = tasks.get(connection, model.id, monthly.KIND, report_id)
    return _page(model, found, tell(model, found.answer) if found.result is not None else None)


def listed(connection: Connection, model: Model, now: int) -> Listed:
    """The newest reports without their content, and twelve months to choose from."""
    begun = month = Month.holding(model, now)
    months = [(begun.name, f"{name_of(begun.name)}, until now")]
    for _ in range(11):
        month = month.before(model)
        months.append((month.name, name_of(month.name)))
    rows = [_page(model, one, None) for one in tasks.listed(connection, model.id, monthly.KIND, NEWEST)]
    return Listed(model, Zone(model.config.timezone), rows, months, chosen=months[1][0])


def _page(model: Model, found: Task, told: Report | None) -> MonthlyPage:
    state = theme.REPORT.get(found.state, theme.UNKNOWN)
    return MonthlyPage(model, Zone(model.config.timezone), name_of(found.asked["month"]), found, state, told)


def name_of(month: str) -> str:
    """2026-03 -> March 2026"""
    return f"{clock.to_datetime(clock.parse(f'{month}-01T00:00:00Z')):%B %Y}"


def tell(model: Model, facts: Mapping[str, Any]) -> Report:
    """The facts of a month in words and numbers."""
    zone = Zone(model.config.timezone)
    lead, points = facts["lead"], facts["weeks"]
    share = facts["labelled"] / facts["rows"]
    numbers = [_number(name, facts) for name in _shown(model.task) if name in facts["values"]]
    unit = words.unit(lead)
    any_lead = any(one["value"] is not None for one in points)
    sentence = f"{words.metric(lead)} by day, with its 95 % interval, and the share of rows with an outcome."
    return Report(
        summary=_summary(model, facts, share),
        numbers=numbers,
        lead=words.metric(lead),
        chart=drawn.over_time(points, unit, sentence, zone) if any_lead else None,
        meaning=MEANING[lead],
        coverage=f"Outcomes are known for {formats.percent(share)} of the predictions.",
        alerts=[_alert(one, model) for one in facts["alerts"]],
        drifted=[(name, formats.number(value)) for name, value in facts["drifted"]],
        missing=[(name, formats.percent(value)) for name, value in facts["missing"]],
        unseen=[(name, formats.percent(value)) for name, value in facts["unseen"]],
        rejected=facts["rejected"],
        events=[(words.MARKS.get(one["kind"], one["kind"]), one["from"], one["text"]) for one in facts["events"]],
        steps=[STEPS[one] for one in monthly.next_steps(facts)],
        complete=facts["complete"],
        told_at=facts["told_at"],
    )


def _shown(task: str) -> tuple[str, ...]:
    return monthly.HEADLINE[task], *monthly.BESIDE[task], "latency_p50", "latency_p95", "error_rate"


def _number(name: str, facts: Mapping[str, Any]) -> Number:
    value, before, unit = facts["values"][name], facts["before"].get(name), words.unit(name)
    return Number(
        words.metric(name),
        formats.number(value["value"], unit),
        formats.interval(value["low"], value["high"], unit),
        formats.number(before["value"], unit) if before else formats.NONE,
    )


def _summary(model: Model, facts: Mapping[str, Any], share: float) -> list[str]:
    """Three or four sentences: how much, how well, what alarmed."""
    rows, before = facts["rows"], facts["rows_before"]
    much = f"In {name_of(facts['month'])} the model made {formats.count(rows)} predictions"
    if before and facts["told_at"] >= facts["to"]:  # a part of a month does not compare with a whole one
        change = rows / before - 1
        much += f", {formats.percent(abs(change))} {'more' if change > 0 else 'fewer'} than the month before"
    return [f"{much}.", _how_well(facts, share), _what_alarmed(facts)]


def _how_well(facts: Mapping[str, Any], share: float) -> str:
    lead = facts["lead"]
    value, before = facts["values"].get(lead), facts["before"].get(lead)
    if value is None or value["value"] is None:
        return "How well it did is not known: too few outcomes, or no scores, came for it."
    unit = words.unit(lead)
    between = formats.interval(value["low"], value["high"], unit)
    text = f"{words.metric(lead)} was {formats.number(value['value'], unit)}"
    text += f" (95 % interval {between})" if between else ""
    text += f", with outcomes for {formats.percent(share)} of them"
    return f"{text}{_compared(lead, value, before)}.{_but(facts)}"


def _but(facts: Mapping[str, Any]) -> str:
    """The numbers that are clearly worse than the month before, in a month whose leading one is not."""
    lead = facts["lead"]
    values, earlier = facts["values"], facts["before"]
    known = [name for name in values if name in _PERFORMANCE]
    worse = [name for name in known if _change(name, values[name], earlier.get(name)) == "worse"]
    if not worse or lead in worse:
        return ""
    told = [
        f"{words.metric(name)} ({formats.number(values[name]['value'], words.unit(name))}, "
        f"{formats.number(earlier[name]['value'], words.unit(name))} before)"
        for name in worse
    ]
    return f" Clearly worse than the month before: {', '.join(told)}."


def _change(name: str, value: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """ "better" or "worse" where the intervals part and one way is better, else ""."""
    way = monthly.direction(name)
    ends = [None] if before is None else [value["low"], value["high"], before["low"], before["high"]]
    if way not in ("higher", "lower") or before is None or any(end is None for end in ends):
        return ""
    if value["low"] <= before["high"] and before["low"] <= value["high"]:
        return ""
    return "better" if (value["value"] > before["value"]) == (way == "higher") else "worse"


def _compared(lead: str, value: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """How the metric stands to the month before; a difference within both intervals is none."""
    if not before or before["value"] is None:
        return ""
    ends = [value["low"], value["high"], before["low"], before["high"]]
    if any(end is None for end in ends):
        return f"; the month before it was {formats.number(before['value'], words.unit(lead))}"
    change = _change(lead, value, before)
    if not change:
        return "; that is not clearly different from the month before"
    then = formats.number(before["value"], words.unit(lead))
    return f"; that is clearly {change} than the {then} of the month before"


def _what_alarmed(facts: Mapping[str, Any]) -> str:
    found = facts["alerts"]
    if not found:
        return "No alert was open."
    still = sum(one["resolved_at"] is None for one in found)
    count = "One alert was" if len(found) == 1 else f"{len(found)} alerts were"
    ended = "; it was resolved" if len(found) == 1 and not still else "; all were resolved" if not still else ""
    left = "" if not still else "; it is still open" if len(found) == 1 else f"; {still} still open at its end"
    return f"{count} open in the month{ended}{left}."


def _alert(found: Mapping[str, Any], model: Model) -> Told:
    if found["resolved_at"] is None:
        end = "still open"
    else:
        end = f"resolved after {formats.span(found['resolved_at'] - found['opened_at'])}"
    return Told(
        title=words.family(found["family"]),
        severity=theme.SEVERITY.get(found["severity"], theme.UNKNOWN),
        text=alerts.bare(found["text"], model.name),
        first=found["first_evidence_at"],
        end=end,
        by=", ".join(found["by"]),
        comments=found["comments"],
        id=found["id"],
    )
