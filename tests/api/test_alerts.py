"""Alerts through the API."""

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor.alerts.transition import apply
from monitor.store import tables as t
from monitor.store.session import writing
from tests.alerts.receivers import NOW, make_model, verdict

Headers = dict[str, str]
FIELDS = [
    "id",
    "model",
    "family",
    "state",
    "severity",
    "opened_at",
    "first_evidence_at",
    "resolved_at",
    "evidence",
    "budget",
    "causes",
    "text",
    "url",
]


@pytest.fixture
def opened(sqlite_engine: Engine) -> list[str]:
    """The ids of three alerts, the latest first: two of churn, one of fraud."""
    with writing(sqlite_engine) as connection:
        for hour, (name, family) in enumerate([("churn", "features"), ("churn", "latency"), ("fraud", "features")]):
            known = connection.scalar(sa.select(t.model.c.id).where(t.model.c.name == name))
            model_id = known or make_model(connection, name).id
            apply(connection, 1, model_id, name, [verdict(family=family)], NOW + hour, "")
        query = sa.select(t.alert.c.id).order_by(t.alert.c.opened_at.desc())
        return list(connection.scalars(query))


def test_a_fresh_installation_has_no_alerts(client: TestClient, reader: Headers) -> None:
    assert client.get("/v1/alerts", headers=reader).json() == {"items": [], "next_cursor": None}


def test_alerts_are_listed_the_latest_first_and_filtered(
    client: TestClient, reader: Headers, opened: list[str]
) -> None:
    def ids(query: str) -> list[str]:
        answer = client.get(f"/v1/alerts{query}", headers=reader)
        assert answer.status_code == 200
        return [item["id"] for item in answer.json()["items"]]

    assert ids("") == opened
    assert ids("?model=churn") == opened[1:] and ids("?model=fraud&state=firing") == opened[:1]
    assert ids("?state=resolved") == []
    item = client.get("/v1/alerts", headers=reader).json()["items"][0]
    assert list(item) == FIELDS and client.get(f"/v1/alerts/{opened[0]}", headers=reader).json() == item


def test_pages_follow_their_cursors(client: TestClient, reader: Headers, opened: list[str]) -> None:
    seen: list[str] = []
    query = "?limit=2"
    for _ in range(2):
        page = client.get(f"/v1/alerts{query}", headers=reader).json()
        seen += [item["id"] for item in page["items"]]
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert seen == opened and page["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    [
        "model=%00",
        "model=a/b",
        "state=open",
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=!",
        "cursor=AAAA",
        "cursor=" + "A" * 301,
    ],
)
def test_a_query_that_cannot_be_answered_names_its_field(client: TestClient, reader: Headers, query: str) -> None:
    answer = client.get(f"/v1/alerts?{query}", headers=reader)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_acknowledge_then_resolve_and_each_twice(client: TestClient, admin: Headers, opened: list[str]) -> None:
    path = f"/v1/alerts/{opened[0]}"
    for _ in range(2):
        answer = client.post(f"{path}/acknowledge", headers=admin)
        assert answer.status_code == 200 and answer.json()["state"] == "acknowledged"
    resolved = [client.post(f"{path}/resolve", headers=admin, json={}).json() for _ in range(2)]
    assert resolved[0]["state"] == "resolved" and resolved[0]["resolved_at"] and resolved[0] == resolved[1]
    late = client.post(f"{path}/acknowledge", headers=admin)
    assert late.status_code == 409 and "resolved" in late.json()["detail"]
    assert client.get("/v1/alerts?state=resolved", headers=admin).json()["items"] == resolved[:1]


def test_a_change_without_enough_windows_cannot_be_adopted_yet_and_a_resolved_one_never(
    client: TestClient, admin: Headers, opened: list[str]
) -> None:
    path = f"/v1/alerts/{opened[0]}"
    answer = client.post(f"{path}/adopt", headers=admin)
    assert answer.status_code == 409 and "needs 14 windows since the first evidence" in answer.json()["detail"]
    client.post(f"{path}/resolve", headers=admin)
    assert "PUT a reference" in client.post(f"{path}/adopt", headers=admin).json()["detail"]


@pytest.mark.parametrize(("body", "status"), [({"why": "x"}, 422), ([], 422), ("x", 422)])
def test_a_body_with_anything_in_it_is_refused(
    client: TestClient, admin: Headers, opened: list[str], body: Any, status: int
) -> None:
    assert client.post(f"/v1/alerts/{opened[0]}/resolve", headers=admin, json=body).status_code == status


def test_what_is_not_there_or_belongs_to_others_is_not_found(
    client: TestClient, admin: Headers, opened: list[str], make_key: Any, sqlite_engine: Engine
) -> None:
    with writing(sqlite_engine) as connection:
        connection.execute(sa.insert(t.project).values(id=2, name="other", created_at=NOW))
    stranger = {"Authorization": f"Bearer {make_key('admin', 2)}"}
    for headers, id_ in ((admin, "alert_none"), (stranger, opened[0])):
        answers = [
            client.get(f"/v1/alerts/{id_}", headers=headers),
            client.post(f"/v1/alerts/{id_}/acknowledge", headers=headers),
            client.post(f"/v1/alerts/{id_}/resolve", headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert len({answer.content for answer in answers}) == 1
    assert client.get("/v1/alerts", headers=stranger).json()["items"] == []
    assert client.get("/v1/alerts?model=churn", headers=stranger).status_code == 404


def test_a_key_that_may_only_read_changes_nothing(client: TestClient, reader: Headers, opened: list[str]) -> None:
    for act in ("acknowledge", "resolve", "adopt"):
        assert client.post(f"/v1/alerts/{opened[0]}/{act}", headers=reader).status_code == 403
    assert client.get(f"/v1/alerts/{opened[0]}").status_code == 401
