"""Drift of every feature over time as a heat map: what matters to the model and moved most on top."""

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy.engine import Connection

from dashboards import figures, formats, matrices
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import charts
from dashboards.pages.charts import Chart, Empty
from dashboards.pages.stretch import Stretch
from monitor.evaluate import by_feature
from monitor.evaluate import series as data
from monitor.evaluate.kept import KeptShelf
from monitor.store.catalog import Model

FEATURES = 60
LEAST = 0.01  # importance: what tells less counts as much, so that chance orders nothing and nothing goes unseen
IMPORTANCE = (
    "importance: how much of the prediction the feature tells by itself in the reference (Theil's U), "
    "less than 1 % counting as 1 %"
)


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
    """PSI of every feature over the stretch."""
    step = step_for(stretch, volume)
    grid = by_feature.heatmap(connection, shelf.model, "psi", stretch.from_us, stretch.to_us, step, shelf)
    return drawn(
        "Drift of every feature",
        grid,
        step,
        shelf.model,
        stretch,
        volume,
        zone,
        links,
        importance_of(shelf),
        compared=state != "learning",
    )


def importance_of(shelf: KeptShelf) -> dict[str, float]:
    """By feature, in the reference that holds; empty where that does not say."""
    number = shelf.newest()
    reference = None if number is None else shelf.reference(number)
    return {} if reference is None else reference.importance


def rank(psi: float | None, importance: float | None) -> tuple[float, float]:
    """Rising from what should be looked at first: by importance x PSI, where the importance is known, then by PSI."""
    drift = -1.0 if psi is None else psi
    weight = 1.0 if importance is None else max(importance, LEAST)
    return -weight * drift, -drift


def drawn(
    title: str,
    grid: by_feature.Heatmap,
    step: int,
    model: Model,
    stretch: Stretch,
    volume: Sequence[data.Point],
    zone: Zone,
    links: Links,
    importance: Mapping[str, float],
    compared: bool,
    least: int = 0,
    meant: str = "",
) -> Chart:
    """PSI of the features in `grid`, whose columns are `step` long, by importance x the highest PSI.

    Args:
        importance: by feature; empty where it is not known, then PSI alone orders them.
        volume: rows over time of what the PSI is of.
        compared: whether there was a reference to compare with.
        least: rows below which a column is blank in any case.
        meant: a feature that stands first, framed.
    """
    whole = _whole(grid.starts, grid.ends, volume, least)
    rows = sorted(
        (
            (
                name,
                [value if full else None for value, full in zip(values, whole, strict=True)],
            )
            for name, values in zip(grid.features, grid.values, strict=True)
        ),
        key=lambda row: (row[0] != meant, rank(_strength(row[1]), importance.get(row[0]) if importance else None)),
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
    edges = [figures.at(start) for start in grid.starts] + [figures.at(grid.ends[-1])]
    last = [(name, next((v for v in reversed(values) if v is not None), None)) for name, values in rows]
    strongest = max(rows, key=lambda row: _strength(row[1]))
    fewest = f", or {least} rows," if least else ""
    order = f"ordered by the highest PSI × {IMPORTANCE}" if importance else "the most drifted feature on top"
    weights = [importance.get(name, 0.0) for name in names] if importance else None
    note = (
        f"PSI per {formats.per(step)} against the reference, {order}; a click opens it. "
        f"Few rows make PSI restless, so steps with less than a quarter of the usual rows{fewest} are blank."
    )
    if is_framed := names[0] == meant:
        note = f"`{meant}`, which you came for, stands first, framed; then: {note}"
    if total > FEATURES:
        note += f" The first {FEATURES} of {total} features."
    table = charts.Table(
        ["Feature", "PSI, last", "PSI, highest", *(["Importance"] if importance else [])],
        [
            [
                name,
                formats.number(now),
                formats.number(max((v for v in values if v is not None), default=None)),
                *([formats.percent(importance.get(name, 0.0))] if importance else []),
            ]
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
        charts.over(
            matrices.heatmap(edges, names, [values for _, values in rows], urls, weights=weights, framed=is_framed),
            grid.starts[0],
            grid.ends[-1],
            zone,
            step,
        ),
        table,
        note=note,
        size=size,
        wide=True,
        links=list(zip(names, urls, strict=True)),
    )


def _whole(starts: Sequence[int], ends: Sequence[int], volume: Sequence[data.Point], least: int) -> list[bool]:
    """Whether each column has at least a quarter of the usual rows: of a few, PSI says nothing but noise."""
    ends_of = np.array([[point.start, point.end] for point in volume], np.int64).reshape(-1)
    until = np.cumsum([part for point in volume for part in (0, point.value or 0)], dtype=float)
    # As if the rows of a point came evenly: points may be longer than columns.
    sent = np.interp(ends, ends_of, until) - np.interp(starts, ends_of, until) if volume else np.zeros(len(starts))
    rows = sent.round(6).tolist()
    usual = sorted(row for row in rows if row)
    enough = max(usual[len(usual) // 2] / 4 if usual else 0, least)
    return [row >= enough for row in rows]


def _strength(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=-1.0)
