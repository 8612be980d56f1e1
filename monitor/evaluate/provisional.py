"""Binnings that nobody asked for: the provisional one of a young model, and a new one when settings have changed."""

from sqlalchemy.engine import Connection, Engine

from monitor.clock import DAY
from monitor.evaluate import material, references
from monitor.evaluate.material import Material
from monitor.store import blocks, catalog, profiles
from monitor.store import references as stored_references
from monitor.store.catalog import Model
from monitor.store.references import StoredReference
from monitor.store.session import reading, writing

FIRST_ROWS = 1000


def prepare(engine: Engine, model: Model, now: int) -> None:
    """Make the binning that the model's rows should be counted in, if it has none that serves.

    Without a reference the first rows make a provisional one, at once from what is there, and once more from the first
    1,000 rows. Then, or when the first row is a day old, the schema is frozen. When the settings that profiles depend
    on have changed, the newest reference is made again under a new number.
    """
    with reading(engine) as connection:
        newest = stored_references.choose_newest(connection, model.id)
        end = blocks.log_end(connection, model.id).next_row
        if end == 0 and newest is None:
            return
        number = profiles.current_number(connection, model.id)
        found, origin, version_id = _wanted(connection, model, newest, end)
        if found is None:
            prepared = None
        else:
            prepared = references.prepare(connection, model, found, origin, version_id, fresh=True)
    is_provisional = newest is None or newest.provisional
    if prepared is not None and found is not None:
        references.store(
            engine, model, prepared, number, version_id, now, provisional=is_provisional, sent=False, found=found
        )
    if is_provisional and model.features is None:
        _freeze(engine, model, now)


def _wanted(
    connection: Connection, model: Model, newest: StoredReference | None, end: int
) -> tuple[Material | None, dict[str, object], int | None]:
    """The rows for a new binning, None when the one that is there serves."""
    if newest is None or (newest.provisional and newest.rows < FIRST_ROWS and end >= FIRST_ROWS and newest.rows < end):
        found = material.of_first_rows(connection, model, FIRST_ROWS)
        if found is None or (newest is not None and found.batch.num_rows <= newest.rows):
            return None, {}, None
        return found, _stretch(found), None
    layout = newest.source.get("layout", {})
    features = model.features if model.features is not None else layout.get("features", {})
    if layout == material.layout(model, features):
        return None, {}, None
    return material.of_stored(connection, model, newest), references.remade(newest), newest.version_id


def _stretch(found: Material) -> dict[str, object]:
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
