"""Slices of rows in which a model's loss rose, searched on one half of the time and confirmed on the other.

A slice is a run of neighbouring bins (or one level) of a feature, or the overlap of two such. Two stretches are
compared, before and after, each cut into blocks of time; even blocks are for the search, odd ones for the test.

**Search**, a beam (Chung et al., Slice Finder, ICDE 2019; Sagadeeva & Boehm, SliceLine, SIGMOD 2021): every run of
every feature, then the best WIDTH of them crossed with the runs of all others. A slice's score is the smaller of two z:
that its loss rose, and that it rose more than outside of it. After each find its rows are taken away, so that the next
one is another slice.

**Confirmation.** What the search chose is tested on blocks that it never saw. Blocks, not rows, are exchanged between
before and after: under "nothing has risen" whole blocks are exchangeable, whatever the dependence between the rows of
one. The statistic is studentised, so that it stays right for means when slices grow or shrink (Janssen, Stat. Probab.
Lett. 36, 1997; Chung & Romano, Ann. Stat. 41, 2013), and each slice's is held against the largest of all candidates'
in each permutation (Westfall & Young, Resampling-Based Multiple Testing, 1993). So with probability 1 - ALPHA no slice
is reported whose loss did not rise, however many were searched. p = (1 + exceedances)/(1 + permutations) (Phipson &
Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitor.stats.rows import Floats
from monitor.stats.slice_rows import (
    TINY,
    Feature,
    Part,
    Parts,
    Stretch,
    Tables,
    holds,
    means,
    rise_of,
    tables_of,
)
from monitor.stats.slice_search import search

__all__ = ["Change", "Feature", "Found", "Part", "Parts", "Result", "Stretch", "find", "holds"]

ALPHA = 0.05  # chance that anything reported did not rise
TOLERANCE = 0.05  # of the mean loss before: a smaller rise is nobody's business
PERMUTATIONS = 1999
LEAST_BLOCKS = 8  # of each stretch


@dataclass(frozen=True)
class Change:
    """Mean loss before and after, the rise with its 95 % interval, and its p-value (of a slice: adjusted for all that
    were tested)."""

    before: float
    after: float
    effect: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Found:
    """A slice whose loss rose: its parts, its rows after and their share, and the change in the blocks of the test.
    `excess`: by how much more its loss rose than outside of it."""

    parts: Parts
    rows: int
    share: float
    change: Change
    excess: float


@dataclass(frozen=True)
class Result:
    """`whole`: all rows; `found`: the largest rise first; how many slices were `searched`, and `tested`."""

    whole: Change
    found: tuple[Found, ...]
    searched: int
    tested: int


def find(
    before: Stretch,
    after: Stretch,
    features: Sequence[Feature],
    *,
    seed: int = 0,
    tell: Callable[[float], None] = lambda _: None,
) -> Result:
    """Search slices whose mean loss after is higher than before, and confirm them.

    Blocks should be as long as what rows share: windows where these are independent, days where the hours of a day are
    alike. Fewer than LEAST_BLOCKS in either stretch are too few to tell.

    Raises:
        ValueError: too few blocks.
    """
    if min(before.blocks, after.blocks) < LEAST_BLOCKS:
        raise ValueError(f"each stretch needs at least {LEAST_BLOCKS} blocks of time with outcomes")
    tolerance = TOLERANCE * float(before.loss.mean())
    chosen, searched = search(before.half(0), after.half(0), features, tolerance, tell)
    held = (before.half(1), after.half(1))
    whole = tables_of(held, [()])
    tables = tables_of(held, chosen)
    number = np.random.default_rng(seed)
    (change,) = _changes(whole, _permuted(whole, 0.0, number))
    changes = _changes(tables, _permuted(tables, tolerance, number)) if chosen else []
    rest = [rise_of(whole.minus(tables.of(place))) for place in range(len(chosen))]
    rows = [int(holds(parts, after).sum()) for parts in chosen]
    found = [
        Found(parts, count, count / after.loss.size, one, one.effect - float(other[0][0]))
        for parts, count, one, other in zip(chosen, rows, changes, rest, strict=True)
        if one.p <= ALPHA
    ]
    return Result(change, tuple(sorted(found, key=lambda one: -one.change.effect)), searched, len(chosen))


def _permuted(tables: Tables, tolerance: float, number: np.random.Generator) -> tuple[Floats, Floats]:
    """The studentised rise beyond the tolerance of each slice [S], and its largest in each permutation [P]."""
    shifted = replace(tables, s1=tables.s1 - tolerance * tables.n1)
    n, s = np.hstack([shifted.n0, shifted.n1]), np.hstack([shifted.s0, shifted.s1])
    blocks, later = n.shape[1], shifted.n1.shape[1]
    order = number.permuted(np.tile(np.arange(blocks), (PERMUTATIONS, 1)), axis=1)
    true = np.zeros((1, blocks))
    true[0, blocks - later :] = 1.0
    found = _studentised(n, s, np.vstack([true, (order < later).astype(float)]))
    return found[0], found[1:].max(axis=1)


def _studentised(n: Floats, s: Floats, later: Floats) -> Floats:
    """[P, S]: the rise over its error for each way [P, B] of calling blocks the later ones."""
    parts = []
    for chosen in (later, 1 - later):
        rows, count = chosen @ n.T, chosen.sum(axis=1, keepdims=True)
        mean = chosen @ s.T / np.maximum(rows, TINY)
        square = chosen @ (s * s).T - 2 * mean * (chosen @ (s * n).T) + mean * mean * (chosen @ (n * n).T)
        variance = np.maximum(square, 0) / np.maximum(rows, TINY) ** 2 * count / np.maximum(count - 1, 1)
        parts.append((np.where(rows > 0, mean, 0.0), np.where(rows > 0, variance, np.inf)))
    (after, v1), (before, v0) = parts
    return np.asarray((after - before) / np.sqrt(v0 + v1 + TINY))


def _changes(tables: Tables, permuted: tuple[Floats, Floats]) -> list[Change]:
    statistic, largest = permuted
    p = (1 + (largest[None, :] >= statistic[:, None] - 1e-9).sum(axis=1)) / (1 + largest.size)
    m0, m1 = means(tables)
    rise, error = rise_of(tables)
    freedom = min(tables.n0.shape[1], tables.n1.shape[1]) - 1
    width = _t975(freedom) * error
    return [
        Change(float(a), float(b), float(d), float(d - w), float(d + w), float(q))
        for a, b, d, w, q in zip(m0, m1, rise, width, p, strict=True)
    ]


def _t975(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by Cornish and Fisher's expansion (within 1 % from 3 degrees on)."""
    z, v = 1.959964, float(max(freedom, 3))
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
