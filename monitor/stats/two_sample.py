"""A sequential classifier two-sample test: whether the rows of a day are still told from the reference's.

Each night a classifier learns to tell the rows of the last days from those of one half of the reference, and from then
on bets on days that it has not seen (Lopez-Paz & Oquab, ICLR 2017, made sequential as Podkopaev & Ramdas, *Sequential
predictive two-sample and independence testing*, NeurIPS 2023, and Pandeva et al., *E-valuating classifier two-sample
tests*, TMLR 2024). Its inputs are products of up to three columns, so it sees what no column and no pair shows.

**The bet.** Once made, a classifier is a fixed function f. The means of f over the days of the reference's other half,
which it has never seen, say how such a mean varies from day to day by nature; the mean over each later day is one more.
While nothing has changed all of them are alike, and `scalar_log_e` gives the e-value of the days since: it charges for
the reference's few days and for their variation, instead of calling every row independent. That needs days that vary
as the reference's did, and means that are nearly normal, as for every scalar signal. How good a classifier is decides
what is found, never whether the promise holds.

**The alarm.** M = sum over the nights s of the mean e-value of the classifiers made in s. While nothing has changed
E[M] grows by at most 1 a night, so an alarm at M >= A, and M := 0, has at most t/A false alarms in t nights. Nights
older than KEPT are dropped, which lowers M.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from monitor.stats.evidence import Floats, ScalarModel, scalar_log_e
from monitor.stats.incident import HOLD, next_hold
from monitor.stats.learned import scalar_model
from monitor.stats.rows import Ints
from monitor.stats.terms import Terms, chosen, values

MEMORIES = (1, 7)  # days that the classifiers of a night learn from
KEPT = 30  # nights whose classifiers still bet
LEAST_DAYS = 14  # of the reference: half of them teach, half of them judge
CLIP = 6.0  # standard deviations of the reference's days
TOLERANCE = 0.05  # of the standard deviation of f over rows: a smaller shift for good is nobody's page
RIDGE = 0.02  # of the columns' variance
BOUND = 4.0  # of f: no row counts for more
CLOSE = 20.0  # evidence for being back from which on a day counts as back
_DAY_RATIO = 3.0  # log of what one day can add to it
Action = Literal["none", "open", "update", "resolve"]


@dataclass(frozen=True, eq=False)
class Classifier:
    """f of a row: a bounded sum of products of its columns, and the distribution of its daily mean in the reference."""

    born: int  # start of the night's day, us
    terms: Terms
    weights: Floats
    centre: Floats
    model: ScalarModel
    usual: float  # rows of a day in the reference
    number: int = 0  # days since
    total: float = 0.0
    squares: float = 0.0

    def __call__(self, columns: Floats) -> Floats:
        """float64[n] of columns [n, p]."""
        return np.asarray(np.clip((values(self.terms, columns) - self.centre) @ self.weights, -BOUND, BOUND))

    def seen(self, columns: Floats) -> "Classifier":
        """After one more day. A day of fewer rows than usual counts for less."""
        y = float(self.model.deviation(np.array([self(columns).mean()]))[0])
        y *= min(1.0, float(np.sqrt(columns.shape[0] / self.usual)))
        return replace(self, number=self.number + 1, total=self.total + y, squares=self.squares + y * y)

    @property
    def log_e(self) -> float:
        parts = (np.array([part]) for part in (float(self.number), self.total, self.squares))
        return float(scalar_log_e(self.model, *parts)[0])


@dataclass(frozen=True, eq=False)
class Incident:
    """What alarmed, since when, the mean deviation of its days so far, the evidence that it is over, and for how many
    days in a row that has been enough."""

    classifier: Classifier
    since: int
    level: float
    days: int
    log_back: float
    held: int = 0


@dataclass(frozen=True, eq=False)
class State:
    """What the test remembers: the classifiers that bet, the columns of the last days, and the open incident.

    hold: days in a row that an incident must be back before it ends; quiet: days since the last one ended (-1: none).
    """

    classifiers: tuple[Classifier, ...] = ()
    days: tuple[Floats, ...] = ()
    incident: Incident | None = None
    hold: int = HOLD
    quiet: int = -1


@dataclass(frozen=True, eq=False)
class Step:
    """What a day said. `evidence` is M; `leader` the classifier with most of it, for the causes of an alarm."""

    action: Action
    evidence: float
    since: int
    leader: Classifier | None = None


@dataclass(frozen=True, eq=False)
class Reference:
    """Columns of the reference's rows, float64[n, p], and the day of each, 0 to D - 1."""

    columns: Floats
    day: Ints

    @property
    def days(self) -> int:
        return int(self.day.max()) + 1 if self.day.size else 0

    @property
    def teaching(self) -> Floats:
        return np.asarray(self.columns[self.day % 2 == 0])

    @property
    def judging(self) -> tuple[Floats, Ints]:
        odd = self.day % 2 == 1
        return self.columns[odd], self.day[odd] // 2


def advance(reference: Reference, state: State, columns: Floats, start: int, threshold: float) -> tuple[State, Step]:
    """Takes one day in: every classifier bets on it, then new ones are made.

    columns: of the day's rows, float64[n, p]; start: of the day, us; threshold: A. Days come in order and once.
    """
    bets = [one.seen(columns) for one in state.classifiers]
    weight = 1 / len(MEMORIES)
    parts = np.exp(np.minimum([one.log_e for one in bets], 600.0)) * weight if bets else np.zeros(0)
    evidence = float(parts.sum())
    leader = bets[int(parts.argmax())] if bets else None
    incident, action, since = state.incident, "none", start
    hold, quiet = state.hold, state.quiet + (incident is None and state.quiet >= 0)
    if incident is not None:
        incident = _back(incident, columns, evidence)
        since = incident.since
        if incident.held >= hold:
            incident, action, quiet = None, "resolve", 0
    if leader is not None and evidence >= threshold:
        since = leader.born if incident is None else incident.since
        action = "open" if state.incident is None else "update"
        if incident is None:
            incident = Incident(leader, since, leader.total / leader.number, leader.number, 0.0)
            hold = next_hold(state.hold, state.quiet)
        bets = []
    days = (*state.days, columns)[-max(MEMORIES) :]
    made = [one for memory in MEMORIES if (one := learn(reference, np.vstack(days[-memory:]), start)) is not None]
    kept = len(MEMORIES) * (KEPT - 1)
    state = State((*bets[-kept:], *made), days, incident, hold, quiet)
    return state, Step(action, evidence, since, leader)  # type: ignore[arg-type]


def _back(incident: Incident, columns: Floats, evidence: float) -> Incident:
    """One more day of an open incident: R := (1 + R) * p(y | as in the reference) / p(y | as since the change).

    A day counts as back where it speaks for that, R is enough, and the other classifiers have little against it.
    """
    one = incident.classifier
    y = float(one.model.deviation(np.array([one(columns).mean()]))[0])
    ratio = ((y - incident.level) ** 2 - y * y) / 2
    before = np.logaddexp(0.0, incident.log_back) if incident.log_back else 0.0
    back = float(before + np.clip(ratio, -_DAY_RATIO, _DAY_RATIO))
    days = incident.days + 1
    level = incident.level + (y - incident.level) / days if ratio < 0 else incident.level
    held = incident.held + 1 if ratio > 0 and back >= np.log(CLOSE) and evidence < CLOSE else 0
    return replace(incident, log_back=back, level=level, days=days, held=held)


def learn(reference: Reference, new: Floats, start: int) -> Classifier | None:
    """The classifier that tells `new` rows from the teaching half of the reference; None where nothing varies.

    Fisher's linear discriminant on the products that differ most, with a ridge.
    """
    old = reference.teaching
    terms = chosen(old, new)
    if not terms:
        return None
    a, b = values(terms, old), values(terms, new)
    centre = (a.mean(axis=0) + b.mean(axis=0)) / 2
    within = (np.cov(a, rowvar=False, bias=True) + np.cov(b, rowvar=False, bias=True)).reshape(len(terms), -1) / 2
    scale = np.maximum(np.diag(within), 1e-9)
    weights = np.linalg.solve(within + RIDGE * np.diag(scale), b.mean(axis=0) - a.mean(axis=0))
    bare = Classifier(start, terms, weights, centre, _nothing(), 1.0)
    rows, day = reference.judging
    f = bare(rows)
    count = np.bincount(day)
    means = np.bincount(day, f) / np.maximum(count, 1)
    spread = float(f.std())
    if not spread > 1e-9:
        return None
    usual = float(np.median(count[count > 0]))
    model = scalar_model([means[count > 0]], [CLIP], [spread / np.sqrt(usual)], None, [TOLERANCE * spread], [1])
    return replace(bare, model=model, usual=usual)


@lru_cache(maxsize=1)
def _nothing() -> ScalarModel:
    return scalar_model([np.zeros(3)], [1.0], [1.0])


def importance(classifier: Classifier, rows: Floats, columns: Sequence[int]) -> Floats:
    """float64[len(columns)]: by how much the mean of f falls when a column's values are dealt anew among the rows
    (Breiman, Machine Learning 45, 2001); the same deal each time."""
    number = np.random.default_rng(0)
    whole = float(classifier(rows).mean())
    found = []
    for column in columns:
        dealt = rows.copy()
        dealt[:, column] = number.permutation(dealt[:, column])
        found.append(whole - float(classifier(dealt).mean()))
    return np.asarray(found)


def separation(classifier: Classifier, reference: Reference, rows: Floats) -> tuple[float, float, float]:
    """The AUC of f between judging rows of the reference and `rows`, with its 95 % interval.

    The interval is from the reference's days (each day's AUC against `rows`), so it holds their natural variation.
    """
    old, day = reference.judging
    f, g = classifier(old), classifier(rows)
    order = np.sort(f)
    below = (np.searchsorted(order, g, "left") + np.searchsorted(order, g, "right")) / 2
    area = float(below.mean() / f.size)
    ranks = np.sort(g)
    above = 1 - (np.searchsorted(ranks, f, "left") + np.searchsorted(ranks, f, "right")) / 2 / g.size
    by_day = np.bincount(day, above) / np.maximum(np.bincount(day), 1)
    by_day = by_day[np.bincount(day) > 0]
    error = float(by_day.std(ddof=1)) if by_day.size > 1 else 0.5
    width = 1.96 * float(np.sqrt(error**2 * (1 + 1 / by_day.size)))
    return area, max(area - width, 0.0), min(area + width, 1.0)
