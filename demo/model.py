"""The monitored model: does this flight arrive more than 15 minutes late? Asked at its scheduled departure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import GroupKFold

from demo.flights import CATEGORICAL, FEATURES, Flights

FOLDS = 5


@dataclass(frozen=True)
class Trained:
    """The fitted model and what it said about flights of days that it had not seen.

    Attributes:
        scores: P(late) of every training row, each from a model fitted on other days.
        auc, brier: of those scores.
    """

    classifier: HistGradientBoostingClassifier
    levels: dict[str, pd.Index]
    scores: np.ndarray
    auc: float
    brier: float

    def score(self, flights: Flights) -> np.ndarray:
        """P(late) of each flight; levels that training never saw count as missing."""
        return self.classifier.predict_proba(_inputs(flights.table, self.levels))[:, 1]


def train(flights: Flights, step: Callable[[], None] = lambda: None) -> Trained:
    """Fit on `flights`; out-of-fold by day, so that no day is in both halves. Calls `step` FOLDS + 1 times."""
    levels = {name: pd.Index(sorted(flights.table[name].dropna().unique())) for name in CATEGORICAL}
    inputs = _inputs(flights.table, levels)
    labelled = ~np.isnan(flights.late)
    scores = np.empty(len(flights))
    for rest, held_out in GroupKFold(FOLDS).split(inputs, groups=flights.day):
        fit = rest[labelled[rest]]
        fold = _classifier().fit(inputs.iloc[fit], flights.late[fit])
        scores[held_out] = fold.predict_proba(inputs.iloc[held_out])[:, 1]
        step()
    classifier = _classifier().fit(inputs[labelled], flights.late[labelled])
    step()
    return Trained(
        classifier,
        levels,
        scores,
        float(roc_auc_score(flights.late[labelled], scores[labelled])),
        float(brier_score_loss(flights.late[labelled], scores[labelled])),
    )


def _classifier() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        categorical_features="from_dtype",
        learning_rate=0.05,
        max_iter=100,
        max_leaf_nodes=8,  # 59 days of weather are few: a larger tree learns the days by heart
        min_samples_leaf=200,
        random_state=2013,
    )


def _inputs(table: pd.DataFrame, levels: dict[str, pd.Index]) -> pd.DataFrame:
    """The features as the classifier takes them; a level that is not in `levels` becomes missing."""
    inputs = table[list(FEATURES)].copy()
    for name, known in levels.items():
        inputs[name] = pd.Categorical(table[name].where(table[name].isin(known)), categories=known)
    return inputs
