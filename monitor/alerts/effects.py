"""The effect of a cause in words, each number with its unit, for messages that people read."""

import math

# metric of a cause -> the unit of its effect: PSI, share (told in points), ratio (told as percent), or what it adds to
UNITS = {
    **dict.fromkeys(("psi", "prediction_drift", "score_drift", "latency", "outcome_mix", "residual"), "PSI"),
    **dict.fromkeys(("missing_share", "unseen_share", "invalid_share", "out_of_range_share", "stuck_share"), "share"),
    **dict.fromkeys(("error_rate", "class_error_rate", "calibration_error", "separation"), "share"),
    "accuracy": "share",
    "volume": "ratio",
    "log_loss": "log loss",
    "correlation": "correlation",
    "classifier_auc": "AUC above chance",
}
NAMED = {"accuracy": "accuracy points"}  # where points alone would leave open of what


def told(metric: str, effect: float | None, low: float | None, high: float | None) -> str:
    """`effect -12.5 accuracy points, 95 % -14 to -11`; a metric without a unit is told as its bare number."""
    if effect is None or not math.isfinite(effect):
        return ""
    unit = UNITS.get(metric, "")
    if unit == "PSI":
        said = f"effect PSI {effect:.3g}"
    elif unit == "share":
        said = f"effect {_points(effect)} {NAMED.get(metric, 'points')}"
    elif unit == "ratio":
        said = f"effect {_points(effect)} %"
    elif unit:
        said = f"effect {effect:+.3g} {unit}"
    else:
        said = f"effect {effect:.3g}"
    if low is None or high is None:
        return said
    if unit in ("share", "ratio"):
        return f"{said}, 95 % {_points(low)} to {_points(high)}"
    sign = "+" if unit and unit != "PSI" else ""
    return f"{said}, 95 % {low:{sign}.3g} to {high:{sign}.3g}"


def _points(share: float) -> str:
    return f"{share * 100:+.3g}"
