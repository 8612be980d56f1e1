"""The signals of each family of a model, as gathers from its profiles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.calibration import expected_rates
from monitor.stats.evidence import Floats, Ints
from monitor.stats.layout import Key
from monitor.stats.learned import TOLERANCE
from monitor.stats.profile import Profile

SMALL_TOLERANCE = 0.001  # PSI, where one share is all that is watched: 1.5 points of a share of one half
LOSS_TOLERANCE = 0.0003  # the same of outcomes given the score: 0.9 points; a loss of performance is what matters most


@dataclass(frozen=True)
class Signal:
    """One watched thing. `kind` says what its effect is: shape (PSI), share (of the second bin), calibration (share of
    the second bin against the expected one), extreme (share beyond the reference's range), stuck (share of one value),
    level (log of the rows), loss (mean loss), pair (Fisher's z of a correlation). `about` narrows it down for a
    person."""

    metric: str
    kind: str
    feature: str | None = None
    about: str = ""
    segment: str | None = None


@dataclass(frozen=True)
class Gather:
    """A count signal's way out of the profile: counts[source] are added into cell `target` of [strata, bins]."""

    signal: Signal
    source: Ints
    target: Ints
    bins: int
    strata: int = 1
    direction: int = 0
    weight: float = 1.0
    tolerance: float = TOLERANCE
    scale: Floats | None = None  # what a row of each source counts for (None: 1)
    rates: Floats | None = None  # expected share of the second bin by stratum (None: what the reference had)
    shares: Floats | None = None  # of fine bins: the signal is what one of them has beyond these (`faults.excess`)


def read(gather: Gather, counts: Ints) -> Floats:
    """A window's cells [strata, bins] of one signal, given its counts as `wide` lays them out."""
    size = gather.strata * gather.bins
    values = counts[gather.source].astype(float)
    if gather.scale is not None:
        values *= gather.scale
    flat = np.bincount(gather.target, weights=values, minlength=size)
    return np.asarray(flat.reshape(gather.strata, gather.bins), float)


def read_all(gather: Gather, counts: Ints) -> Floats:
    """The cells [T, strata, bins] of many windows, given their wide counts [T, size]."""
    size, number = gather.strata * gather.bins, counts.shape[0]
    values = counts[:, gather.source].astype(float)
    if gather.scale is not None:
        values *= gather.scale
    places = gather.target + size * np.arange(number)[:, None]
    flat = np.bincount(places.ravel(), weights=values.ravel(), minlength=size * number)
    return np.asarray(flat.reshape(number, gather.strata, gather.bins), float)


def span(binning: Binning, key: Key) -> Ints:
    """Where a signal's slots stand in the counts."""
    where = binning.layout[key]
    return np.arange(where.start, where.stop)


def _shape(binning: Binning, key: Key, groups: Ints, signal: Signal, leave_out: Sequence[int] = ()) -> Gather:
    """A signal over the groups of a column, without the slots in `leave_out`; groups are numbered anew."""
    source = span(binning, key)
    keep = ~np.isin(np.arange(source.size), list(leave_out))
    _, target = np.unique(groups[keep], return_inverse=True)
    return Gather(signal, source[keep], target.astype(np.int64), int(target.max()) + 1)


def two(
    binning: Binning,
    key: Key,
    second: Sequence[int],
    signal: Signal,
    direction: int = 0,
    tolerance: float = SMALL_TOLERANCE,
) -> Gather:
    """A signal of two bins: the slots in `second`, and the others first."""
    source = span(binning, key)
    target = np.isin(np.arange(source.size), list(second)).astype(np.int64)
    return Gather(signal, source, target, 2, direction=direction, tolerance=tolerance)


def features(binning: Binning) -> list[Gather]:
    found = []
    for bins in binning.features:
        groups = bins.coarse_slots.copy()
        if isinstance(bins, CategoricalBins):
            groups[bins.unseen] = groups[bins.other]  # never seen has a signal of its own, with its own mass
        found.append(_shape(binning, ("feature", bins.name), groups, Signal("psi", "shape", bins.name)))
    groups = binning.groups("prediction")
    found.append(_shape(binning, "prediction", groups, Signal("prediction_drift", "shape")))
    if binning.score is not None and binning.score.count:
        found.append(_shape(binning, "score", binning.groups("score"), Signal("score_drift", "shape")))
    return [replace(gather, weight=1 / len(found)) for gather in found]


def latency(binning: Binning, reference: Profile) -> list[Gather]:
    bins = binning.latency
    absent = [bins.missing, bins.nan, bins.infinite]
    gather = _shape(binning, "latency", binning.groups("latency"), Signal("latency", "shape"), absent)
    return [gather] if read(gather, reference.counts).sum() > 0 else []


def performance(binning: Binning, reference: Profile) -> list[Gather]:
    if reference.labelled == 0:
        return []
    if binning.task == "binary":
        return _binary(binning, reference)
    return _multiclass(binning, reference) if binning.task == "multiclass" else _regression(binning)


def _binary(binning: Binning, reference: Profile) -> list[Gather]:
    source = span(binning, "table")
    table = reference.of("table").astype(float)
    row, predicted, actual = (axis.ravel() for axis in np.indices(table.shape))
    score = binning.score
    scored = score is not None and table[:-1].sum() > 0.5 * table.sum()
    stratum, size = (row, table.shape[0]) if scored else (predicted, 3)
    cells = np.zeros((size, 2))
    np.add.at(cells, (stratum, actual), table.ravel())
    mean = (cells[:, 1].sum() + 0.5) / (cells.sum() + 1)
    rates = (cells[:, 1] + mean) / (cells.sum(axis=1) + 1)
    group = stratum
    if scored and score is not None:
        middles = (score.edges[:-1] + np.minimum(score.edges[1:], 1.0)) / 2
        rates[:-1] = expected_rates(middles, score.groups, cells[:-1])
        group = np.append(score.groups, int(score.groups[-1]) + 1)[row]  # rows without a score are a group
    name = binning.positive_class or "positive"
    up, pull = _sides(cells, rates, mean)
    tells = pull[stratum] > 0
    right = (up[stratum] == (actual == 1)).astype(np.int64)
    known = predicted < 2
    wrong = (predicted != actual)[known].astype(np.int64)
    small = LOSS_TOLERANCE
    found = [
        Gather(
            Signal("calibration_error", "calibration", about=name),
            source, stratum * 2 + actual, 2, size, 0, 0.35, small, None, rates,
        ),
        Gather(
            Signal("separation", "calibration", about="outcomes that agree with their score"),
            source[tells], (stratum * 2 + right)[tells], 2, size, 0, 0.35, small, pull[stratum][tells],
            np.where(up, rates, 1 - rates),
        ),
        Gather(Signal("accuracy", "share", about="wrong predictions"), source[known], wrong, 2, 1, 1, 0.1,
            SMALL_TOLERANCE,
        ),
    ]  # fmt: skip
    rows = np.bincount(group, weights=table.ravel())
    filled = np.flatnonzero(rows > 0).tolist()
    for one in filled if len(filled) > 1 else []:
        inside = group == one
        strata, at = np.unique(stratum[inside], return_inverse=True)
        about = _group_name(score, one, name) if scored and score is not None and one <= score.groups[-1] else name
        found.append(
            Gather(
                Signal("calibration_error", "calibration", about=about),
                source[inside], at * 2 + actual[inside], 2, strata.size, 0, 0.2 / len(filled), small, None,
                rates[strata],
            )
        )  # fmt: skip
    return found


def _sides(cells: Floats, rate: Floats, mean: float) -> tuple[NDArray[np.bool_], Floats]:
    """For each stratum: whether a positive is what its score says, and how much a row of it tells.

    Scores that have come apart from outcomes pull the rates of the strata together: the row's weight is the distance of
    its stratum's log-odds from the mean's, scaled so that the weighted sum varies as a count of its size does.
    """
    sure = np.clip(rate, 1e-9, 1 - 1e-9)  # a score that was always right
    distance = np.log(sure / (1 - sure)) - np.log(mean / (1 - mean))
    pull = np.minimum(np.abs(distance), 3.0) * (cells.sum(axis=1) > 0)
    variance = cells.sum(axis=1) * rate * (1 - rate)
    most = float((pull * pull * variance).sum())
    return distance > 0, pull * (float((pull * variance).sum()) / most if most > 0 else 1.0)


def _group_name(score: NumericBins, group: int, positive: str) -> str:
    edges = score.coarse.edges
    return f"{positive} at scores {edges[group]:.2f} to {min(edges[group + 1], 1.0):.2f}"


def _multiclass(binning: Binning, reference: Profile) -> list[Gather]:
    """Rows of the table: predicted class, other, absent, other and right; columns: actual class, other."""
    source = span(binning, "table")
    table = reference.of("table")
    row, actual = (axis.ravel() for axis in np.indices(table.shape))
    many = len(binning.classes)
    wrong = ((row != actual) & (row != many + 2)).astype(np.int64)
    predicted = row != many + 1
    found = [
        Gather(Signal("outcome_mix", "shape"), source, row * (many + 1) + actual, many + 1, many + 3, weight=0.4),
        Gather(
            Signal("accuracy", "share", about="wrong predictions"),
            source[predicted], wrong[predicted], 2, direction=1, weight=0.3,
        ),
    ]  # fmt: skip
    filled = np.flatnonzero(table[:many].sum(axis=1) > 0)
    for index in filled.tolist():
        inside = row == index
        signal = Signal("class_error_rate", "share", about=f"wrong among predictions of {binning.classes[index]}")
        found.append(Gather(signal, source[inside], wrong[inside], 2, direction=1, weight=0.3 / filled.size))
    return found


def _regression(binning: Binning) -> list[Gather]:
    bins = binning.residual
    if bins is None or not bins.count:
        return []
    absent = [bins.missing, bins.nan, bins.infinite]
    return [_shape(binning, "residual", binning.groups("residual"), Signal("residual", "shape"), absent)]
