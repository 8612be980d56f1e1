"""Charts that are not a line over time: the heat map, and distributions against their reference."""

import math
from collections.abc import Sequence
from itertools import pairwise

from dashboards import theme
from dashboards.figures import LABEL, Figure, plain, tidy
from monitor.stats.values import Value

APART = 0.28  # rows between the two values of one
LEAST_SPAN = 0.2  # of bars of importance
FRAME: Figure = {  # around the first row, its name too
    "type": "rect",
    "xref": "paper",
    "yref": "y",
    "x0": -0.002,
    "x1": 1.002,
    "y0": -0.5,
    "y1": 0.5,
    "line": {"color": theme.ALERT_LINE, "width": 2},
}


def heatmap(
    x: Sequence[str],
    names: Sequence[str],
    values: Sequence[Sequence[float | None]],
    urls: Sequence[str],
    top: float = theme.HEAT_TOP,
    told: str = "PSI %{z:.3f}",
    weights: Sequence[float] | None = None,
    framed: bool = False,
) -> Figure:
    """Features x time. Rows are numbered, with names as tick labels, so that no name is read as a date or a number.

    Args:
        x: edges of the windows, one more than there are columns.
        names: a feature each row, the first on top.
        values: rows x columns.
        urls: where a click on the row leads.
        top: the value of the darkest colour.
        told: how a cell's value `z` is told, as Plotly's template.
        weights: how important each row is, 0 to 1: small bars at the right.
        framed: the first row is the one that is meant.
    """
    cells: Figure = {
        "type": "heatmap",
        "x": list(x),
        "y": list(range(len(names))),
        "z": [tidy(row) for row in values],
        "zmin": 0,
        "zmax": top,
        "colorscale": [[at, color] for at, color in theme.HEAT_STOPS],
        "xgap": 0 if len(x) > 60 else 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": f"%{{y}}<br>%{{x}}<br>{told}<extra></extra>",
        "showscale": False,
    }
    axis = {
        "tickvals": list(range(len(names))),
        "ticktext": [plain(name, LABEL) for name in names],
        "autorange": "reversed",
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
    }
    layout: Figure = {"yaxis": axis, "xaxis": {"showgrid": False, "type": "date"}, "hovermode": "closest"}
    if framed:
        layout["shapes"] = [FRAME]
    figure = {"data": [cells], "layout": {**layout, "showlegend": False}, "links": list(urls)}
    return figure if weights is None else _with_weights(figure, weights)


def _with_weights(figure: Figure, weights: Sequence[float]) -> Figure:
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(weights))),
        "x": tidy(weights),
        "xaxis": "x2",
        "marker": {"color": theme.BAR},
        "hovertemplate": "%{y}<br>importance %{x:.1%}<extra></extra>",
    }
    span = [0, max(LEAST_SPAN, *weights)]  # a bar of next to nothing does not fill it
    hidden = {"domain": [0.945, 1], "fixedrange": True, "showticklabels": False, "ticks": "", "range": span}
    layout = {
        **figure["layout"],
        "xaxis": {**figure["layout"]["xaxis"], "domain": [0, 0.935]},
        "xaxis2": hidden,
        "bargap": 0.3,
        "annotations": [_over_the_right("importance")],
    }
    return {**figure, "data": [*figure["data"], bars], "layout": layout}


def histogram(edges: Sequence[float], now: Sequence[float], reference: Sequence[float] | None) -> Figure:
    """Shares per bin, drawn as density so that bins of unequal width compare: current as bars, reference as a line.

    The figure keeps the bins as they are in `edges`, and the shares in `customdata`, for those who copy the numbers.

    Args:
        edges: finite, ascending, one more than there are bins.
        now, reference: share of each bin.
    """
    drawn = _with_room(edges)
    middles = [low + (high - low) / 2 for low, high in pairwise(drawn)]
    widths = [high - low for low, high in pairwise(drawn)]
    data: list[Figure] = [
        {
            "type": "bar",
            "name": "now",
            "x": tidy(middles),
            "width": tidy(widths),
            "y": tidy(_density(now, widths)),
            "customdata": tidy(now),
            "marker": {"color": theme.BAR, "line": {"width": 0}},
            "hovertemplate": "%{customdata:.2%}",
        }
    ]
    if reference is not None:
        steps = _density(reference, widths)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "reference",
                "x": tidy(drawn),
                "y": tidy([*steps, steps[-1] if steps else 0]),
                "customdata": tidy(reference),
                "line": {"color": theme.ORANGE, "width": 2, "shape": "hv"},
                "hoverinfo": "skip",
            }
        )
    return {
        "data": data,
        "layout": {
            "yaxis": {"rangemode": "tozero", "showticklabels": False, "fixedrange": True},
            "bargap": 0,
            "showlegend": True,
        },
        "edges": tidy(edges),
    }


def holds_one_value(low: float, high: float) -> bool:
    """Whether a bin holds nothing but `low`: it ends at the very next number, as the last bin always does."""
    return high <= math.nextafter(low, math.inf)


def _with_room(edges: Sequence[float]) -> list[float]:
    """The edges as they are drawn: a bin of one value would be a bar without width whose density flattens all others.

    It is given half of the bin that follows, whose own rows stay in the rest, and the last one the width before it.
    """
    drawn, bins = list(edges), list(pairwise(edges))
    for place, one in enumerate(bins):
        if holds_one_value(*one):
            after = [high - low for low, high in bins[place + 1 :] if not holds_one_value(low, high)]
            before = drawn[place] - drawn[place - 1] if place else 1.0
            drawn[place + 1] = drawn[place] + (after[0] / 2 if after else before)
    return drawn


def intervals(
    names: Sequence[str],
    shares: Sequence[float],
    series: Sequence[tuple[str, Sequence[Value | None]]],
    unit: str,
) -> Figure:
    """A row for each name: up to two values with their 95 % intervals below each other, and a bar of the row's share at
    the right (a forest plot: Lewis and Clarke, BMJ 322, 2001).

    Args:
        names: a row each, the first on top.
        shares: 0 to 1, of each row.
        series: (name, value of each row or None), the current one first.
        unit: of the values.
    """
    rows = list(range(len(names)))
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "share of rows",
        "y": rows,
        "x": tidy(shares),
        "xaxis": "x2",
        "marker": {"color": theme.QUIET_BAR},
        "hovertemplate": "%{x:.1%} of the rows<extra></extra>",
        "showlegend": False,
    }
    aside = (len(series) - 1) * APART / 2
    told = "%{x:.2%}" if unit == "share" else "%{x:.4g}" + (f" {unit}" if unit else "")
    data = [
        _points(name, [row - aside + APART * place for row in rows], values, color, told)
        for place, ((name, values), color) in enumerate(zip(series, (theme.BLUE, theme.ORANGE), strict=False))
    ]
    axis = {
        "tickvals": rows,
        "ticktext": [plain(name, LABEL) for name in names],
        "range": [len(names) - 0.5, -0.5],
        "fixedrange": True,
        "showgrid": False,
        "automargin": True,
        "ticks": "",
    }
    value: Figure = {"domain": [0, 0.8], "fixedrange": True, "nticks": 6}
    if unit == "share":
        value["tickformat"] = "~%"
    elif unit:
        value["ticksuffix"] = " " + unit
    share: Figure = {"domain": [0.84, 1], "fixedrange": True, "rangemode": "tozero", "tickformat": "~%", "nticks": 2}
    return {
        "data": [bars, *data],
        "layout": {
            "yaxis": axis,
            "xaxis": {**value, "showgrid": True},
            "xaxis2": share,
            "bargap": 0.45,
            "hovermode": "closest",
            "showlegend": True,
            "annotations": [_over_the_right("share of rows")],
        },
    }


def _over_the_right(text: str) -> Figure:
    """The title of the bars at the right of a chart."""
    place = {"xref": "paper", "x": 1, "xanchor": "right", "yref": "paper", "y": 1, "yanchor": "bottom"}
    return {**place, "text": text, "font": {"size": 10}, "showarrow": False}


def _points(name: str, rows: Sequence[float], values: Sequence[Value | None], color: str, told: str) -> Figure:
    """Points with whiskers; a value without an interval has none."""
    known = [value or Value() for value in values]
    ends = [_whiskers(one) for one in known]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "y": tidy(rows),
        "x": tidy([one.value for one in known]),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": tidy([high for _, high in ends]),
            "arrayminus": tidy([low for low, _ in ends]),
            "color": color,
            "thickness": 1.5,
            "width": 4,
        },
        "marker": {"color": color, "size": 7},
        "hovertemplate": told,
    }


def _whiskers(one: Value) -> tuple[float, float]:
    """How far the interval reaches below and above the value."""
    if one.value is None or one.low is None or one.high is None:
        return 0.0, 0.0
    return one.value - one.low, one.high - one.value


def _density(shares: Sequence[float], widths: Sequence[float]) -> list[float]:
    return [share / width if width > 0 else 0.0 for share, width in zip(shares, widths, strict=True)]


def levels(names: Sequence[str], now: Sequence[float], reference: Sequence[float] | None) -> Figure:
    """Shares per level as horizontal bars, the reference beside the current."""
    rows = list(range(len(names)))
    share = {"type": "bar", "orientation": "h", "y": rows, "hovertemplate": "%{x:.2%}"}
    data: list[Figure] = [{**share, "name": "now", "x": tidy(now), "marker": {"color": theme.BAR}}]
    if reference is not None:
        data.append({**share, "name": "reference", "x": tidy(reference), "marker": {"color": theme.ORANGE}})
    axis = {
        "tickvals": rows,
        "ticktext": [plain(name, LABEL) for name in names],
        "autorange": "reversed",
        "fixedrange": True,
        "showgrid": False,
        "automargin": True,
        "ticks": "",
    }
    layout = {
        "yaxis": axis,
        "xaxis": {"tickformat": "~%", "fixedrange": True, "rangemode": "tozero"},
        "barmode": "group",
        "bargap": 0.25,
        "hovermode": "closest",
        "showlegend": True,
    }
    return {"data": data, "layout": layout}
