"""Rows of the log as people read them: one table that DuckDB, pandas, Spark and `keepwatch import` understand.

Columns: `id, timestamp, known_at, version, prediction, score, latency_ms, error, role, served_from, computed_at,
environment`, one `features.NAME`, `tags.NAME`, `scores.CLASS` each, `not_in_schema` (JSON), and of the outcomes
`actual` and `observed_at` (what holds now) and `outcomes`, the whole history as a list, in order of arrival.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.archive.places import Place
from monitor.columns import FEATURE, SCORE, TAG, concatenate
from monitor.store import outcomes
from monitor.store.catalog import Model
from monitor.store.identity import keys_of
from monitor.store.outcomes import Held

_PREFIXES = {FEATURE: "features.", TAG: "tags.", SCORE: "scores."}
_TIMES = ("timestamp", "known_at", "computed_at")
_AT = pa.timestamp("us", tz="UTC")
GROUP_ROWS = 50_000  # of a row group


def table_of(
    connection: Connection,
    model: Model,
    batches: Sequence[pa.RecordBatch],
    versions: Mapping[int, str],
    below_position: int | None = None,
) -> pa.Table:
    """The rows of some blocks with the outcomes below a position."""
    batch = concatenate([_numbers_alike(one, model) for one in batches])
    keys = keys_of(batch.column("id").to_pylist())
    histories = outcomes.history(connection, model.id, keys, below_position)
    columns: dict[str, pa.Array] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name == "filled":
            continue
        if name in _TIMES:
            columns[name] = array.cast(_AT)
        elif name == "version":
            columns[name] = pa.array([versions.get(one) or None for one in array.to_pylist()], pa.string())
        elif name[:2] in _PREFIXES:
            columns[_PREFIXES[name[:2]] + name[2:]] = array
        else:
            columns["not_in_schema" if name == "extra" else name] = array
    return pa.table(columns | _outcomes(model, [histories.get(key, []) for key in keys]))


def _numbers_alike(batch: pa.RecordBatch, model: Model) -> pa.RecordBatch:
    """Numeric features as doubles in every block, so that every file has them in one type."""
    for at, field in enumerate(batch.schema):
        numeric = (model.features or {}).get(field.name[2:]) == "numeric" and field.name.startswith(FEATURE)
        if numeric and (pa.types.is_integer(field.type) or pa.types.is_null(field.type)):
            batch = batch.set_column(at, field.name, batch.column(at).cast(pa.float64()))
    return batch


def _outcomes(model: Model, histories: list[list[Held]]) -> dict[str, pa.Array]:
    regression = model.task == "regression"
    held = [max(one, key=lambda each: outcomes.rank(each, regression), default=None) for one in histories]
    value: Any = float if regression else str
    kind = pa.float64() if regression else pa.string()
    history = pa.list_(
        pa.struct([("actual", kind), ("observed_at", _AT), ("known_at", _AT), ("arrived_at", _AT)])  # one struct a row
    )
    listed = [
        [
            {
                "actual": value(each.actual),
                "observed_at": each.observed_at,
                "known_at": each.known_at,
                "arrived_at": each.arrived_at,
            }
            for each in one
        ]
        for one in histories
    ]
    return {
        "actual": pa.array([None if one is None else value(one.actual) for one in held], kind),
        "observed_at": pa.array([None if one is None else one.observed_at for one in held], _AT),
        "outcomes": pa.array(listed, history),
    }


def with_outcomes(model: Model, table: pa.Table, by_id: Mapping[str, Sequence[Held]]) -> pa.Table:
    """A table of `table_of` with more outcomes of some ids; those that it has already are not added again."""
    histories = [
        [_held(one, position) for position, one in enumerate(history or [])]
        for history in table.column("outcomes").to_pylist()
    ]
    for row_id, history in zip(table.column("id").to_pylist(), histories, strict=True):
        known = {_told(model, one) for one in history}
        history += [one for one in by_id.get(row_id, ()) if _told(model, one) not in known]
    for name, array in _outcomes(model, histories).items():
        table = table.set_column(table.schema.get_field_index(name), name, array)
    return table


def _held(archived: Mapping[str, Any], position: int) -> Held:
    """An outcome as `_outcomes` writes it, read back."""
    times = {name: clock.from_datetime(archived[name]) for name in ("observed_at", "known_at", "arrived_at")}
    return Held(actual=str(archived["actual"]), observed_given=0, position=position, **times)


def _told(model: Model, held: Held) -> tuple[float | str, int, int, int]:
    """What makes an outcome the same in the log and in a file."""
    value = float(held.actual) if model.task == "regression" else held.actual
    return value, held.observed_at, held.known_at, held.arrived_at


def by_day(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(date in UTC, its rows) of a batch, in order of the dates."""
    days = batch.column("timestamp").to_numpy() // clock.DAY
    for day in np.unique(days):
        yield date_of(int(day)), batch.filter(pa.array(days == day))


def date_of(day: int) -> str:
    """The date of the day that is so many days after 1970-01-01."""
    return clock.to_datetime(day * clock.DAY).date().isoformat()


def folder_of(model: Model, date: str | None = None) -> str:
    """The partition of a model, or of a day of it."""
    return f"model={model.name}" + ("" if date is None else f"/day={date}")


def archive_of(model: Model, date: str | None = None) -> str:
    """The partition of a model in the archive, which all projects share."""
    return ("" if model.project_id == 1 else f"project={model.project_id}/") + folder_of(model, date)


def replace_table(place: Place, path: str, table: pa.Table) -> int:
    """Make or replace a Parquet file as the neighbours like it: zstd, row groups of bounded size; returns its bytes."""

    def write(file: Any) -> None:
        pyarrow.parquet.write_table(table, file, compression="zstd", row_group_size=GROUP_ROWS)

    return place.write(path, write)
