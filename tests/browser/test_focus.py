"""Tab goes through every page as the eye does, nothing is left out or hidden, and each stop shows where one is."""

from dataclasses import dataclass

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Running
from tests.browser.test_access import plain, still

__all__ = ["plain"]

pytestmark = pytest.mark.browser

PAGES = (
    "models",
    "model",
    "model without rows",
    "features",
    "numeric feature",
    "segments",
    "segment",
    "versions",
    "rows",
    "alerts",
    "alert of inputs",
    "silences",
    "channels",
    "slices that were found",
    "monthly reports",
    "month",
    "shared links",
    "settings",
    "health",
)
MOST = 600  # stops of a page

# What can be reached by Tab: rendered, not disabled, not in closed details, one radio of a group.
REACHABLE = """() => {
  const found = document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, textarea, summary, iframe, [tabindex]");
  return [...found].filter((one) => one.tabIndex >= 0 && !one.disabled && !one.closest("dialog:not([open])")
    && one.checkVisibility({visibilityProperty: true})).map((one) => (one.dataset.stop = "", one)).length;
}"""

# The stop that has the focus: its ring, whether something lies over it, and whether it was one of those counted.
HERE = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const [x, y] = [box.left + Math.min(box.width, innerWidth) / 2, box.top + Math.min(box.height, 40) / 2];
  const top = document.elementFromPoint(x, y);
  const again = one.dataset.seen !== undefined;
  if (!again) one.dataset.seen = window.stops = (window.stops || 0) + 1;
  return {text: one.outerHTML.slice(0, 140), ring, again, counted: one.dataset.stop !== undefined,
          covered: !(top && (one.contains(top) || top.contains(one) || top.closest("label")?.control === one))};
}"""

# Pairs of stops that follow each other though the second stands before the first. At every level of nesting what comes
# next begins lower, or in the same line to the right: so the boxes within the nearest common box are compared.
ASTRAY = """() => {
  const boxes = (one) => one.getClientRects().length ? one.getBoundingClientRect() : null;
  const chain = (one) => { const found = []; for (; one; one = one.parentElement) found.unshift(one); return found; };
  const stops = [...document.querySelectorAll("[data-seen]")].sort((a, b) => a.dataset.seen - b.dataset.seen);
  const wrong = [];
  for (let i = 1; i < stops.length; i++) {
    const [a, b] = [chain(stops[i - 1]), chain(stops[i])];
    let at = 0;
    while (a[at] === b[at] && at < a.length && at < b.length) at++;
    const [first, second] = [boxes(a[at] || stops[i - 1]), boxes(b[at] || stops[i])];
    if (!a[at] || !b[at] || !first || !second || a[at].matches(".skip")) continue;
    const lower = second.top > first.top + 2;
    const sameLine = second.bottom > first.top + 2 && second.left >= first.left - 2;
    if (!lower && !sameLine) wrong.push([stops[i - 1], stops[i]].map((one) => one.outerHTML.slice(0, 90)).join(" -> "));
  }
  return wrong;
}"""


@dataclass
class Walk:
    """What was met on the way through a page by Tab."""

    reachable: int
    stops: list[dict[str, object]]
    astray: list[str]

    @property
    def complaints(self) -> list[str]:
        found = [f"no ring: {one['text']}" for one in self.stops if not one["ring"]]
        found += [f"covered: {one['text']}" for one in self.stops if one["covered"]]
        found += [f"backwards: {pair}" for pair in self.astray]
        if (reached := sum(bool(one["counted"]) for one in self.stops)) != self.reachable:
            found.append(f"{reached} of {self.reachable} stops are reached")
        return found


def walk(page: Page) -> Walk:
    """From the top of the page by Tab until it comes around."""
    reachable = page.evaluate(REACHABLE)
    stops: list[dict[str, object]] = []
    for _ in range(MOST):
        page.keyboard.press("Tab")
        here = page.evaluate(HERE)
        if here is None or here["again"]:
            break
        stops.append(here)
    return Walk(reachable, stops, page.evaluate(ASTRAY))


def test_tab_goes_through_every_page_in_the_order_of_the_eye_and_shows_where_it_is(
    plain: Page, running_app: Running, all_pages: dict[str, str]
) -> None:
    found = {}
    for name in PAGES:
        plain.goto(running_app.base_url + all_pages[name])
        still(plain)
        found[name] = walk(plain).complaints
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_tab_goes_through_a_narrow_page_too(plain: Page, running_app: Running, all_pages: dict[str, str]) -> None:
    plain.set_viewport_size({"width": 390, "height": 844})
    found = {}
    for name in ("models", "model", "alert of inputs", "channels"):
        plain.goto(running_app.base_url + all_pages[name])
        still(plain)
        found[name] = walk(plain).complaints
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_no_element_has_an_order_of_its_own(plain: Page, running_app: Running, all_pages: dict[str, str]) -> None:
    for name in PAGES:
        plain.goto(running_app.base_url + all_pages[name])
        assert plain.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0, name


def test_the_first_stop_leads_past_the_head_of_the_page(
    plain: Page, running_app: Running, all_pages: dict[str, str]
) -> None:
    for name in ("models", "model", "alert of inputs"):
        plain.goto(running_app.base_url + all_pages[name])
        still(plain)
        plain.keyboard.press("Tab")
        skip = plain.locator("a.skip")
        assert plain.evaluate("document.activeElement.className") == "skip" and skip.is_visible()
        box = skip.bounding_box()
        assert box is not None and box["x"] >= 0 and box["y"] >= 0, "it comes into sight"
        plain.keyboard.press("Enter")
        assert plain.evaluate("document.activeElement.id") == "main"
        plain.keyboard.press("Tab")
        assert plain.evaluate("!!document.activeElement.closest('main') && document.activeElement.id !== 'main'")
