"""Slices over HTTP: asking, waiting, reading, following."""

import json
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.store import tasks
from monitor.store.session import writing

URL = "/v1/models/m/slices"
Headers = dict[str, str]


@pytest.fixture
def model(client: TestClient, admin: Headers) -> str:
    assert client.put("/v1/models/m", json={"task": "binary", "label_delay": "1d"}, headers=admin).status_code == 201
    return URL


def finish(engine: Engine) -> None:
    """What the background job does."""
    with writing(engine) as connection:
        taken = tasks.claim(connection, "slices", "test", clock.now(), clock.MINUTE)
        assert taken is not None
        found = {"slices": [{"where": [{"feature": "x", "from": 2.0}]}]}
        tasks.finish(connection, taken, clock.now(), result=json.dumps(found))


def test_a_search_is_asked_for_read_and_followed(
    client: TestClient, reader: Headers, admin: Headers, model: str, sqlite_engine: Engine
) -> None:
    asked = client.post(URL, json={"from": "2026-03-01T00:00:00Z", "to": "2026-03-08T00:00:00Z"}, headers=reader)
    assert asked.status_code == 202 and asked.headers["location"] == asked.json()["url"]
    assert (asked.json()["against"], asked.json()["state"], asked.json()["result"]) == ("previous", "pending", None)
    finish(sqlite_engine)
    done = client.get(asked.headers["location"], headers=reader).json()
    assert (done["state"], len(done["result"]["slices"])) == ("done", 1)
    follow = asked.headers["location"] + "/follow"
    assert client.post(follow, json={"slice": 0}, headers=reader).status_code == 403
    assert client.post(follow, json={"slice": 0, "name": "high x"}, headers=admin).json() == {
        "segment": "high x:in",
        "slices": {"high x": [{"feature": "x", "from": 2.0}]},
    }
    assert client.get("/v1/models/m", headers=reader).json()["slices"] == {"high x": [{"feature": "x", "from": 2.0}]}
    assert client.post(follow, json={"slice": 1}, headers=admin).status_code == 404
    for wrong in ({"slice": "0"}, {}, {"slice": 0, "name": 5}, {"slice": 0, "more": 1}):
        assert client.post(follow, json=wrong, headers=admin).status_code == 422


def test_without_a_body_the_last_two_weeks_that_are_due_are_searched(
    client: TestClient, reader: Headers, model: str
) -> None:
    asked = client.post(URL, headers=reader).json()
    length = clock.parse(asked["to"]) - clock.parse(asked["from"])
    assert length == 14 * clock.DAY and clock.parse(asked["to"]) < clock.now() - clock.DAY + clock.MINUTE


def test_searches_are_listed_paged_and_limited(client: TestClient, reader: Headers, model: str) -> None:
    answers = [client.post(URL, json={}, headers=reader) for _ in range(6)]
    assert [one.status_code for one in answers] == [202] * 5 + [429]
    first = client.get(f"{URL}?limit=3", headers=reader).json()
    second = client.get(f"{URL}?limit=3&cursor={first['next_cursor']}", headers=reader).json()
    made = [one.json()["id"] for one in answers[:5]]
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]


def test_a_sender_may_not_search(client: TestClient, make_key: Callable[..., str], model: str) -> None:
    ingest = {"Authorization": f"Bearer {make_key('ingest')}"}
    assert client.post(URL, headers=ingest).status_code == 403
    assert client.get(URL, headers=ingest).status_code == 403
