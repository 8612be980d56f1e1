"""Windows to evaluate while something else is measured: a month of another model's history comes in at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from monitor import clock
from monitor.settings import Settings
from monitor.store import tables as t
from monitor.store.session import make_engine, reading
from tests.benchmarks.bodies import ENCODINGS, KINDS, body_of, columns_of, table_of
from tests.benchmarks.service import call

MODEL = "history"
DAYS = 60
ROWS = 400_000
_BATCH = 20_000


@dataclass
class Evaluated:
    """What the evaluation did while it was looked at."""

    rows: int = 0
    windows: int = 0


@contextmanager
def windows(url: str, port: int) -> Iterator[Evaluated]:
    """The worker of the service at `port` is busy with a model's history while the block runs."""
    place = f"/v1/models/{MODEL}"
    call(port, "PUT", place, json={"task": "binary", "features": KINDS, "clock": "events", "window": "1h"})
    reference = body_of("arrow", columns_of(5_000, "uuid7"))
    call(port, "PUT", f"{place}/reference", content=reference, headers={"content-type": ENCODINGS["arrow"]})
    end = clock.now() - clock.DAY
    for first in range(0, ROWS, _BATCH):
        stamps = end - DAYS * clock.DAY + np.arange(first, first + _BATCH) * (DAYS * clock.DAY // ROWS)
        table = table_of(columns_of(_BATCH, "uuid7"))
        at = pa.array(stamps, pa.timestamp("us", tz="UTC"))
        table = table.set_column(table.schema.get_field_index("timestamp"), "timestamp", at)
        table = table.append_column("known_at", at)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        headers = {"content-type": ENCODINGS["arrow"]}
        call(port, "POST", f"{place}/predictions", content=bytes(sink.getvalue()), headers=headers)
    found = Evaluated()
    before = _state(url)
    yield found
    after = _state(url)
    found.rows, found.windows = after[0] - before[0], after[1] - before[1]


def _state(url: str) -> tuple[int, int]:
    """Rows profiled and windows evaluated so far."""
    engine = make_engine(Settings(database_url=url))
    with reading(engine) as connection:
        model_id = connection.scalar(sa.select(t.model.c.id).where(t.model.c.name == MODEL))
        rows = connection.scalar(sa.select(t.watermark.c.next_row).where(t.watermark.c.model_id == model_id))
        count = sa.select(sa.func.count()).select_from(t.evaluation).where(t.evaluation.c.model_id == model_id)
        windows = connection.scalar(count)
    engine.dispose()
    return int(rows or 0), int(windows or 0)
