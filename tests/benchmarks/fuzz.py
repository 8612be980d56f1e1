"""Requests that schemathesis makes of our OpenAPI document, by the ten thousand: is any answer a 5xx?

    python -m tests.benchmarks.fuzz [--requests 25000] [--database URL]

Right and wrong requests of every operation with ever new seeds, with an admin's key, until there were so many; what
must not happen is printed with the command that repeats it. Without --database: SQLite, then a PostgreSQL of its own.
The last line is one JSON object.
"""

import argparse
import json
import time
from collections import Counter
from typing import Any

import structlog

from monitor.commands.lean import keep_pandas_out
from monitor.settings import Settings
from monitor.store.session import make_engine
from tests.api.fuzzing import documented, fuzz, serving
from tests.benchmarks.faults import databases, emptied
from tests.keys import SECRET_KEY

EXAMPLES = 10


def measure(name: str, url: str, requests: int) -> dict[str, Any]:
    settings = Settings(database_url=emptied(url), secret_key=SECRET_KEY)
    engine = make_engine(settings)
    started, done, seed, failures = time.perf_counter(), 0, 0, 0
    statuses: Counter[int] = Counter()
    with serving(settings, engine) as client:
        document = documented(client)
        while done < requests:
            seed += 1
            tally = fuzz(client, document, EXAMPLES, seed)
            done, failures = done + tally.requests, failures + len(tally.failures)
            statuses += tally.statuses
            print(f"{name}: {done} requests, {failures} failures", *tally.failures, sep="\n", flush=True)
    engine.dispose()
    found = {"database": name, "requests": done, "failures": failures, "statuses": dict(sorted(statuses.items()))}
    return found | {"seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=25_000)
    parser.add_argument("--database")
    asked = parser.parse_args()
    keep_pandas_out()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with databases(asked.database) as listed:
        results = [measure(name, url, asked.requests) for name, url in listed]
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
