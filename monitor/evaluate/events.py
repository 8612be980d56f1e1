"""Adding an event to a model, and what a known-bad stretch can no longer change.

Evidence and references are never changed afterwards. So whoever marks a stretch that was judged already, or that a
reference was made from, is told.
"""

from typing import NamedTuple

from sqlalchemy.engine import Connection

from monitor import clock
from monitor.clock import DAY
from monitor.errors import Conflict, Invalid
from monitor.store import audit, evaluations, events, profiles, references
from monitor.store.body import Reader, text_error
from monitor.store.catalog import Model
from monitor.store.events import DEPLOY, KINDS, KNOWN_BAD, Event

MAX_TEXT = 1000  # bytes
LONGEST = 3650 * DAY


class Asked(NamedTuple):
    """An event that was read, times in microseconds."""

    kind: str
    from_at: int
    to_at: int | None
    text: str


class Added(NamedTuple):
    """The event; windows of it that have given their evidence already, references that hold its rows, and both told."""

    event: Event
    judged_windows: int
    references: tuple[int, ...]
    note: str | None


def read_event(body: dict[str, object]) -> Asked:
    """An event of a JSON body.

    Raises:
        Invalid: names every field that is wrong.
    """
    reader = Reader(body)
    kind = reader.choice("kind", KINDS, None)
    from_at, to_at = (_time(reader, name, required=name == "from") for name in ("from", "to"))
    text = reader.body.pop("text", None) or ""
    if text and (reason := _text_error(text)) is not None:
        reader.wrong("text", reason)
    if kind == KNOWN_BAD and to_at is None and "to" not in {one["field"] for one in reader.errors}:
        reader.wrong("to", "is required for a stretch that is known to be bad; it may lie ahead")
    moment = kind == DEPLOY and from_at == to_at
    if from_at is not None and to_at is not None and not moment and not from_at < to_at <= from_at + LONGEST:
        reader.wrong("to", "must be later than `from`, and by ten years at most")
    reader.finish()
    return Asked(str(kind), from_at or 0, None if to_at == from_at else to_at, str(text))


def _time(reader: Reader, name: str, *, required: bool) -> int | None:
    value = reader.body.pop(name, None)
    if value is None and not required:
        return None
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        reader.wrong(name, str(error))
        return None


def _text_error(text: object) -> str | None:
    error = text_error(text)
    if error is not None and isinstance(text, str) and error.startswith("is longer"):
        return None if len(text.encode()) <= MAX_TEXT else f"is longer than {MAX_TEXT} bytes"
    return error


def add(connection: Connection, model: Model, asked: Asked, now: int, actor: str) -> Added:
    """Keep an event, in a transaction that holds the model's evaluation: what the answer says is exact.

    Raises:
        Conflict: the model has as many events as it may have.
        Invalid: the model was deleted meanwhile.
    """
    if profiles.lock_watermark(connection, model.id) is None:
        raise Invalid("the model is gone")
    if events.count_events(connection, model.id) >= events.MOST:
        raise Conflict(f"a model has at most {events.MOST:,} events: delete old ones")
    made = events.add_event(connection, model.project_id, model.id, *asked, now=now, actor=actor)
    audit.note(connection, model.project_id, now, actor, "event.made", model.name, told(made))
    if asked.kind != KNOWN_BAD or asked.to_at is None:
        return Added(made, 0, (), None)
    judged = evaluations.count_judged(connection, model.id, asked.from_at, asked.to_at)
    holding = tuple(
        one.number
        for one in references.list_references(connection, model.id)
        if "from" in one.source and one.source["from"] < asked.to_at and one.source["to"] > asked.from_at
    )
    return Added(made, judged, holding, _note(judged, holding))


def _note(judged: int, holding: tuple[int, ...]) -> str | None:
    said = []
    if judged:
        windows = "window has" if judged == 1 else "windows have"
        said.append(f"{judged:,} {windows} given evidence already; evidence and alerts stay as they are")
    if holding:
        names = ", ".join(str(number) for number in holding)
        which = f"reference {names} was" if len(holding) == 1 else f"references {names} were"
        said.append(f"{which} made from rows of this stretch: PUT a new reference, which leaves it out")
    return ". ".join(one[:1].upper() + one[1:] for one in said) + "." if said else None


def told(event: Event) -> str:
    """An event in a line: `known bad 2026-01-31T00:00:00Z to 2026-02-01T00:00:00Z: what was said`."""
    kind = event.kind.replace("_", " ")
    until = "" if event.to_at is None else f" to {clock.render(event.to_at)}"
    return f"{kind} {clock.render(event.from_at)}{until}" + (f": {event.text}" if event.text else "")


def remove(connection: Connection, model: Model, event_id: str, now: int, actor: str) -> None:
    """Forget an event. Windows that it kept from giving evidence do not give it afterwards.

    Raises:
        NotFound: the model has no such event.
    """
    profiles.lock_watermark(connection, model.id)
    found = events.get_event(connection, model.id, event_id)
    events.delete_event(connection, model.id, event_id)
    audit.note(connection, model.project_id, now, actor, "event.deleted", model.name, told(found))
