"""Silences, routes, the project's policy, and what people say about alerts, through the API."""

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.transition import apply
from monitor.store import tables as t
from monitor.store.session import writing
from tests.alerts.receivers import make_channel, make_model, verdict

Headers = dict[str, str]
CHURN = [{"name": "model", "value": "churn"}]
LATER = "2199-01-01T00:00:00Z"


@pytest.fixture
def alert(sqlite_engine: Engine) -> str:
    """The id of a firing alert of churn; the channel `pager` was told."""
    with writing(sqlite_engine) as connection:
        make_channel(connection, "https://example.org/")
        apply(connection, 1, make_model(connection).id, "churn", [verdict()], clock.now(), "")
        return str(connection.scalar(sa.select(t.alert.c.id)))


@pytest.fixture
def stranger(make_key: Any, sqlite_engine: Engine) -> Headers:
    """An admin of another project."""
    with writing(sqlite_engine) as connection:
        connection.execute(sa.insert(t.project).values(id=2, name="other", created_at=0))
    return {"Authorization": f"Bearer {make_key('admin', 2)}"}


def test_a_silence_lives_as_in_alertmanager(client: TestClient, admin: Headers) -> None:
    body = {"matchers": CHURN, "startsAt": "2026-01-01T00:00:00+01:00", "endsAt": LATER, "comment": "deploy"}
    made = client.post("/v1/silences", headers=admin, json={**body, "createdBy": "amtool"})
    assert made.status_code == 201, made.text
    silence = made.json()
    assert silence["matchers"] == [{"name": "model", "value": "churn", "isRegex": False, "isEqual": True}]
    assert (silence["startsAt"], silence["endsAt"]) == ("2025-12-31T23:00:00Z", LATER)
    assert (silence["comment"], silence["createdBy"], silence["status"]) == (
        "deploy",
        "test admin",
        {"state": "active"},
    )
    path = f"/v1/silences/{silence['id']}"
    assert client.get(path, headers=admin).json() == silence
    assert client.get("/v1/silences?state=active", headers=admin).json()["items"] == [silence]
    for _ in range(2):
        assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).json()["status"] == {"state": "expired"}
    assert client.get("/v1/silences?state=active", headers=admin).json()["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"matchers": []}, "matchers"),
        ({"matchers": None}, "matchers"),
        ({"matchers": [{"name": "model", "value": ".*", "isRegex": True}]}, "matchers"),
        (
            {"matchers": [{"name": "model", "value": "", "isEqual": False}, {"name": "x", "value": "y"}]},
            "matchers[1].name",
        ),
        ({"matchers": [{"name": "model", "value": "(?=a)", "isRegex": True}]}, "matchers[0].value"),
        ({"matchers": [{"name": "model", "value": "((a{100}){100}){100}", "isRegex": True}]}, "matchers[0].value"),
        ({"endsAt": None}, "endsAt"),
        ({"endsAt": "tomorrow"}, "endsAt"),
        ({"endsAt": "2026-01-01T00:00:00"}, "endsAt"),
        ({"endsAt": "2020-01-01T00:00:00Z"}, "endsAt"),
        ({"startsAt": LATER}, "endsAt"),
        ({"startsAt": 5}, "startsAt"),
        ({"comment": 5}, "comment"),
        ({"comment": "x" * 4001}, "comment"),
        ({"comment": "a\0b"}, "comment"),
        ({"weekly": {"from": "22:00"}}, "weekly.to"),
        ({"weekly": []}, "weekly"),
        ({"id": "x"}, "id"),
    ],
)
def test_a_silence_that_is_none_names_its_field(
    client: TestClient, admin: Headers, change: dict[str, Any], field: str
) -> None:
    answer = client.post("/v1/silences", headers=admin, json={"matchers": CHURN, "endsAt": LATER, **change})
    assert answer.status_code == 422 and field in [error["field"] for error in answer.json()["errors"]], answer.text


def test_pages_of_silences_hold_each_once(client: TestClient, admin: Headers) -> None:
    ids = {
        client.post("/v1/silences", headers=admin, json={"matchers": CHURN, "endsAt": LATER}).json()["id"]
        for _ in "abc"
    }
    seen, query = [], "?limit=2"
    for _ in range(2):
        page = client.get(f"/v1/silences{query}", headers=admin).json()
        seen += [item["id"] for item in page["items"]]
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert set(seen) == ids and len(seen) == 3 and page["next_cursor"] is None


@pytest.mark.usefixtures("alert")
def test_a_route_is_put_shown_replaced_and_removed(client: TestClient, admin: Headers) -> None:
    body = {"channels": ["pager"], "escalate_after": "30m", "quiet_hours": {"from": "22:00", "to": "06:00"}}
    assert client.put("/v1/routes/night", headers=admin, json=body).status_code == 201
    again = client.put("/v1/routes/night", headers=admin, json={"channels": ["pager"], "repeat": "4h"})
    assert again.status_code == 200
    shown = client.get("/v1/routes/night", headers=admin).json()
    assert shown == again.json() and (shown["repeat"], shown["escalate_after"]) == ("4h", None)
    assert client.get("/v1/routes", headers=admin).json() == {"items": [shown]}
    assert [client.delete("/v1/routes/night", headers=admin).status_code for _ in "ab"] == [204, 404]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "channels"),
        ({"channels": []}, "channels"),
        ({"channels": [1]}, "channels[0]"),
        ({"channels": ["nobody"]}, "channels[0]"),
        ({"channels": ["a"], "repeat": "4x"}, "repeat"),
        ({"channels": ["a"], "repeat": "1s"}, "repeat"),
        ({"channels": ["a"], "repeat": "1h", "digest": "1h"}, "repeat"),
        ({"channels": ["a"], "match": [{"name": "x", "value": ""}]}, "match[0].name"),
        ({"channels": ["a"], "quiet": {}}, "quiet"),
    ],
)
def test_a_route_that_is_none_names_its_field(client: TestClient, admin: Headers, body: Any, field: str) -> None:
    answer = client.put("/v1/routes/night", headers=admin, json=body)
    assert answer.status_code == 422 and field in [error["field"] for error in answer.json()["errors"]], answer.text


def test_the_policy_of_a_project_says_what_its_models_allow(client: TestClient, admin: Headers, alert: str) -> None:
    shown = client.get("/v1/project", headers=admin).json()
    assert (shown["alert_budget"], shown["digest"], shown["cooldown"]) == (None, "1h", "1d")
    assert shown["expected"] == {"models": 1, "false_alarms_per_day": pytest.approx(2 / 30)}
    body = {"alert_budget": {"false_alarms": 11}, "digest": "30m", "cooldown": "0m"}
    put = client.put("/v1/project", headers=admin, json=body)
    assert put.status_code == 200 and put.json()["alert_budget"] == {"false_alarms": 11, "per": "1d"}
    assert client.get("/v1/project", headers=admin).json() == put.json()
    for wrong in ({"alert_budget": 11}, {"alert_budget": {}}, {"alert_budget": {"false_alarms": 0}}, {"digest": "x"}):
        assert client.put("/v1/project", headers=admin, json=wrong).status_code == 422, wrong


def test_who_did_what_is_kept_with_what_they_said(client: TestClient, admin: Headers, alert: str) -> None:
    path = f"/v1/alerts/{alert}"
    for _ in range(2):  # retries keep what was said once
        assert client.post(f"{path}/acknowledge", headers=admin, json={"comment": "looking"}).status_code == 200
    for _ in range(2):
        said = client.post(f"{path}/comments", headers=admin, json={"comment": "a bad upstream join"})
        assert said.status_code == 201 and said.json()["comment"] == "a bad upstream join"
    client.post(f"{path}/resolve", headers=admin, json={"comment": "mended"})
    client.post(f"{path}/resolve", headers=admin)
    events = client.get(f"{path}/events", headers=admin).json()["items"]
    assert [(event["type"], event["actor"], event["comment"]) for event in events] == [
        ("alert.firing", "keepwatch", None),
        ("alert.acknowledged", "test admin", "looking"),
        ("alert.comment", "test admin", "a bad upstream join"),
        ("alert.resolved", "test admin", "mended"),
    ]
    told = client.get(f"{path}/notifications", headers=admin).json()["items"]
    assert [(one["type"], one["state"]) for one in told] == [
        (type_, "sent") for type_ in ("alert.firing", "alert.acknowledged", "alert.resolved")
    ]
    assert client.post(f"{path}/comments", headers=admin, json={"comment": "  "}).status_code == 422


def test_an_alert_shows_why_a_channel_was_not_told(client: TestClient, admin: Headers, sqlite_engine: Engine) -> None:
    client.post("/v1/silences", headers=admin, json={"matchers": CHURN, "endsAt": LATER, "comment": "deploy"})
    with writing(sqlite_engine) as connection:
        make_channel(connection, "https://example.org/")
        apply(connection, 1, make_model(connection).id, "churn", [verdict()], clock.now(), "")
    id_ = client.get("/v1/alerts", headers=admin).json()["items"][0]["id"]
    (held,) = client.get(f"/v1/alerts/{id_}/notifications", headers=admin).json()["items"]
    assert (held["state"], held["reason"], held["detail"]) == ("held", "silenced", "deploy (by test admin)")
    assert held["due_at"] and held["delivery_id"] is None


def test_what_belongs_to_others_is_not_found_and_readers_change_nothing(
    client: TestClient, admin: Headers, reader: Headers, stranger: Headers, alert: str
) -> None:
    silence = client.post("/v1/silences", headers=admin, json={"matchers": CHURN, "endsAt": LATER}).json()["id"]
    client.put("/v1/routes/night", headers=admin, json={"channels": ["pager"]})
    client.put("/v1/project", headers=admin, json={"cooldown": "2d"})
    for path in (f"/v1/silences/{silence}", "/v1/routes/night", f"/v1/alerts/{alert}/events"):
        assert client.get(path, headers=stranger).status_code == 404
        assert client.get(path, headers=reader).status_code == 200
    assert client.get(f"/v1/alerts/{alert}/notifications", headers=stranger).status_code == 404
    assert client.post(f"/v1/alerts/{alert}/comments", headers=stranger, json={"comment": "x"}).status_code == 404
    assert client.delete(f"/v1/silences/{silence}", headers=stranger).status_code == 404
    assert client.delete("/v1/routes/night", headers=stranger).status_code == 404
    assert client.get("/v1/silences", headers=stranger).json()["items"] == []
    assert client.get("/v1/routes", headers=stranger).json()["items"] == []
    assert client.get("/v1/project", headers=stranger).json()["cooldown"] == "1d"
    assert client.delete(f"/v1/silences/{silence}", headers=reader).status_code == 403
    assert client.put("/v1/project", headers=reader, json={}).status_code == 403
    assert client.post(f"/v1/alerts/{alert}/comments", headers=reader, json={"comment": "x"}).status_code == 403
