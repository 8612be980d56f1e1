"""Metrics of raw rows without bins: what `exact=true` asks for. Most metrics are exact from counts and sums already."""

import math

import numpy as np

from monitor.stats import classification
from monitor.stats.binning import Binning
from monitor.stats.intervals import quantile_shares
from monitor.stats.layout import POSITIVE
from monitor.stats.measure import METRICS, measure_one
from monitor.stats.profile import class_slots, profile_inputs, profile_outcomes
from monitor.stats.rows import Codes, Floats, Numbers, Rows
from monitor.stats.values import Result, Value, to_value

QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99, "label_delay_p50": 0.5}


def exact_metric(
    name: str,
    binning: Binning,
    rows: Rows,
    *,
    reference: Rows | None = None,
    feature: str | None = None,
) -> Value:
    """One metric of raw rows.

    Ranking metrics and quantiles come from the values themselves, KS and Wasserstein of a numeric feature from both
    samples; PSI and Jensen-Shannon are defined on bins, and everything else is exact from a profile of the rows, which
    is what is measured then. `reference`: the reference's rows, for distances. KeyError for an unknown name.
    """
    metric = METRICS[name]
    if binning.task not in metric.tasks:
        return Value()
    if name in ("roc_auc", "average_precision"):
        return to_value(_ranking(name, binning, rows))
    if name in QUANTILES:
        kept = rows.label_delay if name == "label_delay_p50" else rows.latency_ms
        return to_value(_quantile(QUANTILES[name], kept))
    if name in ("ks", "wasserstein") and reference is not None and feature is not None:
        mine, theirs = rows.features[feature], reference.features[feature]
        if isinstance(mine, Numbers) and isinstance(theirs, Numbers):
            return to_value(_distance(name, _finite(mine), _finite(theirs), rows.n))
    base = None if reference is None else profile_inputs(binning, reference)
    return measure_one(profile_inputs(binning, rows) + profile_outcomes(binning, rows), base, name, feature)


def _ranking(name: str, binning: Binning, rows: Rows) -> Result:
    """Every distinct score a bin of its own."""
    if not isinstance(rows.actual, Codes) or rows.score is None:
        return classification.nothing()
    kept = rows.labelled() & np.isfinite(rows.score)
    positive = class_slots(binning, rows.actual, -1)[kept] == POSITIVE
    distinct, place = np.unique(rows.score[kept], return_inverse=True)
    table = np.bincount(place * 2 + positive, minlength=2 * len(distinct)).reshape(-1, 2)
    of = classification.roc_auc if name == "roc_auc" else classification.average_precision
    return of(table[:, 1], table[:, 0])


def _quantile(q: float, values: Floats | None) -> Result:
    finite = np.zeros(0) if values is None else np.sort(values[np.isfinite(values)])
    n = len(finite)
    if not n:
        return classification.nothing()
    low, high = quantile_shares(q, n)
    found = [float(np.quantile(finite, wanted)) for wanted in (q, low, high)]
    return found[0], found[1], found[2], n


def _distance(name: str, mine: Floats, theirs: Floats, n: int) -> Result:
    if not len(mine) or not len(theirs):
        return classification.nothing(n)
    at = np.unique(np.concatenate([mine, theirs]))
    gaps = np.abs(
        np.searchsorted(np.sort(mine), at, "right") / len(mine)
        - np.searchsorted(np.sort(theirs), at, "right") / len(theirs)
    )
    if name == "ks":
        return float(gaps.max()), None, None, n
    with np.errstate(over="ignore", invalid="ignore"):  # values near the largest double: there is no distance
        sd = float(theirs.std())
        distance = float((gaps[:-1] * np.diff(at)).sum() / sd) if sd > 0 else math.nan
    return (distance if math.isfinite(distance) else None), None, None, n


def _finite(column: Numbers) -> Floats:
    values = column.present()
    return values[np.isfinite(values)]
