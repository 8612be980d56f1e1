"""The list of features, the channels, and addresses that do not exist."""

import re
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards import words
from dashboards.links import Links
from monitor import clock
from monitor.alerts.payload import alert_json, event_body
from monitor.alerts.picture import draw
from monitor.curves import curve_of, curves
from monitor.store import alerts, channels, keys, overview
from monitor.store import tables as t
from monitor.store.outbox import Delivery
from monitor.store.session import reading, writing
from tests.dashboards.seeded import FEATURES, Seeded

LINKS = Links()


@pytest.fixture
def reader(seeded_engine: Engine) -> dict[str, str]:
    """The headers of one who may look alone."""
    with writing(seeded_engine) as connection:
        return {"authorization": f"Bearer {keys.create_key(connection, 1, 'reader', 'read', clock.now())}"}


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
        connection.execute(sa.update(t.delivery).values(next_attempt_at=failed["at"] + 60_000_000))
    html = pages.get("/channels").text
    assert "<span>Failing</span>" in html and "answered 503" in html.partition("Latest deliveries")[0]
    assert "answered 503" in html.partition("Latest deliveries")[2], "the delivery says how its last attempt failed"
    assert "<span>On</span>" not in html
    with writing(seeded_engine) as connection:
        waiting = {**connection.execute(sa.select(t.delivery)).mappings().one(), "id": "msg_later", "attempts": 0}
        connection.execute(sa.insert(t.delivery).values({**waiting, "next_attempt_at": failed["at"] - 60_000_000}))
        (last,) = overview.last_attempts(connection, sent.project_id).values()
        assert last.next_attempt_at == failed["at"] + 60_000_000, "not the time at which a message behind it was made"
        about = {"alert_id": input_alert(seeded_engine), "created_at": t.delivery.c.created_at + 1}
        connection.execute(sa.update(t.delivery).values(alert_id=about["alert_id"]))
        later = sa.update(t.delivery).where(t.delivery.c.id == "msg_later")
        connection.execute(later.values(about | {"next_attempt_at": failed["at"] + 30_000_000}))
        connection.execute(sa.update(t.channel).values(kind="slack"))
        (last,) = overview.last_attempts(connection, sent.project_id).values()
        assert last.next_attempt_at == failed["at"] + 60_000_000, "to all but webhooks messages go in their order"
        connection.execute(sa.update(t.channel).values(kind="webhook"))
        (last,) = overview.last_attempts(connection, sent.project_id).values()
        assert last.next_attempt_at == failed["at"] + 30_000_000
        connection.execute(sa.update(t.delivery).values(next_attempt_at=failed["at"] - 60_000_000))
    assert "next attempt <time" in html and "the waiting ones are due" in pages.get("/channels").text


def test_a_page_names_the_zone_of_its_times_once(pages: TestClient) -> None:
    pages.post("/v1/channels", json={"kind": "webhook", "name": "on-call", "url": "https://1.1.1.1/hook"})
    pages.post("/silences", data={"model": "x", "span": "4h"})
    for address in ("/channels", "/silences"):
        html = pages.get(address).text
        text = re.sub(r"<[^>]+>", "", re.sub(r"<span[^>]* hidden>[^<]*</span>", "", html))
        assert text.count("Times in") == 1 and "Times in UTC." in text, address


def test_a_delivery_names_its_alert_and_its_model_with_links(
    pages: TestClient, seeded_engine: Engine, seeded: Seeded
) -> None:
    made = pages.post("/v1/channels", json={"kind": "webhook", "name": "on-call", "url": "https://1.1.1.1/hook"})
    pages.post(f"/v1/channels/{made.json()['id']}/test")
    latest = pages.get("/channels").text.partition("Latest deliveries")[2]
    assert '<td data-name="Alert">–</td>' in latest, "a test is of no alert"
    with writing(seeded_engine) as connection:
        connection.execute(sa.update(t.delivery).values(alert_id=input_alert(seeded_engine), type="alert.updated"))
    latest = pages.get("/channels").text.partition("Latest deliveries")[2]
    (cell,) = re.findall(r'<td data-name="Alert">(.*?)</td>', latest)
    assert f'<a href="{LINKS.alert(input_alert(seeded_engine))}"><bdi>{words.family("features")}</bdi></a>' in cell
    assert f'<a href="{LINKS.model("churn")}"><bdi>churn</bdi></a>' in cell
    with writing(seeded_engine) as connection:
        connection.execute(sa.update(t.delivery).values(alert_id="alert_gone"))
    assert '<td data-name="Alert">–</td>' in pages.get("/channels").text


def test_a_channel_is_tested_switched_on_and_replayed_by_buttons(
    pages: TestClient, seeded_engine: Engine, reader: dict[str, str]
) -> None:
    match = [{"name": "model", "value": "a|<b>", "isRegex": True}]
    body = {"kind": "webhook", "name": "on-call", "url": "https://1.1.1.1/hook", "match": match}
    channel = pages.post("/v1/channels", json=body).json()["id"]
    assert pages.post(LINKS.channel_action(channel, "test")).headers["location"] == "/channels"
    with writing(seeded_engine) as connection:
        sent = connection.execute(sa.select(t.delivery)).one()
        assert sent.type == "channel.test"
        channels.disable_channel(connection, channel, clock.now(), "1.1.1.1 answered 410 Gone")
    html = pages.get("/channels").text
    assert "410 Gone" in html and "Given up" in html and "Replay" not in html.partition("<h2>")[2]
    assert "model=~&#34;a|&lt;b&gt;&#34;" in html
    assert pages.post(LINKS.channel_action(channel, "test")).status_code == 409
    assert pages.post(LINKS.channel_action(channel, "enable")).status_code == 303
    html = pages.get("/channels").text
    assert LINKS.replay(channel, sent.id) in html and LINKS.channel_action(channel, "replay") in html
    shown = pages.get("/channels", headers=reader).text
    assert "<form" not in shown.partition("<main")[2]
    assert pages.post(LINKS.replay(channel, sent.id), headers=reader).status_code == 403
    for address in (LINKS.replay(channel, sent.id), LINKS.channel_action(channel, "replay")):
        with writing(seeded_engine) as connection:
            connection.execute(sa.update(t.delivery).values(state="dead"))
        assert pages.post(address).status_code == 303
        with reading(seeded_engine) as connection:
            assert connection.execute(sa.select(t.delivery.c.state, t.delivery.c.id)).one() == ("pending", sent.id)
    assert pages.post(LINKS.channel_action("none", "replay")).status_code == 404


def test_the_curve_behind_a_message_goes_from_before_the_evidence_to_the_message(seeded_engine: Engine) -> None:
    alert = input_alert(seeded_engine)
    with reading(seeded_engine) as connection:
        found = alerts.get_alert(connection, 1, alert)
        body = event_body("alert.firing", found.updated_at, alert_json(found, ""))
        delivery = Delivery("msg_1", 1, "c", alert, "alert.firing", body, 0, "pending", 0, 0, None, None, None)
        curve = curve_of(connection, delivery)
    assert curve is not None and "PSI" in curve.title
    values = [value for value, _, _ in curve.points if value is not None]
    before = [value for value, _, _ in curve.points[: curve.since] if value is not None]
    assert len(before) > 5 and len(values) > len(before) and values[-1] > 3 * float(np.median(before))
    picture = draw(curve)
    assert picture is not None and picture.startswith(b"\x89PNG") and len(picture) < 10_000
    assert curves(seeded_engine)(delivery) == curve
    assert curves(seeded_engine)(replace(delivery, body="no JSON")) is None  # a message without a picture then


def input_alert(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(sa.select(t.alert.c.id).where(t.alert.c.family == "features")))
