"""Monitors by hand on the pages: a list with last values, a form, and their alerts."""

import html
import re

from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor import tasks
from monitor.alerts import transition
from monitor.evaluate.monitors import verdict_of
from monitor.stats.rule import Condition, Memory, Reading, Rule, advance
from monitor.store.session import writing
from tests.dashboards.seeded import START, WINDOW, Seeded

LINKS = Links()
FORM = {"metric": "psi", "feature": "amount", "op": ">", "value": "0.25", "windows": "2", "missing": "ignore"}


def send(pages: TestClient, seeded: Seeded, **fields: str) -> int:
    return pages.post(LINKS.monitors(seeded.drifting), data=FORM | fields).status_code


def test_a_form_makes_a_monitor_and_removes_it(pages: TestClient, seeded: Seeded) -> None:
    assert send(pages, seeded, name="drift", severity="critical", segment="", version="") == 303
    (made,) = pages.get(f"/v1/models/{seeded.drifting}/monitors").json()["items"]
    assert made["conditions"] == [{"metric": "psi", "op": ">", "value": 0.25, "feature": "amount"}]
    assert (made["windows"], made["severity"]) == (2, "critical")
    page = pages.get(LINKS.model(seeded.drifting)).text
    assert 'title="Letters, digits, dots, dashes and underscores' in page, "a browser says which names are allowed"
    assert "psi of <code>amount</code> above 0.25, 2 windows in a row" in page and "none yet" in page
    assert pages.post(LINKS.monitor_removal(seeded.drifting, "drift")).status_code == 303
    assert "none yet" not in pages.get(LINKS.model(seeded.drifting)).text


def test_a_wrong_form_is_answered_in_words(pages: TestClient, seeded: Seeded) -> None:
    for fields in (
        {"name": "a b"},
        {},
        {"name": "a", "value": "much"},
        {"name": "a", "windows": "x"},
        {"name": "a", "feature": "no"},
    ):
        answer = pages.post(LINKS.monitors(seeded.drifting), data=FORM | fields)
        assert answer.status_code == 422 and "Traceback" not in answer.text
    assert pages.get(f"/v1/models/{seeded.drifting}/monitors").json()["items"] == []


def test_its_alert_shows_the_value_and_no_budget(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    rule = Rule((Condition("volume", "<", 100.0),))
    _, step = advance(rule, Memory(), [Reading(60.0, 60.0, 60.0, 60)], START)
    verdict = verdict_of("few", rule, step, [Reading(60.0, 60.0, 60.0, 60)], False, START, START + WINDOW)
    with writing(seeded_engine) as connection:
        transition.apply(connection, 1, 1, seeded.drifting, [verdict], START + WINDOW, "")
    found = pages.get("/v1/alerts", params={"model": seeded.drifting}).json()["items"]
    (alert,) = [one for one in found if one["family"] == "monitor:few"]
    page = pages.get(LINKS.alert(alert["id"])).text
    assert "Monitor few" in page and "its rule was met in one window" in page and "no false-alarm budget" in page
    assert "Volume is 60 rows, below 100 rows" in page


def test_a_rule_is_played_before_it_is_saved(pages: TestClient, seeded: Seeded) -> None:
    played = pages.post(LINKS.backtests(seeded.drifting), data=FORM | {"name": "drift"})
    assert played.status_code == 303
    page = pages.get(played.headers["location"]).text
    assert "would have paged" in page and "psi of <code>amount</code> above 0.25" in page and "stays" in page
    fields = dict(re.findall(r'name="(\w+)"[^>]* value="([^"]*)"', page))
    fields = {name: html.unescape(value) for name, value in fields.items()}
    assert fields["name"] == "drift"
    assert pages.get(f"/v1/models/{seeded.drifting}/monitors").json()["items"] == []
    assert pages.post(LINKS.monitors(seeded.drifting), data=fields).status_code == 303
    (made,) = pages.get(f"/v1/models/{seeded.drifting}/monitors").json()["items"]
    assert made["conditions"] == [{"metric": "psi", "op": ">", "value": 0.25, "feature": "amount"}]
    assert made["windows"] == 2


def test_a_budget_is_played_in_the_background_and_saved(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    asked = pages.post(LINKS.backtests(seeded.drifting), data={"false_alarms": "2", "per": "60d"})
    assert asked.status_code == 303
    assert "loads itself again" in pages.get(asked.headers["location"]).text
    assert tasks.run_pending(seeded_engine, "backtest") == 1
    page = pages.get(asked.headers["location"]).text
    assert "2 false alarms in 60d" in page and "It would have paged" in page and "Inputs changed" in page
    saved = pages.post(LINKS.budget(seeded.drifting), data={"false_alarms": "2", "per": "60d"})
    assert saved.status_code == 303
    model = pages.get(f"/v1/models/{seeded.drifting}").json()
    assert model["alert_budget"] == {"false_alarms": 2.0, "per": "60d"}
    assert model["window"] == "6h" and "amount" in model["features"]
    for wrong in ({"false_alarms": "many", "per": "60d"}, {"false_alarms": "1", "per": "soon"}):
        assert pages.post(LINKS.budget(seeded.drifting), data=wrong).status_code == 422


def test_several_conditions_are_played_and_saved_by_the_form(pages: TestClient, seeded: Seeded) -> None:
    second = {"match": "any", "metric2": "volume", "op2": "<", "value2": "5", "clear2": "10", "clear": "0.2"}
    played = pages.post(LINKS.backtests(seeded.drifting), data=FORM | second | {"name": "both"})
    page = pages.get(played.headers["location"]).text
    held = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    held = {name: html.unescape(value) for name, value in held.items()}
    assert pages.post(LINKS.monitors(seeded.drifting), data=held | {"name": "both"}).status_code == 303
    (made,) = pages.get(f"/v1/models/{seeded.drifting}/monitors").json()["items"]
    assert made["match"] == "any" and made["conditions"] == [
        {"metric": "psi", "op": ">", "value": 0.25, "feature": "amount", "clear": 0.2},
        {"metric": "volume", "op": "<", "value": 5.0, "clear": 10.0},
    ]
    wrong = FORM | second | {"name": "other", "value2": "few"}
    assert pages.post(LINKS.monitors(seeded.drifting), data=wrong).status_code == 422
