"""The pages in a real browser: drawn, quiet, readable on a phone, usable by keyboard, safe from names."""

import json
import os
import time
import zlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser

from dashboards.links import Links
from monitor.store import tables as t
from monitor.store.session import writing
from tests.browser.conftest import Running, Watched, log_in
from tests.dashboards.seeded import FEATURES

pytestmark = pytest.mark.browser
LINKS = Links()


def alert_of(running: Running, family: str) -> str:
    with running.engine.connect() as connection:
        query = sa.select(t.alert.c.id).where(t.alert.c.family == family).order_by(t.alert.c.opened_at)
        return LINKS.alert(str(connection.scalars(query).first()))


def test_every_page_draws_without_a_complaint_and_fits_the_screen(session: Watched, running_app: Running) -> None:
    model = running_app.model
    for path in (
        "/",
        LINKS.model(model, range_="all"),
        LINKS.feature(model, "amount", range_="all"),
        LINKS.feature(model, "plan"),
        LINKS.features(model),
        LINKS.model(running_app.seeded.learning),
        LINKS.model(running_app.seeded.empty),
        "/alerts",
        alert_of(running_app, "features"),
        "/channels",
    ):
        page = session.open(path)
        assert page.locator("h1").count() == 1, path
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
        charts = page.locator(".plot")
        for index in range(charts.count()):
            charts.nth(index).scroll_into_view_if_needed()
            page.wait_for_function("plot => plot.querySelector('svg.main-svg')", arg=charts.nth(index).element_handle())
        page.close()
    assert session.wrong == []


def test_the_whole_navigation_is_in_sight_on_a_phone(chromium: Browser, running_app: Running) -> None:
    watched = log_in(chromium, running_app, viewport={"width": 390, "height": 844})
    links = watched.open("/").locator(".top nav a")
    boxes = [links.nth(index).bounding_box() for index in range(links.count())]
    assert len(boxes) == 7 and all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    watched.context.close()


def test_a_short_word_in_a_table_is_not_broken_and_a_long_one_is(desk: Watched) -> None:
    page = desk.open("/silences")
    cells = "".join(f"<td>{word}</td>" for word in ["pagerduty", "installation"] * 3)
    cells += '<td class="place"><bdi>https://events.pagerduty.com/…</bdi></td>'
    long = f"<td><bdi>{'x' * 256}</bdi></td>"
    lines = page.evaluate(
        """(html) => {
          document.querySelector("main").innerHTML = html;
          return [...document.querySelectorAll("td")].map((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return new Set([...range.getClientRects()].map((box) => Math.round(box.bottom))).size;
          });
        }""",
        f'<div class="card scroll"><table class="list"><tr>{cells}{long}</tr></table></div>',
    )
    assert lines[:-1] == [1] * 7 and not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert page.evaluate("document.querySelector('td:last-child bdi').getBoundingClientRect().height") > 30


def test_the_button_that_replaces_the_reference_shows_after_its_question(
    chromium: Browser, running_app: Running
) -> None:
    watched = log_in(chromium, running_app, viewport={"width": 390, "height": 844}, java_script_enabled=False)
    page = watched.open(alert_of(running_app, "features"))
    asks, does = page.get_by_text("Accept as the new normal"), page.get_by_role("button", name="Replace the reference")
    assert not does.is_visible()
    asks.click()
    does.wait_for(state="visible")
    assert page.get_by_text("for every feature and for performance").is_visible()
    watched.context.close()


def test_the_reference_of_the_api_fits_a_phone(chromium: Browser, running_app: Running) -> None:
    watched = log_in(chromium, running_app, viewport={"width": 390, "height": 844})
    page = watched.open("/")
    page.get_by_role("link", name="API").click()
    page.wait_for_url("**/docs")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    watched.context.close()


def test_no_feature_name_runs_or_becomes_markup(desk: Watched, running_app: Running) -> None:
    for name in FEATURES:
        page = desk.open(LINKS.feature(running_app.model, name, range_="all"))
        assert page.locator("h1").inner_text() == name
        assert page.locator("img").count() == 0
        page.close()
    page = desk.open(LINKS.model(running_app.model, range_="all"))
    page.locator("#drift").scroll_into_view_if_needed()
    page.wait_for_selector("#drift svg.main-svg")
    labels = page.locator("#drift .ytick text").all_text_contents()
    assert set(FEATURES) == set(labels)
    assert desk.wrong == []


def test_a_click_on_the_heat_map_opens_the_feature(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.model(running_app.model, range_="all"))
    page.locator("#drift").scroll_into_view_if_needed()
    page.wait_for_selector("#drift .plot[data-links]")
    box = page.locator("#drift .nsewdrag").first.bounding_box()
    assert box is not None
    first = page.locator("#drift .ytick text").first.text_content()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 6)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 6)
    page.wait_for_url("**/features/**")
    assert page.locator("h1").inner_text() == first


def test_the_theme_is_switched_and_kept(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.model(running_app.model))
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert desk.wrong == []


def test_the_first_key_skips_to_the_content_and_focus_can_be_seen(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.model(running_app.model))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_numbers_of_a_chart_are_there_as_a_table(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.feature(running_app.model, "amount", range_="all"))
    page.locator("#psi summary").click()
    assert page.locator("#psi tbody tr").count() >= 40
    assert page.locator("#psi td").first.is_visible()


def test_an_alert_is_acknowledged_then_resolved(desk: Watched, running_app: Running) -> None:
    page = desk.open(alert_of(running_app, "quality"))  # the others are what other tests look at
    page.get_by_role("button", name="Acknowledge").click()
    page.wait_for_selector(".title .pill:has-text('Acknowledged')")
    page.get_by_role("button", name="Resolve").click()
    page.wait_for_selector(".title .pill:has-text('Resolved')")
    assert page.locator(".timeline").inner_text().count("by anna") == 2
    assert desk.wrong == []


def test_a_report_shows_itself_in_a_frame_when_it_is_done(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.model(running_app.model))
    page.get_by_role("button", name="Evidently report of this stretch").click()
    page.wait_for_selector("[data-report]")
    html = b"<h1 id=here>Report</h1><script>try { parent.document } catch { here.id = 'ok' }</script>"
    with writing(running_app.engine) as connection:
        connection.execute(
            sa.update(t.task).values(state="done", stage="done", document=zlib.compress(html), finished_at=1)
        )
    frame = page.wait_for_selector("iframe.report")
    assert frame is not None
    inside = frame.content_frame()
    assert inside is not None
    inside.wait_for_selector("#ok")
    assert "Report" in inside.locator("h1").inner_text()


def test_a_used_login_link_says_what_to_do(chromium: Browser, running_app: Running) -> None:
    context = chromium.new_context()
    page = context.new_page()
    link = running_app.login_url()
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(running_app.base_url + "/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("text=keepwatch login")
    context.close()


def test_charts_draw_themselves_within_a_few_seconds(desk: Watched, running_app: Running) -> None:
    began = time.monotonic()
    page = desk.open(LINKS.model(running_app.model, range_="all"))
    page.wait_for_selector("#performance svg.main-svg")
    assert time.monotonic() - began < 30


def test_times_are_told_by_the_viewers_clock_with_utc_and_the_models_zone_under_the_pointer(
    chromium: Browser, running_app: Running
) -> None:
    watched = log_in(chromium, running_app, timezone_id="America/New_York")
    page = watched.open(LINKS.model(running_app.model, range_="all"))
    time_of_alert = page.locator("main .alert time").first
    here = time_of_alert.inner_text()
    utc, model = (time_of_alert.get_attribute("title") or "").split("\n")
    assert utc.endswith(" UTC") and model.endswith(" Europe/Berlin")
    shown = here, utc.removesuffix(" UTC"), model.removesuffix(" Europe/Berlin")
    told = [datetime.strptime(one, "%d %b %Y, %H:%M") for one in shown]
    assert told[1] - told[0] in (timedelta(hours=4), timedelta(hours=5))
    assert told[2] - told[1] in (timedelta(hours=1), timedelta(hours=2))
    assert page.locator(".between .zone").inner_text() == "America/New_York"
    assert page.locator("footer").inner_text() == "Times in America/New_York, under the pointer in UTC."
    watched.context.close()


def test_charts_and_their_tables_run_by_the_same_clock_and_say_which(chromium: Browser, running_app: Running) -> None:
    watched = log_in(chromium, running_app, timezone_id="America/New_York")
    page = watched.open(LINKS.model(running_app.model, from_="2026-03-05", to="2026-03-12"))
    figure = json.loads(page.locator("#figure-traffic").text_content() or "")
    shown = page.evaluate("() => document.querySelector('#traffic .plot').data[0].x")
    apart = [
        datetime.fromisoformat(utc) - datetime.fromisoformat(here) for utc, here in zip(figure["x"], shown, strict=True)
    ]
    assert apart[0] == timedelta(hours=5) and apart[-1] == timedelta(hours=4), "the clocks are changed on 8 March"
    assert page.locator("#traffic .xtitle").inner_html() == "America/New_York"
    first = page.evaluate("() => document.querySelector('#traffic tbody td').textContent")
    assert datetime.strptime(first, "%d %b %Y, %H:%M") == datetime.fromisoformat(shown[-1])
    page = watched.open(LINKS.model(running_app.model, range_="all"))
    assert "zone" not in json.loads(page.locator("#figure-traffic").text_content() or "")
    watched.context.close()


def test_notes_of_alerts_do_not_stand_over_each_other(chromium: Browser, running_app: Running) -> None:
    watched = log_in(chromium, running_app)
    page = watched.open(LINKS.model(running_app.model, range_="all"))
    page.wait_for_selector("#traffic .plot[data-ready]")
    seen = page.evaluate(
        """async () => {
            const plot = document.querySelector("#traffic .plot");
            const from = plot.layout.xaxis.range[0];
            const note = { x: from, yref: "paper", y: 1, yanchor: "bottom", xanchor: "left", showarrow: false };
            const annotations = [{ ...note, text: "first evidence" }, { ...note, text: "resolved" }];
            await Plotly.relayout(plot, { annotations });
            return [...plot.querySelectorAll(".annotation")].map((one) => getComputedStyle(one).visibility);
        }"""
    )
    assert seen == ["visible", "hidden"]
    watched.context.close()


def test_days_stay_days_of_the_models_zone(chromium: Browser, running_app: Running) -> None:
    watched = log_in(chromium, running_app, timezone_id="America/New_York")
    page = watched.open(LINKS.model(running_app.model, from_="2026-01-01", to="2026-04-15"))
    figure = json.loads(page.locator("#figure-traffic").text_content() or "")
    assert figure["zone"] == "Europe/Berlin" and figure["x"][0].endswith(" 23:00")
    shown = page.evaluate("() => document.querySelector('#traffic .plot').data[0].x")
    assert all(one.endswith(" 00:00") for one in shown)
    assert page.locator("#traffic .xtitle").inner_html() == "Europe/Berlin"
    assert ":" not in page.evaluate("() => document.querySelector('#traffic tbody td').textContent")
    watched.context.close()


def test_without_scripts_times_are_the_models_and_say_so(chromium: Browser, running_app: Running) -> None:
    watched = log_in(chromium, running_app, java_script_enabled=False, timezone_id="America/New_York")
    page = watched.open(LINKS.model(running_app.model, range_="all"))
    assert page.locator(".between .zone").inner_text() == "Europe/Berlin"
    assert "each model’s own time zone" in page.locator("footer").inner_text()
    watched.context.close()


def test_the_readme_picture_is_taken(chromium: Browser, running_app: Running, tmp_path: Path) -> None:
    """`KEEPWATCH_SCREENSHOT=docs/screenshot.png` says where it is kept."""
    path = Path(os.environ.get("KEEPWATCH_SCREENSHOT", tmp_path / "screenshot.png"))
    watched = log_in(chromium, running_app, viewport={"width": 1280, "height": 1150}, device_scale_factor=2)
    page = watched.open(LINKS.model(running_app.model, range_="all"))
    page.wait_for_selector("#performance svg.main-svg")
    page.wait_for_timeout(500)
    page.screenshot(path=path)
    assert path.stat().st_size > 50_000
    watched.context.close()
