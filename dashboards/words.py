"""What metrics, families and tasks are called on pages, and what a person can do about them."""

from dataclasses import dataclass

METRICS = {
    "volume": "Predictions",
    "latency_p50": "Latency, median",
    "latency_p95": "Latency, p95",
    "latency_p99": "Latency, p99",
    "error_rate": "Error rate",
    "missing_share": "Missing",
    "unseen_share": "Never-seen levels",
    "out_of_range_share": "Out of range",
    "psi": "PSI",
    "jensen_shannon": "Jensen-Shannon distance",
    "ks": "Kolmogorov-Smirnov",
    "wasserstein": "Wasserstein",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "f1_macro": "F1, macro",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "bias": "Bias (predicted \u2212 actual)",
    "r2": "R²",
    "coverage": "Coverage",
    "label_delay_p50": "Label delay, median",
    "estimated_roc_auc": "ROC AUC, estimated",
    "estimated_accuracy": "Accuracy, estimated",
    "estimated_precision": "Precision, estimated",
    "estimated_recall": "Recall, estimated",
    "estimated_f1": "F1, estimated",
}

SHORT = {"mae": "MAE", "rmse": "RMSE", "roc_auc": "ROC AUC"}  # where there is little room

UNITS = {
    **dict.fromkeys(("latency_p50", "latency_p95", "latency_p99"), "ms"),
    **dict.fromkeys(
        ("error_rate", "missing_share", "unseen_share", "out_of_range_share", "accuracy", "precision", "recall"),
        "share",
    ),
    **dict.fromkeys(("estimated_accuracy", "estimated_precision", "estimated_recall"), "share"),
    "coverage": "share",
    "volume": "count",
}

# What a number is measured against, in one line under the chart.
NOTES = {
    "psi": "Population stability index against the reference. Commonly: below 0.1 no shift, above 0.2 a clear one.",
    "jensen_shannon": "Distance of the two distributions, base 2: 0 the same, 1 nothing in common.",
    "ks": "Largest gap between the two cumulative distributions.",
    "wasserstein": "How far values moved, in standard deviations of the reference.",
    "missing_share": "Rows in which this feature was absent.",
    "unseen_share": "Rows with a level that the reference never had.",
    "out_of_range_share": "Rows outside the reference's range.",
}

# The first is shown; the rest can be chosen. The first of the second list is the calibration chart.
PERFORMANCE = {
    "binary": (
        "roc_auc",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "average_precision",
        "log_loss",
        "brier",
    ),
    "multiclass": ("accuracy", "f1_macro", "log_loss"),
    "regression": ("mae", "rmse", "r2"),
}
CALIBRATION = {"binary": "calibration_error", "multiclass": "calibration_error", "regression": "bias"}

FAMILIES = {
    "features": "Inputs changed",
    "performance": "Performance changed",
    "volume": "Traffic changed",
    "latency": "Latency rose",
    "quality": "Data quality fell",
    "multivariate": "Joint drift of inputs",
}

ADVICE = {
    "features": (
        "Open the strongest cause: its page shows the distribution beside the reference.",
        "If the world changed and the model still does well, make a recent stretch the new reference.",
        "If a producer changed, fix it there, then resolve the alert.",
    ),
    "performance": (
        "Begin with the strongest cause: they are ranked by their part of the evidence.",
        "Compare with input alerts of the same days: a shift that came first is the likely reason.",
        "If it stays, retrain on labelled rows since the first evidence, or serve the version before again.",
    ),
    "volume": (
        "Ask the caller and the gateway first: fewer rows are rarely the model's doing.",
        "Rejected rows are not counted as traffic: `GET /v1/models/{model}/quarantine` lists them with their reasons.",
    ),
    "latency": (
        "Compare the first evidence with your deployments and with the traffic chart of the model.",
        "Is one version slower? `GET /v1/models/{model}/series?metric=latency_p95&version=…` answers for each.",
    ),
    "quality": (
        "Open the strongest cause: its page shows since when values are missing or never seen.",
        "Find the producer of that feature; rows keep arriving, so nothing is lost meanwhile.",
    ),
    "multivariate": (
        "No single feature need have moved: look at those that the cause names together, for instance in a report.",
        "If the world changed and the model still does well, make a recent stretch the new reference.",
    ),
}

MONITOR = "monitor:"  # begins the family of a monitor by hand
MONITOR_ADVICE = (
    "Its chart shows when the number passed the bound, and whether it has come back.",
    "If it fires too often, ask for more windows in a row, another bound, or a `clear` bound; back-test it first.",
)


@dataclass(frozen=True)
class CauseWords:
    """How a watched signal is told: its effect's unit (as in monitor/alerts/effects), and the metric that charts it."""

    title: str
    unit: str
    drawn: str


# The signals of the detectors (monitor/stats/signals.py); those that are no metric are drawn by the nearest one.
CAUSES = {
    "psi": CauseWords("Distribution", "PSI", "psi"),
    "missing_share": CauseWords("Missing values", "share", "missing_share"),
    "unseen_share": CauseWords("Never-seen levels", "share", "unseen_share"),
    "invalid_share": CauseWords("Values that are not finite", "share", "psi"),
    "out_of_range_share": CauseWords("Values out of range", "share", "out_of_range_share"),
    "stuck_share": CauseWords("A stuck value", "share", "psi"),
    "log_loss": CauseWords("Log loss", "log loss", "log_loss"),
    "prediction_drift": CauseWords("Distribution of predictions", "PSI", "psi"),
    "score_drift": CauseWords("Distribution of scores", "PSI", "psi"),
    "correlation": CauseWords("Correlation", "correlation", "psi"),
    "classifier_auc": CauseWords("Joint distribution", "AUC above chance", "psi"),
    "latency": CauseWords("Latency", "PSI", "latency_p50"),
    "volume": CauseWords("Traffic", "ratio", "volume"),
    "error_rate": CauseWords("Errors", "share", "error_rate"),
    "accuracy": CauseWords("Accuracy", "share", "accuracy"),
    "class_error_rate": CauseWords("Wrong predictions of a class", "share", "accuracy"),
    "calibration_error": CauseWords("Calibration", "share", "calibration_error"),
    "separation": CauseWords("Separation by score", "share", "roc_auc"),
    "outcome_mix": CauseWords("Mix of outcomes", "PSI", "accuracy"),
    "residual": CauseWords("Size of errors", "PSI", "mae"),
}

EVENTS = {
    "alert.firing": "Alert opened",
    "alert.updated": "Alert updated",
    "alert.acknowledged": "Acknowledged",
    "alert.resolved": "Resolved",
    "alert.reopened": "Opened again",
    "alert.escalated": "Escalated",
    "alert.comment": "Comment",
    "alert.digest": "Digest",
    "channel.test": "Test",
    "channel.disabled": "Channel switched off",
}

MARKS = {"deploy": "Deployment", "incident": "Incident", "known_bad": "Known bad"}  # events of a model

SEGMENTS = (
    "The worst first; each interval is of its segment alone: of twenty, one misses by chance. "
    "PSI is against the same segment of the reference, where the segment has 200 rows."
)

TASKS = {"binary": "binary classification", "multiclass": "classification", "regression": "regression"}


def metric(name: str) -> str:
    """The metric's name for people; unknown names stay as they are."""
    return METRICS.get(name, name)


def cause(name: str) -> CauseWords:
    """How a cause of that metric is told; a metric that is no signal is told and drawn as itself."""
    return CAUSES.get(name) or CauseWords(metric(name), "ratio" if name == "volume" else unit(name), name)


def unit(name: str) -> str:
    """Unit of the metric: "", "ms", "share" or "count"."""
    return UNITS.get(name, "")


def family(name: str) -> str:
    if is_monitor(name):
        return f"Monitor {name.removeprefix(MONITOR)}"
    return FAMILIES.get(name, name)


def is_monitor(family: str) -> bool:
    """Whether alerts of that family come from a monitor by hand."""
    return family.startswith(MONITOR)


def advice(family: str, model: str) -> list[str]:
    """What to do about an alert of that family of that model."""
    found = MONITOR_ADVICE if is_monitor(family) else ADVICE.get(family, ())
    return [line.replace("{model}", model) for line in found]


def deed(what: str) -> str:
    """What somebody did: `channel.switched_off` is "Channel switched off"."""
    return what.replace(".", " ").replace("_", " ").capitalize()


def event(type_: str) -> str:
    """What happened, from the type of an alert's event."""
    return EVENTS.get(type_, type_)
