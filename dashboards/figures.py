"""Charts as plain dictionaries in Plotly's language.

A figure is {"x", "data", "layout"}: `x` is shared by every trace that has none of its own, which halves the page.
Times are in UTC (`at`); static/app.js shows them in the viewer's time zone, or in the figure's `zone`, where its steps
are days of that one.
Colours are names (theme.py) that static/app.js replaces by values of the light or dark theme; it also adds fonts,
margins and grid. Text that a user chose passes `plain`, because Plotly reads a little HTML in labels.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from dashboards import theme
from monitor import clock

Figure = dict[str, Any]
LABEL = 28
FAR = 3  # a level line this many times above the highest value is out of sight
LEAST_SHARE = 0.01  # an axis of shares spans at least this much


def plain(text: str, longest: int | None = None) -> str:
    """The text as Plotly shows it literally: its pseudo-HTML and entities are escaped; cut to `longest` characters."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@lru_cache(maxsize=16_384)
def at(instant: int) -> str:
    """An instant as a chart's axis takes it: 2013-03-04 14:00, UTC."""
    return f"{clock.to_datetime(instant):%Y-%m-%d %H:%M}"


def tidy(values: Sequence[float | None]) -> list[float | None]:
    """Five significant digits, and None for what JSON cannot carry."""
    return [None if value is None or not math.isfinite(value) else float(f"{value:.5g}") for value in values]


def line(
    x: Sequence[str],
    values: Sequence[float | None],
    *,
    low: Sequence[float | None] | None = None,
    high: Sequence[float | None] | None = None,
    provisional: Sequence[bool] | None = None,
    coverage: Sequence[float | None] | None = None,
    unit: str = "",
    name: str = "",
    zero: bool = False,
) -> Figure:
    """One metric over time: final windows as a line in its 95 % band, provisional ones hollow and dotted.

    `coverage` (share of rows that are labelled) becomes a strip of bars below.
    """
    data: list[Figure] = []
    if (
        low is not None
        and high is not None
        and any(bottom is not None and top is not None for bottom, top in zip(tidy(low), tidy(high), strict=True))
    ):
        data.append(_band(x, tidy(low), tidy(high)))
    shown = tidy(values)
    if provisional is not None and any(provisional):
        settled = [None if open_ else value for value, open_ in zip(shown, provisional, strict=True)]
        data.append(_line(settled, name or "value", theme.BLUE))
        data.append(_provisional(shown, provisional))
    else:
        data.append(_line(shown, name or "value", theme.BLUE))
    drawn = [*shown, *(tidy(low) if low is not None else ()), *(tidy(high) if high is not None else ())]
    layout: Figure = {"yaxis": _axis(unit, zero, drawn), "showlegend": False}
    if coverage is not None:
        data.append(_coverage(tidy(coverage)))
        layout["yaxis"]["domain"] = [0.27, 1]
        layout["yaxis2"] = {
            "domain": [0, 0.15],
            "range": [0, 1],
            "tickformat": ".0%",
            "tickvals": [0, 1],
            "fixedrange": True,
        }
        layout["xaxis"] = {"anchor": "y2"}
    return {"x": list(x), "data": data, "layout": layout}


def _line(values: list[float | None], name: str, color: str, width: float = 2) -> Figure:
    alone = sum(value is not None for value in values) <= 60
    return {
        "type": "scatter",
        "mode": "lines+markers" if alone else "lines",
        "name": plain(name),
        "y": values,
        "line": {"color": color, "width": width},
        "marker": {"color": color, "size": 5},
    }


def _band(x: Sequence[str], low: list[float | None], high: list[float | None]) -> Figure:
    """One closed shape for each run of windows that have both ends: a gap in the values is a gap in the band."""
    xs: list[str | None] = []
    ys: list[float | None] = []
    run: list[tuple[str, float, float]] = []
    for at, bottom, top in [*zip(x, low, high, strict=True), ("", None, None)]:
        if bottom is not None and top is not None:
            run.append((at, bottom, top))
        elif run:
            there, back = [(one[0], one[1]) for one in run], [(one[0], one[2]) for one in reversed(run)]
            shape = [*there, *back, there[0]]
            xs += [*([None] if xs else []), *(one for one, _ in shape)]
            ys += [*([None] if ys else []), *(one for _, one in shape)]
            run = []
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "interval",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "x": xs,
        "y": ys,
        "fill": "toself",
        "fillcolor": theme.BAND,
    }


def _provisional(values: list[float | None], provisional: Sequence[bool]) -> Figure:
    first = next(index for index, open_ in enumerate(provisional) if open_)
    kept = [
        value if open_ or index == first - 1 else None
        for index, (value, open_) in enumerate(zip(values, provisional, strict=True))
    ]
    size = 7 if sum(provisional) <= 30 else 4.5
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "provisional",
        "y": kept,
        "line": {"color": theme.BLUE, "width": 1.5, "dash": "dot"},
        "marker": {"color": theme.BLUE, "size": size, "symbol": "circle-open", "line": {"width": 1.25}},
    }


def with_estimate(figure: Figure, values: Sequence[float | None], confirmed: Sequence[bool]) -> Figure:
    """The figure of `line` with what was expected before outcomes came: dotted, with open points where they have not
    confirmed it yet."""
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "estimated",
        "y": tidy(values),
        "line": {"color": theme.PURPLE, "width": 1.25, "dash": "dot"},
        "marker": {
            "color": theme.PURPLE,
            "size": [0 if done else 6 for done in confirmed],
            "symbol": "diamond-open",
            "line": {"width": 1.25},
        },
    }
    return {**figure, "data": [*figure["data"], trace]}


def _coverage(values: list[float | None]) -> Figure:
    return {
        "type": "bar",
        "name": "labelled",
        "y": values,
        "yaxis": "y2",
        "marker": {"color": theme.QUIET_BAR},
        "hovertemplate": "%{y:.0%}",
    }


def lines(x: Sequence[str], series: Sequence[tuple[str, Sequence[float | None]]], unit: str) -> Figure:
    """Up to four metrics of one unit over time, the last of them strongest (p50, p95, p99 for instance)."""
    colors = (theme.SKY, theme.BLUE, theme.ORANGE, theme.PURPLE)
    data = [_line(tidy(values), name, color, 1.75) for (name, values), color in zip(series, colors, strict=False)]
    return {"x": list(x), "data": data, "layout": {"yaxis": _axis(unit, True), "showlegend": len(data) > 1}}


def bars(x: Sequence[str], values: Sequence[float | None], name: str, unit: str = "") -> Figure:
    """One bar a window."""
    bar = {"type": "bar", "name": plain(name), "y": tidy(values), "marker": {"color": theme.BAR}}
    return {"x": list(x), "data": [bar], "layout": {"yaxis": _axis(unit, True), "showlegend": False, "bargap": 0.15}}


def between(figure: Figure, from_x: str, to_x: str, zone: str = "") -> Figure:
    """The figure with its time axis fixed, so that charts below each other line up also where one has no data.

    `zone` names the time zone that its steps are days of; "" where they are shorter.
    """
    layout = dict(figure["layout"])
    layout["xaxis"] = {**layout.get("xaxis", {}), "type": "date", "range": [from_x, to_x]}
    return {**figure, "layout": layout, **({"zone": zone} if zone else {})}


def level(figure: Figure, value: float, text: str) -> Figure:
    """A figure of `between` with a dashed level line, for instance a latency budget; the legend names it.

    One far above everything else is only named, so that it does not press the other lines flat.
    """
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": plain(text),
        "x": list(figure["layout"]["xaxis"]["range"]),
        "y": [value, value],
        "line": {"color": theme.ALERT_LINE, "width": 1, "dash": "dash"},
        "hoverinfo": "skip",
    }
    layout = {**figure["layout"], "showlegend": True}
    top = max((one for trace in figure["data"] for one in trace["y"] if one is not None), default=value)
    if value > FAR * top > 0:
        layout["yaxis"] = {**layout["yaxis"], "range": [0, 1.08 * top]}
    return {**figure, "data": [*figure["data"], line], "layout": layout}


def mark(
    figure: Figure, from_x: str, to_x: str, text: str, late: bool, over: bool = False, begins: bool = True
) -> Figure:
    """The figure with a shaded stretch that begins with a line: since when an alert has evidence.

    `late`: the line stands near the right edge, so its text goes to the left of it.
    `over`: the alert was resolved where the stretch ends; it is drawn paler, with a dotted line.
    `begins`: false where the alert has had evidence since before the chart; then no line is drawn.
    """
    side: Figure = {"yref": "paper", "y0": 0, "y1": 1, "layer": "below", **({"opacity": 0.5} if over else {})}
    line: Figure = {"color": theme.ALERT_LINE, "width": 1.5, **({"dash": "dot"} if over else {})}
    shapes = [
        {**side, "type": "rect", "x0": from_x, "x1": to_x, "fillcolor": theme.ALERT_FILL, "line": {"width": 0}},
        *([{**side, "type": "line", "x0": from_x, "x1": from_x, "line": line}] if begins else []),
    ]
    note = {
        "x": from_x,
        "yref": "paper",
        "y": 1,
        "yanchor": "bottom",
        "xanchor": "right" if late else "left",
        "text": plain(text),
        "showarrow": False,
    }
    return _with(figure, shapes, [note])


def event(figure: Figure, kind: str, from_x: str, to_x: str | None, label: str, text: str) -> Figure:
    """The figure with an event: a line where it begins and, when it lasts, its stretch shaded.

    `label` stands at the foot of the line, where no alert's note is; `text` is shown when one points at it.
    """
    color = theme.EVENT_LINES[kind]
    side: Figure = {"yref": "paper", "y0": 0, "y1": 1}
    shapes = [{**side, "type": "line", "x0": from_x, "x1": from_x, "line": {"color": color, "width": 1, "dash": "dot"}}]
    if to_x is not None:
        rect = {"type": "rect", "x0": from_x, "x1": to_x, "line": {"width": 0}, "layer": "below", "opacity": 0.45}
        shapes.append({**side, **rect, "fillcolor": theme.EVENT_FILLS[kind]})
    note = {
        "x": from_x,
        "yref": "paper",
        "y": 0,
        "yanchor": "bottom",
        "xanchor": "left",
        "text": plain(label, LABEL),
        "hovertext": plain(text),
        "font": {"size": 10, "color": color},
        "showarrow": False,
    }
    return _with(figure, shapes, [note])


def _with(figure: Figure, shapes: list[Figure], notes: list[Figure]) -> Figure:
    layout = dict(figure["layout"])
    layout["shapes"] = [*layout.get("shapes", []), *shapes]
    layout["annotations"] = [*layout.get("annotations", []), *notes]
    return {**figure, "layout": layout}


def _axis(unit: str, zero: bool, values: Sequence[float | None] = ()) -> Figure:
    axis: Figure = {"fixedrange": True}
    if zero:
        axis["rangemode"] = "tozero"
    if unit == "share":
        axis.update({"rangemode": "tozero" if zero else "nonnegative", "tickformat": "~%", "hoverformat": ".2%"})
        if (span := _least_span([value for value in values if value is not None], zero)) is not None:
            axis["range"] = span
    elif unit and unit != "count":
        axis["ticksuffix"] = " " + unit
    return axis


def _least_span(shares: Sequence[float], zero: bool) -> list[float] | None:
    """A range of one percentage point where shares differ by less: else a change of nothing fills the chart."""
    if not shares:
        return None
    low, high = 0.0 if zero else min(shares), max(shares)
    if high - low >= LEAST_SHARE:
        return None
    start = max(0.0, min((low + high - LEAST_SHARE) / 2, 1 - LEAST_SHARE))
    return tidy([start, start + LEAST_SHARE])  # type: ignore[return-value]
