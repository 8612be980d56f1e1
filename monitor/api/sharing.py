"""A shared link at the gate: `/shared/TOKEN` is the page that it was made for, read-only, and nothing else.

The gate turns the link's address into that of its page, and lets it pass with rights to nothing: the page is rendered
like every other, without forms. What a visitor may choose is the stretch of time and the metric; everything else in the
address is the one that was shared. `/shared/TOKEN/badge.svg` is the badge of the page's model.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from sqlalchemy.engine import Engine
from starlette.types import Scope

from monitor import clock
from monitor.api.auth import Principal
from monitor.store import shares
from monitor.store.session import reading

PREFIX = "/shared/"
SHARED = re.compile(r"/shared/([A-Za-z0-9_-]{20,100})(/badge\.svg)?")
# Numbers may be shared; raw rows, searches through them and foreign reports may not.
MAY_BE_SHARED = re.compile(
    r"/models/([^/]+)(?:/(?:features|features/.+|segments|segments/.+|versions|monthly|monthly/[^/]+))?|/alerts/([^/]+)"
)
MAY_BE_CHOSEN = ("range", "from", "to", "metric", "q", "sort")
STRETCH = ("range", "from", "to")


@dataclass(frozen=True)
class Shown:
    """What a visitor of a link sees: the page at `path` under the address `link`, until `expires_at`.

    `name` is that of the feature or segment where no path can carry it.
    """

    path: str
    name: str | None
    link: str
    expires_at: int


def open_link(engine: Engine, scope: Scope, path: str) -> Principal | None:
    """Turn the request for a shared link into one for its page; who asks, with rights to nothing.

    None: there is no open link of that token, and the request goes where it was sent, to a page that says so."""
    found = SHARED.fullmatch(path)
    if found is None or scope["method"] not in ("GET", "HEAD"):
        return None
    with reading(engine) as connection:
        share = shares.find(connection, found[1], clock.now())
    if share is None:
        return None
    root = str(scope.get("root_path", ""))
    if found[2]:
        model = MAY_BE_SHARED.fullmatch(share.path)
        if model is None or model[1] is None:
            return None
        _lead(scope, root, f"/v1/models/{model[1]}/badge.svg", "")
    else:
        name = dict(parse_qsl(share.query)).get("name")
        scope["shared"] = Shown(share.path, name, f"{root}{PREFIX}{found[1]}", share.expires_at)
        _lead(scope, root, share.path, query_for(share.query, scope.get("query_string", b"").decode("latin-1")))
    return Principal(share.project_id, "", "shared", "link")


def query_for(shared: str, asked: str) -> str:
    """The query of a shared page: as it was shared, but for the stretch and the metric that a visitor chose."""
    chosen = [(name, text) for name, text in parse_qsl(asked, keep_blank_values=True) if name in MAY_BE_CHOSEN]
    names = {name for name, _ in chosen}
    if names & set(STRETCH):
        names |= set(STRETCH)
    kept = [(name, text) for name, text in parse_qsl(shared, keep_blank_values=True) if name not in names]
    return urlencode([*kept, *chosen])


def _lead(scope: Scope, root: str, path: str, query: str) -> None:
    scope["path"] = root + unquote(path)
    scope["raw_path"] = (root + path).encode("ascii")
    scope["query_string"] = query.encode("ascii")
