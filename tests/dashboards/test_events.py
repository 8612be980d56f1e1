"""Events on the pages: marks on the charts, a list, a form."""

import json
import re
from typing import Any

from fastapi.testclient import TestClient

from dashboards.links import Links
from monitor import clock
from tests.dashboards.seeded import DRIFTED, HOSTILE, START, WINDOW, Seeded

LINKS = Links()
AT = START + DRIFTED * WINDOW


def figures_of(html: str) -> dict[str, dict[str, Any]]:
    found = re.findall(r'<script type="application/json" id="figure-([^"]+)">(.*?)</script>', html)
    return {key: json.loads(text) for key, text in found}


def marks(figure: dict[str, Any]) -> list[str]:
    return [one["hovertext"] for one in figure["layout"].get("annotations", []) if "hovertext" in one]


def add(pages: TestClient, seeded: Seeded, **fields: str) -> int:
    return pages.post(LINKS.events(seeded.drifting), data=fields).status_code


def test_an_event_marks_every_chart_over_time(pages: TestClient, seeded: Seeded) -> None:
    body = {"kind": "deploy", "from": clock.render(AT), "text": HOSTILE}
    assert pages.post(f"/v1/models/{seeded.drifting}/events", json=body).status_code == 201
    shown = figures_of(pages.get(LINKS.model(seeded.drifting, range_="all")).text)
    assert {"traffic", "latency", "performance", "calibration", "drift"} <= shown.keys()
    escaped = "Deployment: &lt;img src=x onerror=alert(1)&gt;"
    assert {key: marks(figure) for key, figure in shown.items()} == {key: [escaped] for key in shown}
    feature = figures_of(pages.get(LINKS.feature(seeded.drifting, "amount", range_="all")).text)
    assert marks(feature["psi"]) == [escaped] and marks(feature["distribution"]) == []
    before = LINKS.model(seeded.drifting, from_=clock.render(START), to=clock.render(AT - WINDOW))
    assert not any(marks(figure) for figure in figures_of(pages.get(before).text).values())


def test_a_form_marks_a_stretch_in_the_models_time_zone_and_removes_it(pages: TestClient, seeded: Seeded) -> None:
    sent = {"kind": "known_bad", "from": "2026-03-04T10:00", "to": "2026-03-04T12:00", "text": "broken feed"}
    assert add(pages, seeded, **sent) == 303
    (made,) = pages.get(f"/v1/models/{seeded.drifting}/events").json()["items"]
    assert (made["from"], made["to"]) == ("2026-03-04T09:00:00Z", "2026-03-04T11:00:00Z")  # Berlin is an hour ahead
    page = pages.get(LINKS.model(seeded.drifting)).text
    assert "broken feed" in page
    shown = figures_of(pages.get(LINKS.model(seeded.drifting, range_="all")).text)
    shapes = shown["traffic"]["layout"]["shapes"]
    assert any(one["type"] == "rect" and one["x0"] == "2026-03-04 09:00" for one in shapes)
    assert pages.post(LINKS.event_removal(seeded.drifting, made["id"])).status_code == 303
    assert "broken feed" not in pages.get(LINKS.model(seeded.drifting)).text


def test_a_wrong_form_is_answered_in_words(pages: TestClient, seeded: Seeded) -> None:
    assert add(pages, seeded, kind="deploy", **{"from": "soon"}) == 422
    assert add(pages, seeded, kind="known_bad", **{"from": "2026-03-04T10:00"}) == 422
    assert add(pages, seeded, kind="party", **{"from": "2026-03-04T10:00"}) == 422
    assert pages.get(f"/v1/models/{seeded.drifting}/events").json()["items"] == []


def test_another_site_cannot_mark_anything(pages: TestClient, seeded: Seeded) -> None:
    headers = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    url, fields = LINKS.events(seeded.drifting), {"kind": "deploy", "from": "2026-03-04T10:00"}
    token = pages.headers["Authorization"].removeprefix("Bearer ")
    answer = pages.post(url, data=fields, headers=headers | {"Authorization": ""}, auth=(token, ""))
    assert answer.status_code == 403
