"""What a measurement is: a value with its interval, or one for every signal."""

import math
from dataclasses import dataclass

from monitor.stats.rows import Floats, Ints

Result = tuple[float | None, float | None, float | None, int]  # value, low, high, rows


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval and the rows behind it. None: not defined (no labels, one class)."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, eq=False)
class Columns:
    """float64[signals] of a metric: values and interval, NaN where not defined; `n` int64[signals] rows behind each.

    Signals in the order of `layout.signals`: the features come first, then (distances only) prediction and score.
    """

    value: Floats
    low: Floats
    high: Floats
    n: Ints

    def at(self, place: int) -> Value:
        return to_value((self.value[place], self.low[place], self.high[place], int(self.n[place])))


def to_value(result: Result | tuple[float, float, float, int]) -> Value:
    """NaN and infinities become None."""
    value, low, high = (None if part is None or not math.isfinite(part) else float(part) for part in result[:3])
    return Value(value, low, high, result[3])
