"""Frames as NannyML's tutorials have them: `y_pred`, `y_pred_proba` (or `y_pred_proba_CLASS`), `y_true`, `timestamp`.

The target may stand in a file of its own beside the ids.
"""

from collections.abc import Iterator

import pyarrow as pa

from monitor.columns import ACTUAL, TAG
from monitor.ingest.files import Mapped
from monitor.ingest.formats import frames
from monitor.ingest.formats.base import UTC_NOTE, Piece, Wanted, drafts_of_tables
from monitor.ingest.formats.source import Source
from monitor.store.catalog import Model

_PROBA = "y_pred_proba"
_TARGETS = ("y_true", "actual", "target")


class NannyMl:
    name = "nannyml"
    title = "a frame as NannyML takes it"

    def detects(self, source: Source) -> bool:
        names = source.columns
        return "y_pred" in names or "y_true" in names or any(name.startswith(_PROBA) for name in names)

    def read(self, source: Source, wanted: Wanted) -> Iterator[Piece]:
        def map_columns(table: pa.Table, model: Model) -> Mapped:
            roles = _roles(table, model)
            unused = tuple(name for name in table.schema.names if name.startswith(_PROBA) and name not in roles)
            return frames.mapped(table, model, wanted.kind, roles, unused)

        yield from drafts_of_tables(source, wanted, map_columns, lambda: [UTC_NOTE] if wanted.zone is not None else [])


def _roles(table: pa.Table, model: Model) -> dict[str, str]:
    names = table.schema.names
    roles = {"y_pred": "prediction"}
    if model.task == "binary":
        roles[_PROBA] = "score"
    for name in names:
        if name.startswith(_PROBA + "_") and model.task != "regression":
            score = frames.score_target(name.removeprefix(_PROBA + "_"), model)
            if score:
                roles[name] = score
    target = frames.first_of(list(names), _TARGETS)
    if target is not None:
        roles[target] = ACTUAL
    return roles | {name: TAG + name for name in ("period", "partition") if name in names}
