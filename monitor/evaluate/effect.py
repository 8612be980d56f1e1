"""How a model does at each value of a feature, in a stretch and in the reference: from rows, when somebody asks."""

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from monitor.evaluate import sample
from monitor.evaluate.loaded import binning_numbered, reference_for, with_schema
from monitor.evaluate.sample import Sampled
from monitor.stats.binning import Binning
from monitor.stats.bins import Bins
from monitor.stats.effect import Group, by_bin
from monitor.store import profiles
from monitor.store.catalog import Model


@dataclass(frozen=True)
class Side:
    """The groups of one side, in the order of the bins; `rows` were looked at, all that there are where `whole`."""

    groups: list[Group]
    rows: int
    whole: bool


@dataclass(frozen=True)
class Effect:
    """The feature's bins and the groups of both sides; None where no rows of a side are kept."""

    bins: Bins
    now: Side | None
    reference: Side | None


def effect(connection: Connection, model: Model, feature: str, metric: str, from_at: int, to_at: int) -> Effect | None:
    """A metric by the bins of a feature over the live rows of [from_at, to_at), and over the reference's.

    None where the feature has not been counted yet.
    """
    model = with_schema(connection, model)
    number = profiles.current_number(connection, model.id)
    binning = binning_numbered(connection, model.id, number) if number else None
    if binning is None or feature not in binning.whole.by_name:
        return None
    now = sample.of_stretch(connection, model, binning, feature, from_at, to_at)
    found = reference_for(connection, model.id, number, windows=False)
    before = None if found is None else sample.of_reference(connection, model, found, feature)
    return Effect(
        binning.whole.by_name[feature],
        _side(binning, feature, metric, now),
        _side(binning, feature, metric, before),
    )


def _side(binning: Binning, feature: str, metric: str, found: Sampled | None) -> Side | None:
    if found is None or not found.rows.n:
        return None
    return Side(by_bin(binning, feature, found.rows, metric), found.rows.n, found.whole)
