"""How much of a model's answer each feature tells by itself, for lists in which what matters comes first.

Theil's uncertainty coefficient U = I(answer; feature) / H(answer), 0 to 1 (Theil, American Journal of Sociology 76,
1970), over the coarse bins of the feature and of the answer, with Miller's correction of the bias of the mutual
information (Miller, Information Theory in Psychology, 1955). It needs no model, only its rows; a feature that goes
along with one that the model uses counts too, and one that matters only together with others counts little.
"""

import numpy as np

from monitor.stats.binning import Binning, top_score
from monitor.stats.bins import NumericBins
from monitor.stats.effect import places, slots_of
from monitor.stats.layout import ABSENT
from monitor.stats.profile import predicted_classes
from monitor.stats.rows import Floats, Ints, Numbers, Rows, sample

MOST_ROWS = 20_000  # rows that are looked at


def importances(binning: Binning, rows: Rows) -> Floats:
    """float64[features] of the binning, in its order; 0 for all where the answer is absent or always the same."""
    rows = rows.take(sample(rows.n, MOST_ROWS))
    answer, many = _answers(binning, rows)
    known = answer >= 0
    found = np.zeros(len(binning.features))
    if not known.any():
        return found
    for place, bins in enumerate(binning.features):
        at = places(bins, rows.features.get(bins.name), rows.n)[known]
        cells = np.bincount(at * many + answer[known], minlength=slots_of(bins) * many)
        found[place] = uncertainty(cells.reshape(-1, many))
    return found


def uncertainty(table: Ints) -> float:
    """Theil's U of the columns given the rows of a contingency table int64[R, C], corrected; 0 where one column has
    all."""
    n = int(table.sum())
    inside, of_rows, of_columns = (part[part > 0] for part in (table.ravel(), table.sum(axis=1), table.sum(axis=0)))
    if n == 0 or of_columns.size < 2:
        return 0.0
    whole = _entropy(of_columns, n)
    information = _entropy(of_rows, n) + whole - _entropy(inside, n)
    bias = (inside.size - of_rows.size - of_columns.size + 1) / (2 * n)
    return float(min(1.0, max(0.0, (information - bias) / whole)))


def _entropy(counts: Ints, n: int) -> float:
    """In nats, of counts that are all above zero."""
    shares = counts / n
    return float(-(shares * np.log(shares)).sum())


def _answers(binning: Binning, rows: Rows) -> tuple[Ints, int]:
    """int64[n] the bin of each row's answer, -1 for none, and how many there are: of the score where the task is binary
    and rows have one, of the prediction of a regression, else the predicted class."""
    if binning.task == "regression":
        values = rows.prediction.present() if isinstance(rows.prediction, Numbers) else None
        return _binned(binning.prediction, values, rows.n)
    if binning.task == "binary":
        scores = top_score(binning.task, rows)
        if scores is not None and np.isfinite(scores).any():
            return _binned(binning.score, scores, rows.n)
    classes = predicted_classes(binning, rows)
    absent = ABSENT if binning.task == "binary" else len(binning.classes) + 1
    return np.where(classes == absent, -1, classes), absent


def _binned(bins: NumericBins | None, values: Floats | None, n: int) -> tuple[Ints, int]:
    if bins is None or values is None:
        return np.full(n, -1, dtype=np.int64), 1
    coarse = bins.coarse
    slots = coarse.slots(values)
    return np.where(slots >= coarse.missing, -1, slots), coarse.missing
