"""Making references: the binning they are counted in, their profile, and their windows.

A binning outlives references: a new reference is counted in the binning that is there, unless more than 5 % of some
feature falls outside of it or the model's layout has changed. Then the reference gets a binning of its own under the
next number, and the watermark goes back to the first row, so that ticks profile the rows that are kept again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.errors import Invalid, Overloaded
from monitor.evaluate import material
from monitor.evaluate.loaded import IMPORTANCE, binning_of, dump_windows
from monitor.evaluate.material import Material
from monitor.stats.binning import Binning, CategoricalBins
from monitor.stats.importance import importances
from monitor.stats.profile import Profile, profile_inputs, profile_outcomes
from monitor.stats.rows import Rows
from monitor.store import audit, catalog, events, profiles, references
from monitor.store.catalog import Model
from monitor.store.codec import encode
from monitor.store.profiles import StoredBinning, Watermark
from monitor.store.session import reading, writing

OUTSIDE = 0.05
MAX_WINDOWS = 1000
_PART_ROWS = 50_000
_ATTEMPTS = 5


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything a reference row needs, computed outside of the transaction."""

    binning: Binning
    is_new: bool
    features: dict[str, str]
    profile: Profile
    windows: bytes
    source: dict[str, Any]
    rows: int
    others: "tuple[tuple[int | None, Prepared], ...]" = ()  # of other versions, counted again in a new binning


class Seen(NamedTuple):
    """The highest numbers, and what was known as bad, when a reference was computed: it is right while they stand."""

    binning: int
    reference: int
    known_bad: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, connection: Connection, model_id: int) -> "Seen":
        newest = references.choose_newest(connection, model_id)
        return cls(
            profiles.current_number(connection, model_id),
            0 if newest is None else newest.number,
            events.known_bad(connection, model_id),
        )


def put_reference(
    engine: Engine,
    model: Model,
    table: pa.Table | pa.RecordBatch | None,
    from_us: int | None,
    to_us: int | None,
    version: str | None,
    now: int,
    actor: str = audit.ITSELF,
) -> dict[str, Any]:
    """Make a reference from rows or from the stretch [from_us, to_us) of the log.

    Args:
        table: columns as in a block, and `actual` where outcomes are known; None: take the stretch.
        version: the model version it is for; None: for every version that has none of its own.
        now: the wall clock, in microseconds.
        actor: who makes it.

    Returns: number, rows, version, binning, windows (how many), source, created_at.

    Raises:
        Invalid: no rows, or a stretch that is none.
    """
    if table is None and (from_us is None or to_us is None or to_us <= from_us):
        raise Invalid.field("from", "give from and to, with from before to")
    if table is not None and not table.num_rows:
        raise Invalid.field("rows", "a reference needs rows")
    version_id = None
    if version is not None:
        with writing(engine) as connection:
            version_id = catalog.version_ids(connection, model, [version])[version]
    for _ in range(_ATTEMPTS):
        with reading(engine) as connection:
            model = catalog.get_model_by_id(connection, model.id)
            seen = Seen.read(connection, model.id)
            if table is not None:
                found, origin = material.of_table(table), {"rows": table.num_rows}
            else:
                found = material.of_stretch(connection, model, from_us or 0, to_us or 0, version_id)
                origin = {"from": from_us or 0, "to": to_us or 0}
            prepared = prepare(connection, model, found, origin, version_id)
        stored = store(
            engine,
            model,
            prepared,
            seen,
            version_id,
            now,
            provisional=False,
            sent=table is not None,
            found=found,
            actor=actor,
        )
        if stored is not None:
            return shown(stored, version)
    raise Overloaded("the model's references are changing: send it again", retry_after=2)


def prepare(
    connection: Connection,
    model: Model,
    found: Material,
    origin: Mapping[str, Any],
    version_id: int | None,
    *,
    fresh: bool = False,
) -> Prepared:
    """Compute a reference; `fresh` asks for a binning of its own in any case."""
    features = model.features if model.features is not None else material.infer([found.batch])
    segments = material.segment_choice(model, features, found.batch)
    rows = found.rows(model, features, segments)
    layout = material.layout(model, features)
    current = profiles.current_binning(connection, model.id)
    if not fresh and current is not None and not current.provisional and same_layout(connection, model, layout):
        binning = binning_of(current.content)
        made = _counted(model, binning, features, rows, found, {**origin, "layout": layout})
        if fits(binning, made.profile, rows):
            return made
    binning = Binning.build(
        1 if current is None else current.number + 1,
        model.task,
        rows,
        positive_class=model.config.positive_class,
        threshold=model.config.threshold,
        segments=segments,
    )
    made = _counted(model, binning, features, rows, found, {**origin, "layout": layout})
    return replace(made, is_new=True, others=_others(connection, model, made, version_id, segments))


def _counted(
    model: Model, binning: Binning, features: dict[str, str], rows: Rows, found: Material, source: dict[str, Any]
) -> Prepared:
    profile = profile_rows(binning, rows)
    source = {**source, IMPORTANCE: [float(f"{one:.3g}") for one in importances(binning, rows).tolist()]}
    if found.without:
        source = {**source, "without": [list(one) for one in found.without]}
    return Prepared(binning, False, features, profile, _windows(model, binning, rows, found), source, rows.n)


def _others(
    connection: Connection, model: Model, made: Prepared, version_id: int | None, segments: list[str]
) -> tuple[tuple[int | None, Prepared], ...]:
    """The newest references for other versions, counted again in the new binning from their rows, where kept."""
    newest = {one.version_id: one for one in references.list_references(connection, model.id) if not one.provisional}
    again: list[tuple[int | None, Prepared]] = []
    for other, stored in newest.items():
        found = None if other == version_id else material.of_stored(connection, model, stored)
        if found is not None:
            rows = found.rows(model, made.features, segments)
            source = {**remade(stored), "layout": made.source["layout"]}
            again.append((other, _counted(model, made.binning, made.features, rows, found, source)))
    return tuple(again)


def remade(stored: references.StoredReference) -> dict[str, Any]:
    """The source of a reference that is made of the same rows once more."""
    source = {name: value for name, value in stored.source.items() if name not in ("layout", "without", IMPORTANCE)}
    return {**source, "remade_from": stored.source.get("remade_from", stored.id)}


def profile_rows(binning: Binning, rows: Rows) -> Profile:
    return profile_inputs(binning, rows) + profile_outcomes(binning, rows)


def fits(binning: Binning, profile: Profile, rows: Rows) -> bool:
    """Whether a binning still serves for these rows: the same features, and at most 5 % of each outside of it."""
    if [bins.name for bins in binning.features] != list(rows.features):
        return False
    if binning.task == "regression" and binning.residual is None and rows.labelled().any():
        return False
    for bins in binning.features:
        counts = profile.of(("feature", bins.name))
        odd = counts[bins.unseen] if isinstance(bins, CategoricalBins) else counts[0] + counts[bins.above]
        if odd > OUTSIDE * max(1, rows.n):
            return False
    if binning.task == "multiclass":
        other = len(binning.classes)
        return int(profile.of("prediction")[other]) <= OUTSIDE * max(1, rows.n)
    return True


def same_layout(connection: Connection, model: Model, layout: Mapping[str, Any]) -> bool:
    """Whether the newest reference was made under the same settings that profiles depend on."""
    stored = references.list_references(connection, model.id)
    return bool(stored) and stored[-1].source.get("layout") == layout


def _windows(model: Model, binning: Binning, rows: Rows, found: Material) -> bytes:
    stamps = found.batch.column("timestamp").to_numpy()
    whole = (one for one in material.window_parts(model, stamps) if not events.touches(found.without, one[0], one[1]))
    parts = list(whole)[-MAX_WINDOWS:]
    return dump_windows([(start, end, profile_rows(binning, rows.take(chosen))) for start, end, chosen in parts])


def store(
    engine: Engine,
    model: Model,
    prepared: Prepared,
    seen: Seen,
    version_id: int | None,
    now: int,
    *,
    provisional: bool,
    sent: bool,
    found: Material,
    actor: str | None = None,
) -> references.StoredReference | None:
    """Write a reference; None when the model's binnings or references have changed since `seen`.

    A reference of another version that came meanwhile would be missing in a new binning. `actor` None: nobody asked.
    """
    with writing(engine) as connection:
        mark = profiles.lock_watermark(connection, model.id)
        if mark is None or Seen.read(connection, model.id) != seen:
            return None
        if not provisional and model.features is None:
            catalog.freeze_features(connection, model, prepared.features)
        if prepared.is_new:
            made = StoredBinning(prepared.binning.number, provisional, prepared.binning.dump())
            profiles.add_binning(connection, model.project_id, model.id, made, now)
            profiles.move_watermark(connection, model.id, mark, Watermark(0, mark.next_outcome))
        for other, again in prepared.others:
            _add(connection, model, again, other, now, provisional=False)
        reference_id = _add(connection, model, prepared, version_id, now, provisional=provisional)
        if sent:
            for part, first in enumerate(range(0, found.batch.num_rows, _PART_ROWS)):
                piece = found.batch.slice(first, _PART_ROWS)
                payload = encode(piece)
                references.add_part(connection, model.project_id, model.id, reference_id, part, piece.num_rows, payload)
        made_now = references.load_reference(connection, reference_id)
        if actor is not None:
            told = f"reference {made_now.number}, {made_now.rows:,} rows"
            audit.note(connection, model.project_id, now, actor, "reference.made", model.name, told)
        return made_now


def _add(
    connection: Connection, model: Model, made: Prepared, version_id: int | None, now: int, *, provisional: bool
) -> int:
    reference_id, _ = references.add_reference(
        connection,
        model.project_id,
        model.id,
        version_id=version_id,
        binning=made.binning.number,
        provisional=provisional,
        created_at=now,
        rows=made.rows,
        source=made.source,
        profile=made.profile.dump(),
        windows=made.windows,
    )
    return reference_id


def shown(stored: references.StoredReference, version: str | None) -> dict[str, Any]:
    """A reference as the API shows it."""
    inner = ("layout", "remade_from", "without", IMPORTANCE)
    source = {name: value for name, value in stored.source.items() if name not in inner}
    if "from" in source:
        source = {name: clock.render(value) for name, value in source.items()}
    if "without" in stored.source:
        source["without"] = [[clock.render(at) for at in stretch] for stretch in stored.source["without"]]
    return {
        "number": stored.number,
        "version": version,
        "rows": stored.rows,
        "binning": stored.binning,
        "provisional": stored.provisional,
        "created_at": clock.render(stored.created_at),
        "source": source,
    }


def reference_list(connection: Connection, model: Model) -> list[dict[str, Any]]:
    """Every reference of a model, oldest first, as the API shows it."""
    names = catalog.version_names(connection, model.id)
    return [
        shown(one, None if one.version_id is None else names.get(one.version_id))
        for one in references.list_references(connection, model.id)
    ]
