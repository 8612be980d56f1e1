"""What Keepwatch counts about itself, in Prometheus' form.

Label values are bounded: codes and states are fixed words, and of models the first 200 names are kept, the rest are
counted as `other`. What a worker counts (`WORKED`) is told to the database, since a worker has no port of its own.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

MAX_MODELS = 200
OTHER = "other"

REGISTRY = CollectorRegistry(auto_describe=True)  # of a process that answers requests
WORKED = CollectorRegistry(auto_describe=True)  # of a worker

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

ROWS = Counter(
    "keepwatch_ingested_rows",
    "Rows of ingest calls by what became of them: accepted, duplicate, revised.",
    ("kind", "model", "result"),
    registry=REGISTRY,
)
REJECTED = Counter(
    "keepwatch_rejected_rows", "Rows that were rejected, by reason.", ("kind", "code"), registry=REGISTRY
)
REQUESTS = Histogram(
    "keepwatch_request_duration_seconds",
    "Time until the last byte of an answer was handed over, by route.",
    ("method", "route", "status"),
    buckets=_SECONDS,
    registry=REGISTRY,
)
JOBS = Counter("keepwatch_job_runs", "Runs of background jobs by how they ended.", ("job", "result"), registry=WORKED)
JOB_SECONDS = Histogram(
    "keepwatch_job_duration_seconds", "Duration of background jobs.", ("job",), buckets=_SECONDS, registry=WORKED
)
DELIVERIES = Counter(
    "keepwatch_delivery_attempts",
    "Attempts to deliver by channel kind and result.",
    ("kind", "result"),
    registry=WORKED,
)
EXPIRED_OUTCOMES = Counter(
    "keepwatch_expired_outcomes",
    "Outcomes whose time was over and whose row was not in the log: archived with their row, or alone.",
    ("result",),
    registry=WORKED,
)
BUILD = Gauge("keepwatch_build_info", "The version that runs.", ("version",), registry=REGISTRY)

_models: set[str] = set()
_lock = threading.Lock()


def own_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("keepwatch")
    except PackageNotFoundError:
        return "unknown"


BUILD.labels(own_version()).set(1)


def model_label(name: str) -> str:
    """The label of a model: its name, or `other` once there are many."""
    if name not in _models:
        with _lock:
            if len(_models) >= MAX_MODELS:
                return OTHER
            _models.add(name)
    return name


class _Rejected(Protocol):
    @property
    def code(self) -> str: ...


class _Counts(Protocol):
    @property
    def accepted(self) -> int: ...

    @property
    def duplicates(self) -> int: ...

    @property
    def revised(self) -> int: ...

    @property
    def rejected(self) -> Iterable[_Rejected]: ...


def count_ingested(model: str, kind: str, answer: _Counts) -> None:
    """Count the rows of one ingest call by what became of them; `kind` is predictions or outcomes."""
    label = model_label(model)
    for result, rows in (("accepted", answer.accepted), ("duplicate", answer.duplicates), ("revised", answer.revised)):
        if rows:
            _rows(kind, label, result).inc(rows)
    for one in answer.rejected:
        REJECTED.labels(kind, one.code).inc()


class _Totals(Protocol):
    @property
    def accepted(self) -> int: ...

    @property
    def duplicates(self) -> int: ...

    @property
    def revised(self) -> int: ...

    @property
    def rejected_codes(self) -> Mapping[str, int]: ...


def count_totals(model: str, kind: str, totals: _Totals) -> None:
    """The same of a call that was committed in groups, whose rejected rows are counted by code."""
    label = model_label(model)
    for result, rows in (("accepted", totals.accepted), ("duplicate", totals.duplicates), ("revised", totals.revised)):
        if rows:
            _rows(kind, label, result).inc(rows)
    for code, rows in totals.rejected_codes.items():
        REJECTED.labels(kind, code).inc(rows)


def observe_request(method: str, route: object, status: int, seconds: float) -> None:
    """Time one request; the route is its pattern (`/v1/models/{model}`), never the path with its names."""
    pattern = getattr(route, "path", None) or "other"
    known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS") else "other"
    _requests(known, pattern, status).observe(seconds)


@lru_cache(maxsize=4096)  # to find them by their labels takes longer than to count
def _requests(method: str, pattern: str, status: int) -> Histogram:
    return REQUESTS.labels(method, pattern, str(status))


@lru_cache(maxsize=4096)
def _rows(kind: str, model: str, result: str) -> Counter:
    return ROWS.labels(kind, model, result)


class Sample(NamedTuple):
    """The name of a counted sample and its labels."""

    name: str
    labels: tuple[tuple[str, str], ...]


def worked() -> dict[Sample, float]:
    """What this worker has counted since it started."""
    return {
        Sample(sample.name, tuple(sample.labels.items())): sample.value
        for family in WORKED.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def worked_families(totals: Mapping[Sample, float]) -> Iterator[Metric]:
    """The workers' metrics with these samples, as the database has added them up."""
    for family in WORKED.collect():
        made = Metric(family.name, family.documentation, family.type)
        for one, value in sorted(totals.items(), key=lambda pair: _in_order(pair[0])):
            if one.name.startswith(family.name):
                made.add_sample(one.name, dict(one.labels), value)
        yield made


def _in_order(sample: Sample) -> tuple[tuple[str, ...], float, str]:
    """Histograms list their buckets from the smallest up, one set of labels after the other."""
    labels = dict(sample.labels)
    bound = float(labels.pop("le", "inf"))
    return tuple(labels.values()), bound, sample.name


class _Exposed:
    """What the encoders ask: what this process counted of the models that may be seen, and more families."""

    def __init__(self, models: Collection[str], more: Iterable[Metric]) -> None:
        self._models = {*models, OTHER}
        self._more = more

    def collect(self) -> Iterator[Metric]:
        for family in REGISTRY.collect():
            family.samples = [one for one in family.samples if one.labels.get("model", OTHER) in self._models]
            yield family
        yield from self._more


def exposition(accept: str, models: Collection[str] = (), more: Iterable[Metric] = ()) -> tuple[bytes, str]:
    """All metrics and their content type, in the form that the Accept header asks for.

    Args:
        models: names that the one who asks may see; samples of others are left out.
        more: families beside those that this process counts.
    """
    encode, content_type = choose_encoder(accept)
    return encode(_Exposed(models, more)), content_type
