"""95 % intervals. Every function takes and gives floats or float64 arrays alike, NaN where nothing can be said."""

import numpy as np
import numpy.typing as npt

from monitor.stats.rows import Floats, Ints

Z = 1.959963984540054  # the normal quantile of 0.975
Number = float | Floats


def wilson(hits: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Of a share, hits of n: the score interval, right at 0 and 1 and for small n (Wilson, JASA 22, 1927)."""
    k, many = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = k / many
        centre = (share + Z**2 / (2 * many)) / (1 + Z**2 / many)
        half = Z / (1 + Z**2 / many) * np.sqrt(share * (1 - share) / many + Z**2 / (4 * many**2))
    return np.where(k == 0, np.where(many > 0, 0.0, np.nan), centre - half), np.where(
        (k == many) & (many > 0), 1.0, centre + half
    )


def of_mean(mean: float, mean_square: float, n: int) -> tuple[float, float]:
    """Of a mean, from the mean of squares: the normal interval mean +- z sd / sqrt(n), sd with n - 1. NaN for n < 2."""
    if n < 2:
        return np.nan, np.nan
    variance = max(mean_square - mean**2, 0.0) * n / (n - 1)
    half = Z * float(np.sqrt(variance / n))
    return mean - half, mean + half


def around(value: float, variance: float, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
    """value +- z sqrt(variance), cut to [low, high]."""
    half = Z * float(np.sqrt(max(variance, 0.0)))
    return max(value - half, low), min(value + half, high)


def on_logit(value: float, variance: float, n: int) -> tuple[float, float]:
    """Of a number in (0, 1) with a variance: the normal interval on the logit scale, which stays inside and keeps its
    coverage near 1 (Pepe, The Statistical Evaluation of Medical Tests, 2003, 5.2). At 0 or 1: Wilson's for n."""
    if not 0 < value < 1 or not variance > 0:
        low, high = wilson(value * n, n)
        return float(low), float(high)
    centre = np.log(value / (1 - value))
    half = Z * np.sqrt(variance) / (value * (1 - value))
    return float(1 / (1 + np.exp(-(centre - half)))), float(1 / (1 + np.exp(-(centre + half))))


def quantile_shares(q: float, n: int) -> tuple[float, float]:
    """The shares whose sample quantiles enclose the q-quantile: order statistics n q +- z sqrt(n q (1 - q)) of the
    binomial (David and Nagaraja, Order Statistics, 2003, 7.1)."""
    half = Z * float(np.sqrt(q * (1 - q) / n))
    return max(q - half, 0.0), min(q + half, 1.0)


def multinomial_variance(counts: Ints, gradient: Floats) -> float:
    """Variance of g(shares) by the delta method: (sum p g^2 - (sum p g)^2) / n, `gradient` = dg/dp for each cell."""
    n = counts.sum()
    shares = counts / n
    return float(((shares * gradient**2).sum() - (shares * gradient).sum() ** 2) / n)
