"""An alert's page tells what was known when its windows were judged, beside what is known now."""

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from dashboards.pages.known import sentence
from monitor import clock
from monitor.app import create_app
from monitor.evaluate.known import Figures, Known
from monitor.ingest.writer import Writer
from monitor.stats.values import Value
from monitor.store import blocks
from monitor.store.alerts import Alert, AlertEvent, add_event, list_alerts, update_alert
from monitor.store.session import reading, writing
from tests.dashboards.conftest import settings_of
from tests.dashboards.seeded import BASE, Seeded, jobs_until

LINKS = Links()


def alert_of(engine: Engine, family: str) -> Alert:
    with reading(engine) as connection:
        return next(one for one in list_alerts(connection, 1, limit=10)[0] if one.family == family)


def section(html: str) -> str:
    return html.split('id="known"')[1].split("</section>")[0]


def test_windows_that_have_not_changed_say_so(pages: TestClient, seeded_engine: Engine) -> None:
    for family, column in (("features", "PSI of"), ("performance", "Outcomes then")):
        shown = section(pages.get(LINKS.alert(alert_of(seeded_engine, family).id)).text)
        assert column in shown and "nothing that was known then has changed since" in shown
        assert "Count it again" not in shown and ' changed"' not in shown
        assert 1 <= shown.count("<tr>") - 1 <= 12


def test_it_is_told_of_the_strongest_cause_that_the_alert_opened_on_whatever_leads_now(
    pages: TestClient, seeded_engine: Engine
) -> None:
    alert = alert_of(seeded_engine, "features")
    strongest, weaker, *_ = (one for one in alert.causes if one["segment"] is None and one["feature"])
    opened = {"joined_at": clock.render(alert.opened_at)}
    joined = {**weaker, "share": 0.9, "joined_at": clock.render(alert.opened_at + clock.DAY), "joined_share": 0.9}
    faded = {**strongest, "share": 0.04, **opened, "joined_share": 0.8}
    again = {**weaker, "feature": "age", "share": 0.06, **opened, "joined_share": 0.1}  # named again, so it leads those
    with writing(seeded_engine) as connection:
        update_alert(connection, replace(alert, causes=(joined, again, faded)))
    html = pages.get(LINKS.alert(alert.id)).text
    shown = section(html)
    assert f"of {strongest['feature']}<" in shown and f"of {weaker['feature']}<" not in shown
    assert "said what changed" not in html
    with writing(seeded_engine) as connection:
        add_event(connection, alert, AlertEvent(alert.opened_at + 1, "alert.updated", "keepwatch", "said what changed"))
    history = pages.get(LINKS.alert(alert.id)).text.partition("What happened")[2]
    assert re.search(r'Alert updated<span class="sub"><bdi dir="ltr">said what changed</bdi>', history)
    facts = re.findall(r"<dt>Joined</dt><dd>(.*?)</dd>", html)
    assert len(facts) == 3 and "<time" in facts[0] and facts[1:] == ["When the alert opened"] * 2


@pytest.fixture
def late(seeded_engine: Engine, seeded: Seeded) -> Alert:
    """The alert of inputs, after rows of its first window came late."""
    alert = alert_of(seeded_engine, "features")
    settings = settings_of(seeded_engine)
    app = create_app(settings, seeded_engine, Writer(seeded_engine, settings))
    at = clock.render(alert.first_evidence_at + clock.HOUR)
    known = clock.render(alert.opened_at + 3 * clock.DAY)
    rows = [
        {"id": f"late-{i}", "timestamp": at, "known_at": known, "prediction": "yes", "features": {"amount": 50.0}}
        for i in range(30)
    ]
    with TestClient(app, base_url=BASE, headers=seeded.admin) as client:
        assert client.post("/v1/models/churn/predictions", json={"rows": rows}).json()["accepted"] == 30
    jobs_until(seeded_engine, settings)
    return alert


def test_a_late_row_changes_the_number_of_now_and_the_alert_stands_on_that_of_then(
    pages: TestClient, late: Alert, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "read_blocks_between", None)
        shown = section(pages.get(LINKS.alert(late.id)).text)
    link = re.search(r'<a href="([^"]+)#known">Count it again from rows', shown)
    assert link is not None and "the numbers of the time are not stored" in shown
    again = section(pages.get(link[1]).text)
    assert "has changed since, by what came later. The alert rests on what was known then." in again
    changed = re.findall(r'data-name="([^"]+), then">([^<]+)</td><td class="num changed"[^>]*>([^<]+)', again)
    assert {name for name, _, _ in changed} >= {"PSI", "Rows"}
    (rows,) = [(int(then), int(now)) for name, then, now in changed if name == "Rows"]
    assert rows[1] - rows[0] == 30 and "Count it again" not in again


def test_the_sentence_says_what_stands_and_what_does_not() -> None:
    def one(then: int | None, now: int) -> Known:
        figures = [None if rows is None else Figures(Value(0.5), rows, 0) for rows in (then, now)]
        return Known(0, 1, 2, figures[0], figures[1], then != now)

    assert sentence([one(5, 5)]) == "The window that it opened on: nothing that was known then has changed since."
    assert "The last 2 windows that it opened on: 1 has changed since" in sentence([one(5, 5), one(5, 6)])
    assert "of 1 the numbers of the time are not stored." in sentence([one(5, 5), one(None, 6)])
    assert sentence([one(None, 6)]).endswith("came later, and the numbers of the time are not stored.")
    assert "it has changed since" in sentence([one(5, 6)])
