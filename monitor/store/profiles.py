"""Profiles by hour and by day, the watermark that says what is in them, and the windows they have changed.

A profile is an opaque payload here. Whoever changes profiles moves the watermark in the same transaction, from the
values it read before (`move_watermark`); so a profile that was read together with the watermark can be changed outside
of the transaction and written back, and work that was done twice is thrown away the second time.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitor.store.tables import binning, dirty_window, profile, watermark
from monitor.store.upsert import insert_new, upsert

HOUR_SPAN = 3600
DAY_SPAN = 86400
LIVE = "live"
SHADOW = "shadow"

_IN_LIMIT = 500


class Watermark(NamedTuple):
    """Rows and outcomes below these positions are in the profiles."""

    next_row: int
    next_outcome: int


class ProfileKey(NamedTuple):
    """Which profile of a model: `span` in seconds, `start` in microseconds, `binning` its number."""

    span: int
    start: int
    version_id: int
    role: str
    binning: int


class StoredProfile(NamedTuple):
    """A profile as stored. `max_known_at` is the latest known_at among its rows and their outcomes, `rows_known_at`
    that among its rows alone (None: not kept). `stamp` is drawn anew whenever it is saved: of profiles of one key, one
    with the same stamp has the same content."""

    span: int
    start: int
    version_id: int
    role: str
    binning: int
    rows: int
    labelled: int
    min_known_at: int
    max_known_at: int
    rows_known_at: int | None
    payload: bytes
    segments: bytes | None
    stamp: int = 0

    @property
    def key(self) -> ProfileKey:
        return ProfileKey(*self[:5])


_COLUMNS = [profile.c[name] for name in StoredProfile._fields]
_NOTHING = {"payload": sa.literal_column("''").label("payload"), "segments": sa.null().label("segments")}


def read_watermark(connection: Connection, model_id: int) -> Watermark:
    """Zeros for a model whose rows were never profiled."""
    row = connection.execute(
        sa.select(watermark.c.next_row, watermark.c.next_outcome).where(watermark.c.model_id == model_id)
    ).one_or_none()
    return Watermark(0, 0) if row is None else Watermark(row.next_row, row.next_outcome)


def move_watermark(connection: Connection, model_id: int, old: Watermark, new: Watermark) -> bool:
    """Move the watermark if it still stands at `old`, and hold its row until the transaction ends.

    Returns: whether it stood there. With `old` equal to `new` this locks the profiles and says that nothing changed.
    """
    result = connection.execute(
        sa.update(watermark)
        .where(
            watermark.c.model_id == model_id,
            watermark.c.next_row == old.next_row,
            watermark.c.next_outcome == old.next_outcome,
        )
        .values(next_row=new.next_row, next_outcome=new.next_outcome)
    )
    return result.rowcount == 1


def lock_watermark(connection: Connection, model_id: int) -> Watermark | None:
    """Hold the watermark's row until the transaction ends, wherever it stands; None when the model is gone."""
    row = connection.execute(
        sa.update(watermark)
        .where(watermark.c.model_id == model_id)
        .values(next_row=watermark.c.next_row)
        .returning(watermark.c.next_row, watermark.c.next_outcome)
    ).one_or_none()
    return None if row is None else Watermark(row.next_row, row.next_outcome)


def load_profiles(connection: Connection, model_id: int, keys: Iterable[ProfileKey]) -> dict[ProfileKey, StoredProfile]:
    """The stored profiles of exactly these keys; those that do not exist yet are absent."""
    wanted = set(keys)
    found: dict[ProfileKey, StoredProfile] = {}
    for span in sorted({key.span for key in wanted}):
        starts = sorted({key.start for key in wanted if key.span == span})
        for at in range(0, len(starts), _IN_LIMIT):
            query = sa.select(*_COLUMNS).where(
                profile.c.model_id == model_id,
                profile.c.span == span,
                profile.c.start.in_(starts[at : at + _IN_LIMIT]),
            )
            for row in connection.execute(query):
                stored = StoredProfile(*row)
                if stored.key in wanted:
                    found[stored.key] = stored
    return found


def profiles_between(
    connection: Connection,
    model_id: int,
    span: int,
    from_at: int,
    to_at: int,
    *,
    version_id: int | None = None,
    role: str | None = LIVE,
    binning_number: int | None = None,
    segments: bool = True,
    content: bool = True,
) -> list[StoredProfile]:
    """The profiles that start in [from_at, to_at), by start; `role` None for live and shadow rows.

    `segments` False leaves these in the database, they are the larger part of a profile; `content` False also the
    payload, which is empty then: what is left says what there is, in a tenth of the time.
    """
    left = _NOTHING.keys() if not content else () if segments else ("segments",)
    columns = [_NOTHING[column.name] if column.name in left else column for column in _COLUMNS]
    query = sa.select(*columns).where(
        profile.c.model_id == model_id, profile.c.span == span, profile.c.start >= from_at, profile.c.start < to_at
    )
    if version_id is not None:
        query = query.where(profile.c.version_id == version_id)
    if role is not None:
        query = query.where(profile.c.role == role)
    if binning_number is not None:
        query = query.where(profile.c.binning == binning_number)
    query = query.order_by(profile.c.start, profile.c.version_id, profile.c.role, profile.c.binning)
    return [StoredProfile(*row) for row in connection.execute(query).all()]


def save_profiles(connection: Connection, project_id: int, model_id: int, rows: Sequence[StoredProfile]) -> None:
    """Insert or replace; only in a transaction that has moved the watermark."""
    if not rows:
        return
    values = [
        {"model_id": model_id, "project_id": project_id, **row._replace(stamp=_new_stamp())._asdict()} for row in rows
    ]
    connection.execute(upsert(connection, profile), values)


def _new_stamp() -> int:
    return int.from_bytes(os.urandom(8), "big") >> 1


def drop_superseded(connection: Connection, model_id: int, number: int) -> int:
    """Remove the profiles of older binnings that binning `number` covers in full. Returns how many."""
    newer = profile.alias("newer")
    covered = sa.exists().where(
        newer.c.model_id == model_id,
        newer.c.span == profile.c.span,
        newer.c.start == profile.c.start,
        newer.c.version_id == profile.c.version_id,
        newer.c.role == profile.c.role,
        newer.c.binning == number,
        newer.c.rows >= profile.c.rows,
    )
    result = connection.execute(
        sa.delete(profile).where(profile.c.model_id == model_id, profile.c.binning < number, covered)
    )
    return int(result.rowcount)


def first_start(connection: Connection, model_id: int, span: int, from_at: int | None = None) -> int | None:
    """The start of the earliest live profile, or of the earliest from an instant on; None when there is none."""
    query = sa.select(sa.func.min(profile.c.start)).where(
        profile.c.model_id == model_id, profile.c.span == span, profile.c.role == LIVE
    )
    if from_at is not None:
        query = query.where(profile.c.start >= from_at)
    found = connection.scalar(query)
    return None if found is None else int(found)


def last_start(connection: Connection, model_id: int, span: int, before: int | None = None) -> int | None:
    """The start of the latest live profile, or of the latest before an instant; None when there is none."""
    query = sa.select(sa.func.max(profile.c.start)).where(
        profile.c.model_id == model_id, profile.c.span == span, profile.c.role == LIVE
    )
    if before is not None:
        query = query.where(profile.c.start < before)
    found = connection.scalar(query)
    return None if found is None else int(found)


def starts_between(connection: Connection, model_id: int, span: int, from_at: int, to_at: int) -> list[int]:
    """The starts in [from_at, to_at) that have a live profile, ascending."""
    query = (
        sa.select(profile.c.start)
        .where(
            profile.c.model_id == model_id,
            profile.c.span == span,
            profile.c.role == LIVE,
            profile.c.start >= from_at,
            profile.c.start < to_at,
        )
        .distinct()
        .order_by(profile.c.start)
    )
    return [int(start) for start in connection.scalars(query)]


def last_labelled(connection: Connection, model_id: int) -> int | None:
    """The start of the latest hour in which a live row has an outcome; None when none has."""
    found = connection.scalar(
        sa.select(profile.c.start)
        .where(
            profile.c.model_id == model_id,
            profile.c.span == HOUR_SPAN,
            profile.c.role == LIVE,
            profile.c.labelled > 0,
        )
        .order_by(profile.c.start.desc())
        .limit(1)
    )
    return None if found is None else int(found)


def extent(connection: Connection, model_id: int) -> tuple[int, int] | None:
    """The earliest and the latest start of any profile, of every role; None when there is none."""
    ends = [
        sa.select(end(profile.c.start)).where(profile.c.model_id == model_id, profile.c.span == span).scalar_subquery()
        for span in (HOUR_SPAN, DAY_SPAN)
        for end in (sa.func.min, sa.func.max)  # a look into the key each, where both at once would read it all
    ]
    found = [int(at) for at in connection.execute(sa.select(*ends)).one() if at is not None]
    return (min(found), max(found)) if found else None


def latest_known(
    connection: Connection, model_id: int, span: int, from_at: int, to_at: int, *, outcomes: bool
) -> dict[int, tuple[int, int]]:
    """Of every profile's start in [from_at, to_at): its live rows, and the latest known_at of all rows, and of their
    outcomes too where these count."""
    known = profile.c.max_known_at if outcomes else sa.func.coalesce(profile.c.rows_known_at, profile.c.max_known_at)
    live = sa.case((profile.c.role == LIVE, profile.c.rows), else_=0)
    query = (
        sa.select(profile.c.start, sa.func.max(live), sa.func.max(known))
        .where(
            profile.c.model_id == model_id,
            profile.c.span == span,
            profile.c.start >= from_at,
            profile.c.start < to_at,
        )
        .group_by(profile.c.start)
    )
    return {start: (int(rows), int(latest)) for start, rows, latest in connection.execute(query)}


# ---------------------------------------------------------------- dirty windows


def mark_dirty(connection: Connection, project_id: int, model_id: int, starts: Iterable[int]) -> None:
    """Remember that the numbers of these windows must be computed again."""
    values: list[dict[str, Any]] = [
        {"model_id": model_id, "project_id": project_id, "start": start} for start in sorted(set(starts))
    ]
    if values:
        connection.execute(insert_new(connection, dirty_window), values)


def dirty_windows(connection: Connection, model_id: int, limit: int | None = None) -> list[int]:
    """The starts of windows to measure, ascending."""
    query = sa.select(dirty_window.c.start).where(dirty_window.c.model_id == model_id).order_by(dirty_window.c.start)
    return list(connection.scalars(query if limit is None else query.limit(limit)))


def clear_dirty(connection: Connection, model_id: int, starts: Sequence[int]) -> None:
    for at in range(0, len(starts), _IN_LIMIT):
        connection.execute(
            sa.delete(dirty_window).where(
                dirty_window.c.model_id == model_id, dirty_window.c.start.in_(starts[at : at + _IN_LIMIT])
            )
        )


# ---------------------------------------------------------------- binnings


class StoredBinning(NamedTuple):
    number: int
    provisional: bool
    content: bytes


def current_binning(connection: Connection, model_id: int) -> StoredBinning | None:
    """The binning with the highest number: new rows are profiled in it."""
    row = connection.execute(
        sa.select(binning.c.number, binning.c.provisional, binning.c.content)
        .where(binning.c.model_id == model_id)
        .order_by(binning.c.number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else StoredBinning(row.number, bool(row.provisional), row.content)


def current_number(connection: Connection, model_id: int) -> int:
    """The highest number of a binning, 0 when there is none."""
    return connection.scalar(sa.select(sa.func.max(binning.c.number)).where(binning.c.model_id == model_id)) or 0


def load_binning(connection: Connection, model_id: int, number: int) -> bytes:
    content: bytes = connection.execute(
        sa.select(binning.c.content).where(binning.c.model_id == model_id, binning.c.number == number)
    ).scalar_one()
    return content


def add_binning(connection: Connection, project_id: int, model_id: int, stored: StoredBinning, created_at: int) -> None:
    connection.execute(
        sa.insert(binning).values(
            model_id=model_id,
            number=stored.number,
            project_id=project_id,
            created_at=created_at,
            provisional=int(stored.provisional),
            content=stored.content,
        )
    )
