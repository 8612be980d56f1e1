"""Reading what people declare about who is told: the bodies of silences, of routes and of a project's policy."""

from collections.abc import Mapping
from typing import Any

from monitor import clock
from monitor.alerts.hours import read_hours
from monitor.alerts.matchers import matches, read_matchers
from monitor.errors import Invalid
from monitor.store import routing, silences
from monitor.store.body import Reader, text_error
from monitor.store.model_config import NAME
from monitor.store.routing import Policy, Route
from monitor.store.silences import Silence

MAX_COMMENT = 4000  # bytes
MAX_CHANNELS_OF_ROUTE = 20
SHORTEST = clock.MINUTE
LONGEST_SPAN = 30 * clock.DAY


def read_comment(reader: Reader, *, required: bool = False) -> str:
    """The `comment` of a body, without spaces around it; "" where it may be left out."""
    value = reader.body.pop("comment", None)
    if value is None or (isinstance(value, str) and not value.strip()):
        if required:
            reader.wrong("comment", "is required")
        return ""
    reason = comment_error(value)
    if reason is not None:
        reader.wrong("comment", reason)
        return ""
    return str(value).strip()


def comment_error(value: object) -> str | None:
    """Why a value is no comment; None when it is one."""
    if not isinstance(value, str):
        return "must be a text"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return f"must be at most {MAX_COMMENT} bytes, without NUL" if size > MAX_COMMENT or "\0" in value else None


def read_silence(
    body: Mapping[str, Any],
    project_id: int,
    now: int,
    actor: str,
    current: Silence | None = None,
    *,
    name: str | None = None,
) -> Silence:
    """The silence of a body; `current` is the one that it replaces, whose start stays where the body gives none.

    Raises:
        Invalid: names every field that is wrong.
    """
    reader = Reader(body)
    matchers = _matchers(reader, "matchers")
    if not matchers and not reader.errors:
        reader.wrong("matchers", "must hold at least one matcher")
    elif matchers and matches(matchers, {}):
        reader.wrong("matchers", "at least one matcher must not take an empty value: this would silence everything")
    starts_at = _time(reader, "startsAt", now if current is None else current.starts_at)
    ends_at = _time(reader, "endsAt", None)
    if ends_at is not None and starts_at is not None and ends_at <= starts_at:
        reader.wrong("endsAt", "must be after startsAt")
    elif ends_at is not None and ends_at <= now and current is None:
        reader.wrong("endsAt", "is in the past")
    weekly = read_hours(reader, "weekly")
    comment = read_comment(reader)
    author = reader.body.pop("createdBy", None)  # Alertmanager's clients send it; who asks is who made it
    if author is not None and not isinstance(author, str):
        reader.wrong("createdBy", "must be a text")
    reader.finish()
    return Silence(
        id=silences.new_id() if current is None else current.id,
        project_id=project_id,
        name=name,
        matchers=matchers,
        starts_at=starts_at or now,
        ends_at=ends_at or now,
        weekly=weekly,
        comment=comment,
        created_by=actor if current is None else current.created_by,
        created_at=now if current is None else current.created_at,
        updated_at=now,
    )


def read_route(name: str, body: Mapping[str, Any], project_id: int, now: int) -> Route:
    """The route of a body.

    Raises:
        Invalid: names every field that is wrong.
    """
    reader = Reader(body)
    if NAME.fullmatch(name) is None:
        reader.wrong("route", "a name is 1 to 128 of A-Z a-z 0-9 . _ - and starts with a letter or a digit")
    match = _matchers(reader, "match")
    channels = reader.body.pop("channels", None)
    if not isinstance(channels, list) or not 1 <= len(channels) <= MAX_CHANNELS_OF_ROUTE:
        reader.wrong("channels", f"must be a list of 1 to {MAX_CHANNELS_OF_ROUTE} names of channels")
        channels = []
    for position, channel in enumerate(channels):
        if (reason := text_error(channel)) is not None:
            reader.wrong(f"channels[{position}]", reason)
    spans = {field: _span(reader, field) for field in ("escalate_after", "repeat", "digest")}
    if spans["digest"] is not None and spans["repeat"] is not None:
        reader.wrong("repeat", "cannot stand beside digest: a digest is not repeated")
    quiet_hours = read_hours(reader, "quiet_hours")
    reader.finish()
    return Route(
        id=routing.new_id(),
        project_id=project_id,
        name=name,
        match=match,
        channels=tuple(dict.fromkeys(channels)),
        escalate_after=spans["escalate_after"],
        repeat=spans["repeat"],
        digest=spans["digest"],
        quiet_hours=quiet_hours,
        created_at=now,
    )


def read_policy(body: Mapping[str, Any]) -> Policy:
    """The policy of a body.

    Raises:
        Invalid: names every field that is wrong.
    """
    reader = Reader(body)
    value = reader.body.pop("alert_budget", None)
    false_alarms = per = None
    if isinstance(value, Mapping):
        budget = dict(value)
        false_alarms = reader.number("alert_budget.false_alarms", None, above=0, below=1e6, body=budget)
        if false_alarms is None and not reader.errors:
            reader.wrong("alert_budget.false_alarms", "is required")
        per = reader.span("alert_budget.per", "1d", shortest=clock.HOUR, body=budget)
        for name in budget:
            reader.wrong("alert_budget", f"has a field that is not one of false_alarms, per ({str(name)[:40]!r})")
    elif value is not None:
        reader.wrong("alert_budget", 'must be an object such as {"false_alarms": 11, "per": "1d"}, or null')
    digest = reader.span("digest", Policy().digest, shortest=SHORTEST, longest=LONGEST_SPAN)
    cooldown = reader.span("cooldown", Policy().cooldown, longest=LONGEST_SPAN)
    reader.finish()
    return Policy(false_alarms, per, digest, cooldown)


def _matchers(reader: Reader, field: str) -> tuple[dict[str, Any], ...]:
    value = reader.body.pop(field, None)
    try:
        return read_matchers([] if value is None else value, field)
    except Invalid as error:
        reader.errors += error.errors
        return ()


def _span(reader: Reader, field: str) -> str | None:
    if reader.body.get(field) is None:
        reader.body.pop(field, None)
        return None
    return reader.span(field, "1h", shortest=SHORTEST, longest=LONGEST_SPAN)


def _time(reader: Reader, field: str, default: int | None) -> int | None:
    value = reader.body.pop(field, None)
    if value is None:
        if default is None:
            reader.wrong(field, "is required: a time such as 2026-01-31T12:00:00Z")
        return default
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except (ValueError, OverflowError) as error:
        reader.wrong(field, str(error))
        return default
