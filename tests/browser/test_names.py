"""Five hundred hostile names on every page, in a real browser: nothing runs, becomes markup or overflows."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from dashboards.links import Links
from tests.browser import hostile
from tests.browser.conftest import Watched, installation, new_login, open_session, serving
from tests.browser.hostile import LEVEL_FEATURES, LEVELS, MODELS, NAMED, NAMES, PSEUDO_HTML, Hostile, plain

pytestmark = pytest.mark.browser
LINKS = Links()
DRAWN = (0, 20)  # pages of levels whose charts are drawn too
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

# What a page shows, and what on it no template of ours has made.
LOOK = """() => {
  const known = new Set(`a article aside bdi br button circle code dd details dialog div dl dt fieldset figcaption
    figure footer form g h1 h2 h3 h4 header i iframe input kbd label legend li line main nav noscript ol option p path
    pre rect script section select small span strong style summary svg table tbody td textarea th thead time title tr
    ul clipPath defs text tspan polyline polygon symbol use abbr output progress datalist`.split(/\\s+/));
  const foreign = [];
  for (const one of document.body.querySelectorAll("*")) {
    if (!known.has(one.localName) && !one.matches(".plot image")) foreign.push(`<${one.localName}>`);
    for (const { name, value } of one.attributes) {
      if (/^on/i.test(name)) foreign.push(`${one.localName} ${name}`);
      const leads = /(href|src|action)$/.test(name) && !one.matches(".plot *");
      if (leads && !/^([/?#]|https?:)/.test(value)) foreign.push(`${name}=${value}`);
    }
  }
  for (const script of document.querySelectorAll("body script")) {
    if (script.type !== "application/json") foreign.push("a script");
  }
  for (const one of document.querySelectorAll("bdi > *")) {
    if (one.localName !== "code") foreign.push(`bdi ${one.localName}`);
  }
  for (const one of document.querySelectorAll(".plot svg a, .plot svg tspan[style], .plot svg tspan[dy^='-']")) {
    foreign.push(`drawn as markup: ${one.textContent}`);
  }
  const wide = document.documentElement.scrollWidth - innerWidth;
  return { foreign, wide, text: document.body.textContent };
}"""


@dataclass(frozen=True)
class Installation:
    made: Hostile
    desk: Watched
    phone: Watched


@pytest.fixture(scope="module")
def named(migrated_file: object, tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Installation]:
    """The installation of hostile names, and somebody of such a name at a desk and on a phone."""
    with installation(migrated_file, tmp_path_factory.mktemp("hostile")) as (engine, settings):
        made = hostile.seed(engine, settings)
        with serving(engine, settings) as url:
            desk, phone = (
                open_session(chromium, url, new_login(engine, url, PSEUDO_HTML[20]), viewport=size)
                for size in (DESK, PHONE)
            )
            yield Installation(made, desk, phone)
            desk.context.close()
            phone.context.close()


@pytest.fixture
def wrong(named: Installation) -> list[str]:
    """What goes wrong during a test, in both windows."""
    named.desk.wrong.clear()
    named.phone.wrong = named.desk.wrong
    return named.desk.wrong


def look(page: Page, url: str, expected: Iterable[str] = (), draw: str = ".plot[data-figure]") -> None:
    """Open the address, draw the charts that `draw` selects, and check what the page shows: every expected name as it
    was written. Without `draw` Plotly's script is not run, which takes most of a page's time."""
    page.goto(url)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    for plot in page.locator(draw).all() if draw else ():
        plot.scroll_into_view_if_needed()
        page.wait_for_function("(plot) => plot.querySelector('svg.main-svg')", arg=plot.element_handle())
    seen = page.evaluate(LOOK)
    assert seen["foreign"] == [], url
    assert seen["wide"] <= 0, f"{url} is {seen['wide']} pixels too wide"
    text = plain(seen["text"].replace("`", ""))
    missing = [name for name in expected if plain(name.replace("`", "")) not in text]
    assert missing == [], url


def test_the_checks_notice_what_they_are_for(named: Installation, wrong: list[str]) -> None:
    page = named.desk.open("/")
    assert wrong == []
    page.evaluate("""document.querySelector("main").innerHTML = "<bdi><img src=x onerror=alert(1)></bdi>" """)
    page.wait_for_timeout(200)
    assert any(line.startswith("CSP: script-src-attr") for line in wrong)
    assert {"<img>", "img onerror", "bdi img", "src=x"} <= set(page.evaluate(LOOK)["foreign"])
    page.evaluate("document.body.style.width = '3000px'")
    assert page.evaluate(LOOK)["wide"] > 0
    open_page = named.desk.context.new_page()
    open_page.set_content("<img src=x onerror=alert(1)>")
    open_page.wait_for_function("() => document.readyState === 'complete'")
    assert any(line.startswith("a dialog") for line in wrong)
    open_page.close()
    page.close()


def test_pages_that_list_names_show_all_of_them_as_they_were_written(named: Installation, wrong: list[str]) -> None:
    base, made = named.desk.base_url, named.made
    for watched in (named.desk, named.phone):
        page = watched.context.new_page()
        look(page, base + LINKS.features(NAMED, range_="all"), NAMES)
        look(page, base + LINKS.segments(LEVELS, range_="all"), [*NAMES[:20], *NAMES[-20:]])
        look(page, base + LINKS.alert(made.commented), NAMES)
        look(page, base + LINKS.channels(), NAMES[:100])
        look(page, base + LINKS.silences(), NAMES[:200])
        look(page, base + "/", sorted([*MODELS, NAMED, LEVELS])[:50])
        look(page, base + LINKS.home("named"))
        for path in ("/alerts", "/doctor", LINKS.model(NAMED, range_="all"), LINKS.model(LEVELS, range_="all")):
            look(page, base + path)
        page.close()
    assert wrong == []


@pytest.fixture
def plain_page(named: Installation) -> Iterator[Page]:
    """A page that is given an empty script in place of Plotly's."""
    page = named.phone.context.new_page()
    page.route("**/plotly-*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    yield page
    page.close()


def part_of(index: int) -> list[str]:
    return NAMES[index * hostile.PARTS : (index + 1) * hostile.PARTS]


def test_every_level_is_shown_as_it_was_written(named: Installation, plain_page: Page, wrong: list[str]) -> None:
    page = named.desk.context.new_page()
    for index, feature in enumerate(LEVEL_FEATURES):
        url = named.desk.base_url + LINKS.feature(LEVELS, feature, range_="all")
        if index in DRAWN:
            look(page, url, part_of(index), "#distribution .plot")
        else:
            look(plain_page, url, part_of(index), "")
    page.close()
    assert wrong == []


def test_pages_of_single_names_show_them_as_they_were_written(
    named: Installation, plain_page: Page, wrong: list[str]
) -> None:
    """Plotly's pseudo-HTML and a sample of the others; `KEEPWATCH_EVERY_NAME=1` opens the page of every one."""
    page = named.desk.context.new_page()
    look(page, named.desk.base_url + LINKS.alert(named.made.caused[0]), NAMES[: hostile.CAUSES])
    look(page, named.desk.base_url + LINKS.feature(NAMED, PSEUDO_HTML[0], range_="all"), [PSEUDO_HTML[0]])
    page.close()
    for place in range(1, len(named.made.caused), 16):
        names = NAMES[place * hostile.CAUSES :][: hostile.CAUSES]
        look(plain_page, named.phone.base_url + LINKS.alert(named.made.caused[place]), names, "")
    for name in NAMES[1:] if os.environ.get("KEEPWATCH_EVERY_NAME") else [*PSEUDO_HTML[1:], *NAMES[80::80]]:
        look(plain_page, named.phone.base_url + LINKS.feature(NAMED, name, range_="all"), [name], "")
    assert wrong == []
