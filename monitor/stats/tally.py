"""Counting under way: slots and sums of rows, into the whole and into every segment at once."""

from collections.abc import Iterator

import numpy as np

from monitor.stats.additive import Profile, Segments, carried
from monitor.stats.binning import Binning
from monitor.stats.bins import NumericBins
from monitor.stats.layout import Key
from monitor.stats.pairs import UNIT as PAIR_UNIT
from monitor.stats.rows import Bools, Chosen, Codes, Floats, Ints, Rows

RUN = 131_072
_EXACT = 8192  # integers up to 2**40 add up exactly in float64
_PIECE = 2**17  # multiplications; OpenBLAS takes more threads from 2**18 on
_TOP = 2.0**62  # quanta: a value beyond 2**22 units counts as 2**22 units


class Tally:
    """Counts and sums under way, of the whole and of every segment."""

    def __init__(self, binning: Binning, rows: Rows) -> None:
        self.binning, self.n = binning, rows.n
        self.found = Profile(binning)
        self.counts, self.sums = self.found.counts, self.found.sums
        self.groups: list[tuple[int, int, Ints]] = []  # first row of the matrix, number of values, value of each row
        first = 0
        for name, values in binning.segments:
            self.groups.append((first, len(values) + 1, _segment_codes(rows.segment(name), values, rows.n)))
            first += len(values) + 1
        self.matrix = np.zeros((first, binning.coarse.size), dtype=np.int64)
        self.matrix_sums = np.zeros((first, len(binning.coarse.quantities), 2), dtype=np.int64)

    def add(self, key: Key, slots: Ints, chosen: Chosen) -> Ints:
        """Counts the slots of some rows; gives their histogram."""
        where = self.binning.whole.slices[key]
        counted: Ints = np.bincount(slots, minlength=where.stop - where.start)
        self.counts[where] += counted
        if self.groups:
            coarse = self.binning.coarse.slices[key]
            width = coarse.stop - coarse.start
            slots = self.binning.coarse_slots[key][slots]
            for first, many, codes in self.groups:
                joint = np.bincount(codes[chosen] * width + slots, minlength=many * width)
                self.matrix[first : first + many, coarse] += joint.reshape(many, width)
        return counted

    def add_counts(self, key: Key, counted: Ints) -> None:
        """Adds a histogram of slots; only where there are no segments."""
        self.counts[self.binning.whole.slices[key]] += counted

    def add_whole(self, key: Key, slots: Ints) -> None:
        for run in runs(self.n):
            self.add(key, slots[run], run)

    def add_all(self, key: Key, slot: int) -> None:
        """Every row in the same slot."""
        self.counts[self.binning.whole.slices[key].start + slot] += self.n
        at = self.binning.coarse.slices[key].start + int(self.binning.coarse_slots[key][slot])
        for first, many, codes in self.groups:
            self.matrix[first : first + many, at] += np.bincount(codes, minlength=many)

    def add_sum(self, key: Key, values: Floats, chosen: Chosen) -> None:
        """Adds the values (at most a run, in natural units) of some rows to a sum."""
        quantity = self.binning.whole.quantities[key]
        with np.errstate(over="ignore"):
            quanta = np.rint(np.clip(values * (2.0**40 / quantity.unit), -_TOP, _TOP))
        high = np.floor(quanta * 2.0**-32)
        low = quanta - high * 2.0**32
        self.sums[quantity.row] += (int(high.sum()), int(low.sum()))
        for first, many, codes in self.groups if key in self.binning.coarse.quantities else ():
            for part, weights in enumerate((high, low)):
                joint = np.bincount(codes[chosen], weights=weights, minlength=many)
                self.matrix_sums[first : first + many, quantity.row, part] += joint.astype(np.int64)

    def add_numeric(self, key: Key, bins: NumericBins, values: Floats | None, missing: Bools | None = None) -> None:
        """A numeric signal other than a feature; NaN means absent in latency, score and delay."""
        if values is None:
            self.add_all(key, bins.missing)
            return
        for run in runs(len(values)):
            slots = bins.slots(values[run], None if missing is None else missing[run])
            if key != "prediction":
                slots[slots == bins.nan] = bins.missing
            self.add(key, slots, run)

    def add_small(self, key: Key, quanta: Floats) -> None:
        """The quick way for a sum of values within one unit of 0: the quanta of 8,192 add up exactly in float64.

        For sums that segments do not keep. `quanta` are 2**-40 units, and are rounded in place.
        """
        np.rint(quanta, out=quanta)
        total = int(np.add.reduceat(quanta, np.arange(0, len(quanta), _EXACT)).astype(np.int64).sum())
        self.sums[self.binning.whole.quantities[key].row] += (total >> 32, total & 0xFFFFFFFF)

    def add_products(self, scores: Floats) -> None:
        """Sums of products of every two rows of a run's scores [features, rows], multiples of 1/1024 below 4."""
        first, second = np.triu_indices(len(scores), 1)
        if first.size:
            row = self.binning.whole.quantities["pair", "0"].row
            quanta = (_products(scores)[first, second] * (2.0**40 / PAIR_UNIT)).astype(np.int64)
            self.sums[row : row + first.size, 0] += quanta >> 32
            self.sums[row : row + first.size, 1] += quanta & 0xFFFFFFFF

    def profile(self) -> Profile:
        flat = self.matrix.ravel()
        at = np.flatnonzero(flat != 0)  # looks through truth values, five times as fast as through numbers
        carried(self.sums)
        self.found.segments = Segments(at, flat[at], carried(self.matrix_sums))
        return self.found


def _products(scores: Floats) -> Floats:
    """scores @ scores.T, exact for multiples of 1/1024, in pieces that BLAS does in the calling thread.

    For a whole run it would wake its other threads, which gain nothing on so thin a matrix and then wait for more work
    at full speed: twice the processor time, taken from whoever reads the next rows.
    """
    size = max(1, _PIECE // len(scores) ** 2)
    whole = scores.shape[1] // size * size
    pieces = scores[:, :whole].reshape(len(scores), -1, size).swapaxes(0, 1)
    rest = scores[:, whole:]
    found: Floats = (pieces @ pieces.swapaxes(1, 2)).sum(axis=0) + rest @ rest.T
    return found


def runs(n: int) -> Iterator[slice]:
    for first in range(0, n, RUN):
        yield slice(first, min(first + RUN, n))


def _segment_codes(column: Codes | None, values: tuple[str, ...], n: int) -> Ints:
    if column is None:
        return np.full(n, len(values), dtype=np.int64)
    place = {value: slot for slot, value in enumerate(values)}
    of = [place.get(level, len(values)) for level in column.levels]
    return np.asarray([*of, len(values)], dtype=np.int64)[column.codes]
