"""Bytes a stored row takes, its entry in the index included: numbers of four digits and of all digits, in batches and
one by one, through the product's own writer, after its own compaction."""

from collections import deque
from concurrent.futures import Future
from typing import Any

import orjson

from monitor import clock
from monitor.ingest.arrow import draft_of
from monitor.ingest.singles import Singles
from monitor.ingest.validate import validate_predictions
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog, compaction, id_merge
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, writing
from tests.benchmarks.bodies import KINDS, columns_of, rows_of, table_of
from tests.benchmarks.service import kind_of, taken

BATCH = 1000
AT_ONCE = 64  # rows that wait at a time when they come one by one


def run(url: str, rows: int) -> dict[str, float]:
    """Bytes a row by form; the rows that come one by one are a fifth as many."""
    url = url.replace(".db", "-sizes.db")
    settings = Settings(database_url=url, secret_key="0" * 64)
    engine = make_engine(settings, create=True)
    upgrade(engine)
    with writing(engine) as connection:
        model, _ = catalog.put_model(connection, 1, "sizes", {"task": "binary", "features": KINDS}, clock.now(), "b")
    writer = Writer(engine, settings)
    writer.start()
    found: dict[str, float] = {}

    def batches(doubles: bool, ids: str) -> None:
        for _ in range(0, rows, BATCH):
            ready, times = writer.model(1, "sizes")
            table = table_of(columns_of(BATCH, ids, doubles=doubles)).combine_chunks().to_batches()[0]
            batch = validate_predictions(draft_of(table, ready, "predictions"), ready, times)
            assert writer.submit(ready, batch).result().accepted == BATCH

    def one_by_one() -> None:
        singles = Singles(writer)
        singles.start()
        waiting: deque[Future[Any]] = deque()
        for _ in range(0, rows // 5, BATCH):
            for row in rows_of(columns_of(BATCH, "uuid7")):
                waiting.append(singles.submit(1, "sizes", orjson.dumps(row)))
                if len(waiting) >= AT_ONCE:
                    assert waiting.popleft().result().accepted == 1
        for one in waiting:
            assert one.result().accepted == 1
        singles.stop()

    steps = {
        "digits": lambda: batches(False, "uuid7"),
        "digits, random ids": lambda: batches(False, "random"),
        "doubles": lambda: batches(True, "uuid7"),
        "digits, one by one": one_by_one,
    }

    def settle() -> None:
        while compaction.compact(engine, model.id) or id_merge.compact(engine, model.id):
            pass
        if not settings.embedded:
            with engine.connect() as connection:  # as autovacuum would
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("VACUUM block, id_segment, id_page")

    settle()  # what was measured before in the same database has left its own
    for name, step in steps.items():
        size, count = taken(url)
        step()
        settle()
        after, now = taken(url)
        found[name] = round((after - size) / (now - count), 1)
        print(f"{kind_of(url):10} {name:20} {found[name]:8.1f} bytes a row", flush=True)
    writer.stop()
    engine.dispose()
    return found
