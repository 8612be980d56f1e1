"""Reports over HTTP: asking, waiting, reading in a sandbox."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.store import tasks
from monitor.store.session import writing

STRETCH = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-08T00:00:00+01:00"}
Headers = dict[str, str]


@pytest.fixture
def model(client: TestClient, admin: Headers) -> str:
    assert client.put("/v1/models/m", json={"task": "binary"}, headers=admin).status_code == 201
    return "/v1/models/m/reports"


def finish(engine: Engine, page: bytes | None) -> None:
    """What the background job does, without Evidently."""
    with writing(engine) as connection:
        claim = tasks.claim(connection, "report", "test", clock.now(), clock.MINUTE)
        assert claim is not None
        if page is None:
            tasks.finish(connection, claim, clock.now(), error='pip install "keepwatch[reports]"')
        else:
            tasks.finish(connection, claim, clock.now(), result='{"rows": 7}', document=page)


def test_a_report_is_asked_for_followed_and_read(
    client: TestClient, reader: Headers, model: str, sqlite_engine: Engine
):
    asked = client.post(model, json=STRETCH, headers=reader)
    assert asked.status_code == 202
    assert asked.headers["location"] == asked.json()["url"]
    assert asked.json()["to"] == "2026-03-07T23:00:00Z"
    assert client.get(asked.headers["location"], headers=reader).json()["state"] == "pending"
    assert client.get(f"{asked.headers['location']}/html", headers=reader).status_code == 409
    finish(sqlite_engine, b"<html><script>1</script></html>")
    done = client.get(asked.headers["location"], headers=reader).json()
    assert (done["state"], done["rows"]) == ("done", 7)
    page = client.get(done["html_url"], headers=reader)
    assert page.content == b"<html><script>1</script></html>"


def test_the_page_runs_in_a_sandbox_without_network_or_cookies(
    client: TestClient, reader: Headers, model: str, sqlite_engine: Engine
):
    made = client.post(model, json=STRETCH, headers=reader).json()
    finish(sqlite_engine, b"<html></html>")
    headers = client.get(f"{made['url']}/html", headers=reader).headers
    policy = headers.get_list("content-security-policy")
    assert len(policy) == 1
    rules = dict(rule.strip().split(" ", 1) for rule in policy[0].split(";"))
    assert rules["sandbox"] == "allow-scripts"  # no allow-same-origin: an origin of its own
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert headers.get_list("x-content-type-options") == ["nosniff"]


def test_a_failed_report_says_why(client: TestClient, reader: Headers, model: str, sqlite_engine: Engine):
    made = client.post(model, json=STRETCH, headers=reader).json()
    finish(sqlite_engine, None)
    failed = client.get(made["url"], headers=reader).json()
    assert failed["state"] == "failed"
    assert 'pip install "keepwatch[reports]"' in failed["error"]
    assert failed["html_url"] is None
    assert client.get(f"{made['url']}/html", headers=reader).status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "from"),
        ({"from": "2026-03-01T00:00:00Z"}, "to"),
        ({"from": "2026-03-01T00:00:00", "to": "2026-03-02T00:00:00Z"}, "from"),
        ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-02T00:00:00Z"}, "to"),
        ({**STRETCH, "format": "pdf"}, "format"),
        ({"from": 1, "to": 2}, "from"),
    ],
)
def test_a_body_that_is_not_right_names_the_field(
    client: TestClient, reader: Headers, model: str, body: dict[str, object], field: str
):
    refused = client.post(model, json=body, headers=reader)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


def test_too_many_waiting_reports_are_refused_for_a_while(client: TestClient, reader: Headers, model: str):
    answers = [client.post(model, json=STRETCH, headers=reader) for _ in range(6)]
    assert [one.status_code for one in answers] == [202] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


def test_reports_are_listed_newest_first_and_paged(client: TestClient, reader: Headers, model: str):
    made = [client.post(model, json=STRETCH, headers=reader).json()["id"] for _ in range(3)]
    first = client.get(f"{model}?limit=2", headers=reader).json()
    second = client.get(f"{model}?limit=2&cursor={first['next_cursor']}", headers=reader).json()
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None


def test_a_sender_may_not_ask_for_reports(client: TestClient, make_key: Callable[..., str], model: str):
    ingest = {"Authorization": f"Bearer {make_key('ingest')}"}
    assert client.post(model, json=STRETCH, headers=ingest).status_code == 403
    assert client.get(model, headers=ingest).status_code == 403
    assert client.post(model, json=STRETCH).status_code == 401


def test_another_projects_report_is_not_found(
    client: TestClient, reader: Headers, model: str, sqlite_engine: Engine, make_key: Callable[..., str]
):
    import sqlalchemy as sa

    from monitor.store.tables import project

    made = client.post(model, json=STRETCH, headers=reader).json()
    with writing(sqlite_engine) as connection:
        connection.execute(sa.insert(project).values(id=2, name="other", created_at=0))
    other = {"Authorization": f"Bearer {make_key('admin', 2)}"}
    for path in (made["url"], made["url"] + "/html", model):
        assert client.get(path, headers=other).status_code == 404
