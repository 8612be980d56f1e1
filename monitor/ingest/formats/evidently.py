"""Frames as Evidently takes them: `target`, `prediction` (a label, a number, or a probability), or a column for each
class with its probability.
"""

from collections.abc import Iterator

import pyarrow as pa

from monitor.columns import ACTUAL
from monitor.ingest.files import Mapped
from monitor.ingest.formats import frames
from monitor.ingest.formats.base import UTC_NOTE, Piece, Wanted, drafts_of_tables
from monitor.ingest.formats.source import Source
from monitor.store.catalog import Model

_PROBAS = ("prediction_proba", "prediction_probas", "predicted_probability", "proba")
_LABELS = ("prediction_label", "prediction_labels", "predicted_label")


class Evidently:
    name = "evidently"
    title = "a frame as Evidently takes it"

    def detects(self, source: Source) -> bool:
        names = set(source.columns)
        return "target" in names and bool(names & {"prediction", *_PROBAS, *_LABELS})

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        def map_columns(table: pa.Table, model: Model) -> Mapped:
            roles = _roles(table, model)
            dropped = tuple(name for name in _class_columns(table, model) if name not in roles)
            return frames.mapped(table, model, wanted.kind, roles, dropped)

        yield from drafts_of_tables(source, wanted, map_columns, lambda: [UTC_NOTE] if wanted.zone is not None else [])


def _roles(table: pa.Table, model: Model) -> dict[str, str]:
    names = list(table.schema.names)
    roles = {"target": ACTUAL}
    label, proba = frames.first_of(names, _LABELS), frames.first_of(names, _PROBAS)
    if label is not None:
        roles[label] = "prediction"
    if proba is not None and model.task == "binary":
        roles[proba] = "score"
    if "prediction" in names:
        score = model.task == "binary" and proba is None and frames.probabilities(table, "prediction")
        if score or label is None:
            roles["prediction"] = "score" if score else "prediction"
    for name in _class_columns(table, model):
        target = frames.score_target(name, model)
        if target and target not in roles.values():
            roles[name] = target
    return roles


def _class_columns(table: pa.Table, model: Model) -> list[str]:
    """Columns of probabilities that are named by a class which the labels have."""
    if model.task == "regression":
        return []
    labels: set[str] = set()
    for name in ("target", "prediction", *_LABELS):
        if name in table.schema.names and not frames.probabilities(table, name):
            labels |= frames.levels(table, name)
    if model.config.positive_class is not None:
        labels.add(model.config.positive_class)
    return [name for name in table.schema.names if name in labels and pa.types.is_floating(table[name].type)]
