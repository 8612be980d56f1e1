"""Binnings and references as the statistics use them, loaded once and kept."""

from dataclasses import dataclass, replace
from functools import lru_cache

import msgspec
from sqlalchemy.engine import Connection

from monitor.stats.binning import Binning
from monitor.stats.profile import Profile
from monitor.store import profiles, references
from monitor.store.catalog import Model
from monitor.store.references import StoredReference

IMPORTANCE = "importance"  # in a reference's source: of each feature, in the order of its binning


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference with its profile; `windows` are (start, end, profile) of the monitored length.

    `until` is the end of the stretch of the log that it was made from, None for rows that were sent.
    """

    stored: StoredReference
    binning: Binning
    profile: Profile
    windows: tuple[tuple[int, int, Profile], ...]
    until: int | None

    @property
    def importance(self) -> dict[str, float]:
        """How much of the answer each feature tells in its rows (`stats/importance`), 0 to 1, by name; empty for a
        reference that was made before it was kept."""
        kept = self.stored.source.get(IMPORTANCE, [])
        names = [bins.name for bins in self.binning.features]
        return dict(zip(names, kept, strict=True)) if len(kept) == len(names) else {}


@lru_cache(maxsize=64)
def binning_of(content: bytes) -> Binning:
    """A binning from its stored bytes; loading one with many levels takes milliseconds."""
    return Binning.load(content)


def binning_numbered(connection: Connection, model_id: int, number: int) -> Binning:
    return binning_of(profiles.load_binning(connection, model_id, number))


def reference_for(
    connection: Connection, model_id: int, binning: int, version_id: int | None = None, *, windows: bool = True
) -> Reference | None:
    """The reference that holds for a version (None: for all live rows) in a binning; without its windows if told so."""
    chosen = references.choose(references.list_references(connection, model_id), version_id, binning)
    if chosen is None:
        return None
    stored = references.load_reference(connection, chosen.id, windows=windows)
    return _reference(
        profiles.load_binning(connection, model_id, binning),
        stored.profile,
        stored.windows,
        chosen.id,
        stored.source.get("to"),
        _Held(stored),
    )


class _Held:
    """Carries a value past a cache: all are equal, so that the other arguments alone are the key."""

    def __init__(self, stored: StoredReference) -> None:
        self.stored = stored

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=32)
def _reference(
    content: bytes, profile: bytes, windows: bytes, number: int, until: int | None, held: _Held
) -> Reference:
    binning = binning_of(content)
    return Reference(
        stored=held.stored._replace(profile=b"", windows=b""),
        binning=binning,
        profile=Profile.load(profile, binning),
        windows=load_windows(windows, binning),
        until=until,
    )


def dump_windows(windows: list[tuple[int, int, Profile]]) -> bytes:
    return msgspec.msgpack.encode([(start, end, profile.dump()) for start, end, profile in windows])


def load_windows(content: bytes, binning: Binning) -> tuple[tuple[int, int, Profile], ...]:
    if not content:
        return ()
    return tuple(
        (start, end, Profile.load(profile, binning)) for start, end, profile in msgspec.msgpack.decode(content)
    )


def with_schema(connection: Connection, model: Model) -> Model:
    """The model with the schema that its profiles use: its own, or while it has none the one last inferred."""
    if model.features is not None:
        return model
    newest = references.choose(references.list_references(connection, model.id))
    inferred = None if newest is None else newest.source.get("layout", {}).get("features")
    return replace(model, features=inferred)
