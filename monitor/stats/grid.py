"""A uniform grid over uneven edges: finds the bins of many values ten times faster than bisection."""

from dataclasses import dataclass

import numpy as np

from monitor.stats.edges import TAIL
from monitor.stats.rows import Bools, Floats, Ints

CELLS = 8192
_MOST_CROWDED = 0.6  # of the bins: beyond, bisecting all values is as quick
_SORTED_FROM = 0.1  # of the bins crowded: from there on, counting sorts instead


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of equal width over the edges, one for what lies before them and one for what lies after.

    The map from a value to its cell is monotone in floating point too, so in a cell without edges every value has the
    same slot, and in a cell with one edge a comparison decides. Only values in cells with more edges, which are
    `crowded`, are bisected. The result is exact.

    `slots` int64[CELLS + 2]: the number of edges before each cell; `bounds` float64[CELLS + 2]: the edge in the cell,
    infinity where there is none; `crowded` bool[CELLS + 2], None where no cell is; `share`: about how many of the
    reference's rows lie in crowded cells. A value's cell is (value - before) * scale, truncated; `whole`: no edge lies
    outside of the grid.
    """

    edges: Floats
    before: float
    scale: float
    slots: Ints
    bounds: Floats
    crowded: Bools | None
    share: float
    whole: bool

    @classmethod
    def over(cls, edges: Floats) -> "Grid | None":
        """The grid of rising edges, None where it would be of no use. The ends of a heavy tail, which would make cells
        wide and hold few rows, stay outside of it."""
        if len(edges) < 4:
            return None
        tail = TAIL + 1 if len(edges) > 4 * TAIL + 1 else 1
        found = [cls._between(edges, skipped) for skipped in (0, tail)]
        best = min((grid for grid in found if grid is not None), key=lambda grid: grid.share, default=None)
        return best if best is not None and best.share <= _MOST_CROWDED else None

    @classmethod
    def _between(cls, edges: Floats, skipped: int) -> "Grid | None":
        first, last = float(edges[skipped]), float(edges[-skipped - 1])
        with np.errstate(over="ignore", invalid="ignore"):
            scale = (CELLS - 0.5) / (last - first) if last > first else np.inf
            before = first - 1.0 / scale if scale > 0 else np.nan
        if not (np.isfinite(scale) and np.isfinite(before)):  # the range is too narrow or too wide for a float
            return None
        cells = _cells(edges, before, scale)
        inside = np.bincount(cells, minlength=CELLS + 2)
        crowded = inside > 1
        bounds = np.full(CELLS + 2, np.inf)
        bounds[cells] = edges
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            widths = np.fmin(1.0, 1.0 / (np.diff(edges) * scale))
        # Bins hold about equal parts of the rows, those at the ends (which are halves of halves) far fewer.
        share = float(np.where(crowded[cells[:-1]], widths, 0.0)[skipped : len(edges) - 1 - skipped].mean())
        slots = np.searchsorted(cells, np.arange(CELLS + 2), side="left").astype(np.int64)
        return cls(edges, before, scale, slots, bounds, crowded if crowded.any() else None, share, skipped == 0)

    def locate(self, finite: Floats, *, within: bool = False) -> Ints:
        """int64[n]: the number of edges at or below each value; `within`: none is below the first or at the last."""
        cells = _cells(finite, self.before, self.scale, clip=not (within and self.whole))
        slots = self.slots.take(cells)
        slots += finite >= self.bounds.take(cells)
        if self.crowded is not None:
            unsure = np.flatnonzero(self.crowded.take(cells))
            slots[unsure] = np.searchsorted(self.edges, finite[unsure], side="right")
        return slots

    @property
    def sorts(self) -> bool:
        """Whether so many values lie in crowded cells that a histogram is made faster by sorting them."""
        return self.share > _SORTED_FROM


def count_sorted(edges: Floats, finite: Floats) -> Ints:
    """int64[len(edges) + 1]: how many values have each slot, by sorting the values."""
    reached = np.empty(len(edges) + 2, dtype=np.int64)
    reached[0], reached[-1] = 0, len(finite)
    reached[1:-1] = np.searchsorted(np.sort(finite), edges, side="left")
    return reached[1:] - reached[:-1]


def _cells(values: Floats, before: float, scale: float, *, clip: bool = True) -> Ints:
    with np.errstate(over="ignore"):
        cells = values - before
        cells *= scale
    if clip:
        np.clip(cells, 0.0, CELLS + 1.0, out=cells)
    return cells.astype(np.int64)  # truncation is floor here
