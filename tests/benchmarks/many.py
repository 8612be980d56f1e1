"""A project of many models, each with a month of daily windows: what the list of models has to cope with."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.clock import DAY, HOUR
from monitor.store import blocks, catalog, evaluations
from monitor.store import tables as t
from monitor.store.evaluations import FINAL, Measurement
from monitor.store.session import writing

PROJECT = 2
DAYS = 90
PAYLOAD = bytes(2000)  # no list may open it
END = clock.parse("2026-01-05T00:00:00Z")


def make_many(engine: Engine, models: int) -> None:
    """That many models in a project of their own; `engine` is of a migrated database."""
    with writing(engine) as connection:
        connection.execute(sa.insert(t.project).values(id=PROJECT, name="many", created_at=END))
        for number in range(models):
            body = {"task": "binary", "clock": "events", "window": "1d", "features": {"x": {"kind": "numeric"}}}
            model, _ = catalog.put_model(connection, PROJECT, f"model-{number:04}", body, END, "benchmark")
            rows = 100 + 7919 * number % 5000
            windows = [
                Measurement(
                    at, 0, at + DAY, at + DAY, FINAL, FINAL, rows, rows * (number % 10) // 10, None, PAYLOAD, 0.8
                )
                for at in range(END - DAYS * DAY, END, DAY)
            ]
            evaluations.save_measurements(connection, PROJECT, model.id, windows)
            block = {"model_id": model.id, "project_id": PROJECT, "rows": rows, "payload": PAYLOAD}
            stamps = {"arrived_at": END, "min_timestamp": END - HOUR, "max_timestamp": END - number * clock.MINUTE}
            connection.execute(sa.insert(t.block).values(first_row=0, **block, **stamps))
            blocks.lock_log(connection, model.id)
            blocks.move_log(connection, model.id, blocks.LogEnd(rows, 0, END))
