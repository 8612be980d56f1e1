"""Accepting a change as the new normal: the windows since its first evidence become the reference."""

from typing import Any

from sqlalchemy.engine import Engine

from monitor.errors import Conflict
from monitor.evaluate.references import put_reference
from monitor.evaluate.windows import start_of
from monitor.stats.verdict import Family
from monitor.store import evaluations
from monitor.store.catalog import Model
from monitor.store.evaluations import INPUTS, PERFORMANCE
from monitor.store.session import reading

LEAST_WINDOWS = 14


def adopt(engine: Engine, model: Model, family: Family, first_evidence_at: int, now: int, actor: str) -> dict[str, Any]:
    """Make a reference of the evaluated windows since `first_evidence_at`, those of a change that was reported.

    Windows count from when they have given their evidence, and of performance from when their outcomes were complete.
    Every family is judged against the new reference from the next window on; what was open against the old one ends.

    Returns: the reference, as PUT of a reference does.

    Raises:
        Conflict: there are fewer than 14 windows with rows yet.
        Invalid: their rows are not kept any more, or too many.
    """
    kind = PERFORMANCE if family == "performance" else INPUTS
    unit, timezone = model.config.window_us, model.config.timezone
    first = start_of(first_evidence_at, unit, timezone)
    with reading(engine) as connection:
        done = [
            row
            for row in evaluations.evaluations(connection, model.id, first, 1 << 62)
            if row.kind == kind and row.rows
        ]
    if len(done) < LEAST_WINDOWS:
        raise Conflict(
            f"a reference needs {LEAST_WINDOWS} windows since the first evidence, and there are {len(done)}: "
            "adopt it later, or PUT a reference of your own"
        )
    return put_reference(engine, model, None, first, done[-1].end, None, now, actor)
