"""Links that show one page to people without an account: making one, and the list of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from sqlalchemy.engine import Connection

from dashboards import theme
from dashboards.theme import State
from monitor import clock
from monitor.api.sharing import MAY_BE_CHOSEN, MAY_BE_SHARED
from monitor.errors import Invalid
from monitor.store import shares
from monitor.store.alerts import get_alert
from monitor.store.catalog import get_model
from monitor.store.shares import Share

SPANS = {"1d": "a day", "7d": "a week", "30d": "30 days", "90d": "90 days"}
LONGEST = 1500  # characters of an address


@dataclass(frozen=True)
class Line:
    """A shared link: the page that it shows, as people name it, and its address for who has an account."""

    share: Share
    title: str
    url: str
    state: State
    is_open: bool


@dataclass(frozen=True)
class SharesPage:
    """`fresh`: the link that was just made, shown this once; "" otherwise."""

    lines: Sequence[Line]
    fresh: str
    spans: Mapping[str, str]


def load(connection: Connection, project_id: int, now: int, root: str, fresh: str = "") -> SharesPage:
    """The project's links, the newest first."""
    return SharesPage([_line(one, now, root) for one in shares.listed(connection, project_id)], fresh, SPANS)


def create(connection: Connection, project_id: int, fields: Mapping[str, str], now: int, actor: str) -> str:
    """Share the page at the form's `address` for the form's `span`; the link's token.

    Raises:
        Invalid: the address is none of a page that can be shared, or the span none of the offered ones.
        NotFound: the model or the alert of the page is not there.
        Conflict: the project has as many open links as it may have.
    """
    address, span = fields.get("address", ""), fields.get("span", "7d")
    path, _, query = address.partition("?")
    found = MAY_BE_SHARED.fullmatch(path)
    if found is None or len(address) > LONGEST or not address.isascii():
        raise Invalid("this page cannot be shared")
    if span not in SPANS:
        raise Invalid("a link lives for one of " + ", ".join(SPANS))
    if found[1] is not None:
        model_id = get_model(connection, project_id, unquote(found[1])).id
    else:
        model_id = get_alert(connection, project_id, unquote(found[2])).model_id
    kept = urlencode(parse_qsl(query, keep_blank_values=True))
    made = shares.create(connection, project_id, model_id, (path, kept), now, now + clock.parse_span(span), actor)
    return made[1]


def _line(share: Share, now: int, root: str) -> Line:
    state = "active" if share.is_open(now) else "expired"
    word = theme.SILENCE[state] if share.revoked_at is None else theme.REVOKED
    url = f"{root}{share.path}" + (f"?{share.query}" if share.query else "")
    return Line(share, _title(share), url, word, share.is_open(now))


def _title(share: Share) -> str:
    """The page in words: its path without marks, and what was chosen beside the time."""
    parts = [unquote(part) for part in share.path.split("/") if part]
    chosen = [text for name, text in parse_qsl(share.query) if name not in MAY_BE_CHOSEN]
    return " / ".join([*parts[1:], *chosen]) if parts[0] == "models" else " ".join(parts)
