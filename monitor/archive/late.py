"""Outcomes that came after their row was archived: added to its file when their own time is over, then removed.

A crash between the two leaves outcomes that are in the file and in the log: the next run finds them there already.
Those whose row is nowhere, since it never came, are removed and counted, as they are without an archive.
"""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from sqlalchemy.engine import Engine

from monitor.archive import frames, keep
from monitor.archive.alone import alone
from monitor.archive.places import Place
from monitor.store import outcomes, retention
from monitor.store.catalog import Model
from monitor.store.erased import erased_among
from monitor.store.outcomes import Held
from monitor.store.session import reading


def archive_and_expire_outcomes(engine: Engine, model: Model, before: int, place: Place) -> tuple[int, int]:
    """Archive and remove outcomes older than `before` whose prediction is not in the log; (removed, added to a file).

    At most `retention.OUTCOMES` at a time: call it again until it removes none.

    Raises:
        OSError: the archive does not take them; they stay.
    """
    late = retention.late_outcomes(engine, model.id, before)
    if not late:
        return 0, 0
    with alone(engine, model, patience_seconds=0) as go_on:
        if go_on is None:  # an erasure is at work: another time
            return 0, 0
        with reading(engine) as connection:
            histories = outcomes.history(connection, model.id, [one.key for one in late])
        by_id = {one.id: histories.get(one.key, []) for one in late}
        added = 0
        for path in keep.files_of(place, model):
            go_on()
            added += _add(engine, place, path, model, by_id)
        go_on()  # the files are as they were written: only now may the outcomes go
        return retention.remove_outcomes(engine, model.id, late), added


def _add(engine: Engine, place: Place, path: str, model: Model, by_id: dict[str, list[Held]]) -> int:
    """Write a file again with these outcomes, if it has rows of theirs; how many rows."""
    with place.open(path) as file:
        ids = pyarrow.parquet.read_table(file, columns=["id"]).column("id")
    named = pc.fill_null(pc.is_in(ids, pa.array(by_id, pa.string())), False)
    count = int(pc.sum(named).as_py() or 0)
    if not count:
        return 0
    with place.open(path) as file:
        table = frames.with_outcomes(model, pyarrow.parquet.read_table(file), by_id)
    with reading(engine) as connection:
        gone = erased_among(connection, model.id, table.column("id").to_pylist())
    if gone:  # their erasure is under way: what it removes from the file must not come back
        table = table.filter(pc.invert(pc.is_in(table.column("id"), pa.array(gone, pa.string()))))
    frames.replace_table(place, path, table)
    return count
