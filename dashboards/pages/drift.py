"""Drift of every feature over time as a heat map."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from dashboards import formats, matrices
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import charts
from dashboards.pages.charts import Chart, Empty
from dashboards.pages.stretch import Stretch
from monitor.evaluate import series as data
from monitor.evaluate.kept import KeptShelf
from monitor.store.catalog import Model

FEATURES = 60


def step_for(stretch: Stretch, volume: Sequence[data.Point]) -> int:
    """The step of the heat map: long enough for about 500 rows a cell, short enough for ten columns."""
    sent = [point.value for point in volume if point.value]
    if not sent:
        return stretch.heat_step_us
    needed = 500 / (sum(sent) / len(sent)) * stretch.step_us
    return stretch.step_at_least(needed)


def heatmap(
    connection: Connection,
    shelf: KeptShelf,
    stretch: Stretch,
    volume: Sequence[data.Point],
    zone: Zone,
    links: Links,
    state: str,
) -> Chart:
    """PSI of every feature over the stretch, the most drifted on top."""
    step = step_for(stretch, volume)
    grid = data.heatmap(connection, shelf.model, "psi", stretch.from_us, stretch.to_us, step, shelf)
    return drawn(
        "Drift of every feature", grid, step, shelf.model, stretch, volume, zone, links, compared=state != "learning"
    )


def drawn(
    title: str,
    grid: data.Heatmap,
    step: int,
    model: Model,
    stretch: Stretch,
    volume: Sequence[data.Point],
    zone: Zone,
    links: Links,
    compared: bool,
    least: int = 0,
) -> Chart:
    """PSI of the features in `grid`, whose columns are `step` long.

    Args:
        volume: rows over time of what the PSI is of.
        compared: whether there was a reference to compare with.
        least: rows below which a column is blank in any case.
    """
    whole = _whole(grid.starts, grid.ends, volume, least)
    rows = sorted(
        (
            (
                name,
                [value if full and charts.usable(value) else None for value, full in zip(values, whole, strict=True)],
            )
            for name, values in zip(grid.features, grid.values, strict=True)
        ),
        key=lambda row: -_strength(row[1]),
    )
    total, rows = len(rows), rows[:FEATURES]
    if not any(value is not None for _, values in rows for value in values):
        empty = (charts.TOO_FEW if any(p.n for p in volume) else charts.NO_ROWS) if compared else charts.NO_REFERENCE
        if not model.features:
            empty = Empty(
                "No features yet", "The model has no schema: it is inferred from the reference or the first rows."
            )
        return Chart("drift", title, f"{title}: {empty.title.lower()}.", None, wide=True, empty=empty)
    names = [name for name, _ in rows]
    urls = [links.feature(model.name, name, **stretch.query) for name in names]
    edges = [zone.axis(start) for start in grid.starts] + [zone.axis(grid.ends[-1])]
    last = [(name, next((v for v in reversed(values) if v is not None), None)) for name, values in rows]
    strongest = max(rows, key=lambda row: _strength(row[1]))
    fewest = f", or {least} rows," if least else ""
    note = (
        f"PSI per {formats.per(step)} against the reference, the most drifted feature on top; a click opens it. "
        f"Few rows make PSI restless, so steps with less than a quarter of the usual rows{fewest} are blank."
    )
    if total > FEATURES:
        note += f" The first {FEATURES} of {total} features."
    table = charts.Table(
        ["Feature", "PSI, last", "PSI, highest"],
        [
            [name, formats.number(now), formats.number(max((v for v in values if v is not None), default=None))]
            for (name, now), (_, values) in zip(last, rows, strict=True)
        ],
        total,
    )
    size = "rows-0" if len(rows) <= 4 else f"rows-{min(6, (len(rows) + 9) // 10)}"
    sentence = (
        f"{title}: {len(rows)} features, strongest {strongest[0]} with PSI {formats.number(_strength(strongest[1]))}."
    )
    return Chart(
        "drift",
        title,
        sentence,
        matrices.heatmap(edges, names, [values for _, values in rows], urls),
        table,
        note=note,
        size=size,
        wide=True,
        links=list(zip(names, urls, strict=True)),
    )


def _whole(starts: Sequence[int], ends: Sequence[int], volume: Sequence[data.Point], least: int) -> list[bool]:
    """Whether each column has at least a quarter of the usual rows: of a few, PSI says nothing but noise."""
    rows = [
        sum((point.value or 0) * _part(point, start, end) for point in volume)
        for start, end in zip(starts, ends, strict=True)
    ]
    usual = sorted(row for row in rows if row)
    enough = max(usual[len(usual) // 2] / 4 if usual else 0, least)
    return [row >= enough for row in rows]


def _part(point: data.Point, start: int, end: int) -> float:
    """The part of a point's rows that falls into [start, end), as if they came evenly: points may be longer."""
    return max(0, min(point.end, end) - max(point.start, start)) / (point.end - point.start)


def _strength(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=-1.0)
