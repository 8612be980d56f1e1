"""Two versions side by side: what is better, what is worse, how sure that is, and where their answers part."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from sqlalchemy.engine import Connection

from dashboards import formats, words
from dashboards.formats import Zone
from dashboards.pages.stretch import Stretch
from dashboards.sparkline import span_bar
from monitor.evaluate.versions import MOST_ROWS, Comparison, Part, compare_versions
from monitor.stats.compare import Contrast
from monitor.stats.measure import METRICS
from monitor.stats.values import Value
from monitor.store.catalog import Model, version_names

BETTER, WORSE, OTHER, UNCLEAR, UNKNOWN = "better", "worse", "different", "no clear difference", ""
_TONES = {BETTER: "good", WORSE: "bad", OTHER: "info", UNCLEAR: "quiet", UNKNOWN: "quiet"}


@dataclass(frozen=True)
class Line:
    """A metric of both versions as text; `verdict` says which way the interval of the difference lies."""

    title: str
    baseline: str
    candidate: str
    difference: str
    interval: str
    verdict: str
    bar: Markup
    sub: str = ""
    agreement: str = ""

    @property
    def tone(self) -> str:
        return _TONES[self.verdict]


@dataclass(frozen=True)
class VersionsPage:
    model: Model
    zone: Zone
    stretch: Stretch
    known: Sequence[str]
    baseline: str
    candidate: str
    found: Comparison | None
    sentence: str
    performance: Sequence[Line]
    service: Sequence[Line]
    segments: Sequence[Line]
    with_pairs: bool
    most_rows: int = MOST_ROWS


def load(
    connection: Connection,
    model: Model,
    stretch: Stretch,
    baseline: str | None,
    candidate: str | None,
    with_pairs: bool,
) -> VersionsPage:
    """The newest version beside the one before it, unless others are named.

    Raises:
        Invalid: a version is not known, or both are the same.
    """
    known = [name for _, name in sorted(version_names(connection, model.id).items(), reverse=True)]
    zone = Zone(model.config.timezone)
    if len(known) < 2:
        return VersionsPage(model, zone, stretch, known, "", "", None, "", [], [], [], with_pairs)
    new = known[0] if candidate is None else candidate
    old = next(name for name in known if name != new) if baseline is None else baseline
    found = compare_versions(connection, model, old, new, stretch.from_us, stretch.to_us, with_pairs=with_pairs)
    performance = [_line(one) for one in found.performance if one.difference.value is not None]
    service = [_line(one) for one in found.service if one.difference.value is not None]
    segments = [_segment(one) for one in _by_strength(found.segments)]
    return VersionsPage(
        model=model,
        zone=zone,
        stretch=stretch,
        known=known,
        baseline=old,
        candidate=new,
        found=found,
        sentence=_sentence(found, performance, service, segments),
        performance=performance,
        service=service,
        segments=segments,
        with_pairs=with_pairs,
    )


def verdict(metric: str, difference: Value) -> str:
    """Which way the whole interval lies, in words."""
    if difference.value is None or difference.low is None or difference.high is None:
        return UNKNOWN
    if difference.low <= 0 <= difference.high:
        return UNCLEAR
    direction = METRICS[metric].direction
    if direction == "none":
        return OTHER
    return BETTER if (difference.value > 0) == (direction == "higher") else WORSE


def _line(one: Contrast) -> Line:
    unit, said = words.unit(one.metric), verdict(one.metric, one.difference)
    if unit == "share":
        difference, interval = formats.points(one.difference.value, one.difference.low, one.difference.high)
    else:
        difference = formats.signed(one.difference.value, unit)
        interval = formats.interval(one.difference.low, one.difference.high, unit)
    return Line(
        title=words.metric(one.metric),
        baseline=formats.number(one.baseline.value, unit),
        candidate=formats.number(one.candidate.value, unit),
        difference=difference,
        interval=interval,
        verdict=said,
        bar=span_bar(one.difference.low, one.difference.value, one.difference.high, f"{difference}, {interval}"),
    )


def _segment(one: Part) -> Line:
    line = _line(one.contrast)
    rows = f"{formats.count(one.rows[0])} and {formats.count(one.rows[1])} rows"
    agreement = formats.percent(one.agreement.value) if one.agreement.value is not None else ""
    return Line(**{**line.__dict__, "title": one.name, "sub": rows, "agreement": agreement})


def _by_strength(parts: Sequence[Part]) -> list[Part]:
    """Clear differences first, the largest of them on top; then the others, by rows."""

    def key(part: Part) -> tuple[bool, float, int]:
        difference = part.contrast.difference
        clear = verdict(part.contrast.metric, difference) in (BETTER, WORSE, OTHER)
        return not clear, -abs(difference.value or 0) if clear else 0, -sum(part.rows)

    return sorted(parts, key=key)


def _sentence(found: Comparison, lines: Sequence[Line], service: Sequence[Line], segments: Sequence[Line]) -> str:
    """What a hurried reader takes away."""
    if not found.baseline.rows or not found.candidate.rows:
        empty = found.baseline if not found.baseline.rows else found.candidate
        return f"Version {empty.version or '(none)'} has no rows in this stretch."
    name = f"Version {found.candidate.version}"
    if not lines:
        said = [f"No outcomes of both versions yet: whether {name.lower()} is better cannot be said"]
    else:
        parts = [f"clearly {word} by {_listed(them)}" for word in (BETTER, WORSE) if (them := _named(lines, word))]
        known = ", and ".join(parts) or f"neither clearly better nor clearly worse than {found.baseline.version}"
        said = [f"{name} is {known}"]
    late = (_named(service[:1], WORSE) and "slower") or (_named(service[:1], BETTER) and "faster")
    if late:
        said.append(f"It is {late} by {service[0].difference.lstrip('+' + formats.MINUS)} in the median")
    for word in (WORSE, BETTER):
        them = _named(segments, word)
        if them:
            where = _listed(them) if len(them) <= 3 else f"{len(them)} of {len(segments)} segments"
            said.append(f"In {where} it is clearly {word}")
    return ". ".join(said) + "."


def _named(lines: Sequence[Line], said: str) -> list[str]:
    return [line.title for line in lines if line.verdict == said]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
