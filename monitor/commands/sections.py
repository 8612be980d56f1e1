"""The sections of a declared file. A section is one function and one line in SECTIONS.

A function is given the body of one named thing; it writes what differs, in the transaction of the caller, and returns
the diff. The order of SECTIONS is the order in which they are applied: routes name channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.engine import Connection

from monitor import clock
from monitor.alerts import notify
from monitor.alerts.rules import read_policy, read_route, read_silence
from monitor.api import channels as channels_api
from monitor.api import models as models_api
from monitor.api import monitors as monitors_api
from monitor.api.deps import Context
from monitor.api.routing import POLICY, ROUTE, policy_json, route_json
from monitor.api.silences import SILENCE
from monitor.errors import Invalid, NotFound
from monitor.evaluate import watched
from monitor.evaluate.rules import check_name, read_rule, rule_json
from monitor.store import audit, catalog, channels, routing, silences
from monitor.store.catalog import Model
from monitor.store.silences import Silence

HIDDEN = "(not shown)"


@dataclass(frozen=True)
class Field:
    """One difference; `before` is None where there was nothing."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Outcome:
    """What applying a body did: `action` is new, changed or same; `note` is something that is said once."""

    action: str
    fields: tuple[Field, ...] = ()
    note: str = ""


Apply = Callable[[Connection, Context, str, Mapping[str, Any], int], Outcome]


@dataclass(frozen=True)
class Section:
    """`schema` is the JSON Schema of one body.

    `single`: the section is one body, without names. `nested`: bodies have two names, that of a model before their own;
    the function is given both as `model/name`.
    """

    singular: str
    schema: dict[str, Any]
    apply: Apply
    single: bool = False
    nested: bool = False

    @property
    def whole(self) -> dict[str, Any]:
        """The JSON Schema of the section."""
        if self.single:
            return self.schema
        named = {"type": ["object", "null"], "additionalProperties": self.schema}
        return {"type": ["object", "null"], "additionalProperties": named} if self.nested else named


def _project(connection: Connection, ctx: Context, name: str, body: Mapping[str, Any], now: int) -> Outcome:
    project_id = ctx.principal.project_id
    before, after = routing.get_policy(connection, project_id), read_policy(body)
    if after != before:
        routing.put_policy(connection, project_id, after, now, ctx.principal.name)
    return _compared(policy_json(before), policy_json(after))


def _model(connection: Connection, ctx: Context, name: str, body: Mapping[str, Any], now: int) -> Outcome:
    project_id = ctx.principal.project_id
    try:
        before = _model_json(catalog.get_model(connection, project_id, name))
    except NotFound:
        before = None
    model, _ = catalog.put_model(connection, project_id, name, body, now, ctx.principal.name)
    return _compared(before, _model_json(model))


def _model_json(model: Model) -> dict[str, Any]:
    return {**model.config.to_dict(), "features": model.features}


def _monitor(connection: Connection, ctx: Context, name: str, body: Mapping[str, Any], now: int) -> Outcome:
    model_name, _, own = name.partition("/")
    model = monitors_api.locked_model(connection, ctx, model_name)
    before = watched.find_monitor(connection, model.id, check_name(own))
    rule = read_rule(connection, model, body)
    outcome = _compared(None if before is None else rule_json(before.rule), rule_json(rule))
    if outcome.action != "same":
        monitors_api.save(connection, ctx, model, own, rule)
    return outcome


def _channel(connection: Connection, ctx: Context, name: str, body: Mapping[str, Any], now: int) -> Outcome:
    project_id, key = ctx.principal.project_id, ctx.settings.secret_key
    if "name" in body:
        raise Invalid.field("name", "stands before the colon already")
    stored = channels.find_channel(connection, project_id, name, key)
    given = {**body, "name": name}
    if stored is not None and body.get("secret") is None and stored.kind == body.get("kind"):
        given["secret"] = stored.secret or None
    made = channels_api.read_channel(ctx, given)
    before = None if stored is None else _channel_json(stored)
    outcome = _compared(before, _channel_json(made), hidden=("url", "secret"))
    if stored is None:
        channels.add_channel(connection, made, key, ctx.principal.name)
        own = made.secret if body.get("secret") is None and made.secret else ""
        return Outcome("new", outcome.fields, f"its secret, shown once: {own}" if own else "")
    note = ""
    if outcome.action == "changed":
        if made.kind == stored.kind == "webhook" and made.secret != stored.secret and not stored.unreadable:
            channels.rotate_secret(connection, stored, made.secret, now + channels_api.OVERLAP, key)
        moved = (made.kind, made.url) != (stored.kind, stored.url)
        channels.replace_channel(connection, stored, made, key, ctx.principal.name, moved=moved)
        if given.get("secret") is None and made.secret:
            note = f"its secret, shown once: {made.secret}"
    if stored.disabled_at is not None and outcome.action == "changed":
        notify.switch_on(connection, stored, now, ctx.principal.name)
        note = "; ".join(part for part in (note, "was switched off, and is on again") if part)
    elif stored.disabled_at is not None:
        note = f"is switched off, and a file does not switch it on: {stored.disabled_reason}"
    return Outcome(outcome.action, outcome.fields, note)


def _channel_json(channel: channels.Channel) -> dict[str, Any]:
    return {"kind": channel.kind, "url": channel.url, "secret": channel.secret, "match": list(channel.match)}


def _route(connection: Connection, ctx: Context, name: str, body: Mapping[str, Any], now: int) -> Outcome:
    project_id = ctx.principal.project_id
    stored = routing.find_route(connection, project_id, name)
    made = read_route(name, body, project_id, now)
    known = set(channels.names_of(connection, project_id).values())
    for position, channel in enumerate(made.channels):
        if channel not in known:
            raise Invalid.field(f"channels[{position}]", "is no channel of this project, nor of this file")
    outcome = _compared(None if stored is None else route_json(stored), route_json(made), left_out=("name",))
    if outcome.action != "same":
        routing.put_route(connection, made, ctx.principal.name)
    return outcome


def _silence(connection: Connection, ctx: Context, name: str, body: Mapping[str, Any], now: int) -> Outcome:
    project_id = ctx.principal.project_id
    stored = silences.find_silence(connection, project_id, name)
    ends_at = _parsed(body.get("endsAt"))
    over = stored is None and ends_at is not None and ends_at <= now
    at = ends_at - 1 if over and ends_at is not None else now
    made = read_silence(body, project_id, at, ctx.principal.name, stored, name=name)
    if over:
        return Outcome("same", note="is over already and was not made")
    outcome = _compared(None if stored is None else _silence_json(stored), _silence_json(made))
    if stored is None:
        silences.add_silence(connection, made)
    elif outcome.action == "changed":
        silences.update_silence(connection, made)
        changed, who = ", ".join(one.name for one in outcome.fields), ctx.principal.name
        audit.note(connection, project_id, now, who, "silence.changed", silences.told(made), changed)
    return outcome


def _silence_json(silence: Silence) -> dict[str, Any]:
    shown = asdict(silence)
    times = {"startsAt": clock.render(silence.starts_at), "endsAt": clock.render(silence.ends_at)}
    return {"matchers": list(silence.matchers), **times, **{name: shown[name] for name in ("weekly", "comment")}}


def _parsed(text: object) -> int | None:
    try:
        return clock.parse(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _compared(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    *,
    hidden: tuple[str, ...] = (),
    left_out: tuple[str, ...] = (),
) -> Outcome:
    """The fields that differ, one level deep; secrets are compared and not shown."""
    old, new = _flat(before or {}), _flat(after)
    fields = []
    for name in [*new, *(name for name in old if name not in new)]:
        if name in left_out or (before is not None and old.get(name) == new.get(name)):
            continue
        if before is None and new[name] in (None, [], {}, ""):
            continue
        shown = (HIDDEN if old.get(name) else None, HIDDEN) if name in hidden else (old.get(name), new.get(name))
        fields.append(Field(name, *shown))
    return Outcome("new" if before is None else "changed" if fields else "same", tuple(fields))


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


_CHANNEL_BODY = {
    **channels_api._CHANNEL,
    "required": [name for name in channels_api._CHANNEL["required"] if name != "name"],  # type: ignore[attr-defined]
    "properties": {k: v for k, v in channels_api._CHANNEL["properties"].items() if k != "name"},  # type: ignore[attr-defined]
}

_MONITOR_BODY = {
    "type": "object",
    "required": ["conditions"],
    "additionalProperties": False,
    "properties": monitors_api.RULE,
}

SECTIONS: dict[str, Section] = {
    "project": Section("project", POLICY, _project, single=True),
    "models": Section("model", models_api._SETTINGS, _model),
    "monitors": Section("monitor", _MONITOR_BODY, _monitor, nested=True),
    "channels": Section("channel", _CHANNEL_BODY, _channel),
    "routes": Section("route", ROUTE, _route),
    "silences": Section("silence", SILENCE, _silence),
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a whole file, for editors."""
    properties = {name: one.whole for name, one in SECTIONS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `keepwatch apply` takes",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
