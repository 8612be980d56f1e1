"""Frames of data scientists, as NannyML's and Evidently's users have them: a column for each feature, and a few that
have a meaning by their name. The container may be any: CSV, Parquet, Arrow, JSON lines.

Rows without an id get one from the file and their place in it, so a frame's labels join its predictions.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor.columns import ACTUAL, FEATURE, SCORE, TAG, label_array
from monitor.errors import SetupError
from monitor.ingest.files import Mapped
from monitor.store.catalog import Model

IDS = ("id", "identifier", "prediction_id", "request_id", "row_id")
TIMES = ("timestamp", "datetime", "event_timestamp", "prediction_timestamp", "time", "date")
OWN = ("version", "latency_ms", "role", "environment", "known_at", "observed_at")
INDEXES = ("", "__index_level_0__", "Unnamed: 0", "index", "level_0")  # pandas' row numbers
_SAMPLE = 10_000


def first_of(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """The first of `wanted` that is there, whatever its case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[one] for one in wanted if one in lower), None)


def mapped(table: pa.Table, model: Model, kind: str, roles: dict[str, str], dropped: tuple[str, ...] = ()) -> Mapped:
    """A frame's columns with their meaning.

    Args:
        roles: columns whose meaning the format knows -> column of monitor.columns, `actual` for the target.
        dropped: columns that are nothing here.

    Raises:
        SetupError: outcomes are wanted and there is no column of labels.
    """
    names = list(table.schema.names)
    found = {name: target for name, target in roles.items() if name in names}
    for target, known in (("id", IDS), ("timestamp", TIMES)):
        name = first_of([one for one in names if one not in found], known)
        if name is not None and target not in found.values():
            found[name] = target
    found |= {name: name for name in names if name in OWN and name not in found}
    if kind == "outcomes":
        return _outcomes(table, found)
    others = [name for name in names if name not in found and name not in (*INDEXES, *dropped)]
    for name in others:
        prefix, dot, inner = name.partition(".")
        found[name] = TAG + inner if dot and prefix == "tags" else FEATURE + name.removeprefix("features.")
    if kind != "reference":
        found = {name: target for name, target in found.items() if target not in (ACTUAL, "observed_at")}
    return Mapped(found, [name for name in names if name not in found])


def _outcomes(table: pa.Table, found: dict[str, str]) -> Mapped:
    names = list(table.schema.names)
    if ACTUAL not in found.values():
        others = [name for name in names if name not in found and name not in INDEXES]
        if len(others) != 1:
            raise SetupError(f"no column of labels: name it `actual` or `y_true`; there are {', '.join(names[:20])}")
        found[others[0]] = ACTUAL  # a file of ids and labels: what is left is the label
    kept = {name: target for name, target in found.items() if target in ("id", ACTUAL, "observed_at", "known_at")}
    return Mapped(kept, [name for name in names if name not in kept])


def probabilities(table: pa.Table, name: str) -> bool:
    """Whether a column holds decimals between 0 and 1 (seen in its first rows), and not labels."""
    array = table[name].slice(0, _SAMPLE).combine_chunks()
    if not pa.types.is_floating(array.type):
        return False
    values = np.asarray(pc.drop_null(array))
    values = values[~np.isnan(values)]
    return bool(len(values) and ((values >= 0) & (values <= 1)).all() and ((values > 0) & (values < 1)).any())


def levels(table: pa.Table, name: str) -> set[str]:
    """The labels in the first rows of a column."""
    array = label_array(table[name].slice(0, _SAMPLE))
    return {one for one in pc.unique(array).to_pylist() if one is not None}


def score_target(label: str, model: Model) -> str:
    """Where the probability of one class goes: a binary model keeps that of its positive class alone."""
    if model.task != "binary":
        return SCORE + label
    return "score" if label == model.config.positive_class else ""
