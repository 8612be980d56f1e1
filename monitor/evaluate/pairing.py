"""The rows of two versions that carry the same ids, aligned. Reads rows, so it is bounded and done when asked for."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from monitor.evaluate import rows as rows_of
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.deltas import held_for, segment_names
from monitor.stats.binning import Binning
from monitor.stats.compare import Answers
from monitor.stats.profile import predicted_classes
from monitor.stats.rows import Bools, Codes, Floats, Ints, Numbers, Rows
from monitor.store import profiles
from monitor.store.catalog import Model


@dataclass(frozen=True, eq=False)
class Paired:
    """n rows that both versions answered. `labels` name the classes of `predicted`; `segments`: value by row, of the
    candidate's rows, for each segment of the binning; `read`: rows that were read to find them."""

    baseline: Answers
    candidate: Answers
    labels: tuple[str, ...]
    segments: dict[str, Codes]
    read: int

    @property
    def n(self) -> int:
        return len(self.baseline.predicted)

    def within(self, name: str, value: str | None, own: tuple[str, ...]) -> Bools:
        """The rows of a segment's value; None: of the values without counts of their own (`own` are those with)."""
        column = self.segments[name]
        named = [code for code, level in enumerate(column.levels) if level in own]
        if value is None:
            return ~np.isin(column.codes, named)
        return np.isin(column.codes, [code for code, level in enumerate(column.levels) if level == value])


def paired(
    connection: Connection, model: Model, binning: Binning, versions: tuple[int, int], from_at: int, to_at: int
) -> Paired:
    """The profiled rows of [from_at, to_at) that both versions (baseline, candidate) answered, live and shadow."""
    sides = [_read(connection, model, binning, version, from_at, to_at) for version in versions]
    read = sum(one.num_rows for one in sides)
    mine, theirs = sides
    place = pc.index_in(theirs.column("id"), value_set=mine.column("id"))
    kept = place.is_valid()
    theirs, mine = theirs.filter(kept), mine.take(place.filter(kept))
    if not theirs.num_rows:
        nothing = np.zeros(0) if model.task == "regression" else np.zeros(0, dtype=np.int64)
        return Paired(Answers(nothing, nothing), Answers(nothing, nothing), (), {}, read)
    mark = profiles.read_watermark(connection, model.id)
    held = held_for(connection, model, theirs, mark.next_outcome)
    features, names = model.features or {}, segment_names(binning)
    columns = [rows_of.to_rows(batch, model.task, features, names, held) for batch in (mine, theirs)]
    labels = _labels(binning, columns)
    first, second = (_answers(binning, rows, labels) for rows in columns)
    return Paired(first, second, labels, dict(columns[1].segments), read)


def _read(
    connection: Connection, model: Model, binning: Binning, version: int, from_at: int, to_at: int
) -> pa.RecordBatch:
    features, names = model.features or {}, segment_names(binning)
    wanted = ["id", *rows_of.outcome_columns(features, names)]
    wanted = rows_of.with_scores(wanted, binning.classes if model.task == "multiclass" else ())
    shelf = Shelf(connection, model, Want(version_id=version, role=None))
    batches = list(shelf.rows_of(from_at, to_at, wanted))
    if not batches:
        return pa.RecordBatch.from_arrays([pa.array([], pa.string())], names=["id"])
    return rows_of.join(batches, features)


def _labels(binning: Binning, columns: list[Rows]) -> tuple[str, ...]:
    if binning.task == "binary":
        return binning.classes
    found: dict[str, None] = dict.fromkeys(binning.classes)
    for rows in columns:
        for column in (rows.prediction, rows.actual):
            found |= dict.fromkeys(column.levels if isinstance(column, Codes) else ())
    return tuple(found)


def _answers(binning: Binning, rows: Rows, labels: tuple[str, ...]) -> Answers:
    if binning.task == "regression":
        return Answers(_numbers(rows.prediction, rows.n), _numbers(rows.actual, rows.n))
    if binning.task == "binary":
        said = predicted_classes(binning, rows)
        predicted = np.where(said > 1, -1, said)
        actual = _places(rows.actual, labels, rows.n, other=0)
    else:
        predicted, actual = _places(rows.prediction, labels, rows.n), _places(rows.actual, labels, rows.n)
    return Answers(predicted, actual, rows.score, _likely(rows, actual, labels, binning.task))


def _numbers(column: object, n: int) -> Floats:
    return column.present() if isinstance(column, Numbers) else np.full(n, np.nan)


def _places(column: object, labels: tuple[str, ...], n: int, other: int = -1) -> Ints:
    """Class numbers, -1 for none. `other`: what a label counts as that is none of them (binary: not positive)."""
    if not isinstance(column, Codes):
        return np.full(n, -1, dtype=np.int64)
    place = {label: number for number, label in enumerate(labels)}
    return np.asarray([*(place.get(level, other) for level in column.levels), -1], dtype=np.int64)[column.codes]


def _likely(rows: Rows, actual: Ints, labels: tuple[str, ...], task: str) -> Floats | None:
    """The probability that was given to the class that came true."""
    if task == "binary":
        return None if rows.score is None else np.where(actual == 1, rows.score, 1 - rows.score)
    if rows.scores is None:
        return None
    column = {label: place for place, label in enumerate(rows.score_classes)}
    of = np.asarray([*(column.get(label, -1) for label in labels), -1], dtype=np.int64)[actual]
    found = np.where(of >= 0, rows.scores[np.arange(rows.n), of], 0.0)  # a class without a score was given nothing
    return np.where((actual >= 0) & np.isfinite(rows.scores.sum(axis=1)), found, np.nan)
