"""Columns of rows for a classifier, and the products of them in which two samples differ most."""

from collections.abc import Mapping, Sequence

import numpy as np

from monitor.stats.bins import Bins, NumericBins
from monitor.stats.rows import Codes, Column, Floats, Ints, Numbers

MOST_COLUMNS = 120
MOST_TERMS = 24
LEVELS = 6  # of a categorical feature that have a column
LEAST_SHARE = 0.02  # of a level
SCREENED = 4000  # rows of a sample that all products are compared on
_EACH = 40  # products of each order that are looked at exactly

Terms = tuple[tuple[int, ...], ...]  # columns that are multiplied


class Encoding:
    """How rows become columns of about mean 0 and variance 1 in the reference, from -sqrt(3) to sqrt(3) for numbers.

    A number becomes its rank in the reference (the middle of its bin), spread evenly; an absent one 0. A level becomes
    whether it is that one. `feature` int64[p]: the place of each column's feature among the binning's.
    """

    def __init__(self, features: Sequence[Bins], counts: Sequence[Ints]) -> None:
        self._features = features
        self._tables: list[Floats] = []
        owners: list[int] = []
        for place, (bins, counted) in enumerate(zip(features, counts, strict=True)):
            table = _ranks(bins, counted) if isinstance(bins, NumericBins) else _levels(counted[:-3])
            table = table if isinstance(bins, NumericBins) else np.vstack([table, np.zeros((3, table.shape[1]))])
            if len(owners) + table.shape[1] > MOST_COLUMNS:
                table = table[:, : max(MOST_COLUMNS - len(owners), 0)]
            self._tables.append(table)
            owners += [place] * table.shape[1]
        self.feature = np.asarray(owners, np.int64)
        self.names = [bins.name for bins in features]

    def columns(self, features: Mapping[str, Column], n: int) -> Floats:
        """float32[n, p] of a batch's features by name."""
        parts: list[Floats] = [np.zeros((n, 0))]
        for bins, table in zip(self._features, self._tables, strict=True):
            if not table.shape[1]:
                continue
            column = features.get(bins.name)
            if isinstance(bins, NumericBins):
                slots = bins.slots(column.values, column.missing) if isinstance(column, Numbers) else None
            else:
                slots = bins.slots(column) if isinstance(column, Codes) else None
            parts.append(np.zeros((n, table.shape[1])) if slots is None else table[slots])
        return np.asarray(np.hstack(parts).astype(np.float16), np.float32)  # as they are stored


def _ranks(bins: NumericBins, counts: Ints) -> Floats:
    """[slots, 1]; no column for a feature that does not vary."""
    inner = counts[: bins.missing].astype(float)
    rows = inner.sum()
    if rows <= 0 or (inner > 0).sum() < 2:
        return np.zeros((bins.size, 0))
    middle = (np.cumsum(inner) - inner / 2) / rows
    scores = np.sqrt(3.0) * (2 * middle - 1)
    mean = float(scores @ inner / rows)
    spread = float(np.sqrt(max((scores - mean) ** 2 @ inner / rows, 1e-9)))
    found = np.zeros((bins.size, 1))
    found[: bins.missing, 0] = (scores - mean) / spread
    return found


def _levels(counts: Ints) -> Floats:
    """[levels, columns]: the frequent levels, standardised; of all but one level where two are all there is."""
    rows = max(float(counts.sum()), 1.0)
    share = counts / rows
    kept = np.flatnonzero((share >= LEAST_SHARE) & (share <= 1 - LEAST_SHARE))[:LEVELS]
    if kept.size == 2 and counts.size == 2:
        kept = kept[:1]
    found = (np.arange(counts.size)[:, None] == kept) - share[kept]
    return np.asarray(found / np.sqrt(share[kept] * (1 - share[kept])))


def values(terms: Terms, columns: Floats) -> Floats:
    """float64[n, T]: the products."""
    found = np.empty((columns.shape[0], len(terms)))
    for place, term in enumerate(terms):
        product = columns[:, term[0]].astype(np.float64)
        for column in term[1:]:
            product = product * columns[:, column]
        found[:, place] = product
    return found


def chosen(old: Floats, new: Floats) -> Terms:
    """The products of one, two and three columns whose means differ most between two samples, [n, p] each.

    All are compared by matrix products; those that look largest are then held against their own error.
    """
    p = old.shape[1]
    if not p or old.shape[0] < 3 or new.shape[0] < 3:
        return ()
    candidates: list[tuple[int, ...]] = [(column,) for column in range(p)]
    whole = (old, new)
    old, new = (side[:: max(1, side.shape[0] // SCREENED)] for side in whole)
    first, second = np.triu_indices(p, 1)
    pairs = (new.T @ new / new.shape[0] - old.T @ old / old.shape[0])[first, second]
    top = np.argsort(-np.abs(pairs), kind="stable")[:_EACH]
    candidates += list(zip(first[top].tolist(), second[top].tolist(), strict=True))
    triples: list[tuple[float, tuple[int, ...]]] = []
    for column in range(p - 2):
        rest = slice(column + 1, None)
        a, b = old[:, rest], new[:, rest]
        gap = (b * new[:, column : column + 1]).T @ b / new.shape[0]
        gap -= (a * old[:, column : column + 1]).T @ a / old.shape[0]
        i, j = np.triu_indices(gap.shape[0], 1)
        size = np.abs(gap[i, j])
        best = np.argsort(-size, kind="stable")[:_EACH]
        found = zip(size[best].tolist(), i[best].tolist(), j[best].tolist(), strict=True)
        triples += [(one, (column, column + 1 + left, column + 1 + right)) for one, left, right in found]
    triples.sort(key=lambda one: -one[0])
    candidates += [term for _, term in triples[:_EACH]]
    a, b = (values(tuple(candidates), side) for side in whole)
    error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
    z = np.abs(b.mean(axis=0) - a.mean(axis=0)) / np.maximum(error, 1e-9)
    z[error <= 1e-9] = 0.0
    order = np.argsort(-z, kind="stable")[:MOST_TERMS]
    return tuple(candidates[place] for place in order.tolist() if z[place] > 0)
