"""Whether the nightly two-sample test keeps its promise, and when it finds features that begin to go together.

    python -m tests.benchmarks.nightly [--streams 100 --nights 60 --seed 1]

Each stream has a reference of 14 or 28 days and 8 columns of 300 rows a day. Kinds without a change: iid; wander (each
day's columns are shifted by sd 0.1); correlated (the columns of a row depend on each other, always alike); weekly (two
days of seven have other columns). Alarms are counted with reset; `used` is their number as a part of what is
budgeted, 1/A a night (above 1: broken). With a change: of `tied` of the rows the sign of one column is that of the
product of two others from the 11th night on, which no column and no pair shows; `delay` is the median number of nights
to the alarm at A = 1800 (a budget of one false alarm in 90 days), `found` the share found within 20. The last line is
one JSON object.
"""

import argparse
import json
import time

import numpy as np

from monitor.stats import two_sample
from monitor.stats.two_sample import Reference, State

KINDS = ("iid", "wander", "correlated", "weekly")
COLUMNS, ROWS, THRESHOLD, CHANGE, WITHIN = 8, 300, 300, 10, 20
REAL = 1800.0


def day(number: np.random.Generator, kind: str, at: int, tied: float = 0.0) -> np.ndarray:
    found = np.sqrt(3) * number.uniform(-1, 1, (ROWS, COLUMNS))
    if kind == "wander":
        found += 0.1 * number.standard_normal(COLUMNS)
    if kind == "correlated":
        found[:, 1] = 0.8 * found[:, 0] + 0.6 * found[:, 1]
        found[:, 3] = np.abs(found[:, 3]) * np.sign(found[:, 4] * found[:, 5])
    if kind == "weekly" and at % 7 > 4:
        found[:, :3] *= 0.7
        found[:, 3] += 0.5
    chosen = number.random(ROWS) < tied
    found[chosen, 2] = np.abs(found[chosen, 2]) * np.sign(found[chosen, 0] * found[chosen, 1])
    return found.astype(np.float32)


def alarms(seed: int, kind: str, days: int, nights: int, threshold: float, tied: float = 0.0) -> list[int]:
    """The nights of the alarms."""
    number = np.random.default_rng([seed, days, sum(kind.encode())])
    columns = np.vstack([day(number, kind, at) for at in range(days)])
    reference, state, found = Reference(columns, np.repeat(np.arange(days), ROWS)), State(), []
    for night in range(nights):
        today = day(number, kind, days + night, tied if night >= CHANGE else 0.0)
        state, step = two_sample.advance(reference, state, today, night, threshold)
        if step.action in ("open", "update"):
            found.append(night)
            if tied:
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began, clean, planted = time.process_time(), [], []
    seeds = range(given.seed * 1_000_000, given.seed * 1_000_000 + given.streams)
    for kind in KINDS:
        for days in (14, 28):
            count = sum(len(alarms(seed, kind, days, given.nights, THRESHOLD)) for seed in seeds)
            used = count / given.streams / given.nights * THRESHOLD
            clean.append({"kind": kind, "days": days, "alarms": count, "used": round(used, 2)})
            print(f"{kind:10} {days} days: {count} alarms, {used:.2f} of the budget", flush=True)
    for tied in (0.2, 0.4, 0.6, 1.0):
        few = list(seeds)[: max(given.streams // 5, 1)]
        nights = [alarms(seed, "iid", 28, CHANGE + WITHIN, REAL, tied) for seed in few]
        delays = [one[0] - CHANGE for one in nights if one and one[0] >= CHANGE]
        delay = float(np.median(delays)) if delays else None
        planted.append({"tied": tied, "found": len(delays) / len(few), "delay": delay})
        print(f"tied {tied}: found {len(delays)} of {len(few)}, median delay {delay} nights", flush=True)
    seconds = round(time.process_time() - began, 1)
    print(json.dumps({"clean": clean, "planted": planted, "seconds": seconds}))


if __name__ == "__main__":
    main()
