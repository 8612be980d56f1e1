"""Two versions of a model, side by side."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from monitor import clock
from monitor.api.deps import Ctx
from monitor.api.series import From, To, read_time
from monitor.clock import DAY
from monitor.evaluate.versions import MOST_ROWS, Comparison, compare_versions
from monitor.stats.compare import Contrast
from monitor.stats.measure import METRICS
from monitor.stats.values import Value
from monitor.store import catalog
from monitor.store.session import reading

router = APIRouter(tags=["numbers"])

Version = Annotated[str, Query(max_length=128)]
USUAL = 30 * DAY


@router.get("/v1/models/{model}/compare", summary="Two versions, paired where ids match")
def get_comparison(
    ctx: Ctx,
    model: str,
    baseline: Version,
    candidate: Version,
    start: From = None,
    to: To = None,
    pairs: Annotated[bool, Query(description=f"read up to {MOST_ROWS:,} rows to pair them by id")] = True,
) -> dict[str, Any]:
    """Every metric of both versions, and candidate minus baseline with its 95 % interval, live and shadow rows alike;
    default: the last 30 days. Where both answered the same ids, rows are read and the differences are of the same rows
    (`paired`); `unpaired` says why not. Intervals stand each for itself."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        to_us = read_time("to", to) or catalog.model_now(connection, found, clock.now())
        from_us = read_time("from", start)
        from_us = to_us - USUAL if from_us is None else from_us
        made = compare_versions(connection, found, baseline, candidate, from_us, to_us, with_pairs=pairs)
    return {"model": model, **comparison_json(made)}


def comparison_json(made: Comparison) -> dict[str, Any]:
    """A comparison as the API shows it."""
    pairs = made.pairs
    return {
        "from": clock.render(made.from_us),
        "to": clock.render(made.to_us),
        "baseline": asdict(made.baseline),
        "candidate": asdict(made.candidate),
        "metrics": [_contrast(one) for one in made.performance],
        "latency": [_contrast(one) for one in made.service],
        "segments": [
            {
                "segment": one.name,
                "baseline_rows": one.rows[0],
                "candidate_rows": one.rows[1],
                "agreement": value_json(one.agreement),
                **_contrast(one.contrast),
            }
            for one in made.segments
        ],
        "pairs": None
        if pairs is None
        else {
            "n": pairs.n,
            "labelled": pairs.labelled,
            "rows_read": pairs.read,
            "agreement": value_json(pairs.agreement),
            "difference": value_json(pairs.apart),
            "flips": None if pairs.flips is None else asdict(pairs.flips),
            "changes": [asdict(one) for one in pairs.changes],
        },
        "unpaired": made.unpaired or None,
    }


def _contrast(one: Contrast) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "direction": METRICS[one.metric].direction,
        "baseline": value_json(one.baseline),
        "candidate": value_json(one.candidate),
        "difference": value_json(one.difference),
        "paired": one.paired,
    }


def value_json(value: Value) -> dict[str, Any] | None:
    """A number with its interval; null where there is none."""
    return None if value.value is None else asdict(value)
