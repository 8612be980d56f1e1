"""Performance by the values of one feature: a row for each bin, the stretch beside the reference."""

from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy.engine import Connection

from dashboards import formats, matrices, words
from dashboards.pages import charts
from dashboards.pages.charts import Chart, Empty, Table
from dashboards.pages.stretch import Stretch
from monitor.evaluate.effect import Effect, Side, effect
from monitor.stats.bins import Bins, NumericBins
from monitor.stats.effect import Group
from monitor.stats.measure import METRICS
from monitor.stats.values import Value
from monitor.store.catalog import Model

NOT_KEPT = Empty(
    "No rows of this stretch",
    "This is computed from rows, and none of this stretch are kept, or none have been counted yet. "
    "Choose another stretch.",
)
NO_OUTCOMES = Empty(
    "Too few rows with an outcome",
    f"No bin has {charts.LEAST_LABELLED} rows with an outcome that count for this metric. Choose a longer stretch.",
)


def load(connection: Connection, model: Model, feature: str, stretch: Stretch, metric: str) -> Chart:
    """The chart of a metric of the task by the feature's bins. It reads rows: a bounded sample of both sides."""
    found = effect(connection, model, feature, metric, stretch.from_us, stretch.to_us)
    return drawn(found, feature, metric)


def drawn(found: Effect | None, feature: str, metric: str) -> Chart:
    """The chart of what was found; bins without rows on either side are left out."""
    title = f"{words.metric(metric)} by {feature}"
    if found is None or found.now is None:
        return _empty(title, NOT_KEPT)
    now, before = found.now, found.reference
    kept = [
        place
        for place, group in enumerate(now.groups)
        if group.rows or (before is not None and before.groups[place].rows)
    ]
    names = labels(found.bins)
    names = [names[place] for place in kept]
    here = [now.groups[place] for place in kept]
    there = None if before is None else [before.groups[place] for place in kept]
    if not any(_shown(group) is not None for group in [*here, *(there or ())]):
        return _empty(title, NO_OUTCOMES)
    unit = words.unit(metric)
    figure = matrices.intervals(
        names,
        [group.share for group in here],
        [("now", [_shown(group) for group in here])]
        + ([] if there is None else [("reference", [_shown(group) for group in there])]),
        unit,
    )
    return Chart(
        key="effect",
        title=title,
        sentence=_sentence(title, names, here, there, metric),
        figure=figure,
        table=_table(names, here, there, metric),
        note=_note(now, before, [*here, *(there or ())]),
        size=f"rows-{min(6, max(1, (len(names) + 4) // 5))}",
        wide=True,
    )


def labels(bins: Bins) -> list[str]:
    """What each group of `stats.effect` is called."""
    coarse = bins.coarse
    if not isinstance(coarse, NumericBins):
        return [*(level or "(empty)" for level in coarse.levels), "other levels", "never seen before", "missing"]
    edges = [float(edge) for edge in coarse.edges]
    if coarse.discrete:
        inner = [formats.number(edge) for edge in edges[:-1]]
    else:
        inner = [f"{formats.number(low)} to {formats.number(high)}" for low, high in pairwise(edges)]
    return [f"below {formats.number(coarse.low)}", *inner, f"above {formats.number(coarse.high)}", "no usable value"]


def _shown(group: Group) -> Value | None:
    """The value of a group with outcomes enough to say something."""
    known = charts.usable(group.value.value) and group.value.n >= charts.LEAST_LABELLED
    return group.value if known else None


def _empty(title: str, reason: Empty) -> Chart:
    return Chart("effect", title, f"{title}: {reason.title.lower()}.", None, wide=True, empty=reason)


def _sentence(
    title: str, names: Sequence[str], here: Sequence[Group], there: Sequence[Group] | None, metric: str
) -> str:
    """The worst bin, for people who cannot see the chart."""
    unit, sign = words.unit(metric), 1 if METRICS[metric].direction == "higher" else -1
    values = [(_shown(group), place) for place, group in enumerate(here)]
    known = [(sign * one.value, place) for one, place in values if one is not None and one.value is not None]
    if not known:
        return f"{title}: no bin of this stretch has outcomes enough."
    _, worst = min(known)
    said = f"{title}: the worst at {names[worst]}, {formats.number(here[worst].value.value, unit)}"
    before = None if there is None else _shown(there[worst])
    if before is not None:
        said += f", where it was {formats.number(before.value, unit)} in the reference"
    return said + "."


def _table(names: Sequence[str], here: Sequence[Group], there: Sequence[Group] | None, metric: str) -> Table:
    unit, name = words.unit(metric), words.metric(metric)
    headers = ["Value", "Rows", name, "95 % interval", "Outcomes"]
    headers += [] if there is None else ["Rows, reference", f"{name}, reference", "95 % interval", "Outcomes"]
    rows = [
        [label, *_cells(here[place], unit), *([] if there is None else _cells(there[place], unit))]
        for place, label in enumerate(names)
    ]
    return Table(headers, rows, len(rows))


def _cells(group: Group, unit: str) -> list[str]:
    value = _shown(group)
    if value is None:
        return [formats.percent(group.share), formats.NONE, formats.NONE, formats.count(group.value.n)]
    interval = formats.interval(value.low, value.high, unit) or formats.NONE
    return [formats.percent(group.share), formats.number(value.value, unit), interval, formats.count(value.n)]


def _note(now: Side, before: Side | None, groups: Sequence[Group]) -> str:
    said = f"From {_of(now, 'this stretch')}"
    said += ", and no rows of the reference are kept." if before is None else f" and {_of(before, 'the reference')}."
    few = f" Blank below {charts.LEAST_LABELLED} outcomes." if any(_shown(one) is None for one in groups) else ""
    return (
        f"{said} Whiskers: 95 %, each of its bin alone: of twenty, one misses by chance. Bars: share of rows now.{few} "
        "That the model does worse at a value does not say that the value is why."
    )


def _of(side: Side, name: str) -> str:
    rows = formats.count(side.rows)
    return f"all {rows} rows of {name}" if side.whole else f"a fixed sample of {rows} rows spread over {name}"
