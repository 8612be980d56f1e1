"""The addresses of segments: the list, and the page of one."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from dashboards.asked import From, Range, Short, To
from dashboards.mistakes import PageRoute
from dashboards.pages import segment as segment_page
from dashboards.pages import segments as segments_page
from dashboards.pages import stretch
from dashboards.render import page
from dashboards.visit import Page, Visit
from monitor import clock
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading

router = APIRouter(include_in_schema=False, route_class=PageRoute)

REFRESH = 60  # seconds
Meant = Annotated[str | None, Query(max_length=300)]


@router.get("/models/{model}/segments")
def segments(
    visit: Page,
    model: str,
    name: Annotated[str | None, Query(max_length=600)] = None,
    from_: From = None,
    to: To = None,
    range_: Range = None,
    metric: Short = None,
    feature: Meant = None,
) -> Response:
    """All segments, the worst first; with `name`, the page of one whose name does not fit into a path."""
    if name is not None:
        return _segment(visit, model, name, from_, to, range_, metric, feature)
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        found = segments_page.load(connection, known, shown, metric)
        frame = visit.frame(connection, "models", REFRESH if shown.name else 0)
    return page("segments.html", frame, page=found)


@router.get("/models/{model}/segments/{segment:path}")
def segment(
    visit: Page,
    model: str,
    segment: str,
    from_: From = None,
    to: To = None,
    range_: Range = None,
    metric: Short = None,
    feature: Meant = None,
) -> Response:
    """A segment; with `feature`, what moved in it begins with that one, as the cause of an alert asks for."""
    return _segment(visit, model, segment, from_, to, range_, metric, feature)


def _segment(
    visit: Visit,
    model: str,
    segment: str,
    from_: str | None,
    to: str | None,
    range_: str | None,
    metric: str | None,
    feature: str | None,
) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        found = segment_page.load(connection, known, segment, now, shown, metric, visit.links, feature)
        frame = visit.frame(connection, "models", REFRESH if shown.name else 0)
    return page("segment.html", frame, page=found)
