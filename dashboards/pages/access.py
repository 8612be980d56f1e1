"""Keys, settings and the audit log, for administrators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards.links import place, read_place
from monitor.doctor import service
from monitor.errors import Invalid, NotFound, SetupError
from monitor.settings import Settings
from monitor.store import audit, keys
from monitor.store.audit import Deed
from monitor.store.keys import Key

DEEDS = 100  # a page


@dataclass(frozen=True)
class SettingsPage:
    """`made` is a new key as it is shown once, "" else; `used`: keys that were not revoked come first."""

    keys: Sequence[Key]
    settings: Mapping[str, str]
    made: str = ""


@dataclass(frozen=True)
class AuditPage:
    """`following`: the place of the next page."""

    deeds: Sequence[Deed]
    following: str | None
    first: bool


def load(connection: Connection, settings: Settings, project_id: int, made: str = "") -> SettingsPage:
    """The keys of the project, living ones first and the newest of them on top; the settings, secrets hidden."""
    known = keys.list_keys(connection, project_id)
    known.sort(key=lambda key: (key.revoked_at is not None, -key.created_at))
    return SettingsPage(known, service.shown_settings(settings), made)


def make(connection: Connection, project_id: int, fields: Mapping[str, str], now: int, actor: str) -> str:
    """A new key of the project.

    Raises:
        Invalid: the name or the scope is wrong.
    """
    try:
        name, scope = fields.get("name", "").strip(), fields.get("scope", "")
        return keys.create_key(connection, project_id, name, scope, now, actor)
    except SetupError as error:
        raise Invalid(str(error)) from None


def revoke(connection: Connection, project_id: int, key_id: str, now: int, actor: str) -> None:
    """End a key of the project.

    Raises:
        NotFound: the project has no such key.
    """
    key = keys.find_key(connection, key_id)
    if key is None or key.project_id != project_id:
        raise NotFound("there is no such key")
    keys.revoke_key(connection, key_id, now, actor)


def log(connection: Connection, project_id: int, after: str | None) -> AuditPage:
    """A hundred deeds, the newest first, behind the place `after`."""
    found, following = audit.deeds(connection, project_id, DEEDS, read_place(after))
    return AuditPage(found, place(following), after is None)
