"""Where somebody may have meant to go whose address leads nowhere. It is looked for after a 404 only."""

from sqlalchemy.engine import Connection

from dashboards.links import Links
from monitor.nearest import nearest
from monitor.store.catalog import all_models, get_model

Link = tuple[str, str, str]  # address, words, and the name that follows them


def nearby(connection: Connection, project_id: int, path: str, links: Links) -> list[Link]:
    """Links for an address below /models: the nearest model, or of one that exists its page and the nearest feature."""
    _, head, name, *rest = [*path.split("/", 4), "", ""]
    if head != "models" or not name:
        return []
    models = [model.name for model in all_models(connection, project_id)]
    if name not in models:
        near = nearest(name, models)
        return [(links.model(near), "Do you mean", near)] if near else []
    features = get_model(connection, project_id, name).features or {}
    near = nearest(rest[1], (one for one in features if features[one] != "ignored")) if rest[0] == "features" else None
    meant = [(links.feature(name, near), "Do you mean", near)] if near else []
    return [*meant, (links.features(name), "All features of", name), (links.model(name), "The model", name)]
