"""The monthly reports of a model: the list, one of them as a page, and as a file to keep."""

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from dashboards import pdf
from dashboards.assets import text_of
from dashboards.mistakes import PageRoute
from dashboards.pages import monthly as monthly_page
from dashboards.render import environment, page
from dashboards.visit import Form, Page, Visit
from monitor import clock, monthly
from monitor.errors import Conflict
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading, writing

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/models/{model}/monthly")
def listed(visit: Page, model: str) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        found = monthly_page.listed(connection, known, model_now(connection, known, clock.now()))
        frame = visit.frame(connection, "models")
    return page("months.html", frame, page=found)


@router.post("/models/{model}/monthly")
def ask(visit: Page, model: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        made = monthly.ask(connection, known, fields.get("month", ""), clock.now(), now)
    return RedirectResponse(visit.links.month(model, made.id), 303)


@router.get("/models/{model}/monthly/{report}")
def report(visit: Page, model: str, report: str) -> Response:
    with reading(visit.ctx.engine) as connection:
        found = monthly_page.load(connection, get_model(connection, visit.project_id, model), report)
        frame = visit.frame(connection, "models", 0 if found.task.finished_at is not None else 2)
    return page("monthly.html", frame, page=found)


@router.get("/models/{model}/monthly/{report}/html")
def as_html(visit: Page, model: str, report: str) -> Response:
    name, text = _document(visit, model, report)
    return Response(text, media_type="text/html; charset=utf-8", headers=_kept(f"{name}.html"))


@router.get("/models/{model}/monthly/{report}/pdf")
def as_pdf(visit: Page, model: str, report: str) -> Response:
    name, text = _document(visit, model, report)
    return Response(pdf.render(text), media_type="application/pdf", headers=_kept(f"{name}.pdf"))


def _document(visit: Visit, model: str, report: str) -> tuple[str, str]:
    """A report as a document of its own, and what a file of it is called.

    Raises:
        NotFound: there is no such report.
        Conflict: it is not done.
    """
    with reading(visit.ctx.engine) as connection:
        found = monthly_page.load(connection, get_model(connection, visit.project_id, model), report)
    if found.told is None:
        raise Conflict("this report is not done")
    template = environment().get_template("month_document.html")
    html = template.render(page=found, links=visit.links, style=text_of("document.css"))
    return f"{found.model.name}-{found.task.asked['month']}", html


def _kept(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
