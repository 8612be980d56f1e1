"""One alarm detector for a family of signals: a sum of e-values over possible starts of a change.

M = sum over the kept starts of E_s, averaged over the family's signals with fixed weights. While nothing has changed
its mean after t windows is at most t, so an alarm at M >= A followed by M := 0 gives at most t/A false alarms in t
windows (e-detectors: Shin, Ramdas & Rinaldo 2022, in the Shiryaev-Roberts form). Few starts are kept; one that goes
hands its value on to the next older one, so nothing is lost and the promise holds.

`advance` is a pure function of (what is watched, memory, window). The memory is small and is written as bytes.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.stats import incident
from monitor.stats.evidence import CountModel, Floats, ScalarModel, scalar_log_e
from monitor.stats.memory import Memory, Window, dump, load
from monitor.stats.screen import log_e_at, screened_log_e

__all__ = [
    "Evidence",
    "Memory",
    "Named",
    "Step",
    "Watch",
    "Window",
    "advance",
    "dump",
    "evidence",
    "fresh",
    "grown",
    "load",
]

NEWEST = 3  # starts kept at each age
MINIMUM_ROWS = 20  # windows with fewer join the next
Action = Literal["none", "open", "update", "resolve"]


@dataclass(frozen=True)
class Watch:
    """What a family watches: its signals (counts first, then scalars), their weights (sum 1) and the threshold A.

    mark identifies the signals; a memory with another mark starts afresh. minimum_rows: see `advance`. subjects: what
    each signal is about (a feature, in a segment too; both features of a pair): of several named signals that share a
    subject only the strongest is a cause.
    """

    counts: CountModel
    scalars: ScalarModel
    weights: Floats
    threshold: float
    mark: str
    minimum_rows: int = MINIMUM_ROWS
    subjects: tuple[frozenset[str], ...] = ()

    def about(self, signals: NDArray[np.int64]) -> NDArray[np.int64]:
        """These signals, and all that concern the same subjects."""
        if not self.subjects:
            return signals
        told = frozenset().union(*(self.subjects[signal] for signal in signals.tolist()))
        return np.array([at for at, subject in enumerate(self.subjects) if subject & told], np.int64)


@dataclass(frozen=True)
class Named:
    """A signal with evidence of its own: its number, share of the family's evidence, and counts since its start."""

    signal: int
    share: float
    begin: int
    counts: Floats
    sums: Floats


@dataclass(frozen=True)
class Step:
    """What one window said: the family's M, whether it alarmed, since when, and which signals did it (largest first).

    action: open (an alarm, none open), update (an alarm that names a new signal while open), resolve, none.
    used: False where the window had too few rows and waits for the next one.
    """

    action: Action
    evidence: float
    begin: int
    named: tuple[Named, ...] = ()
    used: bool = True
    alarm: bool = False


def fresh(watch: Watch) -> Memory:
    """A memory that has seen nothing."""
    bins, scalars = watch.counts.p.size, watch.scalars.mean.size
    return Memory(watch.mark, 0, *_nothing(bins, scalars, watch.weights.size))


def _nothing(
    bins: int, scalars: int, signals: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats, Floats, Floats]:
    none = np.zeros(0, np.int64)
    return (
        none,
        none.copy(),
        np.zeros((0, bins)),
        np.zeros((0, scalars, 3)),
        np.zeros((0, signals)),
        np.zeros((0, signals)),
    )


def advance(watch: Watch, memory: Memory, window: Window) -> tuple[Memory, Step]:
    """Takes one window in. Returns the new memory (the old one is left alone) and what the window said.

    A window with fewer rows than `minimum_rows` is kept and joined to the next one: its counts add, its scalars are
    replaced by the later ones. Windows must come in order and once; the caller keeps count of that.
    """
    if memory.mark != watch.mark:
        memory = fresh(watch)
    if memory.waiting is not None:
        window = _join(memory.waiting, window)
    if window.rows < watch.minimum_rows:
        return _replace(memory, waiting=window), Step("none", 0.0, window.start, used=False)
    weighted = watch.counts.weigh(window.counts)
    deviation = watch.scalars.deviation(window.scalars)
    after = grown(watch, memory, window.start, evidence(watch, memory, weighted, deviation))
    ongoing = incident.advance(watch.counts, watch.scalars, memory.incident, weighted, deviation)
    step, reset = _judge(watch, after, ongoing is not None)
    if reset:
        hold = memory.hold if memory.incident is not None else incident.next_hold(memory.hold, memory.quiet)
        after = _replace(_told(watch, after, step.named), hold=hold, quiet=memory.quiet)
        ongoing = incident.join(ongoing, step.named)
        known = set(memory.incident.signals) if memory.incident else set()
        if memory.incident is not None:
            action: Action = "update" if any(item.signal not in known for item in step.named) else "none"
            step = Step(action, step.evidence, step.begin, step.named, alarm=True)
    elif ongoing is not None and step.evidence < incident.BACK and incident.over(ongoing, memory.hold):
        step = Step("resolve", step.evidence, ongoing.begin)
        ongoing, after = None, _replace(fresh(watch), hold=memory.hold, quiet=0)
    elif ongoing is None and memory.quiet >= 0:
        after = _replace(after, quiet=memory.quiet + 1)
    return _replace(after, incident=ongoing, waiting=None), step


class Evidence(NamedTuple):
    """What each start has with one more window, the last start being that window's: `counts` [starts, bins], `sums`
    [starts, scalars, 3] and `log_e` [starts, signals] as in Memory."""

    counts: Floats
    sums: Floats
    log_e: Floats


def evidence(watch: Watch, memory: Memory, weighted: Floats, deviation: Floats) -> Evidence:
    """A window's factor for every start: weighted counts [bins], deviations of the scalars [scalars]."""
    counts = np.concatenate([memory.counts, np.zeros((1, weighted.size))]) + weighted
    seen = np.isfinite(deviation)
    value = np.where(seen, deviation, 0.0)
    moments = np.stack([seen.astype(float), value, value * value], axis=-1)
    sums = np.concatenate([memory.sums, np.zeros((1, value.size, 3))]) + moments
    # The memory is written in single precision; rounding here too keeps decisions the same after a restart.
    counts, sums = counts.astype(np.float32).astype(float), sums.astype(np.float32).astype(float)
    scalar = scalar_log_e(watch.scalars, sums[..., 0], sums[..., 1], sums[..., 2])
    return Evidence(counts, sums, np.concatenate([screened_log_e(watch.counts, counts), scalar], axis=-1))


def grown(watch: Watch, memory: Memory, start: int, found: Evidence) -> Memory:
    """The memory after one window that starts then (us): a new start, its evidence, and starts that go."""
    counts, sums, log_e = found.counts, found.sums, found.log_e.copy()
    age = memory.age + 1
    births = np.append(memory.births, age)
    begins = np.append(memory.begins, start)
    nothing = np.zeros((1, watch.weights.size))
    before, extra = np.concatenate([memory.log_e, nothing]), np.concatenate([memory.extra, nothing])
    bounded = np.flatnonzero(np.isfinite(watch.counts.limit))  # never screened, so both are numbers
    grown = log_e[:, bounded] - before[:, bounded]
    extra[:, bounded] += np.minimum(watch.counts.limit[bounded] - grown, 0.0)
    keep = births + NEWEST * (births & -births) > age
    keep[0] = True
    for row in range(births.size - 1, 0, -1):  # newest first: each one that goes adds to its next older neighbour
        if not keep[row]:
            _hand_on(watch, counts, log_e, extra, row)
    log_e, extra = log_e.astype(np.float32).astype(float), extra.astype(np.float32).astype(float)
    after = Memory(memory.mark, age, births[keep], begins[keep], counts[keep], sums[keep], log_e[keep], extra[keep])
    return _replace(after, incident=memory.incident, hold=memory.hold, quiet=memory.quiet)


def _told(watch: Watch, memory: Memory, named: tuple[Named, ...]) -> Memory:
    """The memory after an alarm: what it was about starts afresh, what else is coming up goes on.

    At most t/A alarms on average in t windows still: each takes at least A from M. Where the named signals are less
    than that, everything starts afresh.
    """
    gone = watch.about(np.array([item.signal for item in named], np.int64))
    taken = float((watch.weights[gone] * np.exp(memory.log_m[:, gone])).sum())
    if taken < watch.threshold:
        return fresh(watch)
    extra = memory.extra.copy()
    extra[:, gone] = -np.inf
    return _replace(memory, extra=extra, incident=None, waiting=None)


def _hand_on(watch: Watch, counts: Floats, log_e: Floats, extra: Floats, row: int) -> None:
    """Adds what a start has to the next older one, in place; where that one was passed over, it is computed now."""
    signals = watch.counts.offsets.size
    has = np.isfinite(log_e[row] + extra[row])
    late = np.flatnonzero(has[:signals] & ~np.isfinite(log_e[row - 1, :signals]))
    older = log_e[row - 1]
    older[late] = log_e_at(watch.counts, counts, np.full(late.size, row - 1), late)
    together = np.logaddexp(older[has] + extra[row - 1, has], log_e[row, has] + extra[row, has])
    extra[row - 1, has] = together - older[has]


def _judge(watch: Watch, memory: Memory, ongoing: bool) -> tuple[Step, bool]:
    """Compares M with the threshold; at an alarm names the signals that carry it."""
    values = watch.weights * np.exp(memory.log_m)  # [starts, signals]
    by_signal, by_start = values.sum(axis=0), values.sum(axis=1)
    total = float(by_signal.sum())
    begin = int(memory.begins[int(by_start.argmax())])
    if total < watch.threshold:
        return Step("none", total, begin), False
    enough = np.flatnonzero(by_signal >= min(total / 5, watch.threshold))
    order = enough[np.argsort(-by_signal[enough], kind="stable")]
    if not order.size:
        order = np.array([int(by_signal.argmax())])
    bins, signals = memory.counts.shape[1], watch.counts.offsets.size
    edges = np.append(watch.counts.offsets, bins)
    named = []
    told: frozenset[str] = frozenset()
    for signal in order.tolist():
        if watch.subjects:
            if watch.subjects[signal] & told:
                continue
            told |= watch.subjects[signal]
        row = int(values[:, signal].argmax())
        whole = signal < signals
        counts = memory.counts[row, edges[signal] : edges[signal + 1]] if whole else np.zeros(0)
        sums = np.zeros(0) if whole else memory.sums[row, signal - signals]
        named.append(Named(signal, float(by_signal[signal] / total), int(memory.begins[row]), counts, sums))
    return Step("none" if ongoing else "open", total, begin, tuple(named), alarm=True), True


def _join(earlier: Window, later: Window) -> Window:
    return Window(
        earlier.start,
        later.end,
        earlier.rows + later.rows,
        earlier.counts + later.counts,
        np.where(np.isfinite(later.scalars), later.scalars, earlier.scalars),
    )


def _replace(memory: Memory, **changes: object) -> Memory:
    return Memory(**{**memory.__dict__, **changes})
