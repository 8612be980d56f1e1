"""Every page of the dashboard in the seeded installation, by what people call it."""

import json

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor import backtests, clock, monthly, reports
from monitor.evaluate.rules import read_rule
from monitor.store import tables as t
from monitor.store import tasks
from monitor.store.catalog import get_model
from monitor.store.session import reading, writing
from monitor.tasks import run_pending
from tests.dashboards.seeded import START, Seeded
from tests.dashboards.test_slices import ANSWER

LINKS = Links()


def places(engine: Engine, seeded: Seeded) -> dict[str, str]:
    """The address of each page; makes what some of them show: a report, a back-test, a search, a month."""
    model = seeded.drifting
    with writing(engine) as connection:
        known = get_model(connection, 1, model)
        asked = reports.ask(connection, known, START, START + clock.DAY, clock.now())
        stretch = json.dumps({"from_at": START, "to_at": START + clock.DAY, "against": "reference"})
        found = tasks.add(connection, 1, known.id, "slices", stretch, clock.now(), json.dumps(ANSWER))
        month = monthly.ask(connection, known, "2026-03", clock.now(), START + 40 * clock.DAY)
    run_pending(engine, monthly.KIND)
    with reading(engine) as connection:
        alerts = dict(
            connection.execute(sa.select(t.alert.c.family, sa.func.min(t.alert.c.id)).group_by(t.alert.c.family)).all()
        )
        condition = {"metric": "psi", "feature": "amount", "op": ">", "value": 0.2}
        rule = read_rule(connection, known, {"conditions": [condition]})
    played = backtests.ask(engine, known, backtests.Asked(rule, None, START, START + 3 * clock.DAY), clock.now())
    return {
        "models": LINKS.home(),
        "model": LINKS.model(model, range_="all"),
        "model that learns": LINKS.model(seeded.learning),
        "model without rows": LINKS.model(seeded.empty),
        "features": LINKS.features(model, range_="all"),
        "numeric feature": LINKS.feature(model, "amount", range_="all"),
        "categorical feature": LINKS.feature(model, "plan", range_="all"),
        "segments": LINKS.segments(model, range_="all"),
        "segment": LINKS.segment(model, "plan:pro", range_="all"),
        "versions": LINKS.versions(model, range_="all"),
        "rows": LINKS.rows(model, range_="all", feature="plan"),
        "settings": LINKS.settings(),
        "audit log": LINKS.audit(),
        "alerts": LINKS.alerts(),
        "alert of inputs": LINKS.alert(alerts["features"]),
        "alert of performance": LINKS.alert(alerts["performance"]),
        "silences": LINKS.silences(),
        "channels": LINKS.channels(),
        "report": LINKS.report(model, asked.id),
        "slices": LINKS.slices(model),
        "slices that were found": LINKS.search(model, found.id),
        "back-test": LINKS.backtest(model, played.id),
        "monthly reports": LINKS.months(model),
        "month": LINKS.month(model, month.id),
        "shared links": LINKS.shares(),
        "link that has ended": LINKS.link("A" * 43),
        "health": LINKS.doctor(),
        "reference of the API": LINKS.docs(),
        "log-in": LINKS.login(),
        "nothing there": "/models/unknown",
    }
