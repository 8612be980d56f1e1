"""Performance of regressions from exact sums: e = predicted - actual, y = actual (from a frozen centre)."""

from dataclasses import dataclass

import numpy as np

from monitor.stats.classification import mean_loss, nothing
from monitor.stats.intervals import around, of_mean
from monitor.stats.values import Result


@dataclass(frozen=True)
class Moments:
    """Means over n rows of e, |e|, e^2, e^4, y, y^2, y^3, y^4, e^2 y and e^2 y^2."""

    n: int
    e: float
    abs: float
    e2: float
    e4: float
    y: float
    y2: float
    y3: float
    y4: float
    e2y: float
    e2y2: float


def mae(m: Moments) -> Result:
    """Mean of |e|; normal interval."""
    return mean_loss(m.abs * m.n, m.e2 * m.n, m.n)


def bias(m: Moments) -> Result:
    """Mean of e = predicted - actual; normal interval."""
    if not m.n:
        return nothing()
    low, high = of_mean(m.e, m.e2, m.n)
    return m.e, None if low != low else low, None if high != high else high, m.n


def rmse(m: Moments) -> Result:
    """sqrt(mean of e^2); the normal interval of the mean square, carried over (delta method without its division)."""
    value, low, high, n = mean_loss(m.e2 * m.n, m.e4 * m.n, m.n)
    if value is None:
        return nothing()
    root = [None if part is None else float(np.sqrt(part)) for part in (value, low, high)]
    return root[0], root[1], root[2], n


def r2(m: Moments) -> Result:
    """1 - mean e^2 / variance of y; None where y does not vary.

    Interval by the delta method: with A = mean e^2, B = var y, the variance is the mean square of A (y - mean)^2 / B^2
    - e^2 / B, over n (Kendall and Stuart, The Advanced Theory of Statistics I, 10.6).
    """
    spread = m.y2 - m.y**2
    if m.n < 2 or not spread > 1e-12 * max(m.y2, 1e-300):
        return nothing(m.n)
    value = 1 - m.e2 / spread
    cross = m.e2y2 - 2 * m.y * m.e2y + m.y**2 * m.e2
    fourth = m.y4 - 4 * m.y * m.y3 + 6 * m.y**2 * m.y2 - 3 * m.y**4
    variance = m.e4 / spread**2 - 2 * m.e2 * cross / spread**3 + m.e2**2 * fourth / spread**4
    return value, *around(value, variance / m.n, -np.inf, 1.0), m.n
