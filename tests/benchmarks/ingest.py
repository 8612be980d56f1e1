"""How many acknowledged durable rows a second, against a plain endpoint on the same machine in the same run.

    python -m tests.benchmarks.ingest [--database URL …] [--keys N] [--seconds S] [--quick]
    python -m tests.benchmarks.ingest --volume 10 [--database URL …]
    python -m tests.benchmarks.ingest --overload [--database URL …]

Without --database: SQLite in a temporary folder, and PostgreSQL from its PyPI wheel. --keys puts so many random keys
into the index before. --volume sends so many GB and prints the server's memory meanwhile; --overload sends ten times
what the server can take. Bodies are made before; the client shares the cores with the server, and says what it took.
The last line is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from tests.benchmarks import evaluating, load, overload, sizes, volume
from tests.benchmarks.bodies import ENCODINGS, body_of, columns_of
from tests.benchmarks.service import (
    ADMIN_KEY,
    MODEL,
    cpu_seconds,
    databases,
    fill_keys,
    free_port,
    kind_of,
    peak_mb,
    running,
    serving,
)

CLIENTS = {1: 64, 100: 16, 1000: 4, 10_000: 2}
BATCHES = [1, 100, 1000, 10_000]
MOST = {1: 6_000, 100: 50_000, 1000: 120_000, 10_000: 120_000}  # rows a second that bodies are made for


def bodies(encoding: str, ids: str, batch: int, seconds: float) -> Iterator[bytes]:
    """Bodies enough for the time; of one row each they are cut out of larger batches, which are made faster."""
    count = max(8, int(MOST.get(batch, 100_000) * seconds / batch))
    if batch > 1:
        for _ in range(count):
            yield body_of(encoding, columns_of(batch, ids))
        return
    for _ in range(0, count, 1000):
        whole = columns_of(1000, ids)
        for at in range(1000):
            one = {name: values[at : at + 1] for name, values in whole.items() if name != "features"}
            one["features"] = {name: values[at : at + 1] for name, values in whole["features"].items()}
            yield body_of(encoding, one)


def post(port: int, path: str, encoding: str, ids: str, batch: int, seconds: float) -> load.Seen:
    made = load.requests_of(path, ADMIN_KEY, ENCODINGS[encoding], bodies(encoding, ids, batch, seconds))
    return load.closed(port, made, CLIENTS.get(batch, 4), seconds)


def plain_rates(url: str, batches: list[int], seconds: float) -> dict[int, float]:
    """Rows a second of the plain endpoint, by batch."""
    kind, port, rates = kind_of(url), free_port(), {}
    own = url.replace(".db", "-plain.db") if kind == "sqlite" else url
    command = [sys.executable, "-m", "tests.benchmarks.plain", "--database", own, "--port", str(port)]
    with running(command, url, port, "/openapi.json"):
        warm = load.requests_of("/predictions", "", ENCODINGS["rows"], _plain_bodies(1, 0.5))
        load.closed(port, warm, 4, 5.0)
        for batch in batches:
            made = load.requests_of("/predictions", "", ENCODINGS["rows"], _plain_bodies(batch, seconds))
            seen = load.closed(port, made, CLIENTS.get(batch, 4), seconds)
            rates[batch] = max(1, len(seen.times)) * batch / seen.seconds
            print(f"{kind:10} plain   {'':6} x{batch:<6} {rates[batch]:10,.0f} rows/s", flush=True)
    return rates


def _plain_bodies(batch: int, seconds: float) -> Iterator[bytes]:
    for body in bodies("rows", "uuid7", batch, min(seconds, 20_000 * seconds / MOST.get(batch, 20_000))):
        yield body if batch > 1 else b'{"rows":[' + body + b"]}"


def measure(url: str, given: argparse.Namespace, batches: list[int]) -> tuple[list[dict[str, Any]], float]:
    """Every encoding and batch size on one database; the server's peak in MB."""
    kind, port = kind_of(url), free_port()
    rates = plain_rates(url, batches, given.seconds)
    results: list[dict[str, Any]] = []

    def show(seen: load.Seen, encoding: str, ids: str, batch: int, server: float) -> None:
        rate, plain = len(seen.times) * batch / seen.seconds, rates[batch]
        figures = {"rows_per_s": round(rate), "p50_ms": round(seen.quantile(0.5), 1)}
        figures |= {"p99_ms": round(seen.quantile(0.99), 1), "plain_rows_per_s": round(plain)}
        results.append({"database": kind, "encoding": encoding, "ids": ids, "batch": batch} | figures)
        said = f"p50 {figures['p50_ms']} p99 {figures['p99_ms']} ms  {rate / plain:.1f} x plain"
        cpu = f"CPU server {server / seen.seconds:.2f} client {seen.client_seconds / seen.seconds:.2f}"
        print(f"{kind:10} {encoding:8} {ids:6} x{batch:<6} {rate:10,.0f} rows/s  {said}  {cpu}", flush=True)

    with serving(url, port) as process:
        path = f"/v1/models/{MODEL}/predictions"
        if given.keys:
            print(f"{kind:10} {given.keys:,} keys put in at {fill_keys(url, given.keys):,.0f}/s", flush=True)
        post(port, path, "rows", "uuid7", 100, 0.5)  # the first requests load what is loaded lazily
        for ids in ("uuid7", "random"):
            for encoding in given.encoding or ENCODINGS:
                for batch in batches:
                    if batch > 1 or encoding == "rows":
                        before = cpu_seconds(process)
                        seen = post(port, path, encoding, ids, batch, given.seconds)
                        show(seen, encoding, ids, batch, cpu_seconds(process) - before)
        if 1 in batches:
            with evaluating.windows(url, port) as evaluated:
                before = cpu_seconds(process)
                seen = post(port, path, "rows", "uuid7", 1, given.seconds)
                show(seen, "rows while evaluating", "uuid7", 1, cpu_seconds(process) - before)
            print(
                f"{kind:10} meanwhile: {evaluated.rows:,} rows profiled, {evaluated.windows} windows evaluated",
                flush=True,
            )
        peak = peak_mb(process)
    return results, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", action="append", help="a database URL; may be given again")
    parser.add_argument("--keys", type=int, default=0, help="keys that are in the index before")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each figure is measured")
    parser.add_argument("--batch", type=int, action="append", help="rows in a request; may be given again")
    parser.add_argument("--encoding", action="append", choices=ENCODINGS, help="only these")
    parser.add_argument("--quick", action="store_true", help="a second for each, batches of 1 and 1000")
    parser.add_argument("--volume", type=float, metavar="GB", help="send so much and watch the memory")
    parser.add_argument("--overload", action="store_true", help="send ten times what can be taken")
    given = parser.parse_args()
    if given.quick:
        given.seconds = min(given.seconds, 1.0)
    batches = given.batch or ([1, 1000] if given.quick else BATCHES)
    results: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    with databases(given.database) as urls:
        if given.volume:
            found["volume"] = [volume.run(url, given.volume) for url in urls]
        elif given.overload:
            found["overload"] = [overload.run(url, given.seconds) for url in urls]
        else:
            peak = 0.0
            for url in urls:
                measured, memory = measure(url, given, batches)
                results += measured
                peak = max(peak, memory)
            by_kind = {kind_of(url): sizes.run(url, 20_000 if given.quick else 100_000) for url in urls}
            found = {"results": results, "bytes_per_row": by_kind, "peak_mb": peak}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
