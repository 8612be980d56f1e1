"""Pages for everybody: what axe-core says of them, light and dark, and what keys, fingers and small screens need."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.routing import APIRoute, APIRouter
from playwright.sync_api import Browser, Page
from starlette.routing import Match

from dashboards import routes
from tests.browser.conftest import Running, Watched, log_in

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
FILES = ("/html", "/pdf")  # routes that give a file to keep
COLOURS = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
AXE = Axe()


def complaints(page: Page, options: dict[str, object]) -> list[str]:
    """What axe-core finds, a line for each rule and element."""
    found = AXE.run(page, options=options).response["violations"]
    return [
        f"{one['impact']} {one['id']}: {node['html'][:150]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]


def still(page: Page) -> None:
    """Without transitions, so that colours are read as they will be."""
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")


@pytest.fixture
def plain(desk: Watched) -> Iterator[Page]:
    """A page that is given an empty script in place of Plotly's, which takes most of a page's time."""
    page = desk.context.new_page()
    page.route("**/plotly-*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    yield page
    page.close()


def every_page(router: APIRouter) -> Iterator[APIRoute]:
    """Every route that answers GET, those of included routers too."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from every_page(inner)
        elif isinstance(route, APIRoute) and "GET" in route.methods:
            yield route


def test_the_list_of_pages_is_whole(all_pages: dict[str, str]) -> None:
    addresses = [{"type": "http", "method": "GET", "path": url.partition("?")[0]} for url in all_pages.values()]
    for route in every_page(routes.router):
        if not route.path.startswith("/static/") and not route.path.endswith(FILES):
            assert any(route.matches(one)[0] is Match.FULL for one in addresses), f"no test opens {route.path}"


def test_axe_finds_nothing_on_any_page_light_or_dark(
    desk: Watched, plain: Page, running_app: Running, all_pages: dict[str, str]
) -> None:
    found = {}
    for name, path in all_pages.items():
        plain.emulate_media(color_scheme="light")
        plain.goto(running_app.base_url + path)
        still(plain)
        found[name] = complaints(plain, RULES)
        plain.emulate_media(color_scheme="dark")
        found[f"{name}, dark"] = complaints(plain, COLOURS)
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_axe_finds_nothing_on_drawn_pages_of_a_phone(
    chromium: Browser, running_app: Running, all_pages: dict[str, str]
) -> None:
    watched = log_in(chromium, running_app, viewport={"width": 390, "height": 844})
    for name in ("model", "alert of inputs"):
        page = watched.open(all_pages[name])
        page.wait_for_selector("svg.main-svg")
        assert complaints(page, RULES) == []
        page.close()
    watched.context.close()
