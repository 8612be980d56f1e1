"""The rows behind a number: paged, what came last first, and no more than are asked for."""

import re
from collections.abc import Iterator

import pyarrow as pa
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links, stretch
from dashboards.pages import rows
from monitor import clock
from monitor.clock import HOUR
from monitor.store import blocks
from monitor.store import tables as t
from tests.dashboards.seeded import ROWS, START, WINDOW, Seeded
from tests.dashboards.test_lists import input_alert

LINKS = Links()
FROM, TO = START + 10 * WINDOW - HOUR, START + 12 * WINDOW - HOUR  # two windows, in Berlin's time
TWO = stretch(FROM, TO)


def ids(html: str) -> list[str]:
    return re.findall(r'<tr><th scope="row"><bdi>(.*?)</bdi>', html)


def following(html: str) -> str | None:
    found = re.search(r'<a href="([^"]*)" rel="next">Older rows', html)
    return None if found is None else found[1].replace("&amp;", "&")


def test_every_row_of_a_stretch_is_on_one_page_and_the_newest_comes_first(pages: TestClient, seeded: Seeded) -> None:
    url: str | None = LINKS.rows(seeded.drifting, **TWO)
    seen: list[str] = []
    while url is not None:
        html = pages.get(url).text
        found = ids(html)
        assert 0 < len(found) <= rows.PAGE
        seen += found
        url = following(html)
    asked = {"metric": "volume", "from": clock.render(FROM), "to": clock.render(TO)}
    assert len(seen) == pages.get(f"/v1/models/{seeded.drifting}/summary", params=asked).json()["value"] > rows.PAGE
    assert seen == sorted(set(seen), key=lambda one: [int(part) for part in one.split("-")], reverse=True)


def test_a_row_stands_with_its_outcome_and_the_feature_asked_for_first(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.rows(seeded.drifting, feature="plan", **TWO)).text
    head = html.partition("<thead>")[2].partition("</thead>")[0]
    assert head.index(">plan<") < head.index(">amount<")
    line = html.partition("<tbody>")[2].partition("</tr>")[0]
    assert re.search(r"<bdi>(yes|no)</bdi></td><td class=\"num\">0\.\d+</td><td><bdi>(yes|no)</bdi></td>", line)
    assert re.search(r'class="chosen"><bdi>(basic|plus|pro)</bdi>', line)


def test_a_stretch_without_rows_says_so(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.rows(seeded.drifting, from_="2020-01-01", to="2020-01-02")).text
    assert "No rows here" in html and "KEEPWATCH_RETENTION" in html and following(html) is None
    assert "No rows here" in pages.get(LINKS.rows(seeded.empty)).text


def test_reading_stops_where_too_many_other_rows_lie_between_and_the_next_page_goes_on(
    pages: TestClient, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = blocks.read_blocks_between

    def in_pieces(*given: object, **more: object) -> Iterator[tuple[int, pa.RecordBatch]]:
        for first, batch in real(*given, **more):  # type: ignore[arg-type]
            for start in reversed(range(0, batch.num_rows, 40)):
                yield first + start, batch.slice(start, 40)

    monkeypatch.setattr(blocks, "read_blocks_between", in_pieces)
    monkeypatch.setattr(rows, "MOST_READ", 100)
    url: str | None = LINKS.rows(seeded.drifting, **TWO)
    seen: list[str] = []
    pages_read = 0
    while url is not None:
        html = pages.get(url).text
        seen += ids(html)
        url = following(html)
        assert ("reading stopped early" in html) <= (url is not None)
        pages_read += 1
    assert pages_read > 5 and len(seen) == len(set(seen)) > rows.PAGE


def test_a_page_asks_for_no_block_of_the_pages_before_it(
    pages: TestClient, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    real = blocks.read_blocks_between

    def noted(*given: object, **more: object) -> object:
        begun.append(given[-1])
        return real(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(blocks, "read_blocks_between", noted)
    first = pages.get(LINKS.rows(seeded.drifting, **TWO)).text
    again = following(first)
    assert again is not None
    window, place = map(int, ids(first)[-1].split("-"))
    assert ids(pages.get(again).text)[0] in (f"{window}-{place - 1}", f"{window - 1}-{ROWS - 1}")
    assert begun == [None, window * ROWS + place]


def test_an_alert_leads_to_the_rows_that_show_it(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    html = pages.get(LINKS.alert(input_alert(seeded_engine))).text
    found = re.search(r'<a href="([^"]*)">Rows since the first evidence', html)
    assert found is not None
    shown = pages.get(found[1].replace("&amp;", "&")).text
    assert len(ids(shown)) == rows.PAGE and re.search(
        r'<th scope="col" class="chosen"><a[^>]*><bdi>(amount|plan)<', shown
    )


def test_a_change_is_accepted_as_the_new_normal_by_a_button(pages: TestClient, seeded_engine: Engine) -> None:
    alert = input_alert(seeded_engine)
    html = pages.get(LINKS.alert(alert)).text
    asked = re.search(
        r"<details class=\"sure\"><summary[^>]*>Accept as the new normal</summary>(.*?)</details>", html, re.S
    )
    assert asked is not None and LINKS.alert_action(alert, "adopt") in asked[1], (
        "no click replaces it without a question"
    )
    assert html.count(LINKS.alert_action(alert, "adopt")) == 1
    assert "for every feature and for performance" in asked[1] and "stays in the list of references" in asked[1]
    with seeded_engine.begin() as connection:
        connection.execute(sa.update(t.alert).where(t.alert.c.id != alert).values(state="resolved"))
    assert "of this model" in asked[1] and "of this model" not in pages.get(LINKS.alert(alert)).text
    assert pages.post(LINKS.alert_action(alert, "adopt")).headers["location"] == LINKS.alert(alert)
    html = pages.get(LINKS.alert(alert)).text
    assert "accepted as the new normal: reference" in html and LINKS.alert_action(alert, "adopt") not in html
    assert pages.post(LINKS.alert_action(alert, "adopt")).status_code == 409
