"""Columns of a file whose names are probably mistakes, and what their writer may have meant."""

from collections.abc import Iterable, Mapping

from monitor.columns import FEATURE, SCORE
from monitor.nearest import nearest
from monitor.store.catalog import Model

_SHOWN = 20
_FIELDS = ("id", "timestamp", "prediction", "score", "version", "latency_ms", "known_at")
_ALIKE = 0.75  # "scroe" and "score" have 0.8
_MEANT = {
    "prediction": ("pred", "predicted", "y_pred", "yhat", "y_hat"),
    "score": ("proba", "probability", "y_score", "pred_proba", "y_pred_proba"),
    "timestamp": ("ts", "time", "date", "datetime", "event_timestamp", "event_time"),
    "id": ("identifier", "prediction_id", "request_id", "row_id"),
}
_OTHERS = {other: field for field, others in _MEANT.items() for other in others}


def says_nothing(targets: Iterable[str]) -> bool:
    """Whether columns (of monitor.columns) leave out all that tells one prediction from another."""
    known = ("id", "timestamp", "prediction", "score")
    return not any(one in known or one.startswith(SCORE) for one in targets)


def warnings(columns: Mapping[str, str], model: Model) -> list[str]:
    """What to look at in how a file was read: new features, and names that look mistyped.

    Args:
        columns: of the file -> of monitor.columns.
        model: as it was before the file.
    """
    features = {target[2:]: source for source, target in columns.items() if target.startswith(FEATURE)}
    schema = model.features
    new = [name for name in features if schema is not None and name not in schema]
    found = []
    if new:
        found.append(f"new features, which the model's schema does not know: {shown(new)}")
    absent = [name for name in _FIELDS if name not in columns.values()]
    absent += [name for name in schema or () if name not in features]
    looked_at = new if schema is not None else list(features)
    return found + hints([features[name] for name in looked_at][:_SHOWN], absent)


def hints(names: Iterable[str], absent: list[str]) -> list[str]:
    """`scroe: did you mean score?` for each of the names that is like one of the absent ones."""
    found = []
    for name in names:
        plain = name.removeprefix("features.")
        lower = plain.strip().lower()
        close = _OTHERS[lower] if _OTHERS.get(lower) in absent else nearest(plain.strip(), absent, _ALIKE)
        found += [f"{plain}: did you mean {close}?"] if close else []
    return found


def shown(names: list[str]) -> str:
    """Names in a sentence, not too many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
