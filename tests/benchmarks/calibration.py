"""Whether the promise holds: false alarms of the product's detectors on streams in which nothing changes.

    python -m tests.benchmarks.calibration [--streams 500 --windows 2000 --kinds iid,weekday --seed 1]

Each stream is a signal with a reference of its own, learned and watched as the product does; alarms are counted with
reset. The promise is at most 1/A alarms a window; `used` is the part of it that came up (above 1: broken). Kinds:
iid counts; weekday (another mix at weekends) and daynight (by hour of the day) with phases; dirichlet
(Dirichlet-multinomial windows of concentration 200); shift (the stream differs from the reference by half the
tolerance for good); lognormal (a scalar, its logarithm watched). `autoregressive` is no part of the promise:
the log-odds of the shares follow an AR(1) of coefficient 0.9. The last line is one JSON object.
"""

import argparse
import json
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from monitor.stats.detector import Watch, evidence, fresh, grown
from monitor.stats.evidence import Floats
from monitor.stats.learned import TOLERANCE, count_model, scalar_model
from monitor.stats.phases import Clock, Phases, groups, of_counts

KINDS = ("iid", "weekday", "daynight", "dirichlet", "shift", "lognormal")
BEYOND = ("autoregressive",)
REFERENCES = (14, 28, 100)
ROWS = (50, 1000)
THRESHOLDS = (300, 1000)
BINS = 10
CONCENTRATION = 200.0
HOUR = 3_600_000_000
STEPS = {"daynight": 6 * HOUR}  # others: a day


class Rate(NamedTuple):
    """What one setting came to."""

    kind: str
    reference: int
    rows: int
    threshold: int
    windows: int
    alarms: int

    @property
    def used(self) -> float:
        """Alarms a window, as a part of 1/A."""
        return self.alarms / self.windows * self.threshold


class Nature:
    """Draws windows of all streams: counts [streams, BINS], or values [streams]."""

    def __init__(self, kind: str, streams: int, rows: int, seed: int) -> None:
        self.kind, self.rows = kind, rows
        self.random = np.random.default_rng([seed, rows, sum(kind.encode())])
        self.shares = self.random.dirichlet(np.full(BINS, 5.0), streams)
        self.state = np.zeros((streams, BINS))

    def start(self, window: int) -> int:
        return 4 * 24 * HOUR + window * STEPS.get(self.kind, 24 * HOUR)  # from a Monday on

    def counts(self, window: int, changed: bool) -> Floats:
        shares = self.shares
        if self.kind in ("weekday", "daynight"):
            slot = window % 7 >= 5 if self.kind == "weekday" else window % 4 == 0
            shares = _tilted(shares, 0.5 if slot else 0.0)
        if self.kind == "shift" and changed:
            shares = _half_tolerated(shares)
        if self.kind == "autoregressive":
            noise = self.random.normal(0, np.sqrt(1 - 0.9**2), self.state.shape)
            self.state = 0.9 * self.state + noise
            shares = shares * np.exp(0.1 * self.state)
            shares = shares / shares.sum(axis=1, keepdims=True)
        if self.kind == "dirichlet":
            shares = self.random.standard_gamma(CONCENTRATION * shares)
            shares = shares / shares.sum(axis=1, keepdims=True)
        rows = self.random.poisson(self.rows, len(shares)).clip(20)
        return self.random.multinomial(rows, shares).astype(float)

    def values(self) -> Floats:
        return np.asarray(np.log(self.random.lognormal(0, 0.5, len(self.shares))))


def _tilted(shares: Floats, by: float) -> Floats:
    """Shares with more mass on the later bins."""
    tilted = shares * np.exp(by * np.linspace(-1, 1, shares.shape[1]))
    return np.asarray(tilted / tilted.sum(axis=1, keepdims=True))


def _half_tolerated(shares: Floats) -> Floats:
    """The tilt whose PSI is half the tolerance."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        tilted = _tilted(shares, middle)
        psi = ((tilted - shares) * np.log(tilted / shares)).sum(axis=1).mean()
        low, high = (middle, high) if psi < TOLERANCE / 2 else (low, middle)
    return _tilted(shares, low)


class Turn:
    """The rhythms of all streams at once: factors and worth by kind of phase, the phase, and the stream."""

    def __init__(self, phases: list[Phases | None]) -> None:
        self.number = len(phases)
        self.tables: dict[tuple[str, int], tuple[Floats, Floats]] = {}
        known = [(stream, rhythm) for stream, rhythm in enumerate(phases) if rhythm is not None]
        for stream, rhythm in known:
            for phase, factor in rhythm.factors.items():
                of = self.tables.setdefault((rhythm.kind, phase), (np.ones((self.number, BINS)), np.ones(self.number)))
                of[0][stream], of[1][stream] = factor, rhythm.worth[phase]

    def by(self, now: dict[str, int], counts: Floats) -> Floats:
        """Counts [streams, BINS] as `Phases.turn` gives them."""
        for place in now.items():
            if place in self.tables:
                factor, worth = self.tables[place]
                turned = counts * factor
                rows = counts.sum(axis=1) * worth
                counts = turned * (rows / np.maximum(turned.sum(axis=1), 1e-12))[:, None]
        return counts


def measured(kind: str, reference: int, rows: int, streams: int, windows: int, seed: int) -> list[Rate]:
    """Alarms of so many streams over so many windows at each threshold."""
    nature = Nature(kind, streams, rows, seed)
    turn = None
    if kind == "lognormal":
        blocks = np.array([nature.values() for _ in range(reference)])
        scalars = scalar_model(list(blocks.T), [6.0] * streams, [1e-6] * streams)
        counts = count_model([])
    else:
        drawn = np.array([nature.counts(window, False) for window in range(reference)])
        starts = [nature.start(window) for window in range(reference)]
        clock = Clock.of(starts, "UTC")
        usable = groups(clock, starts) if clock is not None else {}
        phases = [of_counts(usable, drawn[:, stream]) for stream in range(streams)]
        turn = Turn(phases)
        signals = []
        for stream, rhythm in enumerate(phases):
            own = drawn[:, stream] if rhythm is None else rhythm.turn_all(usable, drawn[:, stream])
            signals.append((own.sum(axis=0), own))
        parts = [None if rhythm is None else (rhythm.number, rhythm.least) for rhythm in phases]
        counts, scalars = count_model(signals, phases=parts), scalar_model([], [], [])
    # All streams are signals of one detector that never alarms; each is compared with A by itself, and reset.
    watch = Watch(counts, scalars, np.ones(streams), np.inf, "calibration")
    memories = [fresh(watch) for _ in THRESHOLDS]
    alarms = [0] * len(THRESHOLDS)
    for window in range(reference, reference + windows):
        window_counts, values = np.zeros((0, BINS)), np.zeros(0)
        if kind == "lognormal":
            values = nature.values()
        else:
            window_counts = nature.counts(window, True)
            if turn is not None and clock is not None:
                window_counts = turn.by(
                    {kind: clock.phase(kind, nature.start(window)) for kind in clock.kinds()}, window_counts
                )
        # The thresholds differ in what was told, not in the evidence of a start: that is computed once for all.
        found = evidence(watch, memories[0], watch.counts.weigh(window_counts.ravel()), watch.scalars.deviation(values))
        for place, threshold in enumerate(THRESHOLDS):
            memory = grown(watch, memories[place], window, found)
            over = np.exp(memory.log_m).sum(axis=0) >= threshold
            alarms[place] += int(over.sum())
            extra = memory.extra.copy()
            extra[:, over] = -np.inf
            memories[place] = replace(memory, extra=extra)
    total = streams * windows
    return [Rate(kind, reference, rows, at, total, count) for at, count in zip(THRESHOLDS, alarms, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--kinds", default=",".join(KINDS + BEYOND))
    parser.add_argument("--references", default=",".join(map(str, REFERENCES)))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    found: list[Rate] = []
    print(f"{'kind':>15} {'reference':>9} {'rows':>5} {'A':>5} {'alarms':>7} {'used':>6}")
    for kind in arguments.kinds.split(","):
        for reference in map(int, arguments.references.split(",")):
            for rows in ROWS if kind != "lognormal" else ROWS[-1:]:
                for one in measured(kind, reference, rows, arguments.streams, arguments.windows, arguments.seed):
                    found.append(one)
                    line = f"{kind:>15} {reference:>9} {rows:>5} {one.threshold:>5} {one.alarms:>7} {one.used:>6.2f}"
                    print(line, flush=True)
    promised = [one.used for one in found if one.kind not in BEYOND]
    result = {"streams": arguments.streams, "windows": arguments.windows, "worst": round(max(promised, default=0.0), 3)}
    print(json.dumps(result | {"seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
