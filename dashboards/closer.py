"""Pages that look closer: two versions side by side, and the rows of a stretch. They read rows when somebody asks."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from dashboards.asked import From, Range, Short, To, one_of
from dashboards.mistakes import PageRoute
from dashboards.pages import rows as rows_page
from dashboards.pages import stretch
from dashboards.pages import versions as versions_page
from dashboards.render import page
from dashboards.visit import Page
from monitor import clock
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/models/{model}/versions")
def versions(
    visit: Page,
    model: str,
    baseline: Short = None,
    candidate: Short = None,
    pairs: Short = None,
    from_: From = None,
    to: To = None,
    range_: Range = None,
) -> Response:
    """Two versions; with `pairs`, rows are read and paired by id."""
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        paired = one_of("pairs", pairs, ["yes"]) is not None
        found = versions_page.load(connection, known, shown, baseline, candidate, paired)
        frame = visit.frame(connection, "models")
    return page("versions.html", frame, page=found)


@router.get("/models/{model}/rows")
def rows(
    visit: Page,
    model: str,
    feature: Annotated[str | None, Query(max_length=300)] = None,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    from_: From = None,
    to: To = None,
    range_: Range = None,
) -> Response:
    """Stored rows of a stretch, read because somebody asked."""
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        found = rows_page.load(connection, known, shown, feature, before)
        frame = visit.frame(connection, "models")
    return page("rows.html", frame, page=found)
