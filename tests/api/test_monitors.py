"""Monitors by hand through the API."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock, jobs, tasks
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing

Headers = dict[str, str]
URL = "/v1/models/churn/monitors"
SLOW = {"conditions": [{"metric": "latency_p95", "op": ">", "value": 20.0}], "windows": 2}


@pytest.fixture
def api(client: TestClient, admin: Headers) -> TestClient:
    client.headers.update(admin)
    made = client.put(
        "/v1/models/churn", json={"task": "binary", "clock": "events", "features": {"x": {"kind": "numeric"}}}
    )
    assert made.status_code == 201
    return client


def test_a_monitor_is_made_shown_changed_and_removed(api: TestClient) -> None:
    made = api.post(URL, json={"name": "slow", **SLOW})
    assert made.status_code == 201
    shown = made.json()
    assert shown["conditions"] == SLOW["conditions"] and (shown["windows"], shown["resolve_windows"]) == (2, 2)
    assert (shown["state"], shown["last"], shown["family"]) == ("waiting", None, "monitor:slow")
    assert shown["text"] == "latency_p95 above 20 ms, 2 windows in a row"
    assert api.get(f"{URL}/slow").json() == shown and api.get(URL).json()["items"] == [shown]
    assert api.post(URL, json={"name": "slow", **SLOW}).status_code == 409
    assert api.put(f"{URL}/slow", json=SLOW).status_code == 200
    assert api.get(f"{URL}/slow").json() == shown
    changed = api.put(f"{URL}/slow", json={**SLOW, "windows": 3})
    assert changed.status_code == 200 and changed.json()["windows"] == 3
    assert api.put(f"{URL}/other", json=SLOW).status_code == 201
    assert api.delete(f"{URL}/slow").status_code == 204 and api.delete(f"{URL}/slow").status_code == 404
    assert [one["name"] for one in api.get(URL).json()["items"]] == ["other"]


def test_a_name_is_checked_and_wrong_rules_are_problems(api: TestClient) -> None:
    for body in ({**SLOW}, {"name": "a b", **SLOW}, {"name": 3, **SLOW}, {"name": "x" * 129, **SLOW}):
        assert api.post(URL, json=body).status_code == 422
    answer = api.put(f"{URL}/slow", json={"conditions": [{"metric": "nope", "op": ">", "value": 1}]})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "conditions[0].metric"
    assert api.put(f"{URL}/slow", content=b"[", headers={"content-type": "application/json"}).status_code == 400


def test_monitors_need_an_admin_and_belong_to_their_project(
    api: TestClient, reader: Headers, sqlite_engine: Engine
) -> None:
    assert api.put(f"{URL}/slow", json=SLOW, headers=reader).status_code == 403
    assert api.get(URL, headers=reader).status_code == 200
    with writing(sqlite_engine) as connection:
        other = keys.create_key(connection, keys.project_id_of(connection, "b", clock.now()), "s", "admin", 0)
    assert api.get(URL, headers={"Authorization": f"Bearer {other}"}).status_code == 404


def test_removing_a_monitor_that_fires_resolves_its_alert(
    api: TestClient, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    api.put(f"{URL}/slow", json={**SLOW, "windows": 1})
    for hour in (8, 9, 10):
        at = f"2026-03-02T{hour:02}:30:00Z"
        row: dict[str, Any] = {
            "id": f"r{hour}",
            "timestamp": at,
            "known_at": at,
            "features": {"x": 1},
            "latency_ms": 90,
        }
        assert api.post("/v1/models/churn/predictions", json=row).status_code == 200
    jobs.evaluate_fully(sqlite_engine, sqlite_settings, 1, clock.now())
    shown = api.get(f"{URL}/slow").json()
    assert shown["state"] == "firing" and shown["last"]["met"] is True and shown["last"]["readings"][0]["value"] > 20
    (alert,) = api.get("/v1/alerts").json()["items"]
    assert alert["family"] == "monitor:slow" and alert["state"] == "firing"
    assert alert["causes"][0]["effect"] == shown["last"]["readings"][0]["value"]
    api.delete(f"{URL}/slow")
    (alert,) = api.get("/v1/alerts").json()["items"]
    assert alert["state"] == "resolved"


def test_a_rule_is_played_at_once_and_a_budget_in_the_background(
    api: TestClient, sqlite_engine: Engine, sqlite_settings: Settings, reader: Headers
) -> None:
    for hour in (8, 9, 10):
        at = f"2026-03-02T{hour:02}:30:00Z"
        row: dict[str, Any] = {"id": at, "timestamp": at, "known_at": at, "features": {"x": 1}, "latency_ms": 90}
        assert api.post("/v1/models/churn/predictions", json=row).status_code == 200
    jobs.evaluate_fully(sqlite_engine, sqlite_settings, 1, clock.now())
    done = api.post(f"{URL}/backtest", json={**SLOW, "windows": 1})
    assert done.status_code == 200 and done.json()["state"] == "done"
    result = done.json()["result"]
    assert (result["pages"], result["vanishing"], result["windows"]) == (1, 0, 2)
    assert result["episodes"][0]["opened_at"] == "2026-03-02T09:10:00Z"
    assert result["text"] == "would have paged once in 2 windows"
    assert api.get(done.json()["url"]).json() == done.json()
    assert api.get(URL).json()["items"] == []  # nothing is saved
    asked = api.post(f"{URL}/backtest", json={"alert_budget": {"false_alarms": 2, "per": "30d"}})
    assert asked.status_code == 202 and asked.headers["location"] == asked.json()["url"]
    assert asked.json()["setting"] == {"alert_budget": {"false_alarms": 2, "per": "30d"}}
    assert tasks.run_pending(sqlite_engine, "backtest") == 1
    shown = api.get(asked.json()["url"]).json()
    assert shown["state"] == "done" and "pages" in shown["result"]
    assert api.post(f"{URL}/backtest", json=SLOW, headers=reader).status_code == 403
    assert api.get(f"{URL}/backtests/nope").status_code == 404


def test_five_back_tests_may_wait(api: TestClient) -> None:
    waiting = [api.post(f"{URL}/backtest", json={"alert_budget": {}}).status_code for _ in range(6)]
    assert waiting == [202] * 5 + [429]
