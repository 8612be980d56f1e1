"""From a named signal to a sentence: what changed, by how much, with its interval, in the units of the thing itself."""

from typing import NamedTuple

import numpy as np

from monitor import clock
from monitor.evaluate import faults
from monitor.evaluate.wording import number, percent
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.detector import Named
from monitor.stats.evidence import Floats
from monitor.stats.families import Signal
from monitor.stats.layout import Key
from monitor.stats.measure import measure_one
from monitor.stats.plan import Plan, correlations_of, loss_of
from monitor.stats.profile import Profile
from monitor.stats.verdict import Cause

DRAWS = 200
SMALL_SHIFT = 0.1  # reference sd: below it a change is told by its shape
HARM, HARM_ROWS = 0.02, 30  # of accuracy (of an absolute error: a part); labelled rows on either side
BIG_LOSS = 0.05  # a share of outcomes that is off by more makes a performance alert critical


def cause_of(plan: Plan, named: Named, reference: Profile, window: Profile) -> Cause:
    """The cause that a named signal stands for. `window` is the window that raised the alarm."""
    signal = plan.signals[named.signal]
    if signal.segment is not None:
        reference, window = _within(reference, signal.segment), _within(window, signal.segment)
    if signal.kind == "level":
        effect, low, high = _level(plan, window)
        text = _level_text(plan, window)
    elif signal.kind == "pair":
        effect, low, high, text = _pair(plan, named, window)
    elif signal.kind == "loss":
        effect, low, high, text = _loss(plan, named, window)
    elif signal.kind in ("extreme", "stuck"):
        effect, low, high, text = faults.cause(signal, reference, window)
    else:
        p, reference_rows = _reference(plan, named.signal)
        if signal.kind == "shape":
            effect, low, high = _psi(named.counts, p, reference_rows)
            text = _shape_text(signal, reference, window, effect)
        else:
            effect, low, high = _share(named.counts, p, reference_rows)
            text = _share_text(signal, float(p[1]) + effect, float(p[1]))
            if signal.metric == "accuracy":  # the signal counts what is wrong
                effect, low, high = -effect, -high, -low
    said = text + _where(signal)
    text = said + _since(plan, named.begin)
    if plan.family == "performance":  # the outcomes of other families' windows are those that came first
        text += _harm(signal, reference, window)
    grave = said if plan.family == "performance" and _is_large(effect, low, high) else None
    return Cause(signal.metric, signal.feature, signal.segment, effect, low, high, named.share, text, grave)


def _within(profile: Profile, segment: str) -> Profile:
    """A segment's part of a profile."""
    of = {f"{name}:{value}": (name, value) for name, value in profile.binning.segment_rows}
    return profile.segment(*of[segment])


def _where(signal: Signal) -> str:
    name, _, value = (signal.segment or "").partition(":")
    return f" where `{name}` is '{value}'" if name else ""


def _since(plan: Plan, begin: int) -> str:
    """The first evidence, in the model's own time."""
    return f", since {clock.spoken(begin, plan.timezone)}"


def _harm(signal: Signal, reference: Profile, window: Profile) -> str:
    """How much worse the model is in the same rows, where it shows."""
    if min(reference.labelled, window.labelled) < HARM_ROWS or signal.metric == "accuracy":
        return ""
    metric = "mae" if window.layout.task == "regression" else "accuracy"
    before, now = (measure_one(profile, None, metric).value for profile in (reference, window))
    if before is None or now is None:
        return ""
    if (now - before < HARM * before) if metric == "mae" else (before - now < HARM):
        return ""
    there = " there" if signal.segment else ""
    if metric == "mae":
        return f"; mean absolute error{there} {before:.3g} -> {now:.3g}"
    return f"; accuracy{there} {before:.2f} -> {now:.2f}"


def _is_large(effect: float, low: float, high: float) -> bool:
    """Whether a change of performance is more than a small loss: by its lower bound, not by its estimate."""
    sure = min(abs(low), abs(high)) if low * high > 0 else 0.0
    return sure >= BIG_LOSS or abs(effect) >= 2 * BIG_LOSS


class Harm(NamedTuple):
    """What changed inputs do to the model before outcomes tell: a clause, and whether it is more than a small loss."""

    text: str
    large: bool


def harm_expected(reference: Profile, window: Profile) -> Harm | None:
    """The accuracy that the window's scores lead to expect, where it is surely below the reference's own.

    It is right as long as scores mean what they meant in the reference (stats/estimated).
    """
    before, now = (measure_one(profile, reference, "estimated_accuracy") for profile in (reference, window))
    if before.value is None or now.value is None or now.high is None:
        return None
    drop, sure = before.value - now.value, before.value - now.high
    if drop < HARM or sure <= 0:
        return None
    text = f"by the scores, accuracy is expected to fall from {before.value:.2f} to {now.value:.2f}"
    return Harm(text, sure >= BIG_LOSS or drop >= 2 * BIG_LOSS)


def _reference(plan: Plan, signal: int) -> tuple[Floats, float]:
    """The reference's shares of a count signal, and how many independent rows they are worth."""
    counts = plan.watch.counts
    rows = float(plan.rows[signal] / counts.phi[signal])
    first = int(counts.offsets[signal])
    return counts.p[first : first + int(counts.sizes[signal])], rows


def _psi(counts: Floats, p: Floats, reference_rows: float) -> tuple[float, float, float]:
    """PSI against the reference, and its 95 % interval from Dirichlet draws (always the same ones)."""
    now = (counts + 0.5) / (counts.sum() + 0.5 * counts.size)
    psi = float(((now - p) * np.log(now / p)).sum())
    draw = np.random.default_rng(0)
    here = np.maximum(draw.dirichlet(counts + 0.5, DRAWS), 1e-12)
    there = np.maximum(draw.dirichlet(np.maximum(reference_rows * p, 1e-3), DRAWS), 1e-12)
    values = ((here - there) * np.log(here / there)).sum(axis=1)
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return psi, max(psi - float(middle - low), 0.0), psi + float(high - middle)


def _share(counts: Floats, p: Floats, reference_rows: float) -> tuple[float, float, float]:
    """Difference of the second bin's share against the reference, with its 95 % normal interval."""
    rows = float(counts.sum())
    now = float((counts[1] + 0.5) / (rows + 1))
    error = np.sqrt(now * (1 - now) / (rows + 1) + p[1] * (1 - p[1]) / (reference_rows + 1))
    effect = now - float(p[1])
    return effect, effect - 1.96 * float(error), effect + 1.96 * float(error)


def _level(plan: Plan, window: Profile) -> tuple[float, float, float]:
    """Relative change of the window's volume, with the 95 % interval that windows of the reference vary in.

    Not from the sums of the evidence: those are clipped, so that one wild window cannot raise an alarm by itself.
    """
    scalars = plan.watch.scalars
    shift = float(np.log1p(window.rows) - scalars.mean[0])
    error = 1.96 * float(scalars.sd[0]) * float(np.sqrt(1 + 1 / scalars.windows[0]))
    low, effect, high = (float(np.expm1(value)) for value in (shift - error, shift, shift + error))
    return effect, low, high


def _level_text(plan: Plan, window: Profile) -> str:
    usual = float(np.expm1(plan.watch.scalars.mean[0]))
    more = "more" if window.rows > usual else "fewer"
    return f"{window.rows:,} rows in the window, {more} than the usual {usual:,.0f} (factor {window.rows / usual:.2f})"


def _pair(plan: Plan, named: Named, window: Profile) -> tuple[float, float, float, str]:
    """Change of a pair's correlation in the window, with its 95 % interval, and the sentence.

    Not from the sums of the evidence, as for volume.
    """
    scalars, at = plan.watch.scalars, named.signal - plan.watch.counts.offsets.size
    mean, moved = float(scalars.mean[at]), float(correlations_of(window)[plan.pairs[at]])
    error = 1.96 * float(scalars.sd[at]) * float(np.sqrt(1 + 1 / scalars.windows[at]))
    before = float(np.tanh(mean))
    low, now, high = (float(np.tanh(value)) for value in (moved - error, moved, moved + error))
    first, second = plan.signals[named.signal].feature.split(" and ", 1)  # type: ignore[union-attr]
    text = f"`{first}` and `{second}` no longer go together as before: correlation {now:.2f}, {before:.2f} before"
    return now - before, low - before, high - before, text


def _loss(plan: Plan, named: Named, window: Profile) -> tuple[float, float, float, str]:
    """Change of the mean log loss in the window, in nats, with its 95 % interval, and the sentence."""
    scalars, at = plan.watch.scalars, named.signal - plan.watch.counts.offsets.size
    before, now = float(scalars.mean[at]), loss_of(window)
    error = 1.96 * float(scalars.sd[at]) * float(np.sqrt(1 + 1 / scalars.windows[at]))
    text = f"log loss: {now:.3g} against {before:.3g} before"
    return now - before, now - before - error, now - before + error, text


# ------------------------------------------------------------------ texts

_SHARES = {
    "missing_share": "had no value",
    "unseen_share": "had a level never seen before",
    "invalid_share": "were not a finite number",
}


def _share_text(signal: Signal, now: float, before: float) -> str:
    """What a share is since its change began, and what it was: the two ends of the effect."""
    if signal.metric == "calibration_error":
        return f"outcome {signal.about}: {percent(now)} observed against {percent(before)} expected from the score"
    if signal.kind == "calibration":
        return f"{signal.about}: {percent(now)} observed against {percent(before)} expected"
    if signal.metric == "accuracy":
        return f"accuracy: {percent(1 - now)} against {percent(1 - before)} before"
    if signal.metric == "error_rate":
        return f"{percent(now)} of rows were errors, {percent(before)} before"
    if signal.feature is None:
        return f"{signal.about}: {percent(now)} against {percent(before)} before"
    return f"`{signal.feature}`: {percent(now)} of rows {_SHARES[signal.metric]}, {percent(before)} before"


def _shape_text(signal: Signal, reference: Profile, window: Profile, psi: float) -> str:
    key: Key = ("feature", signal.feature) if signal.feature is not None else signal.metric.removesuffix("_drift")
    name = f"`{signal.feature}`" if signal.feature is not None else str(key)
    if key == "outcome_mix":
        return f"actual classes are not those that the predictions lead to expect (PSI {psi:.2g})"
    bins = window.layout.residual if key == "residual" else window.layout.bins_of(key)
    before, now = _shares(reference, key), _shares(window, key)
    if isinstance(bins, NumericBins):
        return _numeric_text(name, str(key), bins, before, now, psi)
    labels = _labels(window, bins)
    at = int(np.abs(now - before).argmax())
    return f"{name}: {labels[at]} went from {percent(before[at])} to {percent(now[at])} (PSI {psi:.2g})"


def _numeric_text(name: str, key: str, bins: NumericBins, before: Floats, now: Floats, psi: float) -> str:
    absent = [bins.missing, bins.nan, bins.infinite]
    gone, gone_before = now[absent].sum(), before[absent].sum()
    outside, outside_before = now[[0, bins.above]], before[[0, bins.above]]
    if key == "latency":
        middles = _median(bins, before), _median(bins, now)
        return f"median latency {middles[1]:,.3g} ms, {middles[0]:,.3g} ms before (PSI {psi:.2g})"
    (mean_before, sd_before), (mean, sd) = _moments(bins, before), _moments(bins, now)
    shift = (mean - mean_before) / sd_before if sd_before > 0 else 0.0
    if abs(gone - gone_before) >= 0.5 * np.abs(now - before).sum() / 2 and abs(gone - gone_before) > 0.005:
        return f"{name}: {percent(gone)} of rows had no usable value, {percent(gone_before)} before (PSI {psi:.2g})"
    if (outside - outside_before).max() >= 0.5 * np.abs(now - before).sum() / 2 and outside.max() > 0.005:
        side = int((outside - outside_before).argmax())
        place = ("below the lowest", "above the highest")[side]
        return f"{name}: {percent(outside[side])} of rows {place} value of the reference (PSI {psi:.2g})"
    if abs(shift) >= SMALL_SHIFT:
        ends = f"from {number(mean_before)} to {number(mean)}"
        # Of an amount a part says more than standard deviations; of a year or a pressure it does not.
        if bins.low >= 0 and mean_before > 0 and abs(mean / mean_before - 1) >= 0.05:
            part = percent(abs(mean / mean_before - 1))
            return f"{name} {'rose' if shift > 0 else 'fell'} by {part}, {ends} (PSI {psi:.2g})"
        return f"{name} moved {'up' if shift > 0 else 'down'} by {abs(shift):.2g} sd, {ends} (PSI {psi:.2g})"
    if sd_before > 0 and not 0.8 < sd / sd_before < 1.25:
        return f"{name} spreads {sd / sd_before:.2g} times as wide as before (PSI {psi:.2g})"
    return f"{name} changed in shape at about the same mean (PSI {psi:.2g})"


def _labels(profile: Profile, bins: CategoricalBins | NumericBins | None) -> tuple[str, ...]:
    if isinstance(bins, CategoricalBins):
        return (*(f"'{level}'" for level in bins.levels), "other levels", "levels never seen before", "missing")
    return tuple(f"'{label}'" if label else "absent" for label in profile.layout.prediction_labels())


def _shares(profile: Profile, key: Key) -> Floats:
    counts = profile.of(key).ravel().astype(float)
    return np.asarray(counts / max(counts.sum(), 1.0))


def _moments(bins: NumericBins, shares: Floats) -> tuple[float, float]:
    """Mean and standard deviation by bin middles; values out of the range count as its end."""
    places = np.concatenate([[bins.low], (bins.edges[:-1] + bins.edges[1:]) / 2, [bins.high]])
    if bins.discrete:
        places[1:-1] = bins.edges[:-1]
    weights = shares[: places.size]
    if weights.sum() <= 0:
        return 0.0, 0.0
    mean = float(np.average(places, weights=weights))
    return mean, float(np.sqrt(np.average((places - mean) ** 2, weights=weights)))


def _median(bins: NumericBins, shares: Floats) -> float:
    weights = np.cumsum(shares[: bins.k + 2])
    if weights[-1] <= 0:
        return float("nan")
    at = int(np.searchsorted(weights, weights[-1] / 2))
    return float(bins.edges[min(max(at - 1, 0), bins.k)])
