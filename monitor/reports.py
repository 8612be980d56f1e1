"""The job behind reports: claim one, read a bounded sample of rows, let a process of its own make the page.

Evidently is never imported here: `monitor.stats.report` runs in a child that knows nothing of this process, neither its
settings nor its database, and that is ended when it takes too long.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection, Engine

from monitor import clock, columns, log
from monitor.errors import KeepwatchError, NotFound
from monitor.evaluate import rows as evaluated
from monitor.settings import Settings
from monitor.store import catalog, references, reports
from monitor.store.blocks import decode, read_blocks, read_blocks_between
from monitor.store.identity import keys_of
from monitor.store.outcomes import held_outcomes
from monitor.store.session import reading, writing

SAMPLE = 20_000  # rows of each side
TIMEOUT_SECONDS = 300
LEASE = (TIMEOUT_SECONDS + 120) * clock.SECOND

_log = log.get(__name__)


class NoReport(KeepwatchError):
    """Why a report cannot be made, in words for the one who asked."""


def run_pending_reports(engine: Engine, settings: Settings, now: int) -> int:
    """Compute the reports that wait, one after the other, oldest first. Returns how many were finished or failed.

    Args:
        settings: not used by reports today; every job is given them.
        now: the wall clock, microseconds.
    """
    del settings
    started = clock.monotonic()
    count = 0
    while True:
        at = now + int((clock.monotonic() - started) * clock.SECOND)
        with writing(engine) as connection:
            claim = reports.claim_report(connection, f"pid-{os.getpid()}", at, LEASE)
        if claim is None:
            return count
        _run(engine, claim, now, started)
        count += 1


def _run(engine: Engine, claim: reports.Claim, now: int, started: float) -> None:
    error, page, rows = "", b"", 0
    folder = Path(tempfile.mkdtemp(prefix="keepwatch-report-"))
    try:
        rows = _write_request(engine, claim, folder)
        with writing(engine) as connection:
            reports.set_progress(connection, claim, "computing")
        page = _compute(folder)
    except NotFound:
        return  # the model was deleted, and the report with it
    except NoReport as reason:
        error = str(reason)
    except Exception:
        _log.exception("report_failed", report=claim.report.id)
        error = "an unforeseen error; the log of the server has it under this report's id"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    at = now + int((clock.monotonic() - started) * clock.SECOND)
    with writing(engine) as connection:
        if error:
            reports.fail_report(connection, claim, error, at)
        else:
            reports.finish_report(connection, claim, page, rows, at)


def _write_request(engine: Engine, claim: reports.Claim, folder: Path) -> int:
    """Put a sample of both sides into the folder. Returns the rows that the stretch has in all."""
    wanted = claim.report
    with reading(engine) as connection:
        model = catalog.get_model_by_id(connection, wanted.model_id)
        source = references.reference_for(connection, model.id)
        if source is None:
            raise NoReport("the model has no reference to compare with: PUT /v1/models/{model}/reference sets one")
        current = Sample(SAMPLE, wanted.created_at)
        for _, batch in read_blocks_between(connection, model.id, wanted.from_at, wanted.to_at):
            current.add(_chosen(batch, wanted.from_at, wanted.to_at))
        if current.seen == 0:
            raise NoReport("no rows are kept of this stretch")
        reference = Sample(SAMPLE, wanted.created_at)
        for batch in _reference_batches(connection, model, source):
            reference.add(batch)
        if reference.seen == 0:
            raise NoReport("the rows of the reference are not kept any more: set a new one")
        features = model.features or _inferred(current.batches)
        tables = [_table(connection, model, sample, features) for sample in (reference, current)]
    for name, table in zip(("reference", "current"), tables, strict=True):
        with pa.ipc.new_stream(folder / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table)
    stretch = f"{clock.render(wanted.from_at)} to {clock.render(wanted.to_at)}"
    (folder / "request.json").write_text(
        _request_json(model, stretch, features, [_sampled(current, "stretch"), _sampled(reference, "reference")])
    )
    return current.seen


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
