"""The chart of a report as inline SVG, drawn on the server: it prints, and stands in a PDF, without a script.

Colours are attributes, since a style sheet does not reach into the SVG of a PDF; on pages app.css overrides them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from dashboards import formats
from dashboards.formats import Zone

WIDTH, HEIGHT = 720, 230
LEFT, RIGHT, TOP, BOTTOM = 66, 8, 10, 22
COVERAGE = 26  # the height of the bars below

BAND = Markup('<path class="band" fill="#dcebf4" d="M{}z"/>')
LINE = Markup('<path class="line" fill="none" stroke="#0072b2" stroke-width="2" d="M{}"/>')
DOT = Markup('<circle class="dot" fill="#0072b2" cx="{}" cy="{}" r="2.6"/>')
COVER = Markup('<rect class="cover" fill="#c9d1d9" x="{}" y="{}" width="{}" height="{}"/>')
GRID = Markup('<path class="grid" stroke="#e6e9ed" d="M{} {}H{}"/>')
TEXT = Markup('<text class="tick" fill="#5b6773" font-size="11" x="{}" y="{}" text-anchor="{}">{}</text>')


def over_time(points: Sequence[Mapping[str, Any]], unit: str, sentence: str, zone: Zone) -> Markup:
    """A line with its 95 % band over the days of a month, and the share of labelled rows as bars below.

    Args:
        points: with start, value, low, high (None where there is none) and coverage (0 to 1).
        sentence: what a screen reader says.
    """
    known = [one for one in points if one["value"] is not None]
    low = min((_or(one["low"], one["value"]) for one in known), default=0.0)
    high = max((_or(one["high"], one["value"]) for one in known), default=1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    edge = 0.06 * (high - low)
    low, high = low - edge, high + edge
    step = (WIDTH - LEFT - RIGHT) / max(len(points), 1)
    floor = HEIGHT - BOTTOM - COVERAGE - 8

    def x(index: int) -> float:
        return LEFT + (index + 0.5) * step

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (floor - TOP)

    parts = [_ticks(low + edge, high - edge, unit, y)]
    for run in _runs(points):
        band = [(x(i), y(_or(points[i]["high"], points[i]["value"]))) for i in run]
        band += [(x(i), y(_or(points[i]["low"], points[i]["value"]))) for i in reversed(run)]
        line = [(x(i), y(points[i]["value"])) for i in run]
        parts += [BAND.format(_path(band)), LINE.format(_path(line))]
        parts += [DOT.format(*map(_short, place)) for place in line]
    ground = HEIGHT - BOTTOM
    for index, one in enumerate(points):
        height = (one["coverage"] or 0.0) * COVERAGE
        parts.append(COVER.format(*map(_short, (x(index) - 0.4 * step, ground - height, 0.8 * step, height))))
    parts.append(TEXT.format(LEFT - 6, ground, "end", "labelled"))
    for index in range(0, len(points), max(1, round(len(points) / 6))):
        day = zone.local(points[index]["start"])
        parts.append(TEXT.format(_short(x(index)), HEIGHT - 5, "middle", f"{day.day} {day:%b}"))
    return Markup('<svg class="month" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, sentence, Markup("").join(parts)
    )


def _ticks(low: float, high: float, unit: str, y: Callable[[float], float]) -> Markup:
    return Markup("").join(
        GRID.format(LEFT, _short(y(value)), WIDTH - RIGHT)
        + TEXT.format(LEFT - 6, _short(y(value) + 4), "end", formats.number(value, unit))
        for value in (low, (low + high) / 2, high)
    )


def _runs(points: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Places of neighbouring points that have a value."""
    runs: list[list[int]] = [[]]
    for index, one in enumerate(points):
        if one["value"] is None:
            runs.append([])
        else:
            runs[-1].append(index)
    return [run for run in runs if run]


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _short(value: float) -> str:
    return f"{value:.1f}"


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
