"""Events through the API, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing

URL = "/v1/models/churn/events"
BAD = {"kind": "known_bad", "from": "2026-03-02T08:00:00Z", "to": "2026-03-02T09:30:00Z", "text": "<b>x</b>"}


@pytest.fixture
def api(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    with writing(engine) as connection:
        key = keys.create_key(connection, 1, "ann", "admin", clock.now())
    app = create_app(settings, engine)
    with TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"}) as client:
        assert client.put("/v1/models/churn", json={"task": "binary"}).status_code == 201
        yield client


def post(api: TestClient, **body: Any) -> dict[str, Any]:
    answer = api.post(URL, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_event_is_kept_listed_and_forgotten(api: TestClient) -> None:
    made = post(api, **BAD)
    assert {name: made[name] for name in BAD} == BAD and made["created_by"] == "ann"
    assert (made["judged_windows"], made["references"], made["note"]) == (0, [], None)
    shown = {name: value for name, value in made.items() if name not in ("judged_windows", "references", "note")}
    assert api.get(f"{URL}/{made['id']}").json() == shown
    assert api.get(URL).json() == {"items": [shown], "next_cursor": None}
    assert api.delete(f"{URL}/{made['id']}").status_code == 204
    assert api.delete(f"{URL}/{made['id']}").status_code == 404
    assert api.get(URL).json()["items"] == []


def test_the_list_is_paged_with_the_latest_begun_first(api: TestClient) -> None:
    for day in (3, 1, 2):
        post(api, kind="deploy", **{"from": f"2026-03-0{day}T00:00:00Z"})
    first = api.get(URL, params={"limit": 2}).json()
    assert [one["from"][8:10] for one in first["items"]] == ["03", "02"]
    rest = api.get(URL, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["from"][8:10] for one in rest["items"]] == ["01"] and rest["next_cursor"] is None


def test_events_belong_to_their_model_and_need_an_admin(api: TestClient, engine: Engine) -> None:
    made = post(api, **BAD)
    assert api.put("/v1/models/other", json={"task": "binary"}).status_code == 201
    assert api.get(f"/v1/models/other/events/{made['id']}").status_code == 404
    with writing(engine) as connection:
        reader = keys.create_key(connection, 1, "r", "read", clock.now())
        stranger = keys.create_key(connection, keys.project_id_of(connection, "b", clock.now()), "s", "admin", 0)
    assert api.post(URL, json=BAD, headers={"Authorization": f"Bearer {reader}"}).status_code == 403
    assert api.get(URL, headers={"Authorization": f"Bearer {reader}"}).status_code == 200
    assert api.get(URL, headers={"Authorization": f"Bearer {stranger}"}).status_code == 404


def test_an_event_goes_with_its_model(api: TestClient) -> None:
    post(api, **BAD)
    assert api.delete("/v1/models/churn").status_code == 204
    assert api.put("/v1/models/churn", json={"task": "binary"}).status_code == 201
    assert api.get(URL).json()["items"] == []
