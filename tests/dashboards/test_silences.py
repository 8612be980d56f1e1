"""The page of silences, and what an alert's page says about who was told and who did what."""

import re
from dataclasses import replace

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from dashboards.pages import silences
from monitor import clock
from monitor.api import auth
from monitor.errors import Invalid
from monitor.store import tables as t
from monitor.store.session import writing
from monitor.store.silences import list_silences
from tests.dashboards.seeded import Seeded

LINKS = Links()


def _alert(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(sa.select(t.alert.c.id).where(t.alert.c.state == "firing")))


def test_a_silence_is_made_from_an_alert_shown_and_ended(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    shown = pages.get(LINKS.alert(_alert(seeded_engine))).text
    link = re.search(r'href="(/silences\?[^"]+)">Silence this', shown)
    assert link is not None
    form = pages.get(link[1].replace("&amp;", "&")).text
    assert f'name="model" value="{seeded.drifting}"' in form and "No silences" in form
    fields = {"model": seeded.drifting, "model_is": "equal", "span": "4h", "comment": "<b>deploy</b>"}
    assert pages.post("/silences", data=fields).status_code == 303
    listed = pages.get("/silences").text
    assert "<span>Active</span>" in listed and "&lt;b&gt;deploy" in listed and "<b>deploy" not in listed
    end = re.search(r'action="(/silences/[^"]+/end)"', listed)
    assert end is not None and pages.post(end[1]).status_code == 303
    listed = pages.get("/silences").text
    assert "<span>Over</span>" in listed and "/end" not in listed


def test_an_alerts_page_says_that_a_silence_takes_it_and_until_when(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    address = LINKS.alert(_alert(seeded_engine))
    assert "takes this alert" not in pages.get(address).text
    other = {"model": "another", "model_is": "equal", "span": "4h"}
    assert pages.post("/silences", data=other).status_code == 303
    assert "takes this alert" not in pages.get(address).text
    fields = {"model": seeded.drifting, "model_is": "equal", "span": "4h", "comment": "<b>deploy</b>"}
    assert pages.post("/silences", data=fields).status_code == 303
    shown = pages.get(address).text
    assert "A silence</a> takes this alert until <time" in shown and "&lt;b&gt;deploy" in shown
    end = re.search(r'action="(/silences/[^"]+/end)"', pages.get("/silences").text)
    assert end is not None and pages.post(end[1]).status_code == 303
    assert "takes this alert" not in pages.get(address).text


def test_a_maintenance_window_is_made_with_its_hours(pages: TestClient) -> None:
    fields = {
        "severity": "warning",
        "span": "30d",
        "from": "22:00",
        "to": "06:00",
        "sat": "1",
        "timezone": "Europe/Berlin",
    }
    assert pages.post("/silences", data=fields).status_code == 303
    assert "sat 22:00 to 06:00 Europe/Berlin" in pages.get("/silences").text


@pytest.mark.parametrize(
    ("now", "days", "begin", "expected"),
    [
        ("2026-03-02T20:00:00Z", ["mon"], "22:00", "2026-03-02T21:00:00Z"),  # a Monday; Berlin is an hour ahead
        ("2026-03-02T21:00:00Z", ["mon"], "22:00", "2026-03-09T21:00:00Z"),
        ("2026-03-27T12:00:00Z", ["sun"], "22:00", "2026-03-29T20:00:00Z"),  # summer time began that morning
        ("2026-03-02T12:00:00Z", ["mon"], "24:00", "2026-03-02T23:00:00Z"),
    ],
)
def test_hours_of_a_week_begin_next_on_one_of_their_days(now: str, days: list[str], begin: str, expected: str) -> None:
    weekly = {"days": days, "from": begin, "to": "06:00", "timezone": "Europe/Berlin"}
    assert clock.render(silences.next_begin(weekly, clock.parse(now))) == expected


def test_a_weekly_silence_between_its_hours_says_when_it_acts_next(pages: TestClient, seeded_engine: Engine) -> None:
    body = {"severity": "warning", "span": "30d", "from": "22:00", "to": "06:00", "timezone": "UTC"}
    assert pages.post("/silences", data=body).status_code == 303
    with seeded_engine.connect() as connection:
        (made,), _ = list_silences(connection, 1, clock.now(), limit=2)
    noon = clock.now() // clock.DAY * clock.DAY + clock.DAY + 12 * clock.HOUR
    between, acting = silences._line(made, noon), silences._line(made, noon + 11 * clock.HOUR)
    assert (between.state.word, between.next_at) == ("Not now", noon + 10 * clock.HOUR) and between.may_end
    assert (acting.state.word, acting.resting) == ("Active", False)
    ends = replace(made, ends_at=noon + clock.HOUR)
    assert silences._line(ends, noon).resting and silences._line(ends, noon).next_at is None
    page = pages.get("/silences").text
    assert ("Acts next <time" in page) == ("<span>Not now</span>" in page) == ("<span>Active</span>" not in page)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"span": "1h"}, "2026-03-27T22:30:00Z"),
        ({"span": "8h"}, "2026-03-28T05:30:00Z"),
        ({"span": "7d"}, "2026-04-03T21:30:00Z"),
        ({"span": "tomorrow"}, "2026-03-28T09:00:00Z"),
        ({"span": "tomorrow", "zone": "Europe/Berlin"}, "2026-03-28T08:00:00Z"),
        ({"span": "tomorrow", "zone": "Asia/Tokyo"}, "2026-03-29T00:00:00Z"),  # there it is the 28th already
        ({"span": "own", "own": "36h"}, "2026-03-29T09:30:00Z"),
        ({"span": "4h", "own": " 2 Days "}, "2026-03-29T21:30:00Z"),
        ({"span": "own", "own": "2026-03-30 18:00", "zone": "Europe/Berlin"}, "2026-03-30T16:00:00Z"),  # summer time
        ({"span": "own", "own": "2026-03-30T18:00Z", "zone": "Europe/Berlin"}, "2026-03-30T18:00:00Z"),
    ],
)
def test_a_silence_ends_when_its_form_says(fields: dict[str, str], expected: str) -> None:
    body = silences.body_of({"model": "x", **fields}, clock.parse("2026-03-27T21:30:00Z"))
    assert body["endsAt"] == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"span": "own"}, "own"),
        ({"span": "own", "own": "for ever"}, "own"),
        ({"span": "own", "own": "999999-01-01"}, "own"),
        ({"span": "2h"}, "span"),
        ({"span": "tomorrow", "zone": "No/Where"}, "zone"),
        ({"span": "tomorrow", "zone": "../../etc/passwd"}, "zone"),
    ],
)
def test_an_end_that_is_not_understood_makes_no_silence(fields: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as raised:
        silences.body_of({"model": "x", **fields}, clock.now())
    assert [one["field"] for one in raised.value.errors] == [field]


def test_the_form_offers_what_is_known_beside_writing_it(pages: TestClient) -> None:
    form = pages.get("/silences").text
    assert '<option value="tomorrow">until tomorrow, 9:00</option>' in form and 'value="4h" selected' in form
    for name, one in (("family", "multivariate"), ("severity", "critical")):
        offered = form.partition(f'<datalist id="known-{name}">')[2].partition("</datalist>")[0]
        assert f'<option value="{one}">' in offered and f'list="known-{name}"' in form
    answer = pages.post("/silences", data={"model": "x", "span": "own", "own": "2020-01-01 10:00"})
    assert answer.status_code == 422 and "in the past" in answer.text


def test_a_form_that_says_nothing_is_told_so(pages: TestClient) -> None:
    for fields in ({"span": "4h"}, {"span": "9y", "model": "x"}, {"span": "4h", "model": "(", "model_is": "regex"}):
        answer = pages.post("/silences", data=fields)
        assert answer.status_code == 422 and "<h1>" in answer.text


def test_a_comment_and_who_was_told_stand_on_the_alerts_page(pages: TestClient, seeded_engine: Engine) -> None:
    alert = _alert(seeded_engine)
    assert "No channel listens" in pages.get(LINKS.alert(alert)).text
    pages.post("/v1/channels", json={"kind": "webhook", "name": "on-call", "url": "https://1.1.1.1/hook"})
    pages.post(LINKS.alert_action(alert, "comment"), data={"comment": "<i>who</i> changed it?"})
    pages.post("/silences", data={"severity": ".+", "severity_is": "regex", "span": "1h", "comment": "calm"})
    assert pages.post(LINKS.alert_action(alert, "acknowledge"), data={"comment": "on it"}).status_code == 303
    shown = pages.get(LINKS.alert(alert)).text
    assert "&lt;i&gt;who&lt;/i&gt; changed it?" in shown and "on it" in shown
    assert "Held back" in shown and "Silenced: calm" in shown
    held = pages.get("/silences").text
    assert "Held back now" in held and "calm" in held
    with writing(seeded_engine) as connection:
        event = connection.scalar(sa.select(sa.func.max(t.notification.c.event_id)))
        changed = {"type": "alert.updated", "text": "<b>age</b> joined"}
        connection.execute(sa.update(t.alert_event).where(t.alert_event.c.id == event).values(changed))
    told = pages.get(LINKS.alert(alert)).text.partition("Who was told")[2]
    assert '<span class="sub"><bdi dir="ltr">&lt;b&gt;age&lt;/b&gt; joined' in told


def test_a_form_of_another_site_changes_nothing(pages: TestClient, seeded_engine: Engine) -> None:
    with writing(seeded_engine) as connection:
        token = auth.issue_login(connection, 1, "Ada", "admin", clock.now())
        session = auth.exchange_login(connection, token, clock.now())
    headers = {"authorization": "", "cookie": f"{auth.COOKIE}={session}", "sec-fetch-site": "cross-site"}
    answer = pages.post("/silences", data={"model": "x", "span": "4h"}, headers=headers)
    assert answer.status_code == 403 and "No silences" in pages.get("/silences").text
