"""Binnings that nobody asked for: the provisional one of a young model, and a new one when settings have changed."""

from typing import Any, NamedTuple

from sqlalchemy.engine import Connection, Engine

from monitor.clock import DAY
from monitor.evaluate import material, references
from monitor.evaluate.material import Material
from monitor.evaluate.references import Seen
from monitor.store import blocks, catalog
from monitor.store import references as stored_references
from monitor.store.catalog import Model
from monitor.store.references import StoredReference
from monitor.store.session import reading, writing

FIRST_ROWS = 1000


class Wanted(NamedTuple):
    """The rows to make a new binning from, and what its reference will be."""

    found: Material
    origin: dict[str, Any]
    version_id: int | None
    provisional: bool


def prepare(engine: Engine, model: Model, now: int) -> None:
    """Make the binning that the model's rows should be counted in, if it has none that serves.

    Without a reference the first rows make a provisional one, at once from what is there, and once more from the first
    1,000 rows. Then, or when the first row is a day old, the schema is frozen. When the settings that profiles depend
    on have changed, the newest reference whose rows are kept is made again under a new number; when none is kept, the
    first rows of the log make a provisional one.
    """
    with reading(engine) as connection:
        newest = stored_references.choose_newest(connection, model.id)
        end = blocks.log_end(connection, model.id).next_row
        if end == 0 and newest is None:
            return
        seen = Seen.read(connection, model.id)
        wanted = _wanted(connection, model, newest, end)
        if wanted is not None:
            prepared = references.prepare(connection, model, wanted.found, wanted.origin, wanted.version_id, fresh=True)
    if wanted is not None:
        provisional, found = wanted.provisional, wanted.found
        references.store(
            engine, model, prepared, seen, wanted.version_id, now, provisional=provisional, sent=False, found=found
        )
    if (newest is None or newest.provisional) and model.features is None:
        _freeze(engine, model, now)


def _wanted(connection: Connection, model: Model, newest: StoredReference | None, end: int) -> Wanted | None:
    """What a new binning is to be made from, None when the one that is there serves."""
    if newest is None or (newest.provisional and newest.rows < FIRST_ROWS <= end and newest.rows < end):
        found = material.of_first_rows(connection, model, FIRST_ROWS)
        if found is not None and (newest is None or found.batch.num_rows > newest.rows):
            return Wanted(found, _stretch(found), None, True)
    if newest is None or _fits_layout(model, newest):
        return None
    by_version = {one.version_id: one for one in stored_references.list_references(connection, model.id)}
    for stored in sorted(by_version.values(), key=lambda one: (one.provisional, -one.number)):
        found = material.of_stored(connection, model, stored)
        if found is not None:
            return Wanted(found, references.remade(stored), stored.version_id, stored.provisional)
    found = material.of_first_rows(connection, model, FIRST_ROWS)
    return None if found is None else Wanted(found, _stretch(found), None, True)


def serves(connection: Connection, model: Model) -> bool:
    """Whether rows can be counted in the newest binning: it was made under the settings that hold now."""
    newest = stored_references.choose_newest(connection, model.id)
    return newest is None or _fits_layout(model, newest)


def _fits_layout(model: Model, newest: StoredReference) -> bool:
    layout = newest.source.get("layout", {})
    features = model.features if model.features is not None else layout.get("features", {})
    return bool(layout == material.layout(model, features))


def _stretch(found: Material) -> dict[str, Any]:
    stamps = found.batch.column("timestamp").to_numpy()
    return {"from": int(stamps.min()), "to": int(stamps.max()) + 1}


def _freeze(engine: Engine, model: Model, now: int) -> None:
    """Freeze the inferred schema when 1,000 rows or a day made it."""
    with reading(engine) as connection:
        newest = stored_references.choose_newest(connection, model.id)
    if newest is None or (newest.rows < FIRST_ROWS and now < newest.source["from"] + DAY):
        return
    with writing(engine) as connection:
        catalog.freeze_features(connection, model, newest.source["layout"]["features"])
