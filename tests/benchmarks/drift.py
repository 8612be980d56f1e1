"""How long drift takes: from stored blocks, from stored profiles, and by Evidently's DataDriftPreset on the same rows.

    python -m tests.benchmarks.drift [--rows N --features F]

Each side runs in a process of its own. The product's side stores the rows as blocks of a thousand, as ingest does; what
is timed is what a tick does with them: count them into profiles, measure every drift metric of every feature and of the
prediction, write both. Workers run for weeks, so it is the median of five models that come one after the other; the
first, in a new process, is told too. The last line is one JSON object.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

BLOCK = 1000
REPEATS = 5
CLASSES = ["no", "yes"]
LEVELS = list("abcdefghijkl")


def columns(rows: int, features: int, seed: int, shift: float) -> dict[str, np.ndarray]:
    """Two thirds numeric, one third categorical features, and a binary prediction with its score."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    weights = np.arange(len(LEVELS), 0, -1) / np.arange(len(LEVELS), 0, -1).sum()
    for i in range(features):
        if i % 3 == 2:
            made[f"x{i}"] = rng.choice(LEVELS, rows, p=weights)
        else:
            made[f"x{i}"] = rng.normal(shift if i < 6 else 0, 1 + i % 4, rows)
    made["score"] = rng.beta(2, 5, rows).round(4)
    made["prediction"] = np.array(CLASSES)[(made["score"] > 0.5).astype(int)]
    return made


def batch_of(made: dict[str, np.ndarray], at: slice, stamps: np.ndarray, first: int) -> pa.RecordBatch:
    n = len(stamps)
    arrays: dict[str, Any] = {
        "id": pa.array([f"row-{first + i}" for i in range(n)]),
        "timestamp": pa.array(stamps),
        "known_at": pa.array(stamps),
        "filled": pa.array(np.zeros(n, np.uint8)),
        "version": pa.array(np.ones(n, np.int32)),
        "prediction": pa.array(made["prediction"][at]),
        "score": pa.array(made["score"][at]),
        "role": pa.repeat(pa.scalar("live"), n),
    }
    arrays |= {f"f:{name}": pa.array(made[name][at]) for name in made if name.startswith("x")}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def product(rows: int, features: int) -> dict[str, float]:
    """Seconds from blocks, seconds from 30 days of profiles, and the peak memory of this process."""
    from monitor import clock
    from monitor.evaluate.build import build
    from monitor.evaluate.cuts import Shelf
    from monitor.evaluate.loaded import reference_for
    from monitor.evaluate.measure import measure_dirty
    from monitor.evaluate.references import put_reference
    from monitor.evaluate.run import evaluate_model
    from monitor.settings import Settings
    from monitor.stats.measure import measure
    from monitor.store import blocks, catalog
    from monitor.store.blocks import LogEnd
    from monitor.store.migrate import upgrade
    from monitor.store.session import make_engine, reading, writing

    start = clock.parse("2026-01-01T00:00:00Z")
    made = columns(rows, features, 1, 0.3)
    kinds = {f"x{i}": {"kind": "categorical" if i % 3 == 2 else "numeric"} for i in range(features)}
    metrics = ("psi", "jensen_shannon", "ks", "wasserstein", "missing_share", "unseen_share")
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(Settings(database_url=f"sqlite:///{folder}/drift.db"), create=True)
        upgrade(engine)

        def stored(name: str, window: str, days: int) -> catalog.Model:
            """A model with a reference and these rows spread evenly over so many days."""
            body = {"task": "binary", "positive_class": "yes", "window": window, "clock": "events", "segments": []}
            with writing(engine) as connection:
                model, _ = catalog.put_model(connection, 1, name, body | {"features": kinds}, start, "benchmark")
                catalog.version_ids(connection, model, [""])
            base = columns(200_000, features, 2, 0.0)
            before = start - 60 * clock.DAY + np.arange(200_000) * (50 * clock.DAY // 200_000)
            put_reference(
                engine, model, pa.Table.from_batches([batch_of(base, slice(None), before, 0)]), None, None, None, start
            )
            stamps = start + np.arange(rows) * (days * clock.DAY // rows)
            with writing(engine) as connection:
                for at in range(0, rows, BLOCK):
                    part = slice(at, at + BLOCK)
                    batch = batch_of(made, part, stamps[part], at)
                    blocks.add_block(connection, 1, model.id, at, batch, start)
                blocks.lock_log(connection, model.id)
                blocks.move_log(connection, model.id, LogEnd(rows, 0, start + days * clock.DAY + clock.HOUR))
            return model

        now = start + clock.DAY + clock.HOUR
        from_blocks = []
        for number in range(REPEATS):
            model = stored(f"blocks-{number}", "1d", 1)
            began = time.perf_counter()
            built = build(engine, model.id, now)
            measured = measure_dirty(engine, model.id, now)
            from_blocks.append(time.perf_counter() - began)
            assert (built.rows, measured.windows) == (rows, 1), (built, measured)

        model = stored("profiles", "1d", 30)
        evaluate_model(engine, model.id, start, lambda *_: None)
        times = []
        for _ in range(7):
            began = time.perf_counter()
            with reading(engine) as connection:
                profile = Shelf(connection, model).profile(start, start + 30 * clock.DAY)
                assert profile is not None
                assert profile.rows == rows
                reference = reference_for(connection, model.id, profile.binning.number)
                assert reference is not None
                found = measure(profile, reference.profile, metrics)
            times.append(time.perf_counter() - began)
        assert float(np.nanmax(found.features["psi"])) > 0.01
        engine.dispose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "product_seconds": float(np.median(from_blocks)),
        "first_seconds": from_blocks[0],
        "profiles_seconds": float(np.median(times)),
        "peak_mb": peak,
    }


def evidently(rows: int, features: int) -> dict[str, float]:
    """Seconds of DataDriftPreset with its defaults, its import not counted."""
    warnings.simplefilter("ignore")
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [f"x{i}" for i in range(features)]
    numeric = [name for i, name in enumerate(names) if i % 3 != 2]
    categorical = [name for i, name in enumerate(names) if i % 3 == 2] + ["prediction"]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    current, reference = (
        Dataset.from_pandas(
            pd.DataFrame(columns(rows, features, seed, shift))[[*names, "prediction"]], data_definition=definition
        )
        for seed, shift in ((1, 0.3), (2, 0.0))
    )
    began = time.perf_counter()
    Report([DataDriftPreset()]).run(current, reference).dict()
    return {"evidently_seconds": time.perf_counter() - began}


def _in_process(side: str, rows: int, features: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.drift", "--side", side]
    command += ["--rows", str(rows), "--features", str(features)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--side", choices=["product", "evidently"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side = product if arguments.side == "product" else evidently
        print(json.dumps(side(arguments.rows, arguments.features)))
        return
    found = _in_process("product", arguments.rows, arguments.features)
    print(f"product, from stored blocks          {found['product_seconds']:10.3f} s", flush=True)
    print(f"product, the first of a process      {found['first_seconds']:10.3f} s", flush=True)
    print(f"product, 30 days of stored profiles  {found['profiles_seconds']:10.4f} s", flush=True)
    found |= _in_process("evidently", arguments.rows, arguments.features)
    print(f"Evidently DataDriftPreset            {found['evidently_seconds']:10.3f} s", flush=True)
    result = {"rows": arguments.rows, "features": arguments.features}
    result |= {name: round(value, 4) for name, value in found.items()}
    result["ratio"] = round(found["evidently_seconds"] / found["product_seconds"], 1)
    result["profiles_ratio"] = round(found["evidently_seconds"] / found["profiles_seconds"])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
