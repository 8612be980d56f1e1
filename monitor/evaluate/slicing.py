"""The search for slices of a model in which its loss rose: which rows it reads, and what is said of its finds.

Only outcomes whose delay is over are taken: the first labels of a day are not those of all its rows. The blocks of time
that are exchanged in the test are days where both stretches have enough of them, else the longest hours that do.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from monitor import clock
from monitor.clock import DAY, HOUR
from monitor.evaluate import losses
from monitor.evaluate.loaded import binning_numbered, reference_for, with_schema
from monitor.evaluate.losses import Gathered, NoSlices
from monitor.stats import slices as stats
from monitor.stats.binning import Binning
from monitor.stats.bins import CategoricalBins, NumericBins
from monitor.stats.slices import Part
from monitor.store import profiles
from monitor.store.catalog import Model
from monitor.store.slices import Slice, Term, told

REFERENCE, PREVIOUS = "reference", "previous"
USUAL = 14 * DAY
LOSSES = {
    "brier": "squared error of the score (Brier)",
    "wrong": "share of wrong predictions",
    "absolute_error": "absolute error",
}


class Asked(NamedTuple):
    """The rows with from_at <= timestamp < to_at, against the reference or the stretch before, equally long."""

    from_at: int
    to_at: int
    against: str


def default(connection: Connection, model: Model, now: int) -> Asked:
    """The last two weeks whose outcomes are due, against the reference if it has outcomes."""
    to_at = now - model.config.label_delay_us
    number = profiles.current_number(connection, model.id)
    reference = reference_for(connection, model.id, number, windows=False) if number else None
    known = reference is not None and reference.profile.labelled > 0
    return Asked(to_at - USUAL, to_at, REFERENCE if known else PREVIOUS)


def search(
    connection: Connection, model: Model, asked: Asked, now: int, tell: Callable[[str, float], None]
) -> dict[str, Any]:
    """Search, and say what was found as JSON.

    Raises:
        NoSlices: too few rows have outcomes, or the reference's are not kept.
    """
    model = with_schema(connection, model)
    number = profiles.current_number(connection, model.id)
    if not number:
        raise NoSlices("no rows of the model have been counted yet")
    binning = binning_numbered(connection, model.id, number)
    asked = asked._replace(to_at=min(asked.to_at, now - model.config.label_delay_us))
    tell("reading rows", 0.05)
    after = losses.gather(binning, losses.of_log(connection, model, binning, asked.from_at, asked.to_at))
    tell("reading rows to compare with", 0.2)
    if asked.against == REFERENCE:
        before = losses.gather(binning, losses.of_reference(connection, model, binning))
    else:
        length = asked.to_at - asked.from_at
        before = losses.gather(
            binning, losses.of_log(connection, model, binning, asked.from_at - length, asked.from_at)
        )
    for side, rows in (("stretch", after), ("comparison", before)):
        if not rows.at.size:
            raise NoSlices(f"no row of the {side} has an outcome whose delay is over")
    loss, first, second = losses.losses(binning.task, before, after)
    unit = losses.unit_of(before.at, after.at, model.config.timezone)
    earlier = losses.stretch_of(before, first, unit, model)
    later = losses.stretch_of(after, second, unit, model)
    features = [losses.shape_of(bins) for bins in binning.features]
    tell("searching", 0.4)
    try:
        found = stats.find(
            earlier, later, features, seed=after.at.size, tell=lambda share: tell("searching", 0.4 + share / 2)
        )
    except ValueError as error:
        raise NoSlices(f"{error}: choose a longer stretch") from None
    return _answer(model, binning, asked, loss, unit, before, after, found)


# ---------------------------------------------------------------- what is said


def terms_of(binning: Binning, parts: Sequence[Part]) -> Slice:
    """A slice of bins as terms over values."""
    return tuple(_term(binning.features[part.feature], part) for part in parts)


def _term(bins: NumericBins | CategoricalBins, part: Part) -> Term:
    coarse = bins.coarse
    if isinstance(coarse, NumericBins):
        if part.low == coarse.missing:
            return Term(bins.name, missing=True)
        low = None if part.low == 0 else float(coarse.edges[part.low - 1])
        return Term(bins.name, low, None if part.high == coarse.above else float(coarse.edges[part.high]))
    if part.low < coarse.other:
        return Term(bins.name, levels=(coarse.levels[part.low],))
    if part.low == coarse.other:
        return Term(bins.name, levels=coarse.levels or ("",), but=True)
    return Term(bins.name, missing=True)


def name_of(terms: Slice) -> str:
    """A short name for a slice: its features."""
    return " and ".join(term.feature for term in terms)[:100] + " slice"


def _change(one: stats.Change) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") for name, value in one.__dict__.items()}


def _answer(
    model: Model,
    binning: Binning,
    asked: Asked,
    loss: str,
    unit: int,
    before: Gathered,
    after: Gathered,
    found: stats.Result,
) -> dict[str, Any]:
    slices = []
    for one in found.found:
        terms = terms_of(binning, one.parts)
        slices.append(
            {
                "where": [term.shown() for term in terms],
                "text": told(terms),
                "rows": one.rows,
                "share": float(f"{one.share:.4g}"),
                **_change(one.change),
                "excess": float(f"{one.excess:.6g}"),
            }
        )
    return {
        "from": clock.render(asked.from_at),
        "to": clock.render(asked.to_at),
        "against": asked.against,
        "loss": loss,
        "block": f"{unit // HOUR}h",
        "rows": after.seen,
        "rows_before": before.seen,
        "searched": found.searched,
        "tested": found.tested,
        "alpha": stats.ALPHA,
        "whole": _change(found.whole),
        "slices": slices,
        "text": _sentence(loss, found),
    }


def _sentence(loss: str, found: stats.Result) -> str:
    whole = found.whole
    rose = whole.p <= stats.ALPHA
    overall = f"Over all rows the {LOSSES[loss]} went from {whole.before:.4g} to {whole.after:.4g}"
    overall += "" if rose else ", no more than by chance"
    if not found.found:
        said = "in no slice did it rise for sure"
    else:
        number = len(found.found)
        said = f"it rose for sure in {number} slice{'s' if number > 1 else ''}"
    return f"{overall}; {said} ({found.searched:,} were searched, {found.tested} tested)"
