"""Rows as slices see them: the bins of features, losses, and blocks of time; sums by slice and block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from monitor.stats.rows import Bools, Floats, Ints

TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Stretch:
    """Rows of one stretch. `codes`: for each feature uint8[n], the bin of each row, in the feature's order of bins;
    `loss` float64[n]; `block` int64[n], the block of time of each row, 0 to `blocks` - 1."""

    codes: Sequence[np.ndarray]
    loss: Floats
    block: Ints
    blocks: int

    def half(self, odd: int) -> "Stretch":
        """The even blocks, or the odd ones, numbered anew."""
        return self.take(self.block % 2 == odd, self.block // 2, (self.blocks + 1 - odd) // 2)

    def take(self, chosen: Bools, block: Ints | None = None, blocks: int | None = None) -> "Stretch":
        block = self.block if block is None else block
        return Stretch([codes[chosen] for codes in self.codes], self.loss[chosen], block[chosen], blocks or self.blocks)


class Feature(NamedTuple):
    """How many bins a feature has; the first `ordered` of them follow each other, the rest stand alone."""

    bins: int
    ordered: int


class Part(NamedTuple):
    """The bins low to high (inclusive) of a feature, by its number."""

    feature: int
    low: int
    high: int

    def holds(self, stretch: Stretch) -> Bools:
        codes = stretch.codes[self.feature]
        return np.asarray((codes >= self.low) & (codes <= self.high))


Parts = tuple[Part, ...]


def holds(parts: Parts, stretch: Stretch) -> Bools:
    """bool[n]: the rows of a slice."""
    found = np.ones(stretch.loss.size, np.bool_)
    for part in parts:
        found &= part.holds(stretch)
    return found


# ---------------------------------------------------------------- sums by slice and block


@dataclass(frozen=True, eq=False)
class Tables:
    """Rows and sums of loss of S slices in each block: n, s of before [S, B0] and of after [S, B1]."""

    n0: Floats
    s0: Floats
    n1: Floats
    s1: Floats

    def of(self, place: int) -> "Tables":
        return Tables(*(part[place : place + 1] for part in (self.n0, self.s0, self.n1, self.s1)))

    def minus(self, other: "Tables") -> "Tables":
        return Tables(self.n0 - other.n0, self.s0 - other.s0, self.n1 - other.n1, self.s1 - other.s1)


def tables_of(stretches: tuple[Stretch, Stretch], slices: Sequence[Parts]) -> Tables:
    parts = []
    for stretch in stretches:
        n, s = np.zeros((len(slices), stretch.blocks)), np.zeros((len(slices), stretch.blocks))
        for place, one in enumerate(slices):
            chosen = holds(one, stretch)
            block = stretch.block[chosen]
            n[place] = np.bincount(block, minlength=stretch.blocks)
            s[place] = np.bincount(block, stretch.loss[chosen], stretch.blocks)
        parts += [n, s]
    return Tables(*parts)


def means(tables: Tables) -> tuple[Floats, Floats]:
    """Mean loss of each slice before and after, 0 where it has no rows."""
    n0, n1 = np.maximum(tables.n0.sum(axis=1), TINY), np.maximum(tables.n1.sum(axis=1), TINY)
    return tables.s0.sum(axis=1) / n0, tables.s1.sum(axis=1) / n1


def residuals(tables: Tables) -> tuple[Floats, Floats]:
    """What each block adds to the error of a slice's mean, before and after, [S, B]: the linearised ratio."""
    m0, m1 = means(tables)
    n0, n1 = tables.n0.sum(axis=1, keepdims=True), tables.n1.sum(axis=1, keepdims=True)
    return (
        (tables.s0 - m0[:, None] * tables.n0) / np.maximum(n0, TINY),
        (tables.s1 - m1[:, None] * tables.n1) / np.maximum(n1, TINY),
    )


def variances(parts: Floats) -> Floats:
    """Variance of a mean from its blocks' residuals."""
    blocks = parts.shape[1]
    return np.asarray((parts * parts).sum(axis=1) * blocks / max(blocks - 1, 1))


def rise_of(tables: Tables) -> tuple[Floats, Floats]:
    """Mean loss after less before, and its standard error, of each slice."""
    m0, m1 = means(tables)
    r0, r1 = residuals(tables)
    return m1 - m0, np.sqrt(variances(r0) + variances(r1))
