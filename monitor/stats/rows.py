"""Rows of one model as numpy columns: what the profiler and the exact metrics read.

Two column shapes are enough. `Numbers` is float64 with a mask of what is missing (NaN and infinities are values that a
sender may really have sent, so they are not the same as missing). `Codes` is a dictionary-encoded column of labels: one
integer a row into a short list of levels, -1 for null; an Arrow dictionary array converts without touching a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Chosen = slice | Ints | Bools


def sample(n: int, most: int) -> Chosen:
    """At most so many of n rows, in their order, all alike likely and the same ones each time.

    Every k-th row would meet the same hour, or the same sender, again and again.
    """
    if n <= most:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


@dataclass(frozen=True, eq=False)
class Numbers:
    """float64[n] and an optional bool[n] that is True where the value is missing (null, not NaN)."""

    values: Floats
    missing: Bools | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, chosen: Chosen) -> "Numbers":
        return Numbers(self.values[chosen], None if self.missing is None else self.missing[chosen])

    def present(self) -> Floats:
        """float64[n] with NaN where missing: for columns in which NaN means absent too (score, actual)."""
        if self.missing is None or not self.missing.any():
            return self.values
        return np.where(self.missing, np.nan, self.values)


@dataclass(frozen=True, eq=False)
class Codes:
    """int64[n] codes into `levels`, -1 for null. Levels need not be sorted, nor all be used."""

    codes: Ints
    levels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, chosen: Chosen) -> "Codes":
        return Codes(self.codes[chosen], self.levels)

    def counts(self) -> Ints:
        """int64[len(levels) + 1]: rows of each level, then the nulls."""
        counted = np.bincount(self.codes + 1, minlength=len(self.levels) + 1)
        return np.concatenate([counted[1:], counted[:1]])

    @classmethod
    def of(cls, labels: Sequence[str | None]) -> "Codes":
        """From labels row by row (a convenience for small inputs; large ones come as Arrow dictionaries)."""
        levels: dict[str, int] = {}
        codes = [-1 if label is None else levels.setdefault(label, len(levels)) for label in labels]
        return cls(np.asarray(codes, dtype=np.int64), tuple(levels))

    @classmethod
    def of_booleans(cls, values: Bools, missing: Bools | None = None) -> "Codes":
        """From a boolean column; the levels are "false" and "true"."""
        codes = values.astype(np.int64)
        if missing is not None:
            codes[missing] = -1
        return cls(codes, ("false", "true"))


Column = Numbers | Codes


@dataclass(frozen=True, eq=False)
class Rows:
    """n rows of one model and what is known of them. None for a column means: absent in every row.

    - `features`: by name; a feature of the binning that is not here counts as missing in every row.
    - `prediction`: Codes of canonical labels (classification) or Numbers (regression).
    - `score`: float64[n], NaN where absent. Binary: P(positive).
    - `scores`, `score_classes`: float64[n, C] of a multiclass model, a row of NaN where absent, and its class labels.
    - `latency_ms`: float64[n], NaN where absent. `is_error`: bool[n].
    - `actual`: Codes (-1: no outcome yet) or Numbers (NaN or missing: no outcome yet).
    - `label_delay`: float64[n] seconds from the row's timestamp to its outcome's known_at, NaN without an outcome.
    - `segments`: by tag or feature name; a name that is not here is looked for among the categorical features.
    """

    n: int
    features: Mapping[str, Column] = field(default_factory=dict)
    prediction: Column | None = None
    score: Floats | None = None
    scores: Floats | None = None
    score_classes: tuple[str, ...] = ()
    latency_ms: Floats | None = None
    is_error: Bools | None = None
    actual: Column | None = None
    label_delay: Floats | None = None
    segments: Mapping[str, Codes] = field(default_factory=dict)

    def take(self, chosen: Chosen) -> "Rows":
        """The rows that a slice, a mask or an array of positions names."""

        def of(array: Any) -> Any:
            return None if array is None else array[chosen]

        if isinstance(chosen, slice):
            n = len(range(*chosen.indices(self.n)))
        else:
            n = int(chosen.sum()) if chosen.dtype == np.bool_ else len(chosen)
        return replace(
            self,
            n=n,
            features={name: column.take(chosen) for name, column in self.features.items()},
            prediction=None if self.prediction is None else self.prediction.take(chosen),
            score=of(self.score),
            scores=of(self.scores),
            latency_ms=of(self.latency_ms),
            is_error=of(self.is_error),
            actual=None if self.actual is None else self.actual.take(chosen),
            label_delay=of(self.label_delay),
            segments={name: column.take(chosen) for name, column in self.segments.items()},
        )

    def labelled(self) -> Bools:
        """bool[n]: rows with an outcome."""
        if self.actual is None:
            return np.zeros(self.n, dtype=np.bool_)
        if isinstance(self.actual, Codes):
            return self.actual.codes >= 0
        return ~np.isnan(self.actual.present())

    def segment(self, name: str) -> Codes | None:
        """The column of a segment: a tag, else a categorical feature of that name."""
        found = self.segments[name] if name in self.segments else self.features.get(name)
        return found if isinstance(found, Codes) else None
