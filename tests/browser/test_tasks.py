"""The ten things that people come for, done by clicking in a real browser, and a picture of every page in three looks.

`KEEPWATCH_SCREENSHOTS=FOLDER` says where the pictures are kept.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from dashboards.links import Links
from monitor import tasks
from monitor.alerts.payload import alert_json
from monitor.store import tables as t
from monitor.store.alerts import get_alert
from monitor.store.session import reading
from tests.browser.conftest import Running, Watched, log_in

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)
LINKS = Links()
FIRST_PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pictures."""
    folder = Path(os.environ.get("KEEPWATCH_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Person:
    """Somebody at a desk: a page whose clicks are counted and whose steps are pictured."""

    def __init__(self, watched: Watched, pictures: Path) -> None:
        self.page = watched.context.new_page()
        self.base = watched.base_url
        self.clicks = 0
        self._pictures = pictures

    def open(self, path: str) -> Page:
        self.page.goto(path if path.startswith("http") else self.base + path)
        return self.page

    def click(self, role: str, name: str | re.Pattern[str], exact: bool = False) -> None:
        self.page.get_by_role(role, name=name, exact=exact).first.click()  # type: ignore[arg-type]
        self.clicks += 1

    def sees(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()

    def keep(self, name: str) -> None:
        self.page.screenshot(path=self._pictures / f"task-{name}.png")


@pytest.fixture
def person(desk: Watched, pictures: Path) -> Iterator[Person]:
    yield Person(desk, pictures)
    assert desk.wrong == [], "no error on the console, no report of the content security policy"


def webhook_url(running: Running) -> str:
    """The address that the webhook of the alert carries."""
    with reading(running.engine) as connection:
        found = connection.scalar(sa.select(t.alert.c.id).where(t.alert.c.family == "features"))
        return str(alert_json(get_alert(connection, 1, str(found)), running.base_url)["url"])


def test_from_the_webhook_to_the_cause_in_three_clicks(person: Person, running_app: Running) -> None:
    page = person.open(webhook_url(running_app))
    person.sees("Why: 2 causes, the strongest first")
    person.click("link", "Distribution of amount")
    page.wait_for_url("**/features/amount**")
    page.wait_for_selector("#distribution svg.main-svg")
    assert "amount" in page.locator("h1").inner_text() and person.clicks <= 3
    person.keep("1-webhook-to-cause")


def test_is_everything_fine(person: Person, running_app: Running) -> None:
    page = person.open("/")
    row = page.locator("tr", has=page.get_by_role("link", name=running_app.model, exact=True))
    expect(row).to_contain_text("Critical")
    person.keep("2-everything-fine")
    person.click("link", running_app.model, exact=True)
    page.wait_for_url(f"**/models/{running_app.model}**")


def test_since_when_is_it_wrong(person: Person, running_app: Running) -> None:
    page = person.open(LINKS.model(running_app.model))
    person.click("link", "all", exact=True)
    page.wait_for_url("**range=all**")
    page.wait_for_selector("#performance svg.main-svg")
    assert "first evidence" in (page.locator("#performance").text_content() or "")
    person.keep("3-since-when")


def test_say_that_you_are_on_it(person: Person, running_app: Running) -> None:
    page = person.open(webhook_url(running_app))
    person.click("button", "Comment", exact=True)
    expect(page.locator("#comment:focus:invalid")).to_be_visible()  # nothing was said
    page.get_by_label("Comment").fill("A producer changed the unit; the fix is on its way")
    person.click("button", "Acknowledge")
    expect(page.locator(".title")).to_contain_text("Acknowledged")
    person.sees("A producer changed the unit")
    person.keep("4-acknowledged")


def test_silence_it_until_tomorrow(person: Person, running_app: Running) -> None:
    page = person.open(webhook_url(running_app))
    person.click("link", "Silence this")
    page.wait_for_url("**/silences?**")
    page.get_by_label("How long").select_option("until tomorrow, 9:00")
    page.get_by_label("Why").fill("until the fix is out")
    person.click("button", "Silence", exact=True)
    expect(page.locator("main table").first).to_contain_text("until the fix is out")
    expect(page.locator("main table td[data-name=To]").first).to_contain_text(", 09:00")  # by the clock of who asked
    person.keep("5-silenced")


def test_find_a_feature(person: Person, running_app: Running) -> None:
    page = person.open(LINKS.features(running_app.model, range_="all"))
    page.get_by_role("searchbox").fill("plan")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=plan**")
    person.click("link", "plan", exact=True)
    page.wait_for_selector("#distribution svg.main-svg")
    person.keep("6-feature")


def test_mark_a_deployment(person: Person, running_app: Running) -> None:
    page = person.open(LINKS.model(running_app.model, range_="all"))
    page.get_by_text("Mark a deployment, an incident").click()
    form = page.locator("#events form.fields")
    form.get_by_label("From").fill("2026-03-10T08:00")
    form.get_by_label("Text").fill("version 2 went out")
    form.get_by_role("button").click()
    expect(page.locator("#events")).to_contain_text("version 2 went out")
    person.keep("7-deployment")


def test_tell_a_manager_about_the_month(person: Person, running_app: Running, pictures: Path) -> None:
    page = person.open(LINKS.months(running_app.model))
    page.locator("select[name=month]").evaluate("(one) => { one.options[0].value = '2026-03'; one.selectedIndex = 0 }")
    person.click("button", "Make the report")
    person.sees("It is made in the background")
    tasks.run_pending(running_app.engine, "monthly")
    page.reload()
    person.sees("In March 2026 the model made")
    person.keep("8-month")
    page.pdf(path=pictures / "month.pdf", format="A4")
    assert (pictures / "month.pdf").read_bytes().startswith(b"%PDF")


def test_share_a_page_with_somebody_without_an_account(person: Person, chromium: Browser, running_app: Running) -> None:
    page = person.open(LINKS.model(running_app.model, range_="all"))
    page.locator(".sharing summary").click()
    person.click("button", "Make a link")
    link = page.locator("#fresh ~ .command code").inner_text()
    context = chromium.new_context()
    visitor = context.new_page()
    visitor.goto(link)
    visitor.wait_for_selector("#traffic svg.main-svg")
    expect(visitor.get_by_text("A shared page, read-only")).to_be_visible()
    assert visitor.get_by_role("button", name="Resolve").count() == 0
    badge = visitor.goto(f"{link}/badge.svg")
    assert badge is not None and badge.headers["content-type"] == "image/svg+xml"
    context.close()
    person.keep("9-shared")


def test_print_a_page(person: Person, running_app: Running, pictures: Path) -> None:
    page = person.open(LINKS.model(running_app.model, range_="all"))
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_selector("#traffic svg.main-svg")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(
        "document.querySelectorAll('.plot svg.main-svg').length >= document.querySelectorAll('.plot').length"
    )
    widths = page.evaluate("[...document.querySelectorAll('.plot .main-svg')].map((one) => one.clientWidth)")
    assert widths and set(widths) == {660}, "charts are as wide as the sheet"
    assert page.evaluate("document.documentElement.dataset.theme") == "light", "no ink for a dark ground"
    assert not page.locator(".top").is_visible() and not page.locator("#monitors form").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.pdf(path=pictures / "model.pdf", format="A4")
    person.keep("10-print")


@pytest.mark.parametrize("look", LOOKS if "KEEPWATCH_SCREENSHOTS" in os.environ else ["dark", "phone"])
def test_every_page_is_pictured_and_paints_within_a_second(
    chromium: Browser, running_app: Running, all_pages: dict[str, str], pictures: Path, look: str
) -> None:
    watched = log_in(chromium, running_app, **LOOKS[look])
    page = watched.context.new_page()
    slow = {}
    for name, path in all_pages.items():
        if name in ("link that has ended", "nothing there"):
            continue  # answered with 404, which a browser calls an error
        paints = []
        for _ in range(3):  # the machine may be busy with something else: the best counts
            page.goto(watched.base_url + path)
            paints.append(page.evaluate(FIRST_PAINT) or 0.0)
            if paints[-1] < 1000:
                break
        if min(paints) >= 1000:
            slow[name] = paints
        if page.locator(".plot").count():
            page.wait_for_selector(".plot svg.main-svg")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), name
        page.screenshot(path=pictures / f"{look}-{name.replace(' ', '-')}.png")
    assert slow == {}
    assert watched.wrong == []
    watched.context.close()
