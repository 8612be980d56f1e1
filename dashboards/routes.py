"""What address shows what. Every page is a plain function: look up, load, render.

The gate in front (monitor/api/gate.py) has let in only those who may, and forms only from our own pages.
"""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import RedirectResponse, Response

from dashboards import administration, closer, entry, monthly, segments, sharing, slicing
from dashboards.asked import From, Range, Search, Short, To, one_of
from dashboards.links import place, read_place
from dashboards.mistakes import PageRoute
from dashboards.pages import alert as alert_page
from dashboards.pages import alerts, stretch
from dashboards.pages import backtest as backtest_page
from dashboards.pages import channels as channels_page
from dashboards.pages import events as events_page
from dashboards.pages import feature as feature_page
from dashboards.pages import features as features_page
from dashboards.pages import model as model_page
from dashboards.pages import models as models_page
from dashboards.pages import monitors as monitors_page
from dashboards.pages import report as report_page
from dashboards.pages import silences as silences_page
from dashboards.render import page
from dashboards.visit import Form, Page, Visit
from monitor import backtests, clock
from monitor.alerts import notify, transition
from monitor.alerts.rules import read_comment, read_silence
from monitor.api import monitors
from monitor.api.alerts import accept
from monitor.evaluate.events import remove
from monitor.evaluate.rules import check_name, read_rule
from monitor.store.alerts import STATES
from monitor.store.body import Reader
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading, writing
from monitor.store.silences import add_silence

__all__ = ["router"]

router = APIRouter(include_in_schema=False, route_class=PageRoute)
router.include_router(entry.router)
router.include_router(administration.router)
router.include_router(closer.router)
router.include_router(sharing.router)
router.include_router(slicing.router)
router.include_router(segments.router)
router.include_router(monthly.router)

REFRESH = 60  # seconds


@router.get("/")
def home(
    visit: Page,
    q: Search = "",
    sort: Short = None,
    number: Annotated[int, Query(alias="page", ge=1, le=10**6)] = 1,
) -> Response:
    with reading(visit.ctx.engine) as connection:
        order = models_page.read_order(sort)
        found = models_page.load(connection, visit.project_id, clock.now(), order, number, q)
        frame = visit.frame(connection, "models", REFRESH)
    return page("models.html", frame, page=found, columns=models_page.COLUMNS, base_url=visit.base_url)


@router.get("/models/{model}")
def model(
    visit: Page, model: str, from_: From = None, to: To = None, range_: Range = None, metric: Short = None
) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        found = model_page.load(connection, known, now, shown, metric, visit.links)
        frame = visit.frame(connection, "models", REFRESH if shown.name else 0)
    return page("model.html", frame, page=found, base_url=visit.base_url)


@router.get("/models/{model}/features")
def features(
    visit: Page,
    model: str,
    name: Annotated[str | None, Query(max_length=300)] = None,
    q: Search = "",
    from_: From = None,
    to: To = None,
    range_: Range = None,
    effect: Short = None,
) -> Response:
    """All features, the most drifted first; with `name`, the page of one whose name does not fit into a path."""
    if name is not None:
        return _feature(visit, model, name, from_, to, range_, effect)
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        found = features_page.load(connection, known, shown, q)
        frame = visit.frame(connection, "models", REFRESH if shown.name else 0)
    return page("features.html", frame, page=found)


@router.get("/models/{model}/features/{feature:path}")
def feature(
    visit: Page,
    model: str,
    feature: str,
    from_: From = None,
    to: To = None,
    range_: Range = None,
    effect: Short = None,
) -> Response:
    """A feature; with `effect`, a metric by its values, for which rows are read."""
    return _feature(visit, model, feature, from_, to, range_, effect)


def _feature(
    visit: Visit,
    model: str,
    feature: str,
    from_: str | None,
    to: str | None,
    range_: str | None,
    effect: str | None,
) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        now = model_now(connection, known, clock.now())
        shown = stretch.choose(connection, known, now, range_, from_, to)
        found = feature_page.load(connection, known, feature, now, shown, effect)
        frame = visit.frame(connection, "models", REFRESH if shown.name and found.effect is None else 0)
    return page("feature.html", frame, page=found)


@router.get("/alerts")
def alert_list(visit: Page, model: Short = None, state: Short = None, after: Short = None) -> Response:
    with reading(visit.ctx.engine) as connection:
        of = get_model(connection, visit.project_id, model) if model else None
        chosen = one_of("state", state, STATES)
        lines, following = alerts.listed(connection, visit.project_id, of, chosen, read_place(after))
        frame = visit.frame(connection, "alerts", 0 if after else REFRESH)
    return page("alerts.html", frame, lines=lines, model=model, state=chosen, following=place(following), after=after)


@router.get("/alerts/{alert}")
def alert(visit: Page, alert: str, known: Short = None) -> Response:
    """An alert; with `known=then`, what was known when its windows were judged is counted again from rows."""
    with reading(visit.ctx.engine) as connection:
        again = one_of("known", known, ["then"]) is not None
        found = alert_page.load(connection, visit.project_id, alert, clock.now(), visit.links, again)
        frame = visit.frame(connection, "alerts")
    return page("alert.html", frame, page=found)


@router.post("/alerts/{alert}/acknowledge")
def acknowledge(visit: Page, alert: str, fields: Form) -> Response:
    return _change(visit, alert, transition.acknowledge, fields)


@router.post("/alerts/{alert}/resolve")
def resolve(visit: Page, alert: str, fields: Form) -> Response:
    return _change(visit, alert, transition.resolve, fields)


@router.post("/alerts/{alert}/adopt")
def adopt(visit: Page, alert: str) -> Response:
    accept(visit.ctx, alert)
    return RedirectResponse(visit.links.alert(alert), 303)


@router.post("/alerts/{alert}/comment")
def comment(visit: Page, alert: str, fields: Form) -> Response:
    who, said = visit.ctx.principal, _said(fields)
    with writing(visit.ctx.engine) as connection:
        transition.comment(connection, who.project_id, alert, who.name, clock.now(), said)
    return RedirectResponse(visit.links.alert(alert), 303)


def _change(visit: Visit, alert: str, change: alerts.Change, fields: dict[str, str]) -> Response:
    who, public_url, said = visit.ctx.principal, visit.ctx.settings.public_url, _said(fields)
    with writing(visit.ctx.engine) as connection:
        change(connection, who.project_id, alert, who.name, clock.now(), public_url, said)
    return RedirectResponse(visit.links.alert(alert), 303)


def _said(fields: dict[str, str]) -> str:
    reader = Reader({"comment": fields.get("comment")})
    said = read_comment(reader)
    reader.finish()
    return said


@router.get("/silences")
def silences(visit: Page, model: Short = None, family: Short = None) -> Response:
    now = clock.now()
    with reading(visit.ctx.engine) as connection:
        found = silences_page.load(connection, visit.project_id, now, model, family)
        frame = visit.frame(connection, "silences")
    return page("silences.html", frame, page=found)


@router.post("/silences")
def make_silence(visit: Page, fields: Form) -> Response:
    now, who = clock.now(), visit.ctx.principal
    made = read_silence(silences_page.body_of(fields, now), who.project_id, now, who.name)
    with writing(visit.ctx.engine) as connection:
        add_silence(connection, made)
    return RedirectResponse(visit.links.silences(), 303)


@router.post("/silences/{silence}/end")
def end_silence(visit: Page, silence: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        notify.end_silence(connection, visit.project_id, silence, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.silences(), 303)


@router.get("/channels")
def channels(visit: Page) -> Response:
    with reading(visit.ctx.engine) as connection:
        found = channels_page.load(connection, visit.project_id, visit.ctx.settings.secret_key)
        frame = visit.frame(connection, "channels")
    return page("channels.html", frame, page=found, base_url=visit.base_url)


@router.post("/channels/{channel}/test")
def test_channel(visit: Page, channel: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        channels_page.send_test(connection, visit.ctx, channel, clock.now())
    return RedirectResponse(visit.links.channels(), 303)


@router.post("/channels/{channel}/enable")
def enable_channel(visit: Page, channel: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        channels_page.switch_on(connection, visit.ctx, channel, clock.now())
    return RedirectResponse(visit.links.channels(), 303)


@router.post("/channels/{channel}/replay")
def replay_dead(visit: Page, channel: str) -> Response:
    return _replay(visit, channel, None)


@router.post("/channels/{channel}/deliveries/{delivery}/replay")
def replay_delivery(visit: Page, channel: str, delivery: str) -> Response:
    return _replay(visit, channel, delivery)


def _replay(visit: Visit, channel: str, delivery: str | None) -> Response:
    with writing(visit.ctx.engine) as connection:
        channels_page.replay(connection, visit.ctx, channel, delivery, clock.now())
    return RedirectResponse(visit.links.channels(), 303)


@router.get("/models/{model}/reports/{report}")
def report(visit: Page, model: str, report: str) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        found = report_page.load(connection, known, report)
        frame = visit.frame(connection, "models")
    return page("report.html", frame, page=found)


@router.post("/models/{model}/reports")
def ask_for_report(visit: Page, model: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        made = report_page.ask(
            connection, known, fields.get("from", ""), fields.get("to", ""), fields.get("segment", ""), clock.now()
        )
    return RedirectResponse(visit.links.report(model, made), 303)


@router.post("/models/{model}/events")
def add_event(visit: Page, model: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        events_page.add(connection, known, fields, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.model(model) + "#events", 303)


@router.post("/models/{model}/events/{event}/delete")
def remove_event(visit: Page, model: str, event: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        remove(connection, known, event, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.model(model) + "#events", 303)


@router.post("/models/{model}/monitors")
def save_monitor(visit: Page, model: str, fields: Form) -> Response:
    name, body = check_name(fields.get("name")), monitors_page.body_of(fields)
    with writing(visit.ctx.engine) as connection:
        known = monitors.locked_model(connection, visit.ctx, model)
        monitors.save(connection, visit.ctx, known, name, read_rule(connection, known, body))
    return RedirectResponse(visit.links.model(model) + "#monitors", 303)


@router.post("/models/{model}/monitors/{monitor}/delete")
def remove_monitor(visit: Page, model: str, monitor: str) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = monitors.locked_model(connection, visit.ctx, model)
        monitors.remove(connection, visit.ctx, known, monitor)
    return RedirectResponse(visit.links.model(model) + "#monitors", 303)


@router.post("/models/{model}/backtests")
def ask_for_backtest(visit: Page, model: str, fields: Form) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        asked = backtest_page.read(connection, known, fields, clock.now())
    made = backtests.ask(visit.ctx.engine, known, asked, clock.now())
    query = f"?name={quote(fields['name'])}" if fields.get("name") else ""
    return RedirectResponse(visit.links.backtest(model, made.id) + query, 303)


@router.get("/models/{model}/backtests/{backtest}")
def backtest(visit: Page, model: str, backtest: str, name: Short = None) -> Response:
    with reading(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        found = backtest_page.load(connection, known, backtest, name or "")
        frame = visit.frame(connection, "models", 0 if found.done else 2)
    return page("backtest.html", frame, page=found)


@router.post("/models/{model}/budget")
def save_budget(visit: Page, model: str, fields: Form) -> Response:
    with writing(visit.ctx.engine) as connection:
        known = get_model(connection, visit.project_id, model)
        backtest_page.save_budget(connection, known, fields, clock.now(), visit.ctx.principal.name)
    return RedirectResponse(visit.links.model(model) + "#monitors", 303)
