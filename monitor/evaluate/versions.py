"""Two versions of a model beside each other over a stretch.

Each version's numbers come from its profiles, whatever the number of rows. Where both answered the same ids (a shadow
beside the live version, the same rows replayed) their rows are paired, when that is asked for and there are not too
many: then the differences are those of the same rows, and far narrower.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from monitor.errors import Invalid
from monitor.evaluate.cuts import Want
from monitor.evaluate.kept import KeptShelf
from monitor.evaluate.loaded import with_schema
from monitor.evaluate.pairing import Paired, paired
from monitor.stats import compare
from monitor.stats.compare import PAIRED, Answers, Contrast, Flips
from monitor.stats.measure import FIRST, METRICS, measure
from monitor.stats.profile import Profile
from monitor.stats.values import Value, to_value
from monitor.store.catalog import Model, version_names

MOST_ROWS = 300_000  # of both versions, read to pair them
LEAST_OVERLAP = 0.5  # of the smaller side: with fewer pairs, all rows of both say more than those
CHANGES = 20
LATENCY = ("latency_p50", "latency_p95", "latency_p99", "error_rate")


@dataclass(frozen=True)
class Side:
    """A version and what it answered in the stretch."""

    version: str
    rows: int
    labelled: int


@dataclass(frozen=True)
class Change:
    """How many rows went from one answer to another."""

    before: str
    after: str
    rows: int


@dataclass(frozen=True)
class Pairs:
    """Rows with the same id. `agreement`: share with the same answer (classification); `apart`: mean of candidate's
    answer minus baseline's (regression)."""

    n: int
    labelled: int
    agreement: Value
    apart: Value
    flips: Flips | None
    changes: Sequence[Change]
    read: int


@dataclass(frozen=True)
class Part:
    """A segment of both versions: rows of each, agreement of the pairs, and the model's first metric."""

    name: str
    rows: tuple[int, int]
    agreement: Value
    contrast: Contrast


@dataclass(frozen=True)
class Comparison:
    """`pairs` is None where rows were not paired. `unpaired` says why the contrasts are of each version's own rows; it
    is empty where they are of the same ones."""

    baseline: Side
    candidate: Side
    from_us: int
    to_us: int
    performance: Sequence[Contrast]
    service: Sequence[Contrast]
    segments: Sequence[Part]
    pairs: Pairs | None
    unpaired: str


def compare_versions(
    connection: Connection,
    model: Model,
    baseline: str,
    candidate: str,
    from_us: int,
    to_us: int,
    *,
    with_pairs: bool = True,
) -> Comparison:
    """Live and shadow rows of both versions in [from_us, to_us).

    Args:
        with_pairs: read rows to pair them by id, where there are at most MOST_ROWS.

    Raises:
        Invalid: a version is not known, both are the same, or the stretch is empty; names the field.
    """
    model = with_schema(connection, model)
    if from_us >= to_us:
        raise Invalid.field("from", "must be before `to`")
    numbers = {name: number for number, name in version_names(connection, model.id).items()}
    for field, name in (("baseline", baseline), ("candidate", candidate)):
        if name not in numbers:
            raise Invalid.field(field, "is not a version of this model")
    if baseline == candidate:
        raise Invalid.field("candidate", "is the baseline itself")
    chosen = (numbers[baseline], numbers[candidate])
    profiles = [_profile(connection, model, version, from_us, to_us) for version in chosen]
    sides = [_side(name, one) for name, one in zip((baseline, candidate), profiles, strict=True)]
    found, unpaired = _pair(connection, model, profiles, chosen, (from_us, to_us), with_pairs)
    rows = None if unpaired else found
    names = [name for name, metric in METRICS.items() if _is_performance(name, model.task) and metric.labels]
    return Comparison(
        baseline=sides[0],
        candidate=sides[1],
        from_us=from_us,
        to_us=to_us,
        performance=_contrasts(names, profiles, rows),
        service=_contrasts(LATENCY, profiles, None),
        segments=_segments(model, profiles, rows),
        pairs=None if found is None else _pairs(found, model.task),
        unpaired=unpaired,
    )


def _is_performance(name: str, task: str) -> bool:
    metric = METRICS[name]
    return metric.family == "performance" and task in metric.tasks and name not in ("coverage", "label_delay_p50")


def _profile(connection: Connection, model: Model, version: int, from_us: int, to_us: int) -> Profile | None:
    return KeptShelf(connection, model, Want(version_id=version, role=None, segments=True)).profile(from_us, to_us)


def _side(name: str, profile: Profile | None) -> Side:
    return Side(name, 0, 0) if profile is None else Side(name, profile.rows, profile.labelled)


def _pair(
    connection: Connection,
    model: Model,
    profiles: Sequence[Profile | None],
    versions: tuple[int, int],
    between: tuple[int, int],
    wanted: bool,
) -> tuple[Paired | None, str]:
    first, second = profiles
    if first is None or second is None:
        return None, "one of the versions has no rows in this stretch"
    if not wanted:
        return None, "rows were not read"
    rows = first.rows + second.rows
    if rows > MOST_ROWS:
        return None, f"{rows:,} rows are too many to be paired at once (at most {MOST_ROWS:,}): ask for less time"
    found = paired(connection, model, second.binning, versions, *between)
    if not found.n:
        return None, "no id was answered by both versions"
    share = found.n / min(first.rows, second.rows)
    return found, "" if share >= LEAST_OVERLAP else f"only {share:.0%} of the ids were answered by both versions"


def _contrasts(names: Sequence[str], profiles: Sequence[Profile | None], rows: Paired | None) -> list[Contrast]:
    """Each metric on the same rows where it has a paired form, else apart."""
    values = [{} if one is None else measure(one, None, names).values for one in profiles]
    made = []
    for name in names:
        together = None if rows is None else _together(name, rows.baseline, rows.candidate)
        made.append(together or compare.apart(name, *(one.get(name, Value()) for one in values)))
    return made


def _together(name: str, baseline: Answers, candidate: Answers) -> Contrast | None:
    if name not in PAIRED:
        return None
    found = compare.on_the_same_rows(name, baseline, candidate)
    return None if found.difference.value is None else found


def _pairs(rows: Paired, task: str) -> Pairs:
    mine, theirs = rows.baseline, rows.candidate
    is_regression = task == "regression"
    return Pairs(
        n=rows.n,
        labelled=int(mine.labelled.sum()),
        agreement=to_value(compare.agreement(mine, theirs)),
        apart=to_value(compare.answers_apart(mine, theirs)) if is_regression else Value(),
        flips=None if is_regression else compare.flips(mine, theirs),
        changes=[] if is_regression else _changes(rows),
        read=rows.read,
    )


def _changes(rows: Paired) -> list[Change]:
    """Answers that differ, the most frequent first."""
    mine, theirs = rows.baseline.predicted, rows.candidate.predicted
    counts: dict[tuple[int, int], int] = {}
    differ = (mine != theirs) & rows.baseline.answered & rows.candidate.answered
    for pair in zip(mine[differ].tolist(), theirs[differ].tolist(), strict=True):
        counts[pair] = counts.get(pair, 0) + 1
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:CHANGES]
    return [Change(rows.labels[int(a)], rows.labels[int(b)], many) for (a, b), many in most]


def _segments(model: Model, profiles: Sequence[Profile | None], rows: Paired | None) -> list[Part]:
    """Segments that both versions have rows of, in the order of the binning."""
    first, second = profiles
    if first is None or second is None:
        return []
    metric = FIRST[model.task]
    own = dict(second.binning.segments)
    found = []
    for name, value in second.binning.segment_rows:
        if (name, value) not in first.binning.segment_rows:
            continue
        sides = [one.segment(name, value) for one in (first, second)]
        if not all(one.rows for one in sides):
            continue
        values = [measure(one, None, (metric,)).values.get(metric, Value()) for one in sides]
        contrast, agreement = compare.apart(metric, *values), Value()
        if rows is not None:
            kept = rows.within(name, value, own[name])
            pair = rows.baseline.take(kept), rows.candidate.take(kept)
            agreement = to_value(compare.agreement(*pair))
            contrast = _together(metric, *pair) or contrast
        text = f"{name}:{'other' if value is None else value}"
        found.append(Part(text, (sides[0].rows, sides[1].rows), agreement, contrast))
    return found
