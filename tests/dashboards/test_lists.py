"""The list of features, the channels, and addresses that do not exist."""

import re

import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor import clock
from monitor.store import tables as t
from monitor.store.session import writing
from tests.dashboards.seeded import FEATURES, Seeded

LINKS = Links()


def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_clients(pages: TestClient) -> None:
    for address in ("/blah", "/models"):
        shown = pages.get(address, headers={"accept": "text/html,*/*"})
        assert shown.status_code == 404 and "<h1>Not found</h1>" in shown.text and 'href="/channels"' in shown.text
    assert "<h1>" in pages.get("/logout", headers={"accept": "text/html"}).text
    for address, accept in (("/blah", "*/*"), ("/v1/blah", "text/html")):
        problem = pages.get(address, headers={"accept": accept})
        assert problem.status_code == 404
        assert problem.headers["content-type"] == "application/problem+json"


def test_the_features_are_listed_with_the_most_drifted_first(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    html = pages.get(LINKS.features(seeded.drifting)).text
    rows = html.split("<tbody>")[1].split("<tr>")[1:]
    assert len(rows) == len(FEATURES)
    values = [float(re.search(r'data-name="PSI">([0-9.]+)<', row)[1]) for row in rows]  # type: ignore[index]
    assert values == sorted(values, reverse=True) and values[0] > 0.2
    assert ">amount<" in rows[0] + rows[1] and ">plan<" in rows[0] + rows[1]
    alert = LINKS.alert(input_alert(seeded_engine))
    assert all(alert in row for row in rows[:2]) and alert not in rows[-1]
    assert (
        "No rows in this stretch"
        in pages.get(LINKS.features(seeded.drifting, from_="2020-01-01", to="2020-01-02")).text
    )


def test_a_channel_that_fails_says_so(pages: TestClient, seeded_engine: Engine) -> None:
    made = pages.post("/v1/channels", json={"kind": "webhook", "name": "on-call", "url": "https://1.1.1.1/hook"})
    assert made.status_code == 201, made.text
    pages.post(f"/v1/channels/{made.json()['id']}/test")
    assert "<span>On</span>" in pages.get("/channels").text
    with writing(seeded_engine) as connection:
        sent = connection.execute(sa.select(t.delivery.c.id, t.delivery.c.project_id)).one()
        failed = {"attempt": 1, "at": clock.now(), "error": "answered 503", "milliseconds": 3}
        connection.execute(
            sa.insert(t.delivery_attempt).values(delivery_id=sent.id, project_id=sent.project_id, **failed)
        )
    html = pages.get("/channels").text
    assert "<span>Failing</span>" in html and "answered 503" in html and "next attempt <time" in html
    assert "<span>On</span>" not in html


def input_alert(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(sa.select(t.alert.c.id).where(t.alert.c.family == "features")))
