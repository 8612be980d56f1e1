"""The list of a model's features: kind, drift, missing values and importance; what matters and drifted most first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards.formats import Zone
from dashboards.pages import alerts, drift
from dashboards.pages.stretch import Stretch
from monitor.evaluate.kept import KeptShelf
from monitor.stats.measure import measure
from monitor.store.catalog import Model


@dataclass(frozen=True)
class Row:
    """A feature; `psi` and `missing` over the stretch, None where there is nothing to measure; its `importance` in the
    reference, None where that does not say; its open alert."""

    name: str
    kind: str
    psi: float | None
    missing: float | None
    importance: float | None
    alert: alerts.Line | None


@dataclass(frozen=True)
class FeaturesPage:
    model: Model
    zone: Zone
    stretch: Stretch
    rows: Sequence[Row]
    counted: int
    reference: bool
    search: str = ""

    @property
    def order(self) -> str:
        """How the rows are ordered, in words."""
        known = any(row.importance is not None for row in self.rows)
        return f"ordered by PSI × {drift.IMPORTANCE}" if known else "the most drifted first"


def load(connection: Connection, model: Model, stretch: Stretch, search: str = "") -> FeaturesPage:
    """Every monitored feature whose name holds `search`, in any case, measured once over the stretch."""
    shelf = KeptShelf(connection, model)
    profile = shelf.profile(stretch.from_us, stretch.to_us)
    psi: dict[str, float | None] = {}
    missing: dict[str, float | None] = {}
    reference = None
    if profile is not None:
        reference = shelf.reference(profile.binning.number)
        against = None if reference is None else reference.profile
        found = measure(profile, against, ("psi", "missing_share"))
        psi = dict(zip(found.names, map(_finite, found.features["psi"].tolist()), strict=True))
        missing = dict(zip(found.names, map(_finite, found.features["missing_share"].tolist()), strict=True))
    importance = {} if reference is None else reference.importance
    named = _named(alerts.of_model(connection, model))
    rows = [
        Row(name, kind, psi.get(name), missing.get(name), importance.get(name), named.get(name))
        for name, kind in (model.features or {}).items()
        if kind != "ignored" and search.casefold() in name.casefold()
    ]
    return FeaturesPage(
        model=model,
        zone=Zone(model.config.timezone),
        stretch=stretch,
        rows=sorted(rows, key=lambda row: drift.rank(row.psi, row.importance)),
        counted=0 if profile is None else profile.rows,
        reference=reference is not None,
        search=search,
    )


def _named(lines: Sequence[alerts.Line]) -> dict[str, alerts.Line]:
    """The most severe open alert that names each feature."""
    named: dict[str, alerts.Line] = {}
    for line in lines:
        for cause in line.causes if line.is_open else ():
            if cause.feature is not None:
                named.setdefault(cause.feature, line)
    return named


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
