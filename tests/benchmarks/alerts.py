"""How good the alerts are: a folder of streams, half of them with a known change, through the product's own evaluation.

    python -m tests.benchmarks.alerts --streams DIR --out alerts.csv [--budget 1000] [--processes N] [--part K/N]

DIR holds `NAME.reference.parquet` and `NAME.stream.parquet` with the columns row_id, timestamp, window (of the stream),
features, score, predicted, actual (-1: unknown) and actual_at. Each stream is a model of its own with the settings'
defaults, its events as its clock, and a budget of one false alarm in so many windows. Its reference is PUT and its log
imported, each row known at its own time; then it is evaluated up to the end and grace of one window after the other,
and the open alerts are read each time.

alerts.csv has `stream,window,feature`: a row for each window in which an alert is open and each of its causes, which is
a feature's name or a channel such as `@performance`. An alert about performance belongs to the window whose outcomes
raised it, not to the day on which they were complete. What alerts of two families name is one row. --part takes every
Nth stream from the Kth (0 is the first), for runs in pieces. The last line printed is one JSON object.
"""

import argparse
import csv
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from monitor import clock, jobs
from monitor.evaluate.references import put_reference
from monitor.ingest.files import draft_of, map_columns
from monitor.ingest.formats.source import BATCH_ROWS
from monitor.ingest.references import reference_from_file
from monitor.ingest.validate import validate_outcomes, validate_predictions
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import alerts, catalog
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, reading, writing

FIXED = ("row_id", "timestamp", "window", "score", "predicted", "actual", "actual_at")
CHANNELS = {"performance": "@performance", "volume": "@volume", "schedule": "@volume"}
METRICS = {"prediction_drift": "@score", "score_drift": "@score", "correlation": "@multivariate"}


class Alerting(NamedTuple):
    """A cause of an alert that is open in a window."""

    stream: str
    window: int
    feature: str


class Done(NamedTuple):
    """One stream's alerts, its windows, and the seconds that its evaluation took."""

    rows: list[Alerting]
    windows: int
    seconds: float


def named(family: str, cause: dict[str, Any]) -> str:
    """A cause as alerts.csv writes it."""
    if cause["metric"] in METRICS:
        return METRICS[cause["metric"]]
    if cause["segment"] is not None:
        return "@segment"
    if family in CHANNELS:
        return CHANNELS[family]
    return str(cause["feature"] or "@dataset")


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.timestamp("us", tz="UTC"))


def predictions_of(table: pa.Table) -> pa.Table:
    """The rows in the columns of an import of predictions."""
    made = {
        "id": pc.cast(table.column("row_id"), pa.string()),
        "timestamp": _times(table.column("timestamp")),
        "score": table.column("score"),
        "prediction": table.column("predicted"),
    }
    made |= {f"features.{name}": table.column(name) for name in table.column_names if name not in FIXED}
    return pa.table(made)


def outcomes_of(table: pa.Table) -> pa.Table:
    """The outcomes that came, as an import of outcomes, in the order in which they came."""
    table = table.filter(pc.is_valid(table.column("actual_at"))).sort_by("actual_at")
    return pa.table(
        {
            "id": pc.cast(table.column("row_id"), pa.string()),
            "actual": table.column("actual"),
            "observed_at": _times(table.column("actual_at")),
        }
    )


class Stream:
    """One stream as a model, in a database of its own."""

    def __init__(self, folder: Path, streams: Path, name: str, budget: int) -> None:
        self.name = name
        self.settings = Settings(database_url=f"sqlite:///{folder}/{name}.db")
        self.engine = make_engine(self.settings, create=True)
        upgrade(self.engine)
        reference = pq.read_table(streams / f"{name}.reference.parquet")
        table = pq.read_table(streams / f"{name}.stream.parquet")
        step = _window_hours(table)
        body = {
            "task": "binary", "positive_class": "1", "clock": "events", "window": f"{step}h" if step < 24 else "1d",
            "alert_budget": {"false_alarms": 1, "per": f"{budget * step}h"},
        }  # fmt: skip
        with writing(self.engine) as connection:
            self.model, _ = catalog.put_model(connection, 1, name, body, clock.now(), "benchmark")
        self._put_reference(folder, reference)
        self.step = step * clock.HOUR
        self.first = pc.min(_times(table.column("timestamp"))).value // self.step * self.step
        self.windows = int(pc.max(table.column("window")).as_py()) + 1
        self.predictions, self.outcomes = predictions_of(table), outcomes_of(table)

    def _put_reference(self, folder: Path, table: pa.Table) -> None:
        known = pc.if_else(pc.greater_equal(table.column("actual"), 0), table.column("actual"), None)
        path = folder / f"{self.name}.parquet"
        pq.write_table(predictions_of(table).append_column("actual", known), path)
        sent, _ = reference_from_file(path, "parquet", self.model, clock.now())
        assert not sent.rejected, sent.rejected[:3]
        put_reference(self.engine, self.model, sent.batch, None, None, None, clock.now())

    def run(self) -> Done:
        """The log, each row known at its own time, and then every window in its turn."""
        rows: list[Alerting] = []
        writer = Writer(self.engine, self.settings)
        writer.start()
        try:
            self._import(writer, "predictions", self.predictions)
            self._import(writer, "outcomes", self.outcomes)
        finally:
            writer.stop()
        wait = self.model.config.label_delay_us // self.step
        began = time.perf_counter()
        for turn in range(self.windows + wait):
            now = self.first + (turn + 1) * self.step + self.model.config.grace_us
            jobs.evaluate_fully(self.engine, self.settings, self.model.id, now, until=now)
            rows.extend(self._open(turn, turn - wait))
        self.engine.dispose()
        return Done(list(dict.fromkeys(rows)), self.windows, time.perf_counter() - began)

    def _import(self, writer: Writer, kind: str, table: pa.Table) -> None:
        check: Any = validate_predictions if kind == "predictions" else validate_outcomes
        for first in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(first, BATCH_ROWS)
            model, times = writer.model(1, self.name)
            draft = draft_of(part, map_columns(part.schema, kind), model, kind, history=True)
            answer = writer.submit(model, check(draft, model, times)).result()
            assert answer.accepted == part.num_rows, answer.rejected[:3]

    def _open(self, inputs: int, performance: int) -> Iterator[Alerting]:
        """The causes of the open alerts, with the window that each family saw last."""
        with reading(self.engine) as connection:
            found, _ = alerts.list_alerts(connection, 1, limit=100, model_id=self.model.id)
        for alert in found:
            window = performance if alert.family == "performance" else inputs
            if alert.state != "resolved" and 0 <= window < self.windows:
                for name in sorted({named(alert.family, cause) for cause in alert.causes}):
                    yield Alerting(self.name, window, name)


def _window_hours(table: pa.Table) -> int:
    """Hours of a window: the span of the stream over its windows, to the next length that a model can have."""
    stamps = _times(table.column("timestamp"))
    span = pc.max(stamps).value - pc.min(stamps).value
    hours = span / (int(pc.max(table.column("window")).as_py()) + 1) / clock.HOUR
    return min((1, 2, 3, 4, 6, 8, 12, 24), key=lambda length: abs(length - hours))


def run_stream(given: tuple[Path, str, int]) -> Done:
    streams, name, budget = given
    with tempfile.TemporaryDirectory() as folder:
        return Stream(Path(folder), streams, name, budget).run()


def _part(text: str) -> tuple[int, int]:
    first, step = (int(one) for one in text.split("/"))
    if not 0 <= first < step:
        raise ValueError(text)
    return first, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=int, default=1000, help="windows per bearable false alarm")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--part", type=_part, default=(0, 1), metavar="K/N", help="every Nth stream from the Kth")
    arguments = parser.parse_args()
    names = sorted(path.name.removesuffix(".stream.parquet") for path in arguments.streams.glob("*.stream.parquet"))
    names = names[arguments.part[0] :: arguments.part[1]]
    if not names:
        parser.error(f"{arguments.streams} holds no NAME.stream.parquet")
    began = time.perf_counter()
    windows, evaluating = 0, 0.0
    work = [(arguments.streams, name, arguments.budget) for name in names]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool, arguments.out.open("w") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(Alerting._fields)
        for number, done in enumerate(pool.imap(run_stream, work), 1):
            out.writerows(done.rows)
            windows += done.windows
            evaluating += done.seconds
            if number % 10 == 0 or number == len(work):
                print(f"{number} of {len(work)} streams", flush=True)
    seconds = time.perf_counter() - began
    print(f"of that, evaluation: {1000 * evaluating / windows:.1f} ms a window", flush=True)
    found = {"streams": len(names), "windows": windows, "seconds": round(seconds, 1)}
    print(json.dumps(found | {"ms_per_window": round(1000 * seconds / windows, 2)}))


if __name__ == "__main__":
    main()
