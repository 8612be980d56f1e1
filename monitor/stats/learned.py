"""What a reference teaches the detectors: shares, their natural variation from window to window, and its error.

Everything comes from the reference's windows: overdispersion (Pearson's X^2), slow wander, and the check that the
reference is no evidence against itself.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.stats.evidence import CountModel, Floats, ScalarModel, count_log_e

TOLERANCE = 0.01  # PSI that nobody cares about: below half of it no alarm ever, at any number of rows
UNKNOWN_PHI = 2.0  # what an unknown variation between windows is taken for
CLEAR = 3.0  # standard errors from which overdispersion is told from chance
WANDER_BLOCKS = 6
LEAST_RUNS = 8  # windows from which the reference is checked against itself
SLANT = 3.0  # standard errors from which variation along a column is told from chance
_TOGETHER = 64  # signals checked at once


def dispersion(blocks: Floats, p: Floats, fitted: int = 1) -> tuple[float, float]:
    """Pearson's X^2/(K-1) over blocks and its standard error.

    blocks: counts [T, K] of the reference's windows (empty ones are left out); p: the pooled shares [K]. The mean is
    corrected by T/(T-fitted), because p (in each of the `fitted` phases) comes from the same blocks. The standard error
    is the larger one of what the blocks show and what chance alone gives. Needs two blocks with rows; else
    (UNKNOWN_PHI, 0).
    """
    rows = blocks.sum(axis=1)
    blocks, rows = blocks[rows > 0], rows[rows > 0]
    number = rows.size
    if number < 2 or p.size < 2:
        return UNKNOWN_PHI, 0.0
    expected = rows[:, None] * p
    ratio = ((blocks - expected) ** 2 / expected).sum(axis=1) / (p.size - 1)
    phi = float(ratio.mean()) * number / max(number - fitted, 1)
    error = max(float(ratio.std(ddof=1)), phi * float(np.sqrt(2 / (p.size - 1)))) / np.sqrt(number)
    return phi, float(error)


def slant(blocks: Floats, p: Floats, fitted: int = 1) -> float:
    """Dispersion of counts [T, K] along the order of their bins; 1 where it is not told from chance.

    Windows of bursts move a whole column up or down; over K - 1 directions that is thin, along this one it is not. The
    contrast is the middle rank of each bin, standardised.
    """
    rows = blocks.sum(axis=1)
    blocks, rows = blocks[rows > 0], rows[rows > 0]
    freedom = rows.size - fitted
    if p.size < 3 or freedom < LEAST_RUNS:
        return 1.0
    rank = np.cumsum(p) - p / 2
    contrast = (rank - p @ rank) / max(float(np.sqrt(p @ (rank - p @ rank) ** 2)), 1e-9)
    moved = blocks @ contrast / np.sqrt(rows)
    found = float((moved * moved).sum()) / freedom
    error = np.sqrt(2 / freedom)
    return found * float(1 + error) if found > 1 + SLANT * error else 1.0


def _wander(blocks: Floats, weight: Floats, p: Floats) -> float:
    """Variance of a slow wander as an addition to 1/kappa: the reference in about six blocks against single ones."""
    number = blocks.shape[0]
    if number < 2 * WANDER_BLOCKS:
        return 0.0
    part = np.arange(number) * WANDER_BLOCKS // number
    merged = np.zeros((WANDER_BLOCKS, p.size))
    np.add.at(merged, part, blocks * weight[:, None])
    merged = merged[merged.sum(axis=1) > 0]
    if merged.shape[0] < 3:
        return 0.0
    phi, _ = dispersion(merged, p)
    freedom = (p.size - 1) * (merged.shape[0] - 1)
    if phi <= 1 + 2 * np.sqrt(2 / freedom):
        return 0.0
    return (phi - 1) / float(merged.sum(axis=1).mean())


def _limit(number: int, phi: float, mean: float, bins: int, fitted: int) -> float:
    """log of the most that one window may multiply E by; infinite where windows vary as independent rows do.

    Rows that come in bursts make rare windows that no model of the variance foresees. As far as a window is one
    observation rather than its rows (the part 1 - 1/phi), T of them tell nothing of what happens less often than in one
    of T.
    """
    clear = mean > 1 + CLEAR * np.sqrt(2 / ((bins - 1) * max(number - fitted, 1)))
    return float(np.log(number) / (1 - 1 / phi)) if phi > 1 and (clear or phi > 1.5 * mean) else np.inf


def _allowed(tolerance: float, p: Floats) -> float:
    """1/kappa that the tolerance stands for: a permanent shift with a PSI of a third of it on average.

    A Dirichlet with a very small share has a long tail: of two bins with a rare one it would call a share of 1 %
    possible where the reference had none. There 1/kappa is a third of the share whose PSI is the tolerance.
    """
    usual = tolerance / (3 * max(p.size - 1, 1))
    if p.size != 2 or p.min() > 0.1:
        return usual
    rare = float(p.min())
    low, high = rare, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if (middle - rare) * np.log(middle / rare) < tolerance:
            low = middle
        else:
            high = middle
    return min(usual, high / 3)


def count_model(
    signals: list[tuple[Floats, Floats]],
    tolerance: float | Floats = TOLERANCE,
    direction: list[int] | None = None,
    phases: list[tuple[int, float] | None] | None = None,
) -> CountModel:
    """The model of count signals, from the reference.

    signals: for each signal the counts of the whole reference [K] and of its windows [T, K] (T = 0 where the reference
    has no times: then the variation between windows is taken as UNKNOWN_PHI). tolerance: PSI, one or [signals].
    phases: of each signal whose windows were adjusted by phases their number, and the rows of the smallest one, whose
    error then counts as the reference's.
    """
    size = len(signals)
    tolerances = np.broadcast_to(np.asarray(tolerance, float), (size,))
    shares: list[Floats] = []
    inverse_k0, kappa, scale, phis = np.zeros(size), np.ones(size), np.ones(size), np.ones(size)
    limit = np.full(size, np.inf)
    parts = phases if phases is not None else [None] * size
    for index, (total, blocks) in enumerate(signals):
        total = np.asarray(total, float)
        blocks = np.asarray(blocks, float).reshape(-1, total.size)
        bins, rows = total.size, float(total.sum())
        fitted, sure = parts[index] or (1, rows)
        p = (total + 0.5) / (rows + 0.5 * bins)
        shares.append(p)
        blocks = blocks[blocks.sum(axis=1) > 0]
        slow = 0.0
        if blocks.shape[0] < 2:
            phi, scale[index] = UNKNOWN_PHI, 1 / UNKNOWN_PHI
        else:
            mean, error = dispersion(blocks, p, fitted)
            phi = max(mean + error, slant(blocks, p, fitted), 1.0)
            per_block = blocks.sum(axis=1)
            inverse_k0[index] = (phi - 1) / max(float(per_block.mean()) - 1, 1.0)
            weight = (1 + inverse_k0[index]) / (1 + per_block * inverse_k0[index])
            slow = _wander(blocks, weight, p)
            limit[index] = _limit(blocks.shape[0], phi, mean, bins, fitted)
        phis[index] = phi
        allowed = _allowed(float(tolerances[index]), p)
        kappa[index] = 1 / (allowed + phi / max(sure, 1.0) + slow)
    sizes = [p.size for p in shares]
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) if sizes else np.zeros(0, np.int64)
    ways = np.asarray(direction if direction is not None else np.zeros(size), np.int64)
    flat = np.concatenate(shares) if shares else np.zeros(0)
    model = CountModel(flat, offsets, inverse_k0, kappa, scale, phis, ways, limit)
    windows = [np.reshape(blocks, (-1, total.size)) for total, blocks in signals]
    return replace(model, inverse_k0=_tempered(model, windows))


def _tempered(model: CountModel, blocks: list[Floats]) -> Floats:
    """1/k0 of each signal, raised until E is at most 1 on average over the reference's own runs of 1, 2, 4, 8 windows.

    The Dirichlet-multinomial knows the variance between windows, but neither rare storms nor days that resemble the day
    before. Where the reference has them, rows count for fewer until it is no evidence against itself.
    """
    found = model.inverse_k0.copy()
    numbers = np.array([len(one) for one in blocks], np.int64)
    for number in np.unique(numbers[numbers >= LEAST_RUNS]).tolist():
        alike = np.flatnonzero(numbers == number)
        for first in range(0, alike.size, _TOGETHER):
            open_ = alike[first : first + _TOGETHER]
            for _ in range(40):
                counts = np.concatenate([blocks[index] for index in open_.tolist()], axis=1).astype(float)
                part = model.some(open_)
                open_ = open_[_evident(replace(part, inverse_k0=found[open_]), counts)]
                if not open_.size:
                    break
                rows = np.array([blocks[index].sum() / number for index in open_.tolist()])
                found[open_] = np.maximum(found[open_] * 1.3, 0.05 / np.maximum(rows, 1.0))
    return found


def _evident(model: CountModel, counts: Floats) -> NDArray[np.bool_]:
    """Which signals' own windows [T, bins] are evidence against them, [signals]."""
    weighted = np.array([model.weigh(one) for one in counts])
    sums = np.vstack([np.zeros((1, counts.shape[1])), np.cumsum(weighted, axis=0)])
    found = np.zeros(model.offsets.size, np.bool_)
    for length in (1, 2, 4, 8):
        if 4 * length <= len(counts):
            runs = np.maximum(sums[length:] - sums[:-length], 0.0)
            found |= np.exp(np.minimum(count_log_e(model, runs), 100.0)).mean(axis=0) > 1
    return found


def scalar_model(
    windows: list[Floats],
    clip: list[float],
    floor: list[float],
    phases: list[int] | None = None,
    tolerance: list[float] | None = None,
    direction: list[int] | None = None,
) -> ScalarModel:
    """The model of scalar signals from their values in the reference's windows (NaN left out); needs 3 values each.

    floor: smallest believable standard deviation of each signal (such as the counting error), in its own units; values
    that vary no more than that are independent, whatever their correlation at lag 1 looks like.
    phases: number of phases whose means were taken out (1: none). tolerance: the shift that nobody cares about, in the
    signal's own units. direction: +1 where only a rise is a change (default: any).
    """
    kept = [np.asarray(values, float)[np.isfinite(values)] for values in windows]
    mean = np.array([values.mean() for values in kept])
    parts = np.asarray(phases if phases is not None else [1] * len(kept), float)
    freedom = np.array([values.size for values in kept]) - parts
    squared = np.array([float(((values - values.mean()) ** 2).sum()) for values in kept])
    sd = np.maximum(np.sqrt(squared / np.maximum(freedom, 1.0)), np.maximum(np.asarray(floor, float), 1e-9))
    allowed = (np.asarray(tolerance if tolerance is not None else np.zeros(len(kept)), float) / sd) ** 2 / 3
    bound = np.asarray(clip, float) * np.sqrt(1 + allowed)  # a clipped value must still be beyond the tolerance
    squares, power = np.zeros(len(kept)), np.ones(len(kept))
    ways = np.asarray(direction if direction is not None else np.zeros(len(kept)), np.int64)
    for index, values in enumerate(kept):
        y = np.clip((values - mean[index]) / sd[index], -bound[index], bound[index])
        squares[index] = max(float(((y - y.mean()) ** 2).sum()), float(freedom[index]))
        noise = float(squared[index] / max(freedom[index], 1.0)) / max(floor[index], 1e-9) ** 2
        if values.size >= 10 and noise > 1 + CLEAR * np.sqrt(2 / max(freedom[index], 1.0)):
            lag = float((y[1:] * y[:-1]).sum() / max(float((y * y).sum()), 1e-12))
            power[index] = 1.0 if lag < 2 / np.sqrt(values.size) else (1 - lag) / (1 + lag)
    return ScalarModel(
        mean, sd, np.array([v.size for v in kept]) / parts, squares, bound, power, freedom, allowed, ways
    )
