"""Where somebody may have meant to go whose address leads nowhere. It is looked for after a 404 only."""

from collections.abc import Iterable
from difflib import get_close_matches

from sqlalchemy.engine import Connection

from dashboards.links import Links
from monitor.store.catalog import all_models, get_model

NEAR = 0.6  # three letters of five are right
LONGEST = 256  # no name is longer, and comparing takes as long as the product of both
COMPARED = 2000

Link = tuple[str, str, str]  # address, words, and the name that follows them


def nearby(connection: Connection, project_id: int, path: str, links: Links) -> list[Link]:
    """Links for an address below /models: the nearest model, or of one that exists its page and the nearest feature."""
    _, head, name, *rest = [*path.split("/", 4), "", ""]
    if head != "models" or not name:
        return []
    models = [model.name for model in all_models(connection, project_id)]
    if name not in models:
        near = _nearest(name, models)
        return [(links.model(near), "Do you mean", near)] if near else []
    features = get_model(connection, project_id, name).features or {}
    near = _nearest(rest[1], (one for one in features if features[one] != "ignored")) if rest[0] == "features" else None
    meant = [(links.feature(name, near), "Do you mean", near)] if near else []
    return [*meant, (links.features(name), "All features of", name), (links.model(name), "The model", name)]


def _nearest(text: str, known: Iterable[str]) -> str | None:
    """The name that is most like it; capitals do not tell names apart, for people who type them."""
    lower = {name.lower(): name for name in list(known)[:COMPARED]}
    near = get_close_matches(text[:LONGEST].lower(), lower, n=1, cutoff=NEAR)
    return lower[near[0]] if near else None
