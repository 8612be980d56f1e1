"""The rules that every row must keep, checked on columns. What breaks one is rejected; the rest goes on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from monitor import clock, columns
from monitor.columns import ACTUAL, FEATURE, FILLED_ID, FILLED_KNOWN_AT, FILLED_TIMESTAMP, FIXED, SCORE, TAG
from monitor.errors import Invalid
from monitor.ingest.draft import Draft, Rejection
from monitor.ingest.rowtypes import TIMES
from monitor.store.catalog import Model
from monitor.store.identity import key_numbers, keys_of, new_ids
from monitor.store.outcomes import NewOutcome

FUTURE_US = clock.HOUR
EXPIRED = ("expired", "timestamp: older than the retention (KEEPWATCH_RETENTION)")
MAX_TEXT = 256  # bytes of ids, names, tags and levels
MAX_LONG_TEXT = 8192  # bytes of a feature of kind text, and of an error
MAX_FEATURES = 1000
MAX_TAGS = 50
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAMES = "a name must have 1 to 256 bytes and no NUL character"
_ROLES = ["live", "shadow"]
_SERVED_FROM = ["online", "precomputed", "fallback"]


@dataclass(frozen=True)
class Times:
    """What time it is, for the rules about time. All in microseconds."""

    arrival: int
    model_now: int | None  # None: a model whose clock is its events, before its first row
    events_clock: bool
    oldest: int  # how far before the model's now a timestamp may lie: the retention and the label delay


@dataclass
class PredictionBatch:
    """Rows ready to be stored. `batch` has the columns of monitor.columns but `version`, which the writer fills in."""

    batch: pa.RecordBatch
    versions: list[str]  # version name of each row, "" for none
    keys: np.ndarray  # uint64[n, 2], see store/id_keys
    index: np.ndarray  # int64[n], place in the request
    total: int
    rejected: list[Rejection]
    made_ids: bool
    max_known_at: int

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)


@dataclass
class OutcomeBatch:
    rows: list[NewOutcome]
    index: np.ndarray
    total: int
    rejected: list[Rejection]


def validate_predictions(draft: Draft, model: Model, at: Times) -> PredictionBatch:
    """Apply every rule to a draft of predictions, and fill in what was left to us.

    Raises:
        Invalid: names that no row may have, or too many features.
    """
    draft = _check_names_beside(_check_names(draft))
    draft = _check_years(_check_texts(draft, model))
    draft = _check_values(draft, model)
    draft, stamps, known, filled = _fill_times(draft, at)
    ids = draft.columns.get("id")
    made = ids is None or ids.null_count > 0
    if made:
        ids, filled = _fill_ids(ids, draft.rows, filled)
    assert ids is not None
    version = draft.columns.get("version")
    versions = [""] * draft.rows if version is None else _names(version)
    batch = _record_batch(draft, model, ids, stamps, known, filled)
    return PredictionBatch(
        batch=batch,
        versions=versions,
        keys=key_numbers(ids),
        index=draft.index,
        total=draft.total,
        rejected=draft.rejected,
        made_ids=bool(made and draft.rows),
        max_known_at=int(known.max()) if draft.rows else 0,
    )


def _names(version: pa.Array) -> list[str]:
    found = pc.unique(version).to_pylist()
    if len(found) == 1:
        return [found[0] or ""] * len(version)
    return [name or "" for name in version.to_pylist()]


def _check_names(draft: Draft) -> Draft:
    """The names of features, tags and classes, which many rows share: rows that have a bad one go, the others stay."""
    counts = {FEATURE: 0, TAG: 0, SCORE: 0}
    words = {FEATURE: "features", TAG: "tags", SCORE: "scores"}
    for name in list(draft.columns):
        prefix, inner = name[:2], name[2:]
        if prefix not in counts:
            continue
        if not _is_name(inner):
            given = ~np.asarray(draft.columns[name].is_null())
            draft = draft.reject(given, "invalid", f"{words[prefix]}: {_NAMES}")
            draft.columns.pop(name)
        else:
            counts[prefix] += 1
    for prefix, limit in ((FEATURE, MAX_FEATURES), (TAG, MAX_TAGS), (SCORE, MAX_FEATURES)):
        if counts[prefix] > limit:
            raise Invalid.field(words[prefix], f"at most {limit} different names")
    return draft


def _check_names_beside(draft: Draft) -> Draft:
    """The same for features that stand beside the schema: their names are in each row's JSON."""
    beside = draft.columns.get("extra")
    if beside is None or beside.null_count == len(beside):
        return draft
    bad = np.array([text is not None and not all(map(_is_name, _names_in(text))) for text in beside.to_pylist()])
    return draft.reject(bad, "invalid", f"features: {_NAMES}")


def _names_in(text: str) -> Iterable[str]:
    try:
        found: dict[str, object] = orjson.loads(text)
    except orjson.JSONDecodeError:  # too long, and so cut off: nobody reads names out of it
        return ()
    return found


def _is_name(text: str) -> bool:
    return 0 < len(text.encode()) <= MAX_TEXT and "\x00" not in text


def _check_texts(draft: Draft, model: Model) -> Draft:
    for name in list(draft.columns):
        array = draft.columns[name]
        if not pa.types.is_string(array.type) or name == "extra":
            continue
        long = name == "error" or (name.startswith(FEATURE) and (model.features or {}).get(name[2:]) == "text")
        limit = MAX_LONG_TEXT if long else MAX_TEXT
        if columns.longest_text(array) > limit:
            too_long = _mask(pc.greater(pc.binary_length(array), limit))
            draft = draft.reject(too_long, "too_long", f"{_shown(name)}: at most {limit} bytes")
            array = draft.columns[name]
        if columns.holds_nul(array):
            nul = _mask(pc.match_substring(array, "\x00"))
            draft = draft.reject(nul, "invalid", f"{_shown(name)}: may not hold a NUL character")
    return draft


def _check_years(draft: Draft) -> Draft:
    """Times that no calendar can show would be stored well and fail every reader."""
    for name in sorted(TIMES):
        if (array := draft.columns.get(name)) is not None:
            far = pc.or_(pc.less(array, clock.EARLIEST), pc.greater_equal(array, clock.LATEST))
            draft = draft.reject(_mask(far), "invalid", f"{name}: must lie in the years 1900 to 2199")
    return draft


def _check_values(draft: Draft, model: Model) -> Draft:
    get = draft.columns.get
    if (ids := get("id")) is not None:
        draft = draft.reject(_mask(pc.equal(ids, "")), "invalid", "id: may not be empty")
    if (version := draft.columns.get("version")) is not None:
        bad_names = [
            name for name in pc.unique(version).to_pylist() if name is not None and not _VERSION.fullmatch(name)
        ]
        if bad_names:
            bad = _mask(pc.is_in(version, pa.array(bad_names)))
            draft = draft.reject(bad, "invalid", "version: letters, digits, dot, dash and underscore, at most 128")
    for name, allowed in (("role", _ROLES), ("served_from", _SERVED_FROM)):
        if (array := draft.columns.get(name)) is not None:
            bad = _mask(pc.invert(pc.is_in(array, pa.array([*allowed, None], pa.string()))))
            draft = draft.reject(bad, "invalid", f"{name}: one of {', '.join(allowed)}")
    for name in ["score", *[name for name in draft.columns if name.startswith(SCORE)]]:
        if (array := draft.columns.get(name)) is not None:
            values, absent = _numbers(array)
            bad = ~absent & ~((values >= 0) & (values <= 1))
            draft = draft.reject(bad, "invalid", f"{_shown(name)}: a probability between 0 and 1")
    if (latency := draft.columns.get("latency_ms")) is not None:
        values, absent = _numbers(latency)
        draft = draft.reject(~absent & ~((values >= 0) & np.isfinite(values)), "invalid", "latency_ms: 0 or more")
    if model.task == "regression" and (array := draft.columns.get("prediction")) is not None:
        values, absent = _numbers(array)
        draft = draft.reject(~absent & ~np.isfinite(values), "invalid", "prediction: a finite number")
    return _check_not_empty(draft)


def _check_not_empty(draft: Draft) -> Draft:
    """A row needs a prediction (or a score) or at least one feature."""
    some = np.zeros(draft.rows, bool)
    for name, array in draft.columns.items():
        if name in ("prediction", "score", "extra") or name.startswith((FEATURE, SCORE)):
            if array.null_count == 0:
                return draft
            some |= ~np.asarray(array.is_null())
    return draft.reject(~some, "invalid", "features: a row needs features or a prediction")


def _fill_times(draft: Draft, at: Times) -> tuple[Draft, np.ndarray, np.ndarray, np.ndarray]:
    """timestamp, known_at and the bits of what was filled in; rows too early or too late are rejected.

    A model on its events' clock counts the age of rows from what it knew before them: a history in one request, or in
    one file, is not too old for its own end.
    """
    known, known_absent = _times(draft, "known_at", at.arrival)
    now = at.model_now
    if at.events_clock:
        given = known[~known_absent] if not known_absent.all() else known
        latest = min(int(given.max()), at.arrival) if len(given) else at.arrival
        now = latest if now is None else max(now, latest)
    assert now is not None
    stamps, _ = _times(draft, "timestamp", at.arrival)
    draft = draft.reject(stamps > now + FUTURE_US, "future", "timestamp: more than 1 h ahead of the model's clock")
    stamps, _ = _times(draft, "timestamp", at.arrival)
    if at.model_now is not None:
        draft = draft.reject(stamps < at.model_now - at.oldest, *EXPIRED)
    stamps, stamps_absent = _times(draft, "timestamp", at.arrival)
    known, known_absent = _times(draft, "known_at", at.arrival)
    late = known > at.arrival  # a sender cannot have known later than we received it
    known = np.minimum(known, at.arrival)
    filled = np.where(stamps_absent, FILLED_TIMESTAMP, 0) | np.where(known_absent | late, FILLED_KNOWN_AT, 0)
    return draft, stamps, known, filled.astype(np.uint8)


def _fill_ids(ids: pa.Array | None, rows: int, filled: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    absent = np.ones(rows, bool) if ids is None else np.asarray(ids.is_null())
    made = iter(new_ids(int(absent.sum())))
    given = [None] * rows if ids is None else ids.to_pylist()
    return pa.array([next(made) if one is None else one for one in given], pa.string()), filled | np.where(
        absent, FILLED_ID, 0
    ).astype(np.uint8)


def _record_batch(
    draft: Draft, model: Model, ids: pa.Array, stamps: np.ndarray, known: np.ndarray, filled: np.ndarray
) -> pa.RecordBatch:
    made: dict[str, pa.Array] = {
        "id": ids,
        "timestamp": pa.array(stamps),
        "known_at": pa.array(known),
        "filled": pa.array(filled),
        "version": pa.nulls(draft.rows, pa.int32()),
    }
    for name in FIXED:
        array = draft.columns.get(name)
        if name not in made and array is not None:
            made[name] = array
    if "role" not in made:
        made["role"] = pa.repeat(pa.scalar("live"), draft.rows)
    elif made["role"].null_count:
        made["role"] = pc.fill_null(made["role"], "live")
    named = {
        name: array for name, array in draft.columns.items() if name.startswith((FEATURE, TAG, SCORE)) or name == ACTUAL
    }
    made.update(named)
    return pa.RecordBatch.from_arrays(list(made.values()), names=list(made))


def validate_outcomes(draft: Draft, model: Model, at: Times) -> OutcomeBatch:
    """Apply the rules of outcomes; the value's canonical text and its three times are made here."""
    for name in ("id", ACTUAL):
        array = draft.columns.setdefault(name, pa.nulls(draft.rows, pa.string()))
        draft = draft.reject(np.asarray(array.is_null()), "invalid", f"{name}: an outcome needs it")
    draft = _check_years(_check_texts(draft, model))
    draft = draft.reject(_mask(pc.equal(draft.columns["id"], "")), "invalid", "id: may not be empty")
    if model.task == "regression":
        values, _ = _numbers(draft.columns[ACTUAL])
        draft = draft.reject(~np.isfinite(values), "invalid", "actual: a finite number")
    known, known_absent = _times(draft, "known_at", 0)
    observed, observed_absent = _times(draft, "observed_at", 0)
    known = np.minimum(np.where(~known_absent, known, np.where(~observed_absent, observed, at.arrival)), at.arrival)
    stamps = np.where(observed_absent, known, observed)
    now = at.model_now
    if at.events_clock and draft.rows:
        now = int(known.max()) if now is None else max(now, int(known.max()))
    if now is not None:
        ahead = stamps > now + FUTURE_US
        draft = draft.reject(ahead, "future", "observed_at: more than 1 h ahead of the model's clock")
        known, stamps, observed_absent = known[~ahead], stamps[~ahead], observed_absent[~ahead]
    ids = draft.columns["id"].to_pylist()
    actual = draft.columns[ACTUAL].to_pylist()
    texts = [repr(float(value)) for value in actual] if model.task == "regression" else actual
    rows = [
        NewOutcome(key, row_id, text, int(stamp), not absent, int(knew))
        for key, row_id, text, stamp, absent, knew in zip(
            keys_of(ids), ids, texts, stamps, observed_absent, known, strict=True
        )
    ]
    return OutcomeBatch(rows, draft.index, draft.total, draft.rejected)


def _times(draft: Draft, name: str, default: int) -> tuple[np.ndarray, np.ndarray]:
    """A column of times with `default` where absent, and where that was."""
    array = draft.columns.get(name)
    if array is None:
        return np.full(draft.rows, default, np.int64), np.ones(draft.rows, bool)
    absent = np.asarray(array.is_null())
    return pc.fill_null(array, default).to_numpy(zero_copy_only=False).astype(np.int64), absent


def _numbers(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    return array.to_numpy(zero_copy_only=False).astype(np.float64), np.asarray(array.is_null())


def _mask(array: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), bool)


def _shown(column: str) -> str:
    words = {FEATURE: "features", TAG: "tags", SCORE: "scores"}
    return f"{words[column[:2]]}.{column[2:]}" if column[:2] in words else column
