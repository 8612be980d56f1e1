"""Rows with their losses, their bins and their blocks of time: what the search for slices reads of the log."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from monitor.clock import DAY, HOUR
from monitor.errors import KeepwatchError
from monitor.evaluate import material, windows
from monitor.evaluate import rows as rows_of
from monitor.evaluate.deltas import columns_for, held_for
from monitor.evaluate.loaded import reference_for
from monitor.stats import slices as stats
from monitor.stats.binning import Binning, top_score
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.rows import Codes, Floats, Numbers, Rows
from monitor.stats.slices import Stretch
from monitor.store import blocks, events
from monitor.store.catalog import Model
from monitor.store.profiles import LIVE, read_watermark

MAX_ROWS = 1_000_000  # of each stretch; of more, a random part
ENOUGH_BLOCKS = 16
UNITS = (DAY, 12 * HOUR, 6 * HOUR, 3 * HOUR, HOUR)
SCORED = 0.99  # share of rows with a score from which the score is judged, not the prediction
CLIP = 0.99  # quantile of the errors before at which a regression's are cut off


class NoSlices(KeepwatchError):
    """Why no search is possible, in words for the one who asked."""


@dataclass(eq=False)
class Gathered:
    """The labelled rows of a stretch: their instants, the bin of each feature, and what their losses are made of.

    `seen` of them are there in all; of more than MAX_ROWS a random part is held."""

    at: np.ndarray
    codes: list[np.ndarray]
    wrong: Floats
    scored: Floats  # squared error of the score, or absolute error of a regression; NaN without a score
    seen: int


def of_log(
    connection: Connection, model: Model, binning: Binning, from_at: int, to_at: int
) -> Iterator[tuple[np.ndarray, Rows]]:
    """The live rows of a stretch with their outcomes, block by block, but for what is known to be bad."""
    bad = events.known_bad(connection, model.id)
    below = max(read_watermark(connection, model.id).next_outcome, blocks.log_end(connection, model.id).next_outcome)
    features, wanted = model.features or {}, columns_for(model, binning, with_id=True)
    for _, batch in blocks.read_blocks_between(connection, model.id, from_at, to_at, wanted):
        stamps = batch.column("timestamp").to_numpy()
        mask = (stamps >= from_at) & (stamps < to_at) & pc.equal(batch.column("role"), LIVE).to_numpy(False)
        mask &= material.outside(stamps, bad)
        if mask.any():
            chosen = rows_of.fit(batch.filter(pa.array(mask)), features)
            held = held_for(connection, model, chosen, below_position=below)
            yield stamps[mask], rows_of.to_rows(chosen, model.task, features, (), held)


def of_reference(connection: Connection, model: Model, binning: Binning) -> Iterator[tuple[np.ndarray, Rows]]:
    found = reference_for(connection, model.id, binning.number, windows=False)
    kept = None if found is None else material.of_stored(connection, model, found.stored)
    if kept is None:
        raise NoSlices("the rows of the reference are not kept any more: compare with the stretch before")
    yield kept.batch.column("timestamp").to_numpy(), kept.rows(model, model.features or {}, ())


def gather(binning: Binning, batches: Iterator[tuple[np.ndarray, Rows]]) -> Gathered:
    draw, rate, held, seen = np.random.default_rng(0), 1.0, 0, 0
    parts: list[tuple[np.ndarray, np.ndarray, Floats, Floats]] = []
    for stamps, rows in batches:
        labelled = rows.labelled()
        seen += int(labelled.sum())
        labelled &= draw.random(rows.n) < rate
        if not labelled.any():
            continue
        chosen = rows.take(labelled)
        parts.append((stamps[labelled], _codes(binning, chosen), *_judged(binning, chosen)))
        held += chosen.n
        while held > MAX_ROWS:  # every second of those held goes, and of those to come
            rate /= 2
            kept = [draw.random(part[0].size) < 0.5 for part in parts]
            parts = [
                (at[keep], codes[:, keep], wrong[keep], scored[keep])
                for keep, (at, codes, wrong, scored) in zip(kept, parts, strict=True)
            ]
            held = sum(part[0].size for part in parts)
    if not parts:
        return Gathered(np.zeros(0, np.int64), [], np.zeros(0), np.zeros(0), 0)
    codes = np.hstack([part[1] for part in parts])
    at, wrong, scored = (np.concatenate([part[place] for part in parts]) for place in (0, 2, 3))
    return Gathered(at, list(codes), wrong, scored, seen)


def _codes(binning: Binning, rows: Rows) -> np.ndarray:
    """uint8[features, n]: numeric: below, the coarse bins, above, no usable value; categorical: the levels, all other
    ones, missing."""
    found = np.zeros((len(binning.features), rows.n), np.uint8)
    for place, bins in enumerate(binning.features):
        column, coarse = rows.features.get(bins.name), bins.coarse
        if isinstance(coarse, NumericBins):
            fits = isinstance(column, Numbers)
            slots = coarse.slots(column.values, column.missing) if fits else np.full(rows.n, coarse.missing)  # type: ignore[union-attr]
            found[place] = np.minimum(slots, coarse.missing)
        else:
            slots = coarse.slots(column) if isinstance(column, Codes) else np.full(rows.n, coarse.missing)
            found[place] = np.where(slots == coarse.missing, coarse.other + 1, np.minimum(slots, coarse.other))
    return found


def shape_of(bins: NumericBins | CategoricalBins) -> stats.Feature:
    coarse = bins.coarse
    if isinstance(coarse, NumericBins):
        return stats.Feature(coarse.k + 3, coarse.k + 2)
    return stats.Feature(coarse.other + 2, 0)


def _judged(binning: Binning, rows: Rows) -> tuple[Floats, Floats]:
    """float64[n] twice: 1 where the prediction was wrong; the error of the score, or of a regression."""
    if binning.task == "regression":
        predicted = rows.prediction.present() if isinstance(rows.prediction, Numbers) else np.full(rows.n, np.nan)
        actual = rows.actual.present() if isinstance(rows.actual, Numbers) else np.full(rows.n, np.nan)
        return np.zeros(rows.n), np.abs(predicted - actual)
    labels, truth = _labels(rows.prediction, rows.n), _labels(rows.actual, rows.n)
    if binning.task != "binary":
        return np.where(labels == "", np.nan, labels != truth), np.full(rows.n, np.nan)
    positive = truth == binning.positive_class
    score = top_score("binary", rows)
    score = np.full(rows.n, np.nan) if score is None else score
    by_score = np.where(np.isnan(score), np.nan, score >= binning.threshold)
    said = np.where(labels == "", by_score, labels == binning.positive_class)
    return np.where(np.isnan(said), np.nan, said != positive), (score - positive) ** 2


def _labels(column: object, n: int) -> np.ndarray:
    if not isinstance(column, Codes):
        return np.full(n, "", object)
    return np.array([*column.levels, ""], object)[column.codes]


def losses(task: str, before: Gathered, after: Gathered) -> tuple[str, Floats, Floats]:
    """The loss that both stretches have, by name, and its values; NaN where a row has none."""
    known = min(float(np.isfinite(rows.scored).mean()) for rows in (before, after))
    if task == "regression":
        usable = before.scored[np.isfinite(before.scored)]
        top = float(np.quantile(usable, CLIP)) if usable.size else 0.0
        return "absolute_error", np.minimum(before.scored, top), np.minimum(after.scored, top)
    if task == "binary" and known >= SCORED:
        return "brier", before.scored, after.scored
    return "wrong", before.wrong, after.wrong


def unit_of(before: np.ndarray, after: np.ndarray, timezone: str) -> int:
    """The longest blocks of time of which both stretches have enough, else hours."""
    for unit in UNITS:
        if all(np.unique(windows.starts_of(at, unit, timezone)).size >= ENOUGH_BLOCKS for at in (before, after)):
            return unit
    return UNITS[-1]


def stretch_of(rows: Gathered, loss: Floats, unit: int, model: Model) -> Stretch:
    usable = np.isfinite(loss)
    starts, block = np.unique(windows.starts_of(rows.at[usable], unit, model.config.timezone), return_inverse=True)
    return Stretch([codes[usable] for codes in rows.codes], loss[usable], block.astype(np.int64), starts.size)
