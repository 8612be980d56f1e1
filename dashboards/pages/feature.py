"""A feature's page: its distribution beside the reference, its drift and its missing values over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy.engine import Connection

from dashboards import formats, matrices, words
from dashboards.asked import one_of
from dashboards.formats import Zone
from dashboards.pages import alerts, charts, effect, events, segments
from dashboards.pages.charts import Chart
from dashboards.pages.stretch import Stretch
from monitor.errors import NotFound
from monitor.evaluate import series as data
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.panel import Wanted, panel
from monitor.store.catalog import Model

NUMERIC = ("psi", "jensen_shannon", "ks", "wasserstein", "missing_share", "out_of_range_share")
CATEGORICAL = ("psi", "jensen_shannon", "missing_share", "unseen_share")
LEVELS = 25
SEGMENTS = 10  # in which the feature moved most


@dataclass(frozen=True)
class FeaturePage:
    """`now`: the model's segments with the PSI of this feature; `within`: those of other names in which it moved most,
    of `segment_count`; `levels`: its own levels, the worst first, empty where it is no segment."""

    model: Model
    feature: str
    kind: str
    zone: Zone
    stretch: Stretch
    distribution: Chart
    charts: Sequence[Chart]
    open_alerts: Sequence[alerts.Line]
    now_rows: int
    reference_rows: int
    reference_number: int | None
    now: segments.Segments
    within: Sequence[segments.Line]
    levels: Sequence[segments.Line]
    segment_count: int
    metrics: Sequence[str]
    metric: str | None
    effect: Chart | None


def load(
    connection: Connection, model: Model, feature: str, now: int, stretch: Stretch, by_value: str | None = None
) -> FeaturePage:
    """Everything the page shows.

    Args:
        by_value: a metric of the task that is computed from rows by the feature's values; None: none is.

    Raises:
        NotFound: the model's schema has no such feature, or it is ignored.
    """
    kind = (model.features or {}).get(feature)
    if kind is None or kind == "ignored":
        raise NotFound("the model has no such feature")
    zone = Zone(model.config.timezone)
    shelf = KeptShelf(connection, model)
    found = data.distribution(connection, model, feature, stretch.from_us, stretch.to_us, shelf)
    first = [
        line
        for line in alerts.of_model(connection, model)
        if line.is_open and any(cause.feature == feature for cause in line.causes)
    ]
    mark = None
    if first and first[0].alert.first_evidence_at < stretch.to_us:
        mark = (first[0].alert.first_evidence_at, stretch.to_us, charts.FIRST_EVIDENCE)
    shown = []
    metrics = NUMERIC if found.kind == "numeric" else CATEGORICAL
    wanted: list[Wanted] = [(metric, feature) for metric in metrics]
    points = panel(connection, model, wanted, stretch.from_us, stretch.to_us, stretch.step_us, now, shelf)
    happened = events.between(connection, model, stretch.from_us, stretch.to_us)
    for metric in metrics:
        empty = _empty(metric, found)
        chart = charts.of_metric(
            metric,
            metric,
            points[metric, feature],
            zone,
            stretch.step_us,
            empty=empty,
            zero=True,
            size="small",
            mark=mark,
        )
        shown.append(events.marked(chart, happened, stretch.from_us, stretch.to_us))
    offered = words.PERFORMANCE[model.task]
    chosen = one_of("effect", by_value, offered)
    parts = segments.measured(connection, model, stretch, offered[0], feature, segments.LATELY)
    within = [line for line in parts.lines if line.name != feature]
    return FeaturePage(
        model=model,
        feature=feature,
        kind=kind,
        zone=zone,
        stretch=stretch,
        distribution=_distribution(found),
        charts=shown,
        open_alerts=first,
        now_rows=found.rows,
        reference_rows=found.reference_rows,
        reference_number=found.reference_number,
        now=parts,
        within=sorted(within, key=lambda line: -1.0 if line.psi is None else line.psi, reverse=True)[:SEGMENTS],
        levels=[line for line in parts.lines if line.name == feature],
        segment_count=len(within),
        metrics=offered,
        metric=chosen,
        effect=None if chosen is None else effect.load(connection, model, feature, stretch, chosen),
    )


def _empty(metric: str, found: data.Distribution) -> charts.Empty:
    """Why a metric has no value anywhere in the stretch."""
    if not found.rows:
        return charts.NO_ROWS
    against_reference = metric in ("psi", "jensen_shannon", "ks", "wasserstein")
    return charts.NO_REFERENCE if against_reference and not found.reference_rows else charts.TOO_FEW


def _distribution(found: data.Distribution) -> Chart:
    title = "Distribution"
    if not found.rows:
        return Chart("distribution", title, "Distribution: no data.", None, wide=True, empty=charts.NO_ROWS)
    now, reference = _shares(found.current), _shares(found.reference) if found.reference_rows else None
    if found.kind == "numeric":
        return _numeric(title, found, now, reference)
    return _categorical(title, found, now, reference)


def _numeric(title: str, found: data.Distribution, now: list[float], reference: list[float] | None) -> Chart:
    edges = [float(edge) for edge in found.edges]
    labels = [bar(low, high, found.discrete) for low, high in pairwise(edges)]
    figure = matrices.histogram(edges, now, reference)
    return _chart(title, figure, "Values", labels, now, reference, "Bars: this stretch. Line: the reference.")


def bar(low: float, high: float, discrete: bool) -> str:
    """What a bar is called: a value where it holds one, else its range."""
    one = discrete or matrices.holds_one_value(low, high)
    return formats.number(low) if one else f"{formats.number(low)} to {formats.number(high)}"


def _categorical(title: str, found: data.Distribution, now: list[float], reference: list[float] | None) -> Chart:
    order = sorted(range(len(now)), key=lambda i: -max(now[i], reference[i] if reference else 0))[:LEVELS]
    labels = [found.labels[i] for i in order]
    now = [now[i] for i in order]
    reference = [reference[i] for i in order] if reference else None
    note = "The most frequent levels." if len(order) < len(found.labels) else ""
    return _chart(title, matrices.levels(labels, now, reference), "Level", labels, now, reference, note)


def _chart(
    title: str,
    figure: dict[str, object],
    head: str,
    labels: Sequence[str],
    now: Sequence[float],
    reference: Sequence[float] | None,
    note: str,
) -> Chart:
    headers = [head, "Now", *(["Reference"] if reference else [])]
    rows = [
        [label, formats.percent(share), *([formats.percent(reference[i])] if reference else [])]
        for i, (label, share) in enumerate(zip(labels, now, strict=True))
    ]
    top = max(range(len(now)), key=lambda i: now[i]) if now else None
    sentence = "Distribution: nothing to draw."
    if top is not None:
        beside = f", {formats.percent(reference[top])} in the reference" if reference else ""
        sentence = f"Distribution: most rows, {formats.percent(now[top])}, at {labels[top]}{beside}."
    table = charts.Table(headers, rows[: charts.ROWS], len(rows))
    size = "normal" if head == "Values" else f"rows-{min(6, (len(labels) + 4) // 5)}"
    return Chart("distribution", title, sentence, figure, table, note=note, wide=True, size=size)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]
