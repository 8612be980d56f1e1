"""The search for slices whose loss rose: a beam over runs of bins and their crossings. It proves nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.stats.rows import Floats, Ints
from monitor.stats.slice_rows import TINY, Feature, Part, Parts, Stretch, holds, residuals, tables_of, variances

MOST = 8  # slices that are found
WIDTH = 24  # runs that are crossed with the others
FLOOR = 2.5  # score below which nothing is worth a test
PRIOR_ROWS = 20  # rows of the usual variance that steady that of a slice
MARGIN = 2.0  # by how much more a crossing must score than its parent
LEAST_ROWS = 30  # of a slice in each stretch
LEAST_SHARE = 0.01  # of the rows after


@dataclass(frozen=True, eq=False)
class Runs:
    """Every run of ordered bins but the whole of a feature, and every other bin alone, of all features: R in all.

    `feature`, `low`, `high` int64[R]; `first` int64[F]: where each feature's bins begin when all stand in a row of
    `bins`."""

    feature: Ints
    low: Ints
    high: Ints
    first: Ints
    bins: int

    @classmethod
    def of(cls, features: Sequence[Feature]) -> "Runs":
        parts = []
        for place, feature in enumerate(features):
            low, high = np.triu_indices(feature.ordered)
            kept = high - low < feature.ordered - (feature.ordered == feature.bins)
            alone = np.arange(feature.ordered, feature.bins)
            low, high = np.append(low[kept], alone), np.append(high[kept], alone)
            parts.append(np.stack([np.full(low.size, place), low, high]))
        found = np.hstack(parts).astype(np.int64) if parts else np.zeros((3, 0), np.int64)
        first = np.cumsum([0, *(feature.bins for feature in features)]).astype(np.int64)
        return cls(found[0], found[1], found[2], first[:-1], int(first[-1]))

    def part(self, place: int) -> Part:
        return Part(int(self.feature[place]), int(self.low[place]), int(self.high[place]))

    def sums(self, stretch: Stretch) -> Floats:
        """float64[3, R]: rows of every run, their sum of losses, and of squared losses."""
        by_bin = np.zeros((3, self.bins + 1))
        square = stretch.loss * stretch.loss
        for first, end, codes in zip(self.first, [*self.first[1:], self.bins], stretch.codes, strict=True):
            for table, weights in zip(by_bin, (None, stretch.loss, square), strict=True):
                table[first + 1 : end + 1] = np.bincount(codes, weights, int(end - first))
        total = np.cumsum(by_bin, axis=1)
        begin = self.first[self.feature]
        return np.asarray(total[:, begin + self.high + 1] - total[:, begin + self.low])


def search(
    before: Stretch, after: Stretch, features: Sequence[Feature], tolerance: float, tell: Callable[[float], None]
) -> tuple[list[Parts], int]:
    """The slices worth a test, best first, each among the rows that those before it leave; and how many runs and
    crossings were looked at for one."""
    chosen: list[Parts] = []
    runs, searched, least = Runs.of(features), 0, max(LEAST_ROWS, LEAST_SHARE * after.loss.size)
    for _ in range(MOST):
        best, score, count = _best(before, after, runs, tolerance, least)
        searched = max(searched, count)
        if score < FLOOR:
            break
        chosen.append(best)
        before, after = (one.take(~holds(best, one)) for one in (before, after))
        tell(len(chosen) / (MOST + 1))
    return chosen, searched


def _best(before: Stretch, after: Stretch, runs: Runs, tolerance: float, least: float) -> tuple[Parts, float, int]:
    """The slice of the highest score, its score, and how many were looked at."""
    whole = np.stack([_of_rows(before), _of_rows(after)])
    burst = _burst(before, after)

    def scored(inside: tuple[Stretch, Stretch]) -> tuple[Floats, int]:
        sums = np.stack([runs.sums(one) for one in inside])
        enough = (sums[0, 0] >= LEAST_ROWS) & (sums[1, 0] >= least)
        scores = np.full(enough.size, -np.inf)
        scores[enough] = _score(sums[:, :, enough], whole, tolerance, burst)
        return scores, int(enough.sum())

    scores, count = scored((before, after))
    best: Parts = ()
    top = -np.inf
    for place in np.argsort(-scores, kind="stable")[:WIDTH].tolist():
        score = float(scores[place])
        if not np.isfinite(score):
            break
        parent = runs.part(place)
        if score > top:
            best, top = (parent,), score
        crossed, more = scored((before.take(parent.holds(before)), after.take(parent.holds(after))))
        crossed[runs.feature == parent.feature] = -np.inf
        count += more
        at = int(crossed.argmax())
        if crossed[at] > max(top, score + MARGIN):
            best, top = (parent, runs.part(at)), float(crossed[at])
    return best, float(top), count


def _of_rows(stretch: Stretch) -> Floats:
    """float64[3, 1]: all rows, their sum of losses, and of squared losses."""
    return np.array([[stretch.loss.size], [stretch.loss.sum()], [stretch.loss @ stretch.loss]])


def _burst(before: Stretch, after: Stretch) -> float:
    """By how much the mean loss of blocks varies more than that of as many rows at random; at least 1."""
    tables = tables_of((before, after), [()])
    r0, r1 = residuals(tables)
    rows = sum(float(one.loss.var()) / max(one.loss.size, 1) for one in (before, after))
    return max(float(variances(r0)[0] + variances(r1)[0]) / max(rows, TINY), 1.0)


def _score(inside: Floats, whole: Floats, tolerance: float, burst: float) -> Floats:
    """float64[S]: the smaller of the z of the rise beyond the tolerance, and of the rise beyond that outside.

    inside [2, 3, S], whole [2, 3, 1]: before and after, their rows, sums and squares. The errors are those of rows,
    times `burst`: blocks are too few to tell the error of each of thousands of slices.
    """
    outside = whole - inside
    usual = np.maximum(whole[:, 2] / whole[:, 0] - (whole[:, 1] / whole[:, 0]) ** 2, TINY)
    rises, variances = [], []
    for sums in (inside, outside):
        rows = np.maximum(sums[:, 0], 1.0)
        mean = sums[:, 1] / rows
        own = np.maximum(sums[:, 2] - rows * mean * mean, 0.0)
        variance = (own + PRIOR_ROWS * usual) / (rows + PRIOR_ROWS) / rows
        rises.append(mean[1] - mean[0])
        variances.append(burst * variance.sum(axis=0))
    rise = (rises[0] - tolerance) / np.sqrt(variances[0])
    excess = (rises[0] - rises[1]) / np.sqrt(variances[0] + variances[1])
    return np.asarray(np.minimum(rise, excess))
