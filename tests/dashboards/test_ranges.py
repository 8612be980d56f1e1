"""The stretch that a page shows: links to the ones around it, a form to choose one, and search beside it."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from dashboards.pages.stretch import Stretch
from monitor import clock
from monitor.store.catalog import put_model
from monitor.store.session import writing
from tests.dashboards.seeded import FEATURES, HOSTILE, Seeded

LINKS = Links()
DAY = clock.parse("2026-03-05T00:00:00Z")


def around(page: str) -> dict[str, str]:
    """The links beside the named ranges, by their names."""
    found = re.findall(r'<a href="([^"]+)" title="[^"]+" data-key=.*?class="hidden">([^<]+)<', page)
    return {name: unescape(url) for url, name in found}


def test_earlier_and_later_touch_and_wider_holds_the_stretch() -> None:
    shown = Stretch(DAY, DAY + clock.DAY, "", clock.HOUR)
    assert shown.earlier == {"from_": "2026-03-04T00:00:00Z", "to": "2026-03-05T00:00:00Z"}
    assert shown.later == {"from_": "2026-03-06T00:00:00Z", "to": "2026-03-07T00:00:00Z"}
    assert shown.wider == {"from_": "2026-03-04T12:00:00Z", "to": "2026-03-06T12:00:00Z"}


def test_the_pages_beside_a_model_show_the_stretch_that_it_shows(pages: TestClient, seeded: Seeded) -> None:
    chosen = {"from_": "2026-03-05T23:00:00Z", "to": "2026-03-07T23:00:00Z"}
    for query in ({"range_": "30d"}, chosen):
        page = unescape(pages.get(LINKS.model(seeded.drifting, **query)).text)
        assert f'href="{LINKS.features(seeded.drifting, **query)}">All features' in page
        assert f'href="{LINKS.versions(seeded.drifting, **query)}">Versions side by side' in page


@pytest.mark.parametrize("model", ["churn", "fresh"])
def test_every_page_begins_with_the_same_stretch(pages: TestClient, model: str) -> None:
    address = LINKS.model(model)
    for page in ("", "/features", "/segments", "/rows"):
        html = pages.get(address + page).text
        chosen = re.search(r'aria-current="true">(24h|7d|30d|90d|all)<', html)
        assert chosen is not None and chosen[1] == "30d", page  # windows of six hours
        assert page == "" or f'href="{address}?range=30d">{model}</a></nav>' in html, "the way back keeps it"


@pytest.mark.parametrize("to", ["1970-01-02T00:00:00Z", "2199-12-30T00:00:00Z"])
def test_at_the_ends_of_time_every_link_still_leads_somewhere(pages: TestClient, seeded: Seeded, to: str) -> None:
    at = clock.parse(to)
    page = pages.get(LINKS.model(seeded.drifting, from_=clock.render(at - clock.DAY), to=to))
    for url in around(page.text).values():
        assert pages.get(url).status_code in (200, 422), url


def test_the_links_keep_what_else_the_page_shows(pages: TestClient, seeded: Seeded) -> None:
    page = pages.get(LINKS.model(seeded.drifting, metric="brier", from_="2026-03-05", to="2026-03-06")).text
    links = around(page)
    assert set(links) == {"Earlier", "Zoom out", "Later"}
    assert all(parse_qs(urlsplit(url).query)["metric"] == ["brier"] for url in links.values())
    assert '<input type="hidden" name="metric" value="brier">' in page
    for name in FEATURES:
        shown = pages.get(LINKS.feature(seeded.drifting, name, from_="2026-03-05", to="2026-03-06"))
        for url in around(shown.text).values():
            assert f"<title>{name}" in unescape(pages.get(url).text)


def test_a_stretch_that_ends_now_has_no_later_one(pages: TestClient, seeded: Seeded) -> None:
    assert set(around(pages.get(LINKS.model(seeded.drifting)).text)) == {"Earlier", "Zoom out"}


def test_features_are_searched_in_any_case(pages: TestClient, seeded: Seeded) -> None:
    found = pages.get(LINKS.features(seeded.drifting, q="ONERROR")).text
    assert unescape(found).count(f"<bdi>{HOSTILE}</bdi>") == 1 and "<bdi>amount</bdi>" not in found
    nothing = pages.get(LINKS.features(seeded.drifting, q="<script>"))
    assert "No feature&#39;s name holds" in nothing.text or "No feature's name holds" in nothing.text
    assert "<bdi>&lt;script&gt;</bdi>" in nothing.text


def test_models_are_searched_over_all_pages(pages: TestClient, seeded_engine: Engine) -> None:
    with writing(seeded_engine) as connection:
        for number in range(60):
            put_model(connection, 1, f"other-{number:02}_x", {"task": "regression"}, DAY, "test")
    first = pages.get("/").text
    assert first.count('<th scope="row">') == 50 and 'type="search"' in first
    found = pages.get("/?q=SHEL").text
    assert found.count('<th scope="row">') == 1 and ">shell</a>" in found
    assert pages.get("/?q=_x").text.count('<th scope="row">') == 50  # an underscore is no wildcard
    rest = pages.get(LINKS.home("_x", page=2)).text
    assert rest.count('<th scope="row">') == 10 and "q=_x" in rest
    nothing = pages.get("/?q=%25").text
    assert nothing.count('<th scope="row">') == 0 and "No model's name holds" in unescape(nothing)
