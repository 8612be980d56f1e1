"""What judging costs: one window of a wide model, and a back-test of stored history (a rule by hand, and the budget).

    python -m tests.benchmarks.backtest [--days 365] [--features 100] [--rows 200]

First the detectors alone: milliseconds of CPU that a model's window takes, from its profile and the stored states to
verdicts and new states, inputs and performance together, without segments and with 20; and the bytes of the states.

Then the back-tests: hourly windows without segments. Profiles and measurements are stored as an evaluation would have
left them, from a week's worth of different ones, so that making them takes less time than what is timed; seconds by the
clock and of CPU. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.drift import batch_of, columns

WINDOWS, REFERENCE, SEGMENTS = 48, 60, 20
DIFFERENT = 7 * 24  # a day's worth, again and again, would be a change to the days


def judging(features: int, segments: int, rows: int = 1000) -> tuple[float, float]:
    """Milliseconds of CPU a window, and megabytes of state, of a model with so many features and segment values."""
    from monitor.clock import HOUR
    from monitor.evaluate import judge
    from monitor.stats.binning import Binning
    from monitor.stats.profile import merge, profile_inputs, profile_outcomes
    from monitor.stats.rows import Codes, Numbers, Rows

    random = np.random.default_rng(1)

    def drawn(count: int, seed: int) -> Rows:
        made = columns(count, features, seed, 0.0)
        named: dict[str, Numbers | Codes] = {
            name: Codes.of(values.tolist()) if values.dtype.kind == "U" else Numbers(values)
            for name, values in made.items()
            if name.startswith("x")
        }
        place = Codes(random.integers(0, SEGMENTS, count), tuple(f"p{value}" for value in range(SEGMENTS)))
        actual = Codes((random.random(count) < made["score"]).astype(np.int64), ("no", "yes"))
        prediction = Codes((made["prediction"] == "yes").astype(np.int64), ("no", "yes"))
        inner = {"place": place} if segments else {}
        return Rows(count, named, prediction, made["score"], actual=actual, segments=inner)

    whole = drawn(REFERENCE * rows, 1)
    binning = Binning.build(1, "binary", whole, positive_class="yes", segments=["place"] if segments else [])

    def profile(part: Rows) -> Any:
        return profile_inputs(binning, part) + profile_outcomes(binning, part)

    windows = [profile(whole.take(slice(at * rows, (at + 1) * rows))) for at in range(REFERENCE)]
    base = judge.baseline(binning, merge(binning, windows), windows, 2160)
    came = [profile(drawn(rows, 100 + at)) for at in range(WINDOWS)]
    states: dict[str, bytes] = {}
    began = time.process_time()
    for at, one in enumerate(came):
        for kind in judge.KINDS:
            _, after = judge.judge_window(base, one, states, kind, at * HOUR, (at + 1) * HOUR)
            states |= after
    spent = time.process_time() - began
    return 1000 * spent / WINDOWS, sum(map(len, states.values())) / 1e6


def run(days: int, features: int, rows: int) -> dict[str, float]:
    """Seconds of each kind of back-test."""
    from monitor import backtests, clock
    from monitor.evaluate import payload
    from monitor.evaluate.loaded import reference_for
    from monitor.evaluate.references import profile_rows, put_reference
    from monitor.evaluate.rows import to_rows
    from monitor.settings import Settings
    from monitor.stats.measure import measure
    from monitor.store import catalog, evaluations, profiles
    from monitor.store.evaluations import FINAL, Measurement
    from monitor.store.migrate import upgrade
    from monitor.store.profiles import HOUR_SPAN, LIVE, StoredProfile
    from monitor.store.session import make_engine, reading, writing

    start = clock.parse("2025-01-01T00:00:00Z")
    kinds = {f"x{i}": {"kind": "categorical" if i % 3 == 2 else "numeric"} for i in range(features)}
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(Settings(database_url=f"sqlite:///{Path(folder) / 'k.db'}"), create=True)
        upgrade(engine)
        body = {"task": "binary", "positive_class": "yes", "clock": "events", "segments": [], "features": kinds}
        with writing(engine) as connection:
            model, _ = catalog.put_model(connection, 1, "m", body, start, "b")
        count = 28 * 24 * rows
        made = columns(count, features, 1, 0.0)
        before = start - 28 * clock.DAY
        stamps = before + np.arange(count) * (clock.HOUR // rows)
        put_reference(engine, model, batch_of(made, slice(0, count), stamps, 0), None, None, None, start)
        with reading(engine) as connection:
            model = catalog.get_model_by_id(connection, model.id)
            reference = reference_for(connection, model.id, 1)
        assert reference is not None
        binning = reference.binning
        drawn = []
        for seed in range(DIFFERENT):
            some = columns(rows, features, 100 + seed, 0.0)
            batch = batch_of(some, slice(0, rows), start + np.arange(rows), 0)
            profile = profile_rows(binning, to_rows(batch, "binary", model.features or {}, [], None))
            numbers = payload.dump(1, measure(profile, reference.profile))
            drawn.append((profile.dump_whole(), numbers))
        for day in range(days):
            stored, measured = [], []
            for hour in range(24):
                at = start + (24 * day + hour) * clock.HOUR
                content, numbers = drawn[(24 * day + hour) * 31 % DIFFERENT]
                late = at + clock.HOUR - 1
                stored.append(StoredProfile(HOUR_SPAN, at, 1, LIVE, 1, rows, 0, at, late, late, content, None))
                end = at + clock.HOUR
                measured.append(Measurement(at, 0, end, end, FINAL, FINAL, rows, 0, None, numbers))
            with writing(engine) as connection:
                profiles.save_profiles(connection, 1, model.id, stored)
                evaluations.save_measurements(connection, 1, model.id, measured)
        now = start + days * clock.DAY + clock.HOUR // 2
        rule = {"conditions": [{"metric": "psi", "op": ">", "value": 0.3, "feature": "x0"}], "windows": 2}
        result: dict[str, float] = {"windows": days * 24, "features": features}
        for name, setting in (("rule", rule), ("budget", {"alert_budget": {"false_alarms": 1, "per": "90d"}})):
            began, spent = time.perf_counter(), time.process_time()
            with reading(engine) as connection:
                asked = backtests.read(connection, model, setting, now)
                played = backtests.play(connection, model, asked, now)
            result[f"{name}_seconds"] = round(time.perf_counter() - began, 2)
            result[f"{name}_cpu_seconds"] = round(time.process_time() - spent, 2)
            result[f"{name}_pages"] = played["pages"]
            assert played["windows"] == days * 24, played
        engine.dispose()
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--rows", type=int, default=200)
    given = parser.parse_args()
    costs: dict[str, float] = {}
    for number in (0, SEGMENTS):
        spent, size = judging(given.features, number)
        print(f"{spent:.1f} ms of CPU a window, {size:.2f} MB of state, with {number} segments", flush=True)
        costs |= {f"window_ms_{number}_segments": round(spent, 1), f"state_mb_{number}_segments": round(size, 2)}
    print(json.dumps(costs | run(given.days, given.features, given.rows)))
