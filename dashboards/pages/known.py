"""What was known when: the numbers of an alert's windows when these were judged, beside those of now."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import formats, words
from dashboards.pages.alerts import Cause
from monitor.evaluate.known import Figures, Known, known
from monitor.evaluate.panel import Wanted
from monitor.stats.measure import METRICS
from monitor.store.alerts import Alert
from monitor.store.catalog import Model

MOST = 12  # windows, the last ones before the alert opened


@dataclass(frozen=True)
class Line:
    """A window, when it was judged, and (what, then, now) for each number, as text."""

    start: int
    at: int
    cells: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class KnownThen:
    """`title`: what the strongest cause is measured by; `labelled`: outcomes are shown too; `may_count`: rows that are
    kept could tell what is not known yet."""

    title: str
    sentence: str
    labelled: bool
    may_count: bool
    lines: Sequence[Line]


def load(
    connection: Connection, model: Model, alert: Alert, leading: tuple[Cause, Wanted] | None, count_again: bool
) -> KnownThen | None:
    """The windows from the first evidence until the alert opened, the newest first.

    None where no cause is measured window by window, or no window was judged.
    """
    if leading is None:
        return None
    cause, wanted = leading
    found = known(connection, model, wanted, alert.first_evidence_at, alert.opened_at, MOST, count_again=count_again)
    if not found:
        return None
    metric = wanted[0]
    name = words.metric(metric)
    labelled = METRICS[metric].labels
    title = name if cause.feature is None else f"{name} of {cause.feature}"
    return KnownThen(
        title=title,
        sentence=sentence(found),
        labelled=labelled,
        may_count=not count_again and any(one.countable for one in found),
        lines=[Line(one.start, one.at, _cells(one, name, words.unit(metric), labelled)) for one in reversed(found)],
    )


def sentence(found: Sequence[Known]) -> str:
    """Whether what the alert rests on still stands as it was, in words."""
    many, changed = len(found), sum(one.changed for one in found)
    unknown = sum(one.then is None for one in found)
    windows = "The window that it opened on" if many == 1 else f"The last {many} windows that it opened on"
    if unknown == many:
        return f"{windows}: rows or outcomes came later, and the numbers of the time are not stored."
    said = f"{windows}: "
    if changed:
        said += f"{_of(changed, many)} changed since, by what came later. The alert rests on what was known then"
    else:
        said += "nothing that was known then has changed" + (" since" if not unknown else " as far as it is stored")
    if unknown:
        said += f"; of {unknown} the numbers of the time are not stored"
    return said + "."


def _of(some: int, many: int) -> str:
    return "it has" if many == 1 else f"{some} {'has' if some == 1 else 'have'}"


def _cells(one: Known, name: str, unit: str, labelled: bool) -> list[tuple[str, str, str]]:
    parts = [(name, _value(one.then, unit), _value(one.now, unit)), ("Rows", _rows(one.then), _rows(one.now))]
    if labelled:
        parts.append(("Outcomes", _labelled(one.then), _labelled(one.now)))
    return parts


def _value(figures: Figures | None, unit: str) -> str:
    return formats.NONE if figures is None else formats.number(figures.value.value, unit)


def _rows(figures: Figures | None) -> str:
    return formats.NONE if figures is None else formats.count(figures.rows)


def _labelled(figures: Figures | None) -> str:
    return formats.NONE if figures is None else formats.count(figures.labelled)
