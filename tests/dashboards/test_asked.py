"""What an address asks for in vain is told on a page; nothing is silently taken for something else."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient

from dashboards.links import Links
from tests.dashboards.seeded import Seeded

LINKS = Links()
PAGES = ("", "/features", "/features/amount", "/segments", "/segments/plan:pro", "/versions", "/rows")


def told(html: str) -> str:
    """What a page says, as text."""
    return unescape(re.sub(r"<[^>]+>", "", html.partition("<main")[2])).replace("\n", " ")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_with_a_stretch_says_which_ranges_it_knows(pages: TestClient, page: str) -> None:
    answer = pages.get(f"/models/churn{page}?range=7x")
    assert answer.status_code == 422 and "<h1>This address was not understood</h1>" in answer.text
    assert "range must be one of 24h, 7d, 30d, 90d, all. Do you mean 7d?" in told(answer.text)
    assert pages.get(f"/models/churn{page}?range=").status_code == 200, "a form sends what was left empty"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/alerts?state=fireing", "state must be one of firing, acknowledged, resolved. Do you mean firing?"),
        ("/?sort=trafic", "sort must be one of name, health, traffic, labelled, alerts, last, with - in front"),
        ("/?sort=-trafic", "Do you mean traffic?"),
        ("/?page=zero", "page must be a whole number"),
        ("/models/churn?metric=roc", "metric must be one of roc_auc"),
        ("/models/churn/features/amount?effect=roc", "effect must be one of roc_auc"),
        ("/models/churn/rows?feature=never", "feature is none of the model's"),
        ("/models/churn/versions?pairs=no", "pairs must be one of yes"),
        ("/models/churn?from=yesterday", "from is not a time; for instance 2026-01-31T12:00:00Z"),
        ("/models/churn?range=7d&from=2026-03-05", "range cannot be asked for beside from and to"),
        ("/alerts?after=behind", "after is no place in this list"),
        ("/audit?after=behind", "after is no place in this list"),
        ("/models/churn?rnage=30d", "rnage is not a parameter of this page. Do you mean range?"),
        ("/alerts?stat=firing", "stat is not a parameter of this page. Do you mean state?"),
    ],
)
def test_what_is_mistyped_is_named_with_what_is_known(pages: TestClient, address: str, said: str) -> None:
    answer = pages.get(address)
    assert answer.status_code == 422 and said in told(answer.text)
    assert "yesterday" not in answer.text.partition("<main")[2], "what was sent is not repeated"


def test_what_was_not_understood_is_left_out_by_a_click(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.features(seeded.drifting, q="a&b", range_="7x")).text
    link = re.search(r'class="button primary" href="([^"]+)">Open the page without it', html)
    assert link is not None and unescape(link[1]) == LINKS.features(seeded.drifting, q="a&b")
    assert pages.get(unescape(link[1])).status_code == 200
    assert "without it" not in pages.get("/models/nowhere").text


@pytest.mark.parametrize("address", ["/login?token=x", "/?q=", "/alerts?state=firing", "/models/churn/rows?range=7d"])
def test_what_a_mail_program_or_a_chat_adds_to_a_link_is_passed_over(pages: TestClient, address: str) -> None:
    assert pages.get(f"{address}&utm_source=mail&fbclid=1&ref=chat").status_code == 200


def test_every_link_of_an_alert_is_understood(pages: TestClient, seeded: Seeded) -> None:
    for alert in re.findall(r'href="(/alerts/[^"?]+)"', pages.get("/alerts").text):
        for link in re.findall(r'href="(/[^"]+)"', pages.get(alert).text.partition("<main")[2]):
            assert pages.get(unescape(link)).status_code == 200, link


@pytest.mark.parametrize("address", ["/models/nowhere", "/nowhere", "/?sort=x"])
def test_an_error_is_shown_in_the_frame_of_every_page(pages: TestClient, address: str) -> None:
    html = pages.get(address, headers={"accept": "text/html"}).text
    assert re.search(r'class="badge">\d+<span class="hidden"> open', html), "how many alerts are open"
    assert 'href="/settings"' in html, "an admin finds the settings"
    assert "<summary>Share" not in html and "Make a link" not in html, "an error is nothing to share"


def test_an_error_knows_the_section_that_it_is_in(pages: TestClient) -> None:
    assert 'href="/alerts" aria-current="page"' in pages.get("/alerts/none").text
    assert 'aria-current="page"' not in pages.get("/nowhere", headers={"accept": "text/html"}).text


def test_a_page_that_is_not_there_leads_to_the_nearest(pages: TestClient) -> None:
    def links(address: str) -> list[str]:
        answer = pages.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 404
        return re.findall(r'<p>[^<]*<a href="([^"]+)">', answer.text.partition("<main")[2])

    below = ["/models/churn/features", "/models/churn"]
    assert links("/models/chrun") == links("/models/Churn") == ["/models/churn"]
    assert links("/models/churn/features/amuont") == ["/models/churn/features/amount", *below]
    assert links("/models/churn/segments/plan:never") == links("/models/churn/featurs") == below
    assert links("/models/%3Cimg%20src=x%3E") == links("/models") == links("/modles") == links("/alerts/churn") == []


def test_who_is_not_logged_in_is_told_no_names(pages: TestClient) -> None:
    del pages.headers["authorization"]
    answer = pages.get("/models/chrun", headers={"accept": "text/html"})
    assert answer.status_code == 303 and "churn" not in answer.text
