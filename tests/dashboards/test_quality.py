"""Data quality and resolved alerts on the model's page."""

from dataclasses import replace

from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards import figures, theme
from dashboards.formats import Zone
from dashboards.links import Links
from dashboards.pages import alerts, charts, quality, stretch
from dashboards.pages.model import mark_alerts
from monitor import clock
from monitor.app import create_app
from monitor.evaluate.kept import KeptShelf
from monitor.ingest.writer import Writer
from monitor.store.alerts import Alert, list_alerts
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading
from tests.dashboards.conftest import settings_of
from tests.dashboards.seeded import BASE, START, WINDOW, WINDOWS, Seeded, jobs_until

LINKS = Links()
UTC = Zone("UTC")


def _chart(engine: Engine, name: str, range_: str = "7d") -> charts.Chart:
    with reading(engine) as connection:
        model = get_model(connection, 1, name)
        shown = stretch.choose(connection, model, model_now(connection, model, clock.now()), range_, None, None)
        return quality.chart(KeptShelf(connection, model), shown, UTC, LINKS)


def test_what_is_missing_or_never_seen_is_drawn_the_worst_on_top(seeded_engine: Engine, seeded: Seeded) -> None:
    rows = []
    for i in range(200):
        at = clock.render(START + (WINDOWS + 1) * WINDOW + i * clock.MINUTE)
        features: dict[str, float | str] = {"plan": "never" if i % 4 == 0 else "pro"}
        if i % 2:
            features["amount"] = 50.0 + i % 7
        rows.append({"id": f"late-{i}", "timestamp": at, "known_at": at, "prediction": "yes", "features": features})
    settings = settings_of(seeded_engine)
    app = create_app(settings, seeded_engine, Writer(seeded_engine, settings))
    with TestClient(app, base_url=BASE, headers=seeded.admin) as client:
        answer = client.post(f"/v1/models/{seeded.drifting}/predictions", json={"rows": rows})
    assert answer.status_code < 300
    jobs_until(seeded_engine, settings)
    chart = _chart(seeded_engine, seeded.drifting)
    assert chart.figure is not None and chart.table is not None
    named = {row[0]: row for row in chart.table.rows}
    assert named["Missing: amount"][1] == named["Missing: amount"][2] == "50.0\xa0%"
    assert named["Never-seen levels: plan"][2] == "25.0\xa0%"
    assert named["Never-seen levels: plan"][3] == "0\xa0%"
    order = [row[0] for row in chart.table.rows]
    assert order.index("Missing: amount") < order.index("Never-seen levels: plan")
    assert LINKS.feature(seeded.drifting, "plan", range_="7d") in chart.figure["links"]


def test_quality_that_is_as_it_was_says_so(seeded_engine: Engine, seeded: Seeded) -> None:
    assert _chart(seeded_engine, seeded.empty).empty is charts.NO_ROWS
    assert _chart(seeded_engine, seeded.learning).empty is quality.NOTHING


def _marked(alert: Alert, shown: stretch.Stretch) -> figures.Figure:
    figure = figures.between(figures.bars(["2026-03-10 00:00"], [1.0], "rows"), "2026-03-08 00:00", "2026-03-20 00:00")
    chart = charts.Chart("performance", "Performance", "", figure)
    marked = mark_alerts(chart, [alerts.Line(alert, UTC)], shown).figure
    assert marked is not None
    layout: figures.Figure = marked["layout"]
    return layout


def _shapes(alert: Alert, shown: stretch.Stretch, kind: str = "rect") -> list[figures.Figure]:
    return [shape for shape in _marked(alert, shown).get("shapes", []) if shape["type"] == kind]


def test_a_resolved_alert_stays_on_the_time_line_until_it_was_resolved(seeded_engine: Engine, seeded: Seeded) -> None:
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        shown = stretch.choose(connection, model, model_now(connection, model, clock.now()), "all", None, None)
        found = next(one for one in list_alerts(connection, 1, limit=10)[0] if one.family == "performance")
    end = found.first_evidence_at + clock.DAY
    resolved = replace(found, state="resolved", resolved_at=end)
    (still,), (over,) = _shapes(found, shown), _shapes(resolved, shown)
    assert still["x1"] == UTC.axis(shown.to_us) and "opacity" not in still
    assert over["x1"] == UTC.axis(end) and over["opacity"] < 1
    assert over["fillcolor"] == still["fillcolor"] == theme.ALERT_FILL
    before = replace(resolved, first_evidence_at=shown.from_us - 2 * clock.DAY, resolved_at=shown.from_us - clock.DAY)
    assert not _shapes(before, shown)
    earlier = replace(found, first_evidence_at=shown.from_us - clock.DAY)
    assert _shapes(found, shown, "line") and not _shapes(earlier, shown, "line"), "its evidence does not begin here"
    assert _shapes(earlier, shown)[0]["x0"] == UTC.axis(shown.from_us)
    assert _marked(earlier, shown)["annotations"][0]["text"] == charts.BEGAN_EARLIER
