"""A year of one model, written through the store: hours and days of profiles, windows with their numbers and evidence.

No row is ingested: every profile is counted from a few rows and multiplied, so that a year of 10**8 rows is made as
fast as one of 10**5. Two weeks of hours are made, the usual one and one in which some features and the quality have
changed; the year repeats the first until its last quarter, then the second.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.alerts import transition
from monitor.clock import DAY, HOUR
from monitor.evaluate import payload
from monitor.evaluate import rows as rows_of
from monitor.evaluate.deltas import segment_names
from monitor.evaluate.loaded import Reference, reference_for
from monitor.evaluate.references import put_reference
from monitor.stats.additive import Profile, Segments, carried
from monitor.stats.measure import FIRST, measure
from monitor.stats.profile import merge, profile_inputs, profile_outcomes
from monitor.stats.verdict import Cause, Verdict
from monitor.store import blocks, catalog, evaluations, profiles
from monitor.store import tables as t
from monitor.store.catalog import Model
from monitor.store.evaluations import FINAL, INPUTS, PERFORMANCE, Evaluated, Measurement
from monitor.store.profiles import DAY_SPAN, HOUR_SPAN, LIVE, StoredProfile
from monitor.store.session import reading, writing

START = clock.parse("2025-01-06T00:00:00Z")  # a Monday
WEEKS = 52
HOURS = 7 * 24
CHANGE = 39  # the first week of the changed kind
REGIONS = [f"region {number:02}" for number in range(20)]
LEVELS = list("abcdefghijkl")
MOST_ROWS = 100  # counted for an hour; the rest is multiplied

Say = Callable[[str], None]


@dataclass(frozen=True)
class Year:
    """What was made; `end` is the model's now."""

    model: Model
    rows: int
    end: int


def table(rows: int, features: int, seed: int, changed: bool) -> pa.RecordBatch:
    """Rows as a block holds them, with `actual`; two thirds of the features are numeric."""
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 5, rows).round(4)
    truth = rng.random(rows) < (1 - score if changed else score)
    made: dict[str, pa.Array] = {
        "id": pa.array([f"r{seed}-{i}" for i in range(rows)]),
        "timestamp": pa.array(np.full(rows, START - 40 * DAY) + np.arange(rows) * (30 * DAY // rows)),
        "version": pa.array(np.ones(rows, np.int32)),
        "prediction": pa.array(np.where(score > 0.5, "yes", "no")),
        "score": pa.array(score),
        "latency_ms": pa.array(rng.gamma(4, 6, rows)),
        "role": pa.repeat(pa.scalar(LIVE), rows),
        "actual": pa.array(np.where(truth, "yes", "no")),
        "t:region": pa.array(rng.choice(REGIONS, rows)),
    }
    for i in range(features):
        moved = changed and i < features // 10
        if i % 3 == 2:
            made[f"f:x{i}"] = pa.array(rng.choice(LEVELS[: 6 if moved else 12], rows))
        else:
            made[f"f:x{i}"] = pa.array(rng.normal(0.6 if moved else 0, 1 + i % 4, rows))
    return pa.RecordBatch.from_arrays(list(made.values()), names=list(made))


def make_year(engine: Engine, rows: int, features: int, name: str, say: Say = lambda _: None) -> Year:
    """A model in hourly windows with a year of `rows` rows; `engine` is of a migrated database."""
    body = {"task": "binary", "positive_class": "yes", "clock": "events", "label_delay": "2h", "segments": ["region"]}
    body["features"] = {f"x{i}": {"kind": "categorical" if i % 3 == 2 else "numeric"} for i in range(features)}
    with writing(engine) as connection:
        model, _ = catalog.put_model(connection, 1, name, body, START, "benchmark")
        versions = catalog.version_ids(connection, model, ["v1", "v2"])
        version = versions["v1"]
    base = pa.Table.from_batches([table(20_000, features, 1, False)])
    put_reference(engine, model, base, None, None, None, START)
    with reading(engine) as connection:
        reference = reference_for(connection, model.id, 1)
    assert reference is not None
    per_hour = max(1, rows // (WEEKS * HOURS))
    say(f"{name}: two weeks of profiles")
    usual, changed = (_week(model, reference, per_hour, features, version, new) for new in (False, True))
    end = START + WEEKS * 7 * DAY
    for week in range(WEEKS):
        say(f"{name}: week {week + 1} of {WEEKS}")
        _store_week(engine, model, changed if week >= CHANGE else usual, START + 7 * week * DAY, versions["v2"])
    with writing(engine) as connection:
        _store_log(connection, model, per_hour * WEEKS * HOURS, end)
        connection.execute(
            sa.update(t.watermark)
            .where(t.watermark.c.model_id == model.id)
            .values(next_row=per_hour * WEEKS * HOURS, next_outcome=0)
        )
        transition.apply(connection, 1, model.id, name, _verdicts(end), end, "http://127.0.0.1:8000")
    return Year(model, per_hour * WEEKS * HOURS, end)


@dataclass(frozen=True)
class _Stored:
    """Profiles and measurements of a week from instant 0 on."""

    profiles: list[StoredProfile]
    measurements: list[Measurement]


def _week(model: Model, reference: Reference, per_hour: int, features: int, version: int, changed: bool) -> _Stored:
    binning, counted = reference.binning, min(per_hour, MOST_ROWS)
    kinds = {f"x{i}": "categorical" if i % 3 == 2 else "numeric" for i in range(features)}
    bases = []
    for seed in range(12):
        batch = table(counted, features, 100 + seed + 50 * changed, changed)
        made = rows_of.to_rows(batch, model.task, kinds, segment_names(binning), None)
        bases.append(_times(merge(binning, (profile_inputs(binning, made), profile_outcomes(binning, made))),
                            per_hour // counted))  # fmt: skip
    found, measured = [], []
    for day in range(7):
        hours = [bases[(5 * day + 7 * hour) % 12] for hour in range(24)]
        for hour, profile in enumerate(hours):
            start = day * DAY + hour * HOUR
            found.append(_stored(HOUR_SPAN, start, start + HOUR, version, profile))
            measures = measure(profile, reference.profile)
            numbers = payload.dump(binning.number, measures)
            auc = measures.values[FIRST[model.task]].value
            end, rows = start + HOUR, (profile.rows, profile.labelled)
            measured.append(Measurement(start, 0, end, end, FINAL, FINAL, *rows, None, numbers, auc))
        found.append(_stored(DAY_SPAN, day * DAY, (day + 1) * DAY, version, merge(binning, hours)))
    return _Stored(found, measured)


def _times(profile: Profile, factor: int) -> Profile:
    inner = profile.segments
    assert inner is not None
    many = Profile(profile.binning, profile.vector * factor)
    carried(many.sums)
    many.segments = Segments(inner.at, inner.counts * factor, carried(inner.sums * factor))
    return many


def _stored(span: int, start: int, end: int, version: int, profile: Profile) -> StoredProfile:
    counts = (profile.rows, profile.labelled, start, end, end)
    return StoredProfile(
        span, start, version, LIVE, profile.binning.number, *counts, profile.dump_whole(), profile.dump_segments()
    )


def _store_week(engine: Engine, model: Model, week: _Stored, at: int, shadow: int) -> None:
    """The week from `at` on; its days also as the shadow rows of another version."""
    moved = [
        one._replace(
            start=one.start + at,
            min_known_at=one.min_known_at + at,
            max_known_at=one.max_known_at + at,
            rows_known_at=one.max_known_at + at,
        )
        for one in week.profiles
    ]
    moved += [one._replace(version_id=shadow, role="shadow") for one in moved if one.span == DAY_SPAN]
    windows = [
        one._replace(start=one.start + at, end=one.end + at, measured_at=one.end + at) for one in week.measurements
    ]
    with writing(engine) as connection:
        profiles.save_profiles(connection, 1, model.id, moved)
        evaluations.save_measurements(connection, 1, model.id, windows)
        for kind in (INPUTS, PERFORMANCE):
            for one in windows:
                row = Evaluated(kind, one.start, one.end, one.end, one.rows)
                evaluations.add_evaluation(connection, 1, model.id, row)


def _store_log(connection: Connection, model: Model, rows: int, end: int) -> None:
    """Blocks of a thousand rows each that say when, without what: no page may read one."""
    starts = range(0, rows, 1000)
    stamps = START + (np.arange(len(starts) + 1) * ((end - START) / len(starts))).astype(np.int64)
    connection.execute(
        sa.insert(t.block),
        [
            {
                "model_id": model.id,
                "first_row": first,
                "project_id": 1,
                "rows": min(1000, rows - first),
                "arrived_at": int(stamps[i + 1]),
                "min_timestamp": int(stamps[i]),
                "max_timestamp": int(stamps[i + 1]) - 1,
                "payload": b"no page may read this",
            }
            for i, first in enumerate(starts)
        ],
    )
    blocks.lock_log(connection, model.id)
    blocks.move_log(connection, model.id, blocks.LogEnd(rows, 0, end))


def _verdicts(end: int) -> list[Verdict]:
    def cause(metric: str, feature: str | None, segment: str | None, share: float) -> Cause:
        text = f"{metric} of {feature or segment or 'the model'} has changed"
        return Cause(metric, feature, segment, 0.4, 0.3, 0.5, share, text)

    drifted = tuple(cause("psi", f"x{i}", None, 0.16) for i in range(5))
    worse = (cause("accuracy", None, None, 0.6), cause("accuracy", None, "region:region 03", 0.3))
    first = end - 5 * DAY
    return [
        Verdict("features", "open", end - HOUR, end, first, 9.0, 5.0, drifted, "warning"),
        Verdict("performance", "open", end - HOUR, end, first, 40.0, 5.0, worse, "critical"),
    ]
