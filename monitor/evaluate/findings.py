"""Where rows and schema part, as sentences: new features, values of another type, features that come no more.

No row is refused for it. A value that does not fit is kept with its row, as JSON in `extra`, and counts as missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from monitor import clock
from monitor.clock import SECOND
from monitor.stats.profile import Profile
from monitor.stats.quality import missing
from monitor.stats.verdict import Cause, Verdict
from monitor.store.catalog import Model
from monitor.store.schema_findings import MISSING, NEW, RETYPED, Place, SchemaFinding, Seen

EXTRA = "extra"
MAX_NAME = 256  # bytes of a feature's name
FEWEST = 20  # rows of a window in which a feature that none of them has is missed
_SHOWN = 3  # names in a sentence
_RECENT = 3  # windows for which a finding counts as one of now
_TEXT = {
    NEW: "{names} came in {rows:,} rows since {since}: not in the schema, so kept with the rows and not measured.",
    RETYPED: "{names} came in {rows:,} rows since {since} in another type than the schema's: kept, counted as missing.",
    MISSING: "No row has had {names} since {since} ({rows:,} rows).",
}


def carried(batch: pa.RecordBatch, features: Mapping[str, str]) -> dict[Place, Seen]:
    """What the rows of a batch carry beside their schema, by feature.

    Args:
        batch: with `timestamp`, and `extra` where any row has one.
        features: name to kind.
    """
    if EXTRA not in batch.schema.names:
        return {}
    extra = batch.column(EXTRA)
    places = np.flatnonzero(extra.is_valid().to_numpy(zero_copy_only=False))
    stamps = batch.column("timestamp").to_numpy()
    found: dict[Place, Seen] = {}
    for place in places.tolist():
        at = int(stamps[place])
        for name in _names(extra[place].as_py()):
            kind = features.get(name)
            if kind == "ignored":
                continue
            key = (name, NEW if kind is None else RETYPED)
            seen = Seen(1, at, at)
            found[key] = found[key] + seen if key in found else seen
    return found


def _names(text: str) -> Sequence[str]:
    try:
        names = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:  # long ones were cut off once
        return [""]
    # Rows of an earlier time may have names that no row is taken with now, nor every database can hold.
    return [name if len(name.encode()) <= MAX_NAME and "\x00" not in name else "" for name in names]


def absent(profile: Profile, reference: Profile | None) -> list[str] | None:
    """The features that no row of a window has, and that the reference had; None when it has too few rows to tell."""
    if profile.rows < FEWEST:
        return None
    now = missing(profile, None).value
    before = np.zeros(len(now)) if reference is None else missing(reference, None).value
    names = [bins.name for bins in profile.binning.features]
    return [name for name, gone, known in zip(names, now >= 1, before < 1, strict=True) if gone and known]


def with_types(verdicts: Iterable[Verdict], found: Iterable[SchemaFinding]) -> list[Verdict]:
    """Verdicts whose causes say where a feature has come in another type since the window began: such values count as
    missing, and no profile knows why."""
    retyped = {one.feature: one for one in found if one.kind == RETYPED}

    def explained(cause: Cause, start: int) -> Cause:
        one = retyped.get(cause.feature or "")
        if one is None or one.last_at < start:
            return cause
        more = f"; {one.rows:,} rows since {_time(one.first_at)} brought it in another type than the schema's"
        return replace(cause, text=cause.text + more)

    return [
        replace(verdict, causes=tuple(explained(cause, verdict.window_start) for cause in verdict.causes))
        for verdict in verdicts
    ]


def recent(model: Model, found: Sequence[SchemaFinding], now: int) -> list[SchemaFinding]:
    """Those that are of the last windows, at `now`, the model's own clock."""
    return [one for one in found if one.last_at >= now - _RECENT * model.config.window_us - model.config.grace_us]


def told(found: Sequence[SchemaFinding]) -> list[tuple[str, str]]:
    """(kind, sentence) of findings, a sentence a kind, the gravest first."""
    told = []
    for kind in (RETYPED, MISSING, NEW):
        of_kind = [one for one in found if one.kind == kind]
        if of_kind:
            rows = max(one.rows for one in of_kind)
            since = _time(min(one.first_at for one in of_kind))
            told.append((kind, _TEXT[kind].format(names=_listed(of_kind), rows=rows, since=since)))
    return told


def _time(at: int) -> str:
    return clock.render(at // SECOND * SECOND)


def _listed(found: Sequence[SchemaFinding]) -> str:
    names = [f"`{one.feature}`" for one in found if one.feature]
    others = len(names) - _SHOWN + any(not one.feature for one in found)
    text = ", ".join(names[:_SHOWN]) or "Other features"
    return f"{text} and {others} more" if others > 0 and names else text
