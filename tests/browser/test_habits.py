"""What people do by habit: zoom by dragging, walk by keys, copy numbers, leave a page open; pages without scripts."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from dashboards.links import Links
from monitor import clock
from tests.browser.conftest import Running, Watched, log_in
from tests.dashboards.seeded import FEATURES

pytestmark = pytest.mark.browser
LINKS = Links()


def query_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def drawn(page: Page, key: str) -> dict[str, float]:
    """The box of a chart's plane, drawn and in sight."""
    page.locator(f"#{key}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{key} .plot[data-zoom] svg.main-svg")
    box = page.locator(f"#{key} .nsewdrag").first.bounding_box()
    assert box is not None
    return dict(box)


def test_dragging_over_a_chart_shows_that_time_in_all_charts_and_the_address_keeps_it(
    desk: Watched, running_app: Running
) -> None:
    page = desk.open(LINKS.model(running_app.model, range_="all", metric="accuracy"))
    box = drawn(page, "traffic")
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.25 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], middle, steps=6)
    page.mouse.up()
    page.wait_for_url("**from=**#traffic")
    query = query_of(page)
    assert query["metric"] == ["accuracy"] and "range" not in query
    length = clock.parse(query["to"][0]) - clock.parse(query["from"][0])
    assert 3 * clock.DAY < length < 6 * clock.DAY  # a quarter of 18 days
    page.get_by_role("link", name="Zoom out").click()
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query)["from"] != query["from"])
    assert query_of(page)["metric"] == ["accuracy"]
    assert desk.wrong == []


def test_a_click_on_a_point_opens_its_window(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.model(running_app.model, range_="all"))
    box = drawn(page, "traffic")
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"])
    page.wait_for_selector("#traffic .hoverlayer text")
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"])
    page.wait_for_url("**from=**#traffic")
    query = query_of(page)
    assert clock.parse(query["to"][0]) - clock.parse(query["from"][0]) == 6 * clock.HOUR
    assert desk.wrong == []


def test_a_chosen_stretch_is_walked_by_keys(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.model(running_app.model))
    page.keyboard.press("[")
    page.wait_for_url("**from=**")
    first = query_of(page)
    page.keyboard.press("]")
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query)["from"] == first["to"])
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_lists_are_searched_and_walked_by_keys(desk: Watched, running_app: Running) -> None:
    page = desk.open(LINKS.features(running_app.model, range_="all"))
    page.keyboard.press("/")
    page.keyboard.type("<IMG")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=**")
    assert page.locator("tbody tr").count() == 1
    page = desk.open(LINKS.features(running_app.model, range_="all"))
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    name = page.locator("tbody tr .main a").first.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    assert page.locator("h1").inner_text() == name
    assert desk.wrong == []


def test_numbers_of_a_chart_are_copied(desk: Watched, running_app: Running) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=running_app.base_url)
    page = desk.open(LINKS.model(running_app.model, range_="all"))
    drawn(page, "drift")
    page.locator("#drift summary").click()
    page.locator("#drift .copies button", has_text="CSV").click()
    page.wait_for_selector("#drift .copies button:has-text('Copied')")
    lines = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert len(lines) == 1 + len(FEATURES)
    assert any(line.startswith("<img src=x onerror=alert(1)>,") for line in lines)
    page.locator("#drift .copies button", has_text="JSON").click()
    page.wait_for_timeout(200)
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["data"][0]["type"] == "heatmap"
    with page.expect_download() as download:
        page.locator("#drift .copies button", has_text="PNG").click()
    assert download.value.suggested_filename == "drift.png"
    assert desk.wrong == []


def test_a_distribution_is_copied_as_shares_of_its_bins(desk: Watched, running_app: Running) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=running_app.base_url)
    page = desk.open(LINKS.feature(running_app.model, "amount", range_="all"))
    page.wait_for_selector("#distribution svg.main-svg")
    page.locator("#distribution summary").click()
    page.locator("#distribution .copies button", has_text="CSV").click()
    page.wait_for_selector("#distribution .copies button:has-text('Copied')")
    head, *lines = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert head == "from,to,now,reference"
    bins = [[float(cell) for cell in line.split(",")] for line in lines]
    assert [one[1] for one in bins[:-1]] == [one[0] for one in bins[1:]], "each bin ends where the next begins"
    for column in (2, 3):
        assert sum(one[column] for one in bins) == pytest.approx(1, abs=1e-3)
    assert desk.wrong == []


def test_an_open_page_stays_up_to_date_without_being_loaded_again(desk: Watched, running_app: Running) -> None:
    page = desk.context.new_page()
    page.clock.install()
    page.goto(running_app.base_url + LINKS.model(running_app.model, range_="all"))
    page.wait_for_selector("#traffic svg.main-svg")
    page.evaluate("window.kept = true; document.querySelector('main').append('an earlier state')")
    page.clock.fast_forward(61_000)
    page.wait_for_function("() => !document.querySelector('main').textContent.includes('an earlier state')")
    assert page.evaluate("window.kept") is True
    page.clock.run_for(2_000)
    page.wait_for_selector("#traffic svg.main-svg")
    assert page.locator("#traffic .copies").count() == 1
    assert desk.wrong == []


def renewed(page: Page, marked: str) -> bool:
    """Whether the page was renewed in the minutes that pass now; `marked` stands in it until then."""
    for _ in range(3):
        page.clock.fast_forward(61_000)
        page.wait_for_timeout(0)
    try:
        page.wait_for_function(
            "text => !document.querySelector('main').textContent.includes(text)", arg=marked, timeout=3_000
        )
    except PlaywrightTimeout:
        return False
    return True


def test_a_form_that_somebody_fills_in_is_not_renewed_away(desk: Watched, running_app: Running) -> None:
    page = desk.context.new_page()
    page.clock.install()
    page.goto(running_app.base_url + LINKS.model(running_app.model, range_="all"))
    page.wait_for_selector("#traffic svg.main-svg")
    page.evaluate("document.querySelector('main').append('an earlier state')")
    page.locator("#monitors summary").first.click()
    name = page.locator("#monitors input[name=name]")
    name.fill("half-way")
    name.blur()
    assert not renewed(page, "an earlier state")
    page.locator("#monitors summary").first.click()
    assert not renewed(page, "an earlier state"), "what is written stays, though it is folded away"
    assert name.input_value() == "half-way"
    name.evaluate("field => (field.value = '')")
    assert renewed(page, "an earlier state")
    assert desk.wrong == []


def test_a_page_stays_as_it_is_while_the_service_is_overloaded(desk: Watched, running_app: Running) -> None:
    page = desk.context.new_page()
    page.clock.install()
    address = running_app.base_url + LINKS.model(running_app.model, range_="all")
    page.goto(address)
    page.wait_for_selector("#traffic svg.main-svg")
    page.evaluate("document.querySelector('main').append('an earlier state')")
    page.route(address, lambda route: route.fulfill(status=503, body="later"))
    assert not renewed(page, "an earlier state")
    page.unroute(address)
    assert renewed(page, "an earlier state")


@pytest.fixture
def scriptless(chromium: Browser, running_app: Running) -> Iterator[Watched]:
    """A browser that runs no scripts."""
    watched = log_in(chromium, running_app, java_script_enabled=False, viewport={"width": 1100, "height": 800})
    yield watched
    watched.context.close()


def test_without_scripts_charts_say_so_and_their_numbers_are_there(scriptless: Watched, running_app: Running) -> None:
    page = scriptless.open(LINKS.model(running_app.model, range_="all"))
    assert "Charts need JavaScript" in (page.locator("#traffic").text_content() or "")
    assert page.locator("#traffic tbody tr").first.is_visible()
    page.get_by_text("Choose", exact=True).click()
    page.locator(".pick input[name=from]").fill("2026-03-06T00:00")
    page.locator(".pick input[name=to]").fill("2026-03-07T00:00")
    page.get_by_role("button", name="Show").click()
    assert query_of(page)["from"] == ["2026-03-06T00:00"]
    assert "6 Mar 2026, 00:00 – 7 Mar 2026, 00:00" in page.locator(".between").inner_text()
    page.get_by_role("link", name="All features").click()
    page.locator("input[type=search]").fill("amount")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="amount").click()
    assert page.locator("h1").inner_text() == "amount"
