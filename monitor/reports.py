"""Evidently reports on demand: read a bounded sample of rows, let a process of its own make the page.

Evidently is never imported here: `monitor.stats.report` runs in a child that knows nothing of this process, neither its
settings nor its database, and that is ended when it takes too long.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection, Engine

from monitor import clock, columns
from monitor.errors import Invalid, KeepwatchError
from monitor.evaluate import rows as evaluated
from monitor.evaluate.loaded import binning_numbered
from monitor.evaluate.query import segment_of
from monitor.store import catalog, profiles, references, tasks
from monitor.store.blocks import read_blocks, read_blocks_between
from monitor.store.codec import decode
from monitor.store.identity import keys_of
from monitor.store.outcomes import held_outcomes
from monitor.store.session import reading
from monitor.store.tasks import Task
from monitor.work import Done, Work

KIND = "report"
SAMPLE = 20_000  # rows of each side
TIMEOUT_SECONDS = 300
LEASE = (TIMEOUT_SECONDS + 120) * clock.SECOND


class NoReport(KeepwatchError):
    """Why a report cannot be made, in words for the one who asked."""


@dataclass(frozen=True)
class Report:
    """A report as the API and its page show it. `segment`: NAME:VALUE, "" for all rows; `progress` says what is being
    done; `rows` of the stretch."""

    id: str
    from_at: int
    to_at: int
    segment: str
    state: str
    progress: str
    error: str | None
    rows: int | None
    created_at: int
    finished_at: int | None

    @classmethod
    def of(cls, task: Task) -> "Report":
        asked, rows = task.asked, task.answer.get("rows")
        times = (task.created_at, task.finished_at)
        return cls(
            task.id,
            asked["from"],
            asked["to"],
            asked.get("segment", ""),
            task.state,
            task.stage,
            task.error,
            rows,
            *times,
        )


def ask(connection: Connection, model: catalog.Model, from_at: int, to_at: int, now: int, segment: str = "") -> Report:
    """Ask for a report of from_at <= timestamp < to_at, of the rows of a segment (NAME:VALUE) where one is named.

    Raises:
        Invalid: the model has no such segment, or it is the rest of one.
        QuotaExceeded: too many of the model's reports are not finished yet.
    """
    if segment:
        _segment(connection, model, segment)
    request = json.dumps({"from": from_at, "to": to_at, "segment": segment})
    return Report.of(tasks.ask(connection, model.project_id, model.id, KIND, request, now))


def _segment(connection: Connection, model: catalog.Model, text: str) -> tuple[str, str]:
    stored = profiles.current_binning(connection, model.id)
    if stored is None:
        raise Invalid.field("segment", "the model has none yet: they come with its first reference")
    name, value = segment_of(binning_numbered(connection, model.id, stored.number), text)
    if value is None:
        raise Invalid.field("segment", "the rest of a segment has no report of its own: name one of its values")
    return name, value


def get(connection: Connection, model_id: int, report_id: str) -> Report:
    """A report of that model.

    Raises:
        NotFound: there is none of that id.
    """
    return Report.of(tasks.get(connection, model_id, KIND, report_id))


def listed(connection: Connection, model_id: int, limit: int, cursor: str | None = None) -> list[Report]:
    """At most `limit` reports, newest first, those before `cursor` (an id)."""
    return [Report.of(one) for one in tasks.listed(connection, model_id, KIND, limit, cursor)]


def make(work: Work) -> Done:
    """Make the page of a report that was asked for.

    Raises:
        NoReport: why there is none.
    """
    folder = Path(tempfile.mkdtemp(prefix="keepwatch-report-"))
    try:
        work.tell("reading rows", 0.0)
        rows = _write_request(work.engine, work.task, folder)
        work.tell("computing", 0.5)
        page = _compute(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Done(json.dumps({"rows": rows}), page)


def _write_request(engine: Engine, task: Task, folder: Path) -> int:
    """Put a sample of both sides into the folder. Returns the rows that the stretch has in all."""
    wanted = Report.of(task)
    with reading(engine) as connection:
        model = catalog.get_model_by_id(connection, task.model_id)
        source = references.reference_for(connection, model.id)
        if source is None:
            raise NoReport("the model has no reference to compare with: PUT /v1/models/{model}/reference sets one")
        inside = _rows_of(connection, model, wanted.segment)
        current = Sample(SAMPLE, wanted.created_at)
        for _, batch in read_blocks_between(connection, model.id, wanted.from_at, wanted.to_at):
            current.add(inside(_chosen(batch, wanted.from_at, wanted.to_at)))
        if current.seen == 0:
            raise NoReport("no rows are kept of this stretch" + (" and segment" if wanted.segment else ""))
        reference = Sample(SAMPLE, wanted.created_at)
        for batch in _reference_batches(connection, model, source):
            reference.add(inside(batch))
        if reference.seen == 0:
            raise NoReport("the rows of the reference are not kept any more: set a new one")
        features = model.features or _inferred(current.batches)
        tables = [_table(connection, model, sample, features) for sample in (reference, current)]
    for name, table in zip(("reference", "current"), tables, strict=True):
        with pa.ipc.new_stream(folder / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table)
    stretch = f"{clock.render(wanted.from_at)} to {clock.render(wanted.to_at)}"
    stretch += f", {wanted.segment}" if wanted.segment else ""
    (folder / "request.json").write_text(
        _request_json(model, stretch, features, [_sampled(current, "stretch"), _sampled(reference, "reference")])
    )
    return current.seen


def _rows_of(connection: Connection, model: catalog.Model, segment: str) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """What takes a batch's rows of a segment (NAME:VALUE); all of them without one."""
    if not segment:
        return lambda batch: batch
    try:
        name, value = _segment(connection, model, segment)
    except Invalid as reason:
        raise NoReport(f"the segment is gone since it was asked for: {reason}") from None
    features = model.features or {}

    def inside(batch: pa.RecordBatch) -> pa.RecordBatch:
        fitted = evaluated.fit(batch, features)
        return batch.filter(pa.array(evaluated.in_segment(fitted, features, name, value, model.config.slices)))

    return inside


def _request_json(model: catalog.Model, stretch: str, features: dict[str, str], notes: list[str]) -> str:
    return json.dumps(
        {
            "model": model.name,
            "stretch": stretch,
            "task": model.task,
            "positive_class": model.config.positive_class,
            "features": features,
            "notes": [note for note in notes if note],
        }
    )


def _sampled(sample: "Sample", side: str) -> str:
    kept = min(sample.seen, sample.limit)
    return f"A random sample of {kept:,} of the {sample.seen:,} rows of the {side}." if kept < sample.seen else ""


class Sample:
    """A uniform sample without replacement of rows that come in batches; at most 2 * limit rows are held.

    Every row draws a number, and those with the smallest stay. The seed makes it repeatable.
    """

    def __init__(self, limit: int, seed: int) -> None:
        self.limit = limit
        self.seen = 0
        self.batches: list[pa.RecordBatch] = []
        self._draws: list[np.ndarray] = []
        self._held = 0
        self._highest = 1.0
        self._random = np.random.default_rng(seed)

    def add(self, batch: pa.RecordBatch) -> None:
        self.seen += batch.num_rows
        draws = self._random.random(batch.num_rows)
        self._keep(batch, draws, draws < self._highest)
        if self._held > 2 * self.limit:
            self.prune()

    def prune(self) -> None:
        """Drop all but `limit` rows."""
        if self._held <= self.limit:
            return
        self._highest = float(np.partition(np.concatenate(self._draws), self.limit)[self.limit])
        old = list(zip(self.batches, self._draws, strict=True))
        self.batches, self._draws, self._held = [], [], 0
        for batch, draws in old:
            self._keep(batch, draws, draws < self._highest)

    def _keep(self, batch: pa.RecordBatch, draws: np.ndarray, chosen: np.ndarray) -> None:
        count = int(chosen.sum())
        if count:
            self.batches.append(batch if count == len(draws) else batch.filter(pa.array(chosen)))
            self._draws.append(draws[chosen])
            self._held += count


def _chosen(batch: pa.RecordBatch, from_at: int, to_at: int) -> pa.RecordBatch:
    """The live rows with from_at <= timestamp < to_at."""
    at = batch.column("timestamp").to_numpy()
    live = pc.equal(batch.column("role"), "live").to_numpy(zero_copy_only=False)
    return batch.filter(pa.array((at >= from_at) & (at < to_at) & live))


def _reference_batches(
    connection: Connection, model: catalog.Model, source: references.StoredReference
) -> Iterable[pa.RecordBatch]:
    """The rows of a reference: those that were sent, else those of its stretch, else the first of the log."""
    sent = False
    for payload in references.read_parts(connection, source.id):
        sent = True
        yield decode(payload)
    if sent:
        return
    if "from" in source.source:
        from_at, to_at = (_instant(source.source[name]) for name in ("from", "to"))
        for _, batch in read_blocks_between(connection, model.id, from_at, to_at):
            yield _chosen(batch, from_at, to_at)
        return
    for _, batch in read_blocks(connection, model.id, 0, source.rows):
        yield batch


def _instant(value: int | str) -> int:
    return value if isinstance(value, int) else clock.parse(value)


def _inferred(batches: list[pa.RecordBatch]) -> dict[str, str]:
    """Kinds by the types of the columns, for a model whose schema is not frozen yet."""
    kinds = {}
    for batch in batches:
        for field in batch.schema:
            if field.name.startswith(columns.FEATURE):
                kind = "numeric" if pa.types.is_floating(field.type) else "categorical"
                kinds[field.name.removeprefix(columns.FEATURE)] = "boolean" if pa.types.is_boolean(field.type) else kind
    return kinds


def _table(connection: Connection, model: catalog.Model, sample: Sample, features: dict[str, str]) -> pa.Table:
    """The sampled rows as one table, with the outcomes that hold as the column `actual`."""
    sample.prune()
    batch = evaluated.join(sample.batches, features)
    names = batch.schema.names
    if columns.ACTUAL not in names:
        regression = model.task == "regression"
        keys = keys_of(batch.column("id").to_pylist())
        held = held_outcomes(connection, model.id, keys, regression=regression)
        actual = [held[key].actual if key in held else None for key in keys]
        array = pa.array(
            [None if one is None else float(one) for one in actual] if regression else actual,
            columns.prediction_type(model.task),
        )
        batch = pa.RecordBatch.from_arrays([*batch.columns, array], names=[*names, columns.ACTUAL])
    wanted = [name for name in batch.schema.names if name.startswith(columns.FEATURE)]
    return pa.table(
        batch.select([*wanted, *(n for n in ("prediction", "score", columns.ACTUAL) if n in batch.schema.names)])
    )


def _compute(folder: Path) -> bytes:
    """Run the child and read its page.

    Raises:
        NoReport: it failed, or took longer than TIMEOUT_SECONDS.
    """
    command = [sys.executable, "-m", "monitor.stats.report", str(folder)]
    surroundings = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "DO_NOT_TRACK": "1", "HOME": str(folder)}
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command; the folder is ours)
            command, cwd=folder, env=surroundings, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoReport(f"it took longer than {TIMEOUT_SECONDS} seconds: choose a shorter stretch") from None
    if done.returncode == 0:
        return (folder / "report.html").read_bytes()
    said = folder / "error.txt"
    raise NoReport(said.read_text() if said.exists() else f"its process ended with code {done.returncode}")
