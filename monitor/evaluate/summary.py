"""One value over a whole stretch, and the distribution of a feature in it, merged from profiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sqlalchemy.engine import Connection

from monitor.errors import Invalid
from monitor.evaluate import material
from monitor.evaluate import rows as rows_of
from monitor.evaluate.cuts import Shelf
from monitor.evaluate.deltas import columns_for, segment_names
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.loaded import Reference, binning_numbered, reference_for, with_schema
from monitor.evaluate.query import Asked, Query, check, segment_of
from monitor.stats.binning import Binning
from monitor.stats.bins import NumericBins
from monitor.stats.exact import exact_metric
from monitor.stats.measure import measure_one
from monitor.stats.profile import Profile
from monitor.stats.rows import Ints, Rows
from monitor.stats.values import Value
from monitor.store import profiles
from monitor.store.catalog import Model
from monitor.store.outcomes import Held

EXACT_ROWS = 5_000_000
BARS = 32


@dataclass(frozen=True)
class Summary:
    """One value over a stretch; `n` rows behind it, `labelled` rows with an outcome, `coverage` as in a series."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    labelled: int
    coverage: float | None


@dataclass(frozen=True)
class Distribution:
    """Rows of a feature by bin, in a stretch and in the reference.

    `kind` numeric: `edges` has one more than `current`; rows below or above the reference's range are in the first and
    the last bin; `discrete`: each bin begins with the only value that the reference has in it. `kind` categorical:
    `labels` name the bins. `rows` and `reference_rows` are all rows, those without a value too.
    """

    kind: str
    labels: list[str]
    edges: list[float]
    current: list[int]
    reference: list[int]
    rows: int
    reference_rows: int
    reference_number: int | None
    discrete: bool = False


def summary(connection: Connection, model: Model, query: Query, now: int, exact: bool = False) -> Summary:
    """The metric over [from, to), exact to the row in what it counts.

    Args:
        now: the model's clock.
        exact: read the rows instead of merging profiles: ranking metrics and quantiles without bins.

    Raises:
        Invalid: the query cannot be answered; names the field.
    """
    model = with_schema(connection, model)
    asked = check(connection, model, query, now)
    shelf = KeptShelf(connection, model, asked.want)
    if exact:
        return _exact(connection, shelf, asked)
    profile = shelf.profile(asked.from_at, asked.to_at)
    if profile is None:
        return Summary(None, None, None, 0, 0, None)
    reference = _reference(connection, shelf.model, asked, profile.binning)
    against = None if reference is None else reference.profile
    if asked.segment is not None:
        segment = segment_of(profile.binning, asked.segment)
        profile = profile.segment(*segment)
        against = None if against is None else against.segment(*segment)
    if asked.feature is not None and ("feature", asked.feature) not in profile.layout.slices:
        return Summary(None, None, None, 0, profile.labelled, None)
    value = measure_one(profile, against, asked.metric.name, asked.feature)
    return _shown(asked, value, profile.rows, profile.labelled)


def _reference(connection: Connection, model: Model, asked: Asked, binning: Binning) -> Reference | None:
    if not asked.metric.reference:
        return None
    return reference_for(connection, model.id, binning.number, asked.want.version_id)


def _shown(asked: Asked, value: Value, rows: int, labelled: int) -> Summary:
    if not rows:
        coverage = None
    else:
        coverage = labelled / rows if asked.metric.labels else min(1.0, value.n / rows)
    return Summary(value.value, value.low, value.high, value.n, labelled, coverage)


# ---------------------------------------------------------------- from rows


def _exact(connection: Connection, shelf: Shelf, asked: Asked) -> Summary:
    model = shelf.model
    stored = profiles.current_binning(connection, model.id)
    if stored is None:
        return Summary(None, None, None, 0, 0, None)
    binning = binning_numbered(connection, model.id, stored.number)
    rows = _read(shelf, binning, asked)
    if rows is None:
        return Summary(None, None, None, 0, 0, None)
    base = _reference_rows(connection, model, asked, binning)
    if asked.segment is not None:
        segment = segment_of(binning, asked.segment)
        rows = _in_segment(binning, rows, *segment)
        base = None if base is None else _in_segment(binning, base, *segment)
    value = exact_metric(asked.metric.name, binning, rows, reference=base, feature=asked.feature)
    return _shown(asked, value, rows.n, int(rows.labelled().sum()))


def _read(shelf: Shelf, binning: Binning, asked: Asked) -> Rows | None:
    batches: list[pa.RecordBatch] = []
    held: list[Held | None] = []
    any_held = False
    count = 0
    for batch, outcomes in shelf.batches(asked.from_at, asked.to_at, columns_for(shelf.model, binning, with_id=True)):
        count += batch.num_rows
        if count > EXACT_ROWS:
            raise Invalid.field("exact", f"reads at most {EXACT_ROWS:,} rows: ask for less time, or without exact")
        batches.append(batch)
        any_held = any_held or outcomes is not None
        held.extend(outcomes if outcomes is not None else [None] * batch.num_rows)
    if not batches:
        return None
    model, features = shelf.model, shelf.model.features or {}
    whole, known = rows_of.join(batches, features), held if any_held else None
    return rows_of.to_rows(whole, model.task, features, segment_names(binning), known, model.config.slices)


def _reference_rows(connection: Connection, model: Model, asked: Asked, binning: Binning) -> Rows | None:
    reference = _reference(connection, model, asked, binning)
    found = None if reference is None else material.of_stored(connection, model, reference.stored)
    return None if found is None else found.rows(model, model.features or {}, segment_names(binning))


def _in_segment(binning: Binning, rows: Rows, name: str, value: str | None) -> Rows:
    """The rows of a segment; value None: of all values without counts of their own, and without any."""
    column = rows.segment(name)
    if column is None:
        return rows if value is None else rows.take(np.zeros(rows.n, dtype=np.bool_))
    own = dict(binning.segments)[name]
    if value is not None:
        wanted = [code for code, level in enumerate(column.levels) if level == value]
        return rows.take(np.isin(column.codes, wanted))
    named = [code for code, level in enumerate(column.levels) if level in own]
    return rows.take(~np.isin(column.codes, named))


# ---------------------------------------------------------------- distributions


def distribution(
    connection: Connection, model: Model, feature: str, from_us: int, to_us: int, shelf: Shelf | None = None
) -> Distribution:
    """How a feature's values lie in [from_us, to_us), and in the reference, by the binning's bins.

    `shelf`: of all live rows, in the same reading.

    Raises:
        Invalid: the model has no such feature.
    """
    model = with_schema(connection, model)
    kind = (model.features or {}).get(feature, "ignored")
    if kind == "ignored":
        raise Invalid.field("feature", "is not a feature of this model")
    profile = (shelf or KeptShelf(connection, model)).profile(from_us, to_us)
    number = profiles.current_number(connection, model.id) if profile is None else profile.binning.number
    nothing = Distribution("numeric" if kind == "numeric" else "categorical", [], [], [], [], 0, 0, None)
    if not number:
        return nothing
    binning = binning_numbered(connection, model.id, number)
    bins = next((one for one in binning.features if one.name == feature), None)
    if bins is None:
        return nothing
    reference = reference_for(connection, model.id, number, windows=False)
    against = None if reference is None else reference.profile
    labels, edges = ([], _edges(bins)) if isinstance(bins, NumericBins) else (_labels(bins.levels), [])
    return Distribution(
        kind="numeric" if edges else "categorical",
        labels=labels,
        edges=edges,
        current=_counts(profile, bins.name, isinstance(bins, NumericBins)),
        reference=_counts(against, bins.name, isinstance(bins, NumericBins)),
        rows=0 if profile is None else profile.rows,
        reference_rows=0 if against is None else against.rows,
        reference_number=None if reference is None else reference.stored.number,
        discrete=isinstance(bins, NumericBins) and bins.discrete and bins.k <= BARS,
    )


def _labels(levels: Sequence[str]) -> list[str]:
    return [*levels, "other known levels", "never seen before", "missing"]


def _edges(bins: NumericBins) -> list[float]:
    return [float(edge) for edge in bins.edges[_starts(bins.k)]] + [float(bins.edges[-1])]


def _starts(k: int) -> Ints:
    """The first fine bin of each bar."""
    return np.unique(np.arange(min(k, BARS)) * k // max(1, min(k, BARS))).astype(np.int64)


def _counts(profile: Profile | None, feature: str, numeric: bool) -> list[int]:
    if profile is None:
        return []
    counts = profile.of(("feature", feature))
    if not numeric:
        return [int(count) for count in counts]
    k = len(counts) - 5
    fine = counts[1 : k + 1].copy()
    if k:
        fine[0] += counts[0]
        fine[-1] += counts[k + 1]
    return [int(count) for count in np.add.reduceat(fine, _starts(k))] if k else []
