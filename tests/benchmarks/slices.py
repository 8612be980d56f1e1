"""How often the search for slices is wrong where nothing rose, and how often it finds what was planted.

    python -m tests.benchmarks.slices [--searches 400 --kinds iid,wander --seed 1]

Each search compares 16 blocks of rows with 28 before, over 10 numeric features of 12 bins and 4 categorical ones of 6
levels: some 17,000 slices and crossings are looked at. Losses are 0 or 1 with 15 % in the mean. Kinds of clean streams:
iid; wander (the chance of each block is multiplied by a lognormal factor of sd 0.3); regimes (rows of a slice wander by
block, sd 0.6, too: what a slice shares varies as well); skewed (exponential losses); shifted (the mix of a feature
changes, the losses of its bins do not). `wrong`: the share of searches that reported anything, promised to be at most
ALPHA; `high` its upper 95 % bound (Clopper & Pearson). Planted: a slice of one feature or two whose chance is `rise`
higher; `found`: the share of searches that report a slice on those features and bins, `covered`: of those, how often
the interval holds the rise. The last line is one JSON object.
"""

import argparse
import json
import time

import numpy as np

from monitor.stats import slices
from monitor.stats.slices import Feature, Part, Parts, Stretch

KINDS = ("iid", "wander", "regimes", "skewed", "shifted")
FEATURES = [Feature(12, 12)] * 10 + [Feature(6, 0)] * 4
PLANTED: dict[str, Parts] = {"one feature": (Part(2, 3, 4),), "two features": (Part(1, 0, 3), Part(12, 3, 3))}
BASE, BEFORE, AFTER = 0.15, 28, 16


def stretch(
    number: np.random.Generator,
    kind: str,
    blocks: int,
    rows: int,
    where: Parts = (),
    rise: float = 0.0,
    later: bool = False,
) -> Stretch:
    """Rows of a stretch; `later`: of the second one."""
    n, block = blocks * rows, np.repeat(np.arange(blocks), rows)
    codes = [number.integers(0, feature.bins, n).astype(np.uint8) for feature in FEATURES]
    if kind == "shifted" and later:
        moved = number.random(n) < 0.3
        codes[0][moved] = np.minimum(codes[0][moved] + 3, 11)
    bare = Stretch(codes, np.zeros(n), block, blocks)
    chance = np.full(n, BASE) * (0.5 + codes[0] / 12 if kind == "shifted" else 1.0)
    if kind in ("wander", "regimes"):
        chance *= np.exp(0.3 * number.standard_normal(blocks))[block]
    if kind == "regimes":
        chance *= np.where(codes[3] < 4, np.exp(0.6 * number.standard_normal(blocks))[block], 1.0)
    if rise:
        chance = chance + rise * slices.holds(where, bare)
    loss = number.exponential(chance) if kind == "skewed" else (number.random(n) < np.minimum(chance, 1)).astype(float)
    return Stretch(codes, loss, block, blocks)


def search(seed: int, kind: str, rows: int, where: Parts = (), rise: float = 0.0) -> slices.Result:
    number = np.random.default_rng([seed, sum(kind.encode())])
    before = stretch(number, kind, BEFORE, rows)
    return slices.find(before, stretch(number, kind, AFTER, rows, where, rise, True), FEATURES, seed=seed)


def overlaps(found: Parts, planted: Parts) -> bool:
    named = {part.feature: part for part in found}
    return all(
        part.feature in named and named[part.feature].low <= part.high and named[part.feature].high >= part.low
        for part in planted
    )


def upper(hits: int, of: int) -> float:
    """The upper end of Clopper and Pearson's 95 % interval, by bisection on the binomial."""
    from scipy.stats import beta

    return 1.0 if hits == of else float(beta.ppf(0.975, hits + 1, of - hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=400)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--rows", type=int, default=200, help="of a block")
    parser.add_argument("--rises", default="0.05,0.1,0.2,0.3")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began, clean, planted = time.process_time(), [], []
    seeds = range(given.seed * 1_000_000, given.seed * 1_000_000 + given.searches)
    for kind in given.kinds.split(","):
        wrong = sum(bool(search(seed, kind, given.rows).found) for seed in seeds)
        high = upper(wrong, given.searches)
        clean.append({"kind": kind, "searches": given.searches, "wrong": wrong / given.searches, "high": high})
        print(
            f"{kind:12} wrong {wrong:4} of {given.searches} (at most {high:.3f}; promised {slices.ALPHA})", flush=True
        )
    for name, where in PLANTED.items():
        for rise in (float(one) for one in given.rises.split(",")):
            few = list(seeds)[: max(given.searches // 4, 1)]
            right = []
            for seed in few:
                hits = [
                    one for one in search(seed, "wander", given.rows, where, rise).found if overlaps(one.parts, where)
                ]
                right += hits[:1]
            covered = sum(one.change.low <= rise <= one.change.high for one in right)
            planted.append({"planted": name, "rise": rise, "found": len(right) / len(few), "covered": covered})
            print(
                f"{name:12} rise {rise:.2f}: found {len(right)} of {len(few)}, interval holds it {covered} times",
                flush=True,
            )
    seconds = time.process_time() - began
    print(json.dumps({"clean": clean, "planted": planted, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
