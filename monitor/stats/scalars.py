"""Signals that are one number a window: the volume, the mean loss, and the correlations of pairs of features."""

import numpy as np

from monitor.stats.binning import Binning
from monitor.stats.cut import Cut, filled
from monitor.stats.evidence import Floats, Ints, ScalarModel
from monitor.stats.learned import scalar_model
from monitor.stats.phases import Phases, groups, of_scalars
from monitor.stats.plan import correlations_of, loss_of

PAIRS = 0.3  # weight of all pairs, against 1 for the features of the whole model
PAIR_WINDOWS, PAIR_ROWS = 8, 50  # reference windows that a pair needs, and rows of each
PAIR_CLIP = VOLUME_CLIP = LOSS_CLIP = 6.0
PAIR_TOLERANCE = 0.05  # in Fisher's z: a correlation that is another by so much for good is nobody's page
LOSS = 0.15  # weight of the mean log loss, against 1 for the other signals of performance
LOSS_WINDOWS = 8  # reference windows that it needs
LOSS_TOLERANCE = 0.05  # of the reference's loss: one that is so much larger for good is nobody's page
VOLUME_TOLERANCE = 0.1  # in log: a tenth more or fewer rows for good is nobody's page


def pairs(binning: Binning, cut: Cut) -> tuple[Ints, ScalarModel, Floats]:
    """The pairs of features that the reference can judge, their scalars, and weights that sum to PAIRS.

    What can break is mostly what is there: half of the weight goes by the strength of the correlation.
    """
    if not binning.pairs or len(cut.windows) < PAIR_WINDOWS:
        return np.zeros(0, np.int64), scalar_model([], [], []), np.zeros(0)
    rows = np.array([profile.rows for profile in cut.windows])
    kept = [profile for profile in cut.windows if profile.rows >= PAIR_ROWS]
    values = np.array([correlations_of(profile) for profile in kept]).reshape(len(kept), len(binning.pairs))
    places = np.flatnonzero(np.isfinite(values).sum(axis=0) >= PAIR_WINDOWS)
    if not places.size:
        return np.zeros(0, np.int64), scalar_model([], [], []), np.zeros(0)
    floor = float(1 / np.sqrt(max(rows[rows >= PAIR_ROWS].mean() - 3, 1.0)))
    many = places.size
    found = scalar_model(
        [values[:, place] for place in places.tolist()], [PAIR_CLIP] * many, [floor] * many, None,
        [PAIR_TOLERANCE] * many,
    )  # fmt: skip
    strength = np.abs(found.mean) + 1e-6
    return places, found, PAIRS * (0.5 / many + 0.5 * strength / strength.sum())


def volume(cut: Cut) -> tuple[ScalarModel, Phases | None]:
    """The logarithm of a window's rows, and its rhythm."""
    rows, at = filled(cut)
    sizes = np.log1p(rows)
    floor = float(1 / np.sqrt(max(np.expm1(sizes.mean()), 1.0)))  # counting alone varies that much
    usable = groups(cut.clock, at) if cut.clock is not None else {}
    rhythm = of_scalars(usable, sizes, floor)
    if rhythm is not None:
        found, member = usable[rhythm.kind]
        sizes = np.array([rhythm.shift(int(found[place]), x) for place, x in zip(member, sizes, strict=True)])
    parts = 1 if rhythm is None else rhythm.number
    return scalar_model([sizes], [VOLUME_CLIP], [floor], [parts], [VOLUME_TOLERANCE]), rhythm


def loss(binning: Binning, cut: Cut) -> tuple[ScalarModel, Phases | None] | None:
    """The mean log loss of a classifier's windows, and its rhythm; None where the reference knows it of too few.

    Only a rise is a change.
    """
    if binning.task == "regression":
        return None
    values = np.array([loss_of(profile) for profile in cut.windows])
    known = np.isfinite(values)
    if known.sum() < LOSS_WINDOWS:
        return None
    whole = cut.whole
    mean = whole.total("log_loss") / whole.scored
    variance = max(whole.total("log_loss2") / whole.scored - mean * mean, 1e-12)
    floor = float(np.sqrt(variance / np.median([profile.scored for profile in cut.windows])))
    rhythm = of_scalars(cut.groups, values, floor) if known.all() else None
    if rhythm is not None:
        found, member = cut.groups[rhythm.kind]
        values = np.array([rhythm.shift(int(found[place]), x) for place, x in zip(member, values, strict=True)])
    parts = 1 if rhythm is None else rhythm.number
    model = scalar_model([values[known]], [LOSS_CLIP], [floor], [parts], [LOSS_TOLERANCE * mean], [1])
    return model, rhythm
