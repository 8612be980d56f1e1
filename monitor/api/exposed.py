"""What Prometheus is told of each model: the numbers of its last final windows. Label values are bounded.

At most 200 models, each with its 20 most drifted features. Reading them costs some small queries a model, so the answer
is kept for ten seconds: however many servers ask, the database hardly notices.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.evaluate import payload
from monitor.evaluate.health import healths
from monitor.evaluate.loaded import binning_numbered
from monitor.stats.measure import METRICS
from monitor.stats.values import Value
from monitor.store import overview
from monitor.store.catalog import Model, all_models, now_of
from monitor.store.evaluations import FINAL, Measurement, last_with_state
from monitor.store.tables import alert, model

MAX_MODELS = 200
MAX_FEATURES = 20
STATES = ("healthy", "warning", "critical", "no_data", "learning")
KEPT_SECONDS = 10.0
MONITOR = "monitor"  # the family of every monitor by hand: their names are people's


@dataclass(frozen=True)
class Exposed:
    """A model's numbers. `values` by metric: performance from the last window whose performance is final, the rest from
    the last whose inputs are; `ends` the ends of these windows by kind; `features` (name, PSI, share of missing)."""

    name: str
    state: str
    last_row: int | None
    rows: int | None
    labelled: float | None
    ends: dict[str, int]
    values: dict[str, Value]
    features: Sequence[tuple[str, float, float]]


class Kept:
    """The families of each project, made again after ten seconds; while one thread makes them, the others wait."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[float, list[Metric]]] = {}
        self._lock = threading.Lock()

    def families(self, connection: Connection, project_id: int) -> list[Metric]:
        with self._lock:
            made = self._made.get(project_id)
            if made is None or clock.monotonic() - made[0] > KEPT_SECONDS:
                made = (clock.monotonic(), families(connection, project_id, clock.now()))
                self._made[project_id] = made
            return made[1]


def families(connection: Connection, project_id: int, wall: int) -> list[Metric]:
    """The metrics of the first 200 models of a project, by name."""
    listed = all_models(connection, project_id)[:MAX_MODELS]
    newest = overview.newest(connection, project_id)
    now = {one.id: now_of(one, newest[one.id].known_at, wall) for one in listed}
    health = healths(connection, project_id, listed, newest, now)
    shown = [_exposed(connection, one, health[one.id].state, newest[one.id].row_at) for one in listed]
    return [*_states(shown), *_windows(shown), *_values(shown), *_features(shown), _alerts(connection, project_id)]


def _exposed(connection: Connection, known: Model, state: str, last_row: int | None) -> Exposed:
    inputs = last_with_state(connection, known.id, "inputs", FINAL)
    performance = last_with_state(connection, known.id, "performance", FINAL)
    values: dict[str, Value] = {}
    for window, of_labels in ((inputs, False), (performance, True)):
        numbers = None if window is None else payload.load(window.payload)
        if numbers is not None:
            values.update({name: numbers.values[name] for name in numbers.values if METRICS[name].labels == of_labels})
    found = {"inputs": inputs, "performance": performance}
    return Exposed(
        name=known.name,
        state=state,
        last_row=last_row,
        rows=None if inputs is None else inputs.rows,
        labelled=performance.labelled / performance.rows if performance is not None and performance.rows else None,
        ends={kind: window.end for kind, window in found.items() if window is not None},
        values=values,
        features=_most_drifted(connection, known, inputs),
    )


def _most_drifted(connection: Connection, known: Model, window: Measurement | None) -> list[tuple[str, float, float]]:
    numbers = None if window is None else payload.load(window.payload)
    if numbers is None or "psi" not in numbers.columns:
        return []
    names = [bins.name for bins in binning_numbered(connection, known.id, numbers.binning).features]
    psi, missing = (numbers.columns[name].value.tolist() for name in ("psi", "missing_share"))
    rows = [(name, psi[at], missing[at]) for at, name in enumerate(names) if math.isfinite(psi[at])]
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:MAX_FEATURES]


def _states(shown: Sequence[Exposed]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "keepwatch_model_health", "1 for the state that a model is in, 0 for the others.", labels=("model", "state")
    )
    for one in shown:
        for state in STATES:
            states.add_metric((one.name, state), float(one.state == state))
    yield states


def _windows(shown: Sequence[Exposed]) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "keepwatch_model_last_prediction_timestamp_seconds", "When the newest prediction happened.", labels=("model",)
    )
    rows = GaugeMetricFamily(
        "keepwatch_model_window_rows", "Predictions of the last window that is final.", labels=("model",)
    )
    ends = GaugeMetricFamily(
        "keepwatch_model_window_end_timestamp_seconds",
        "End of the last final window: of inputs, and of performance, which waits for outcomes.",
        labels=("model", "kind"),
    )
    labelled = GaugeMetricFamily(
        "keepwatch_model_labelled_ratio",
        "Share of rows with an outcome in the last window whose performance is final.",
        labels=("model",),
    )
    for one in shown:
        for family, value in ((last, _seconds(one.last_row)), (rows, one.rows), (labelled, one.labelled)):
            if value is not None:
                family.add_metric((one.name,), value)
        for kind, end in one.ends.items():
            ends.add_metric((one.name, kind), end / clock.SECOND)
    yield from (last, rows, ends, labelled)


def _values(shown: Sequence[Exposed]) -> Iterator[Metric]:
    texts = {
        "": "A metric over the last final window; of metrics per feature, the feature that moved most.",
        "_low": "Lower end of the metric's 95 % interval.",
        "_high": "Upper end of the metric's 95 % interval.",
    }
    for ending, text in texts.items():
        family = GaugeMetricFamily(f"keepwatch_model_metric{ending}", text, labels=("model", "metric"))
        for one in shown:
            for name, value in one.values.items():
                number = value.low if ending == "_low" else value.high if ending == "_high" else value.value
                if number is not None and math.isfinite(number):
                    family.add_metric((one.name, name), number)
        yield family


def _features(shown: Sequence[Exposed]) -> Iterator[Metric]:
    psi = GaugeMetricFamily(
        "keepwatch_model_feature_psi",
        f"PSI of the {MAX_FEATURES} most drifted features over the last final window.",
        labels=("model", "feature"),
    )
    missing = GaugeMetricFamily(
        "keepwatch_model_feature_missing_ratio",
        "Share of missing values of these features.",
        labels=("model", "feature"),
    )
    for one in shown:
        for name, drift, share in one.features:
            psi.add_metric((one.name, name), drift)
            missing.add_metric((one.name, name), share)
    yield from (psi, missing)


def _alerts(connection: Connection, project_id: int) -> Metric:
    family = GaugeMetricFamily(
        "keepwatch_model_alerts_open", "Alerts that are not resolved.", labels=("model", "family", "severity")
    )
    query = (
        sa.select(model.c.name, alert.c.family, alert.c.severity)
        .join(alert, alert.c.model_id == model.c.id)
        .where(alert.c.project_id == project_id, alert.c.state != "resolved")
        .order_by(model.c.name)
    )
    counts: dict[tuple[str, str, str], int] = {}
    for name, kind, severity in connection.execute(query):
        labels = (name, kind.partition(":")[0], severity)
        counts[labels] = counts.get(labels, 0) + 1
    for labels, count in list(counts.items())[: 10 * MAX_MODELS]:
        family.add_metric(labels, count)
    return family


def _seconds(at: int | None) -> float | None:
    return None if at is None else at / clock.SECOND
