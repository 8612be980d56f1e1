"""Retries, reorderings and concurrent duplicates by the hundred thousand: does any of them double or move anything?

    python -m tests.benchmarks.retries [--repeats 100000] [--database URL]

Runs the state machine of tests/ingest/retries.py with ever new seeds until so many rows were sent again. A difference
from the oracle ends it with the steps that lead there (tests/ingest/test_retries.py plants one). Without --database:
SQLite, then a PostgreSQL of its own. The last line is one JSON object.
"""

import argparse
import json
import time
from typing import Any

import hypothesis
from hypothesis import HealthCheck
from hypothesis.stateful import run_state_machine_as_test

from monitor.commands.lean import keep_pandas_out
from monitor.settings import Settings
from monitor.store.session import make_engine
from tests.benchmarks.faults import databases, emptied
from tests.ingest.retries import Bench, Retries

EXAMPLES, STEPS = 20, 25


def run(bench: Bench, seed: int, examples: int = EXAMPLES) -> None:
    """That many runs of the machine; raises where the oracle and the product differ."""
    machine = hypothesis.seed(seed)(type("OnThisDatabase", (Retries,), {"bench": bench}))
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=settings)


def measure(name: str, url: str, repeats: int) -> dict[str, Any]:
    settings = Settings(database_url=emptied(url))
    engine = make_engine(settings)
    bench = Bench(engine, settings)
    started, seed = time.perf_counter(), 0
    while bench.tally.repeated < repeats:
        seed += 1
        run(bench, seed)
        print(f"{name}: {bench.tally}", flush=True)
    bench.close()
    engine.dispose()
    return {"database": name, **vars(bench.tally), "differences": 0, "seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=100_000)
    parser.add_argument("--database")
    asked = parser.parse_args()
    keep_pandas_out()
    with databases(asked.database) as listed:
        results = [measure(name, url, asked.repeats) for name, url in listed]
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
