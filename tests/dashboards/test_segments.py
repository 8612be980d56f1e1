"""The pages of segments: the list, the page of one, and the ways to it."""

import json
import re
from html import unescape
from typing import Any
from urllib.parse import quote_plus

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.formats import number
from dashboards.links import Links
from dashboards.pages import alert as alert_page
from dashboards.pages import alert_causes, alerts, feature, segment, segments, stretch
from monitor import clock
from monitor.evaluate.series import Query, series, summary
from monitor.store import tables as t
from monitor.store.alerts import list_alerts
from monitor.store.catalog import get_model, model_now
from monitor.store.session import reading, writing
from tests.dashboards.seeded import ROWS, WINDOWS, Seeded

LINKS = Links()
NAMES = ["plan:pro", "plan:plus", "plan:basic"]


def test_the_segments_of_a_model_are_listed_the_worst_first(seeded_engine: Engine, seeded: Seeded) -> None:
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        shown = stretch.choose(connection, model, model_now(connection, model, clock.now()), "all", None, None)
        found = segments.measured(connection, model, shown, "roc_auc", longest=segments.LATELY)
    plans = [line for line in found.lines if line.name == "plan"]
    assert {line.text for line in plans} == set(NAMES)
    assert sum(line.share for line in plans) == pytest.approx(1)
    assert sum(line.rows for line in plans) <= 4 * 7 * ROWS
    ranks = [line.rank for line in found.lines]
    assert ranks == sorted(ranks)
    assert found.to_us - found.from_us == segments.LATELY and not found.is_whole
    assert all(line.value and line.reference and line.interval for line in plans)
    moved = next(line for line in plans if line.text == "plan:pro")
    assert (moved.moved, moved.psi and moved.psi > 0.5) == ("amount", True)


def test_the_list_of_segments_measures_the_stretch_that_it_shows(pages: TestClient, seeded: Seeded) -> None:
    """And a part of another page that measures less says so in its title."""

    def counted(address: str) -> int:
        rows = re.findall(r">plan:\w+</bdi></a><span class=\"sub\">([\d\u202f]+) rows", pages.get(address).text)
        return sum(int(number.replace("\u202f", "")) for number in rows)

    assert counted(LINKS.segments(seeded.drifting, range_="all")) == WINDOWS * ROWS
    assert counted(LINKS.segments(seeded.drifting, range_="7d")) <= 4 * 8 * ROWS
    for page in (LINKS.model, lambda name, **query: LINKS.feature(name, "plan", **query)):
        whole, part = (pages.get(page(seeded.drifting, range_=name)).text for name in ("24h", "all"))
        assert "the last 7\xa0days of this stretch</h2>" in part and "of this stretch</h2>" not in whole


def test_the_page_of_a_segment_says_what_the_series_of_the_api_says(seeded_engine: Engine, seeded: Seeded) -> None:
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        now = model_now(connection, model, clock.now())
        shown = stretch.choose(connection, model, now, "7d", None, None)
        page = segment.load(connection, model, "plan:pro", now, shown, None, LINKS)
        between = {"from_us": shown.from_us, "to_us": shown.to_us}
        said = series(connection, model, Query("roc_auc", segment="plan:pro", **between), now)
        volume = series(connection, model, Query("volume", segment="plan:pro", **between), now)
    performance = next(chart for chart in page.charts if chart.key == "performance").figure
    assert performance is not None
    drawn = next(trace for trace in performance["data"] if trace.get("name") == "ROC AUC")
    settled = [point.value for point in said if point.n >= 20 and point.state == "final"]
    assert len(settled) > 5
    assert [y for y in drawn["y"] if y is not None] == pytest.approx(settled, rel=1e-3)
    assert page.rows == sum(point.n for point in volume)
    assert page.feature == "plan" and page.reference_rows


def test_every_page_that_names_a_segment_leads_to_it(pages: TestClient, seeded: Seeded) -> None:
    link = LINKS.segment(seeded.drifting, "plan:pro", range_="all").replace("&", "&amp;")
    for address in (LINKS.model(seeded.drifting, range_="all"), LINKS.segments(seeded.drifting, range_="all")):
        assert f'href="{link}"' in pages.get(address).text, address
    assert pages.get(LINKS.segment(seeded.drifting, "plan:pro", range_="all")).status_code == 200
    assert pages.get(LINKS.segment(seeded.drifting, "plan:never")).status_code == 404
    assert pages.get(LINKS.segment(seeded.empty, "plan:pro")).status_code == 404


def test_a_feature_says_how_it_moved_in_each_segment_and_how_the_model_does_at_its_levels(
    seeded_engine: Engine, seeded: Seeded
) -> None:
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        now = model_now(connection, model, clock.now())
        shown = stretch.choose(connection, model, now, "all", None, None)
        amount = feature.load(connection, model, "amount", now, shown)
        plan = feature.load(connection, model, "plan", now, shown)
        wanted = {"from_us": amount.now.from_us, "to_us": amount.now.to_us}
        said = summary(connection, model, Query("psi", "amount", "plan:pro", **wanted), now)
        accuracy = summary(connection, model, Query("roc_auc", segment="plan:pro", **wanted), now)
    assert not amount.levels and {line.text for line in amount.within} >= set(NAMES)
    assert [line.psi for line in amount.within if line.text == "plan:pro"] == [pytest.approx(said.value)]
    assert {line.text for line in plan.levels} == set(NAMES)
    assert not any(line.name == "plan" for line in plan.within)
    assert [line.value for line in plan.levels if line.text == "plan:pro"] == [number(accuracy.value)]


def test_outcomes_stand_by_level_where_the_feature_is_a_segment_alone(pages: TestClient, seeded: Seeded) -> None:
    counted = "each interval is of its level alone"
    assert counted not in pages.get(LINKS.feature(seeded.drifting, "amount", range_="all")).text
    assert counted in pages.get(LINKS.feature(seeded.drifting, "plan", range_="all")).text


def test_a_cause_in_a_segment_leads_to_the_segment(seeded_engine: Engine, seeded: Seeded) -> None:
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        alert = list_alerts(connection, 1, limit=1)[0][0]
        page = alert_page.load(connection, 1, alert.id, clock.now(), LINKS)
    chart = next(one.chart for one in page.causes if one.chart is not None)
    cause = alerts.Cause("psi", "amount", "plan:pro", 0.4, 0.3, 0.5, 1.0, "")
    shown = alert_causes.shown(model, alert, cause, {}, chart, LINKS)
    assert shown.url == LINKS.segment(model.name, "plan:pro", feature="amount")
    worse = alerts.Cause("accuracy", None, "plan:pro", -0.4, -0.5, -0.3, 1.0, "")
    shown = alert_causes.shown(model, alert, worse, {}, chart, LINKS)
    assert shown.url == LINKS.segment(model.name, "plan:pro", metric="accuracy") + "#performance"
    missing = alerts.Cause("missing_share", "amount", None, 0.4, 0.3, 0.5, 1.0, "")
    shown = alert_causes.shown(model, alert, missing, {}, chart, LINKS)
    assert shown.url == LINKS.feature(model.name, "amount") + "#missing_share", "below what is seen at first"
    gone = alert_causes.shown(model, alert, cause, {}, None, LINKS)
    assert gone.url == LINKS.feature(model.name, "amount")


def test_a_cause_of_the_whole_model_leads_to_the_chart_that_shows_it(seeded_engine: Engine, seeded: Seeded) -> None:
    with reading(seeded_engine) as connection:
        model = get_model(connection, 1, seeded.drifting)
        alert = list_alerts(connection, 1, limit=1)[0][0]
    drawn = {
        "calibration_error": "#calibration",
        "log_loss": "?metric=log_loss#performance",
        "volume": "#traffic",
        "latency": "#latency",
        "classifier_auc": "#drift",
    }
    for metric, place in drawn.items():
        cause = alerts.Cause(metric, None, None, 0.4, 0.3, 0.5, 1.0, "")
        assert alert_causes.shown(model, alert, cause, {}, None, LINKS).url == LINKS.model(model.name) + place


def test_a_segment_begins_with_the_feature_that_a_cause_names(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    """Whatever moved more."""
    address = LINKS.segment(seeded.drifting, "plan:pro", range_="all")
    usual = drift_of(pages.get(address).text)
    least = "2013-01-01"
    assert least in usual["layout"]["yaxis"]["ticktext"][1:] and "shapes" not in usual["layout"]
    text = f"`{least}` moved where `plan` is 'pro', since Sunday 2026-03-15 00:00 Europe/Berlin"
    cause = {"metric": "psi", "feature": least, "segment": "plan:pro", "share": 0.1, "text": text}
    with writing(seeded_engine) as connection:
        other = {**cause, "feature": "amount", "text": "another one"}
        causes = json.dumps([other, cause])
        connection.execute(sa.update(t.alert).where(t.alert.c.family == "features").values(causes=causes))
    alert = re.search(r'href="(/alerts/[^"]+)">Inputs changed', pages.get("/alerts").text)
    assert alert is not None
    link = re.findall(r'<h3><a href="([^"]+)"', pages.get(alert[1]).text)[1]
    html = pages.get(unescape(link)).text
    drawn = drift_of(html)
    assert drawn["layout"]["yaxis"]["ticktext"][0] == least and drawn["layout"]["shapes"][0]["y1"] == 0.5
    charts = re.findall(r'<figure class="card chart[^"]*" id="(\w+)"', html)
    assert charts[0] == "drift", "nothing has to be searched for"
    above = html.partition('aria-label="Time range"')[0]
    assert f"<code>{least}</code> moved" in above and "another one" not in above, "the cause is told at the top"
    assert all(f"feature={quote_plus(least)}" in url for url in re.findall(r'<a href="([^"]+)"[^>]*>(?:24h|7d)<', html))
    assert pages.get(f"{address}&feature=never").status_code == 422


def drift_of(html: str) -> dict[str, Any]:
    found = re.search(r'id="figure-drift">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["</script><b>$x$</b>:<i>x</i>", "plan:a/b", "plan:..", "plan:\u202e%41"])
def test_a_segment_may_have_any_name(name: str, pages: TestClient, seeded: Seeded) -> None:
    answer = pages.get(LINKS.segment(seeded.drifting, name, range_="all"))
    assert answer.status_code in (200, 404)
    assert "<i>x</i>" not in answer.text
