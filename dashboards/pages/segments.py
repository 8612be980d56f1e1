"""A model's segments as a list: how much of the traffic, how well the model does there, how far its inputs moved."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.engine import Connection

from dashboards import formats, words
from dashboards.asked import one_of
from dashboards.formats import Zone
from dashboards.pages import performance
from dashboards.pages.stretch import Stretch
from monitor import clock
from monitor.evaluate.cuts import Want
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.query import OTHER
from monitor.stats.measure import METRICS, measure
from monitor.stats.profile import Profile
from monitor.stats.values import Value
from monitor.store.catalog import Model

LATELY = 7 * clock.DAY  # what a page about something else measures of its segments: more takes it too long
LEAST_ROWS = 200  # of fewer, the PSI of ten bins is about 0.05 by chance alone, and the highest of many features more


@dataclass(frozen=True)
class Line:
    """A segment. `text` is NAME:VALUE; `share` of all rows; `value` and `reference` of the metric as text, empty where
    too few rows have an outcome; `psi` of the feature that was asked for, else of
    `moved`; None where rows are too few or there is no reference."""

    text: str
    name: str
    rows: int
    share: float
    value: str
    interval: str
    reference: str
    labelled: int
    moved: str
    psi: float | None
    rank: float


@dataclass(frozen=True)
class Segments:
    """The segments with rows in [from_us, to_us), the worst first; `is_whole`: that is all of the page's stretch."""

    lines: Sequence[Line]
    metric: str
    from_us: int
    to_us: int
    is_whole: bool

    @property
    def when(self) -> str:
        """What stands behind the title of a part of a page that shows less than its stretch."""
        return "" if self.is_whole else f", the last {formats.span(self.to_us - self.from_us)} of this stretch"


@dataclass(frozen=True)
class SegmentsPage:
    model: Model
    zone: Zone
    stretch: Stretch
    metrics: Sequence[str]
    found: Segments


def load(connection: Connection, model: Model, stretch: Stretch, metric: str | None) -> SegmentsPage:
    """Every segment, by one of the task's metrics."""
    offered = words.PERFORMANCE[model.task]
    chosen = one_of("metric", metric, offered) or offered[0]
    found = measured(connection, model, stretch, chosen)
    return SegmentsPage(model, Zone(model.config.timezone), stretch, offered, found)


def measured(
    connection: Connection,
    model: Model,
    stretch: Stretch,
    metric: str,
    feature: str | None = None,
    longest: int | None = None,
) -> Segments:
    """Every segment with rows, from the profiles of the stretch, of its end alone where it is longer than `longest`.

    Worst first: by the metric, then those of which it is not known, by PSI. PSI is that of `feature`, else of the
    feature that moved most in the segment.
    """
    from_us = stretch.from_us if longest is None else max(stretch.from_us, stretch.to_us - longest)
    shelf = KeptShelf(connection, model, Want(segments=True))

    def lines(profile: Profile) -> list[Line]:
        found = shelf.reference(profile.binning.number)
        reference = None if found is None else found.profile
        made = [_line(profile, reference, key, metric, feature) for key in profile.binning.segment_rows]
        return sorted((line for line in made if line.rows), key=lambda line: (line.rank, -(line.psi or 0), -line.rows))

    name = ("segments", metric, feature)
    found = shelf.of_profile(from_us, stretch.to_us, name, lines, lambda made: 500 * len(made))
    return Segments(found or [], metric, from_us, stretch.to_us, from_us == stretch.from_us)


def _line(
    profile: Profile, reference: Profile | None, key: tuple[str, str | None], metric: str, feature: str | None
) -> Line:
    part = profile.segment(*key)
    before = None if reference is None or reference.segments is None else reference.segment(*key)
    here = measure(part, before, (metric, "psi"))
    value = here.values.get(metric, Value())
    there = Value() if before is None else measure(before, None, (metric,)).values.get(metric, Value())
    known, unit = performance.is_enough(metric, value), words.unit(metric)
    moved, psi = _psi(here.names, here.features["psi"], feature) if part.rows >= LEAST_ROWS else ("", None)
    return Line(
        text=text_of(key),
        name=key[0],
        rows=part.rows,
        share=part.rows / profile.rows if profile.rows else 0.0,
        value=performance.headline(metric, value),
        interval=formats.interval(value.low, value.high, unit) if known else "",
        reference=performance.headline(metric, there),
        labelled=part.labelled,
        moved=moved if feature is None else "",
        psi=psi,
        rank=_badness(metric, value) if known else math.inf,
    )


def text_of(key: tuple[str, str | None]) -> str:
    """NAME:VALUE, as the API and alerts write a segment."""
    name, value = key
    return f"{name}:{OTHER if value is None else value}"


def _badness(metric: str, value: Value) -> float:
    """Ascending from the worst."""
    assert value.value is not None
    return value.value if METRICS[metric].direction == "higher" else -value.value


def _psi(
    names: Sequence[str], values: np.ndarray[tuple[int], np.dtype[np.float64]], feature: str | None
) -> tuple[str, float | None]:
    """The feature that moved most, or the one asked for, with its PSI."""
    known = [
        (float(value), name)
        for name, value in zip(names, values.tolist(), strict=True)
        if math.isfinite(value) and (feature is None or name == feature)
    ]
    if not known:
        return "", None
    psi, name = max(known)
    return name, psi
