"""An open incident: which signals it has, and the evidence that each of them is back where the reference was.

For every signal R := (1 + R) * DM(c; p) / DM(c; q) with q learned from the incident's own counts (scalars: the
predictive densities of the reference and of the incident). While the signal is still changed as learned, R grows by at
most 1 a window on average, so closing at R >= 20 is wrong at most t/20 times in t changed windows. An incident is over
when every one of its signals has been back for a few windows in a row.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from scipy.special import gammaln

from monitor.stats.evidence import FLAT, CountModel, Floats, ScalarModel

if TYPE_CHECKING:
    from monitor.stats.detector import Named

BACK = 20.0  # R at which a signal counts as back
HOLD = 3  # windows in a row that every signal must be back: one calm day in a stormy week ends nothing
MOST_HOLD = 96  # an incident that comes back soon after it closed holds twice as long each time, up to this
SOON = 10  # times the last hold
_CAP = 1e100


class Cause(msgspec.Struct, array_like=True):
    """One signal of an incident: its counts (or number, sum and squares of deviations) while changed, and its R.

    since: its first evidence in this incident, us; 0 where that is not known.
    """

    signal: int
    learned: list[float]
    back: float = 0.0
    held: int = 0  # windows in a row with back >= BACK
    since: int = 0


class Incident(msgspec.Struct, array_like=True):
    """begin: first evidence, us; causes in the order in which they joined; severity: the highest so far."""

    begin: int
    causes: list[Cause]
    severity: str = "warning"

    @property
    def signals(self) -> list[int]:
        """Numbers of the signals that have taken part."""
        return [cause.signal for cause in self.causes]

    def since(self, signal: int, begin: int) -> int:
        """The first evidence of a signal, of which the newest alarm says `begin`."""
        return next((cause.since for cause in self.causes if cause.signal == signal and cause.since), begin)


def join(ongoing: Incident | None, named: "Sequence[Named]") -> Incident:
    """The incident after an alarm: new signals join; a known one starts to prove its return afresh."""
    known = {cause.signal: cause for cause in ongoing.causes} if ongoing is not None else {}
    causes = list(ongoing.causes) if ongoing is not None else []
    for item in named:
        learned = [float(value) for value in (item.counts if item.counts.size else item.sums)]
        if item.signal in known:
            at = next(index for index, cause in enumerate(causes) if cause.signal == item.signal)
            since = min(causes[at].since or item.begin, item.begin)  # after an alarm, evidence starts afresh
            causes[at] = Cause(item.signal, learned, since=since)
        else:
            causes.append(Cause(item.signal, learned, since=item.begin))
    begin = ongoing.begin if ongoing is not None else min(item.begin for item in named)
    return Incident(begin, causes, ongoing.severity if ongoing is not None else "warning")


def advance(
    counts: CountModel, scalars: ScalarModel, ongoing: Incident | None, weighted: Floats, deviation: Floats
) -> Incident | None:
    """The incident after one window: weighted counts [bins] and clipped deviations [scalars] as the detector uses."""
    if ongoing is None:
        return None
    edges = np.append(counts.offsets, counts.p.size)
    signals = counts.offsets.size
    causes = []
    for cause in ongoing.causes:
        if cause.signal < signals:
            span = slice(int(edges[cause.signal]), int(edges[cause.signal + 1]))
            causes.append(_counted(cause, weighted[span], counts.null[span]))
        else:
            at = cause.signal - signals
            causes.append(_measured(cause, float(deviation[at]), scalars, at))
    return Incident(ongoing.begin, causes, ongoing.severity)


def over(ongoing: Incident, hold: int = HOLD) -> bool:
    """True when every signal has been back for `hold` windows in a row."""
    return all(cause.held >= hold for cause in ongoing.causes)


def next_hold(hold: int, quiet: int) -> int:
    """The hold of an incident that opens `quiet` windows after the last one (-1: there was none) closed."""
    return min(2 * hold, MOST_HOLD) if 0 <= quiet <= SOON * hold else HOLD


def _log_dm(counts: Floats, parameters: Floats) -> float:
    whole, rows = parameters.sum(), counts.sum()
    terms = gammaln(parameters + counts) - gammaln(parameters)
    return float(gammaln(whole) - gammaln(whole + rows) + terms.sum())


def _next(cause: Cause, learned: list[float], factor: float) -> Cause:
    back = min((1 + cause.back) * float(factor), _CAP)
    return Cause(cause.signal, learned, back, cause.held + 1 if back >= BACK else 0, cause.since)


def _counted(cause: Cause, window: Floats, null: Floats) -> Cause:
    if window.sum() <= 0:
        return cause
    learned = np.asarray(cause.learned)
    prior = (1 - FLAT) * null / null.sum() + FLAT / null.size
    factor = np.exp(np.clip(_log_dm(window, null) - _log_dm(window, learned + prior), -200, 200))
    return _next(cause, (learned + window).tolist(), factor)


def _log_t(x: float, freedom: float, centre: float, squares: float, spread: float) -> float:
    """Log predictive density of the next value: t with `freedom`, scale^2 = squares / freedom * spread."""
    scale = squares / freedom * spread
    return float(
        gammaln((freedom + 1) / 2)
        - gammaln(freedom / 2)
        - 0.5 * np.log(freedom * np.pi * scale)
        - (freedom + 1) / 2 * np.log1p((x - centre) ** 2 / (freedom * scale))
    )


def _measured(cause: Cause, x: float, scalars: ScalarModel, at: int) -> Cause:
    windows, squares, freedom = (float(part[at]) for part in (scalars.windows, scalars.squares, scalars.freedom))
    if not np.isfinite(x):
        return cause
    number, total, square = cause.learned
    mean = total / max(number, 1.0)
    within = squares + max(square - total * mean, 0.0)
    factor = np.exp(
        np.clip(
            _log_t(x, freedom, 0.0, squares, 1 + 1 / windows)
            - _log_t(x, freedom + number - 1, mean, within, 1 + 1 / max(number, 1.0)),
            -200,
            200,
        )
    )
    return _next(cause, [number + 1, total + x, square + x * x], factor)


def dump(ongoing: Incident) -> bytes:
    """The incident as MessagePack."""
    return msgspec.msgpack.encode(ongoing)


def load(data: bytes) -> Incident:
    """Reads what `dump` wrote."""
    return msgspec.msgpack.decode(data, type=Incident)
