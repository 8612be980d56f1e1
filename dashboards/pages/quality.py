"""Data quality over time: what is missing, never seen or out of range, the features that got worst on top."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dashboards import figures, formats, matrices, words
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import charts
from dashboards.pages.charts import Chart, Empty
from dashboards.pages.stretch import Stretch
from monitor.evaluate import by_feature, windows
from monitor.evaluate.by_feature import Table, listed
from monitor.evaluate.kept import KeptShelf
from monitor.stats.measure import measure

FAULTS = ("missing_share", "unseen_share", "out_of_range_share")
FEATURES = 12  # rows of the chart
COLUMNS = 40
TOP = 0.1  # the share from which a cell is as dark as it gets
LEAST = 0.001  # above the reference; less is not shown
NOTHING = Empty(
    "Nothing to see here",
    "No feature has more values missing, never seen or out of range than the reference, by a tenth of a percent.",
)


@dataclass(frozen=True)
class Row:
    """A fault of a feature over time; `usual`: its share in the reference, 0 without one."""

    fault: str
    feature: str
    shares: Sequence[float | None]
    usual: float

    @property
    def highest(self) -> float:
        return max((share for share in self.shares if share is not None), default=0.0)

    @property
    def title(self) -> str:
        return f"{words.metric(self.fault)}: {self.feature}"


def chart(shelf: KeptShelf, stretch: Stretch, zone: Zone, links: Links) -> Chart:
    """Shares of rows with a fault, of the features that rose most above the reference, in about forty steps."""
    title, model = "Data quality", shelf.model
    size = stretch.step_at_least((stretch.to_us - stretch.from_us) / COLUMNS)
    steps = windows.spans(stretch.from_us, stretch.to_us, size, model.config.timezone)
    found = by_feature.tables(shelf, steps, FAULTS)
    if not any(np.isfinite(table.values).any() for table in found.values()):
        return Chart("quality", title, f"{title}: no data.", None, wide=True, empty=charts.NO_ROWS)
    worst = sorted(_worse(found, _usual(shelf)), key=lambda row: row.usual - row.highest)
    if not worst:
        return Chart("quality", title, f"{title}: nothing got worse.", None, wide=True, empty=NOTHING)
    rows = worst[:FEATURES]
    urls = [links.feature(model.name, row.feature, **stretch.query) for row in rows]
    edges = [figures.at(start) for start, _ in steps] + [figures.at(steps[-1][1])]
    figure = matrices.heatmap(
        edges, [row.title for row in rows], [row.shares for row in rows], urls, top=TOP, told="%{z:.1%} of rows"
    )
    note = f"Share of rows per {formats.per(size)}, what rose most above the reference on top; a click opens it."
    if len(worst) > len(rows):
        note += f" The first {len(rows)} of {len(worst)}."
    lines = [
        [
            row.title,
            formats.percent(next((share for share in reversed(row.shares) if share is not None), None)),
            formats.percent(row.highest),
            formats.percent(row.usual),
        ]
        for row in rows
    ]
    return Chart(
        "quality",
        title,
        f"{title}: worst is {rows[0].title}, up to {formats.percent(rows[0].highest)} of rows.",
        charts.over(figure, steps[0][0], steps[-1][1], zone, size),
        charts.Table(["Fault", "Last", "Highest", "In the reference"], lines, len(worst)),
        note=note,
        size="rows-0" if len(rows) <= 4 else "rows-1" if len(rows) <= 8 else "rows-2",
        wide=True,
        links=[(row.title, url) for row, url in zip(rows, urls, strict=True)],
    )


def _worse(found: Mapping[str, Table], usual: Mapping[tuple[str, str], float]) -> Iterator[Row]:
    """The faults of features that rose above the reference."""
    for fault, table in found.items():
        highest = np.nanmax(table.values, axis=1, initial=0.0, where=np.isfinite(table.values))
        before = np.array([usual.get((fault, feature), 0.0) for feature in table.features])
        for at in np.flatnonzero(highest - before > LEAST).tolist():
            yield Row(fault, table.features[at], listed(table.values[at]), float(before[at]))


def _usual(shelf: KeptShelf) -> dict[tuple[str, str], float]:
    """The same shares in the newest reference."""
    number = shelf.newest()
    reference = None if number is None else shelf.reference(number)
    if reference is None:
        return {}
    found = measure(reference.profile, reference.profile, FAULTS)
    return {
        (fault, feature): share
        for fault in FAULTS
        for feature, share in zip(found.names, found.features[fault].tolist(), strict=True)
        if math.isfinite(share)
    }
