"""Evidence where it can matter: log E of count signals at many starts, and nothing spent on the rest.

Most (start, signal) pairs of a quiet model have an E-value near 0. A chi-squared form tells which, at a twentieth of
the price; only the others are computed exactly. A pair that is passed over counts as 0, which only lowers the sum, so
the promise holds. (The chi-squared form itself would not do as evidence: it is no e-value.)
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

from monitor.stats.evidence import SPREADS, CountModel, Floats, Ints

LEAST = -2.0  # log E below which a pair counts as nothing
_TINY = 1e-300


def promising(model: CountModel, counts: Floats) -> NDArray[np.bool_]:
    """Which signals may have log E above LEAST: counts [starts, bins] -> [starts, signals].

    With X2 Pearson's statistic of N weighted rows, a Dirichlet null of concentration k and an alternative of r k,
    2 log E is about X2 (1/(1 + N/k) - 1/(1 + N/(r k))) - (K - 1) log((1 + N/(r k)) / (1 + N/k)).
    """
    rows = model.totals(counts)
    expected = np.repeat(rows, model.sizes, axis=-1) * model.p
    squares = (counts - expected) ** 2 / np.maximum(expected, 1e-9)
    x2 = model.totals(squares)
    usual = 1 + rows / model.kappa
    best = np.full(rows.shape, -np.inf)
    for spread in SPREADS:
        grown = 1 + rows / (spread * model.kappa)
        value = x2 * (1 / usual - 1 / grown) - (model.sizes - 1) * np.log(grown / usual)
        best = np.maximum(best, value / 2)
    return np.asarray((best > LEAST) | np.isfinite(model.limit))


def log_e_at(model: CountModel, counts: Floats, starts: Ints, signals: Ints) -> Floats:
    """log E of chosen pairs: counts [starts, bins]; places of the pairs [pairs] -> [pairs]."""
    if not signals.size:
        return np.zeros(0)
    sizes = model.sizes[signals]
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    bins = model.bins(signals)
    chosen = counts[np.repeat(starts, sizes), bins]
    rows = np.add.reduceat(chosen, firsts)
    parts = []
    for (parameters, terms, whole, log_whole), sided in zip(
        model.constants, (False, *([True] * len(SPREADS))), strict=True
    ):
        value = log_whole[signals] - gammaln(whole[signals] + rows) - terms[signals]
        value += np.add.reduceat(gammaln(parameters[bins] + chosen), firsts)
        if sided:
            one = np.flatnonzero(model.direction[signals] != 0)
            low, high = bins[firsts[one]], bins[firsts[one] + 1]
            edge = model.p[low]
            after = betainc(parameters[low] + chosen[firsts[one]], parameters[high] + chosen[firsts[one] + 1], edge)
            before = betainc(parameters[low], parameters[high], edge)
            value[one] += np.log(np.maximum(after, _TINY)) - np.log(np.maximum(before, _TINY))
        parts.append(value)
    null, alternatives = parts[0], parts[1:]
    top = np.maximum.reduce(alternatives)
    mixed = top + np.log(sum(np.exp(part - top) for part in alternatives)) - np.log(len(alternatives))
    return np.asarray(mixed - null)


def screened_log_e(model: CountModel, counts: Floats) -> Floats:
    """log E where it can matter, minus infinity elsewhere: [starts, bins] -> [starts, signals]."""
    found = np.full((counts.shape[0], model.offsets.size), -np.inf)
    if model.offsets.size:
        starts, signals = np.nonzero(promising(model, counts))
        found[starts, signals] = log_e_at(model, counts, starts, signals)
    return found
