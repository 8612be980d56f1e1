"""Evidence that a monitored thing has changed: e-values for counts and for scalars.

An e-value is at most 1 on average while nothing has changed, so it can be added up over starts, averaged over signals
and compared with a threshold under any dependence between the signals of one window. Everything here is pure: arrays
in, arrays out. Count signals lie side by side on one flat axis of bins; `offsets` says where each begins.

Sources: Dirichlet-multinomial test martingales after Lindon & Malek, "Anytime-valid inference for multinomial count
data" (2022); the scalar form is the scale- and location-invariant t-test e-value (Grünwald, de Heide & Koolen, "Safe
testing"; Lai 1976) with the reference windows as its start.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln, stdtr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPREADS = (0.1, 0.01)  # the alternative's concentrations, as parts of the null's
FLAT = 0.1  # the alternative's share of the uniform distribution
PRIOR_WIDTH = 4.0  # variance of the alternative's shift of a scalar against the variance between windows
_TINY = 1e-300


@dataclass(frozen=True)
class CountModel:
    """What the reference says about count signals.

    p: share of each bin, [bins]; offsets: first bin of each signal, [signals]; inverse_k0: overdispersion between
    windows (0: none), [signals]; kappa: concentration of the permanent shift that the null allows, [signals]; scale: a
    further factor on the rows of every window, [signals]; phi: variance between windows against that of independent
    rows, [signals]; direction: 0 for any change, +1 where only a larger share of the second of two bins is one; limit:
    log of the most that one window may multiply E by, [signals]: where windows vary as wholes, T of them tell nothing
    of what happens less often than in one of T. A smaller factor keeps the promise.
    """

    p: Floats
    offsets: Ints
    inverse_k0: Floats
    kappa: Floats
    scale: Floats
    phi: Floats
    direction: Ints
    limit: Floats

    @cached_property
    def sizes(self) -> Ints:
        """Bins of each signal, [signals]."""
        return np.diff(np.append(self.offsets, self.p.size))

    @cached_property
    def null(self) -> Floats:
        """Dirichlet parameters of the null, [bins]."""
        return np.asarray(np.repeat(self.kappa, self.sizes) * self.p)

    @cached_property
    def alternatives(self) -> tuple[Floats, ...]:
        """Dirichlet parameters of each alternative, [bins] each."""
        base = (1 - FLAT) * self.p + FLAT / np.repeat(self.sizes, self.sizes)
        kappa = np.repeat(self.kappa, self.sizes)
        return tuple(spread * kappa * base for spread in SPREADS)

    @cached_property
    def constants(self) -> tuple[tuple[Floats, Floats, Floats, Floats], ...]:
        """Of the null and of each alternative: its parameters [bins], their sum of log gamma, their sum and its log
        gamma, each [signals]."""
        made = []
        for parameters in (self.null, *self.alternatives):
            whole = self.totals(parameters)
            made.append((parameters, self.totals(gammaln(parameters)), whole, np.asarray(gammaln(whole))))
        return tuple(made)

    def some(self, signals: Ints) -> "CountModel":
        """The model of some of the signals, in that order."""
        sizes = self.sizes[signals]
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        return CountModel(
            self.p[self.bins(signals)], offsets, self.inverse_k0[signals], self.kappa[signals], self.scale[signals],
            self.phi[signals], self.direction[signals], self.limit[signals],
        )  # fmt: skip

    def bins(self, signals: Ints) -> Ints:
        """Where the bins of some signals stand, one signal after the other."""
        sizes = self.sizes[signals]
        firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        return np.asarray(np.arange(int(sizes.sum())) + np.repeat(self.offsets[signals] - firsts, sizes))

    def totals(self, counts: Floats) -> Floats:
        """Sums over the bins of each signal: [..., bins] -> [..., signals]."""
        if not self.offsets.size:
            return np.zeros((*counts.shape[:-1], 0))
        return np.asarray(np.add.reduceat(counts, self.offsets, axis=-1))

    def weigh(self, counts: Floats) -> Floats:
        """One window's counts in independent rows, [bins]: rows of an overdispersed window count for fewer."""
        rows = self.totals(counts)
        weight = self.scale * (1 + self.inverse_k0) / (1 + rows * self.inverse_k0)
        return np.asarray(counts * np.repeat(weight, self.sizes))


def log_dirichlet_multinomial(model: CountModel, counts: Floats, parameters: Floats) -> Floats:
    """log DM(C; v) without its coefficient: counts [..., bins], parameters [..., bins] -> [..., signals]."""
    whole, rows = model.totals(parameters), model.totals(counts)
    terms = model.totals(gammaln(parameters + counts) - gammaln(parameters))
    return np.asarray(gammaln(whole) - gammaln(whole + rows) + terms)


def count_log_e(model: CountModel, counts: Floats) -> Floats:
    """log E of the weighted counts since each start: [..., bins] -> [..., signals].

    E = mean over r in SPREADS of DM(C; r kappa a) / DM(C; kappa p), a = 0.9 p + 0.1/K.
    """
    null = log_dirichlet_multinomial(model, counts, model.null)
    parts = []
    for parameters in model.alternatives:
        part = log_dirichlet_multinomial(model, counts, parameters)
        part[..., model.direction != 0] += _beyond(model, counts, parameters)
        parts.append(part)
    top = np.maximum.reduce(parts)
    mixed = top + np.log(sum(np.exp(part - top) for part in parts)) - np.log(len(parts))
    return np.asarray(mixed - null)


def _beyond(model: CountModel, counts: Floats, parameters: Floats) -> Floats:
    """What cutting the alternative to shares above p adds to its log DM, for the one-sided signals of two bins."""
    first = model.offsets[model.direction != 0]
    if not first.size:
        return np.zeros((*counts.shape[:-1], 0))
    low, high, edge = parameters[first], parameters[first + 1], model.p[first]
    after = betainc(low + counts[..., first], high + counts[..., first + 1], edge)
    return np.asarray(np.log(np.maximum(after, _TINY)) - np.log(np.maximum(betainc(low, high, edge), _TINY)))


@dataclass(frozen=True)
class ScalarModel:
    """What the reference says about scalar signals, each array [signals].

    mean, sd: of the reference's windows; windows: their number T; squares: their sum of squared deviations in units of
    sd, after clipping; clip: bound of a deviation in sd; power: exponent for serial correlation, (1-r)/(1+r) or 1;
    freedom: of the squares, T-1 without phases (with phases T is the number of windows of one phase); allowed: variance
    of the permanent shift that nobody cares about, in units of sd^2; direction: 0 for any change, +1 where only a
    larger value is one.
    """

    mean: Floats
    sd: Floats
    windows: Floats
    squares: Floats
    clip: Floats
    power: Floats
    freedom: Floats
    allowed: Floats
    direction: Ints

    def deviation(self, values: Floats) -> Floats:
        """Values of one window in clipped reference standard deviations; NaN stays NaN (no value)."""
        return np.asarray(np.clip((values - self.mean) / self.sd, -self.clip, self.clip))


def scalar_log_e(model: ScalarModel, number: Floats, total: Floats, squares: Floats) -> Floats:
    """log E of the deviations since each start: number m, their sum and sum of squares, each [..., signals].

    E = (1+gh)^(-1/2) [(W + h d^2)/(W + h d^2/(1+gh))]^((T+m-1)/2), h = Tm/(T+m), W = S + squares around their mean d.
    With an allowed shift of variance a, the null has 1+ah in the place of 1, the alternative 1+vh, v = a+g(1+a). Where
    only a rise counts, the alternative is cut to shifts above 0, which multiplies E by twice their posterior
    probability: that of Student's t with T+m-1 degrees of freedom, at h d sqrt(v/(1+vh)) over the root of
    (W + h d^2/(1+vh)) / (T+m-1).
    """
    count = np.maximum(number, 1.0)
    mean = total / count
    within = model.squares + np.maximum(squares - total * mean, 0.0)
    h = model.windows * number / (model.windows + number)
    width = model.allowed + PRIOR_WIDTH * (1 + model.allowed)
    usual, grown = 1 + model.allowed * h, 1 + width * h
    between = h * mean * mean
    ratio = np.log(within + between / usual) - np.log(within + between / grown)
    freedom = model.freedom + number
    value = 0.5 * np.log(usual / grown) + freedom / 2 * ratio
    if model.direction.any():
        spread = np.sqrt((within + between / grown) / np.maximum(freedom, 1.0))
        above = stdtr(freedom, h * mean * np.sqrt(width / grown) / np.maximum(spread, _TINY))
        value += np.where(model.direction > 0, np.log(np.maximum(2 * above, _TINY)), 0.0)
    return np.asarray(np.where(number > 0, model.power * value, 0.0))
