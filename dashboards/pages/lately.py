"""What happened in a stretch, in one sentence, and how it compares with the stretch of the same length before."""

from collections.abc import Sequence
from dataclasses import replace

from dashboards import formats, words
from dashboards.pages import alerts, performance
from dashboards.pages.stretch import Stretch
from dashboards.pages.versions import BETTER, WORSE, verdict
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.series import Point
from monitor.stats.compare import apart
from monitor.stats.measure import Value
from monitor.store.events import Event

SAME = 0.02  # traffic that differs by less is called the same


def ended(stretch: Stretch, volume: Sequence[Point], now: int) -> tuple[Stretch, float]:
    """What is over of the stretch, and its rows: a day that has just begun is no day with fewer rows.

    Args:
        volume: rows at every step of the stretch.
    """
    over = [point for point in volume if point.end <= now]
    until = over[-1].end if over else stretch.from_us
    return replace(stretch, to_us=until), sum(point.value or 0 for point in over)


def before(shelf: KeptShelf, metric: str, stretch: Stretch) -> dict[str, Value]:
    """Traffic and the metric over the stretch of the same length before; empty where nothing was profiled then."""
    length = stretch.to_us - stretch.from_us
    if stretch.name == "all" or not length:
        return {}
    found = shelf.measures(stretch.from_us - length, stretch.from_us, ["volume", metric])
    return {} if found is None or not found.rows else dict(found.values)


def traffic(rows: float, earlier: Value | None, stretch: Stretch) -> str:
    """How the traffic compares with that before; empty where there was none."""
    if earlier is None or not earlier.value:
        return ""
    change = rows / earlier.value - 1
    span = formats.per(stretch.to_us - stretch.from_us)
    if abs(change) < SAME:
        return f"as many as in the {span} before"
    if change > 1:
        return f"{formats.number(rows / earlier.value)} times as many as in the {span} before"
    return f"{formats.percent(abs(change))} {'more' if change > 0 else 'fewer'} than in the {span} before"


def sentence(
    rows: float,
    compared: str,
    metric: str,
    over: Value | None,
    earlier: dict[str, Value],
    lines: Sequence[alerts.Line],
    happened: Sequence[Event],
    stretch: Stretch,
) -> str:
    """What a hurried reader takes away from the stretch; `compared`: its traffic beside that before."""
    if not rows:
        return ""
    parts = [f"{formats.short_count(rows)} predictions" + (f", {compared}" if compared else "")]
    if performance.is_enough(metric, over):
        assert over is not None
        parts.append(f"{words.metric(metric)} {performance.headline(metric, over)}{_moved(metric, over, earlier)}")
    opened = sum(stretch.from_us <= line.alert.opened_at < stretch.to_us for line in lines)
    parts.append("no alert opened" if not opened else f"{opened} alert{'s' if opened > 1 else ''} opened")
    marks = [words.MARKS.get(one.kind, one.kind).lower() for one in happened if one.from_at >= stretch.from_us]
    parts += [f"{marks.count(kind)} {kind}" + ("s" if marks.count(kind) > 1 else "") for kind in dict.fromkeys(marks)]
    return "; ".join(parts) + "."


def _moved(metric: str, over: Value, earlier: dict[str, Value]) -> str:
    old = earlier.get(metric)
    if old is None or not performance.is_enough(metric, old):
        return ""
    was = performance.headline(metric, old)
    said = verdict(metric, apart(metric, old, over).difference)
    if said in (BETTER, WORSE):
        return f", clearly {said} than {was} before"
    return f", {was} before"
