"""The audit log through the API: every deed of a person once, the newest first, and no secret in it."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.transition import apply
from monitor.store import catalog, channels, keys
from monitor.store.session import writing
from tests.alerts.receivers import NOW, verdict

Headers = dict[str, str]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CHANNEL = {"kind": "webhook", "name": "pager", "url": "https://hooks.example.org/hidden-token", "secret": SECRET}
MODEL = {"task": "regression", "features": {"x": {"kind": "numeric"}}}
SLOW = {"conditions": [{"metric": "latency_p95", "op": ">", "value": 20.0}]}


@pytest.fixture
def api(client: TestClient, admin: Headers) -> TestClient:
    client.headers.update(admin)
    return client


def deeds(api: TestClient, query: str = "") -> list[dict[str, Any]]:
    answer = api.get(f"/v1/audit{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def done(api: TestClient, method: str, url: str, body: Any = None) -> Any:
    answer = api.request(method, url, json=body)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def test_what_was_made_changed_and_removed_stands_in_the_log_with_its_actor(api: TestClient) -> None:
    done(api, "PUT", "/v1/models/rides", MODEL)
    done(api, "PUT", "/v1/models/rides", {**MODEL, "grace": "1h"})
    done(api, "PUT", "/v1/models/rides", {**MODEL, "grace": "1h"})
    done(api, "POST", "/v1/models/rides/pause")
    rows = [{"timestamp": clock.render(clock.now()), "features": {"x": 1.0 + i}, "prediction": 2.0} for i in range(5)]
    done(api, "PUT", "/v1/models/rides/reference", {"rows": rows})
    done(api, "PUT", "/v1/models/rides/monitors/slow", SLOW)
    done(api, "PUT", "/v1/models/rides/monitors/slow", SLOW)
    done(api, "PUT", "/v1/models/rides/monitors/slow", {**SLOW, "windows": 2})
    done(api, "DELETE", "/v1/models/rides/monitors/slow")
    event = done(api, "POST", "/v1/models/rides/events", {"kind": "deploy", "from": "2026-03-01T00:00:00Z"})
    done(api, "DELETE", f"/v1/models/rides/events/{event['id']}")
    channel = done(api, "POST", "/v1/channels", CHANNEL)
    rotated = done(api, "POST", f"/v1/channels/{channel['id']}/rotate")
    done(api, "PUT", "/v1/routes/night", {"channels": ["pager"]})
    done(api, "PUT", "/v1/routes/night", {"channels": ["pager"], "repeat": "4h"})
    done(api, "DELETE", "/v1/routes/night")
    done(api, "PUT", "/v1/project", {"alert_budget": {"false_alarms": 3, "per": "1d"}})
    matchers = [{"name": "model", "value": "rides"}]
    silence = done(api, "POST", "/v1/silences", {"matchers": matchers, "endsAt": "2199-01-01T00:00:00Z"})
    done(api, "DELETE", f"/v1/silences/{silence['id']}")
    done(api, "DELETE", f"/v1/silences/{silence['id']}")
    done(api, "DELETE", f"/v1/channels/{channel['id']}")
    done(api, "DELETE", "/v1/models/rides")
    mine = [one for one in reversed(deeds(api)) if one["actor"] == "test admin"]
    assert [(one["what"], one["subject"], one["detail"]) for one in mine] == [
        ("model.made", "rides", None),
        ("model.changed", "rides", 'grace: "10m" → "1h"'),
        ("model.changed", "rides", "paused: false → true"),
        ("reference.made", "rides", "reference 1, 5 rows"),
        ("monitor.made", "rides/slow", "latency_p95 above 20 ms"),
        ("monitor.changed", "rides/slow", "latency_p95 above 20 ms, 2 windows in a row"),
        ("monitor.deleted", "rides/slow", "latency_p95 above 20 ms, 2 windows in a row"),
        ("event.made", "rides", "deploy 2026-03-01T00:00:00Z"),
        ("event.deleted", "rides", "deploy 2026-03-01T00:00:00Z"),
        ("channel.made", "pager", "webhook"),
        ("channel.secret_rotated", "pager", None),
        ("route.made", "night", "to pager"),
        ("route.changed", "night", 'repeat: null → "4h"'),
        ("route.deleted", "night", None),
        ("policy.changed", None, 'false_alarms: null → 3; per: null → "1d"'),
        ("silence.made", 'model="rides"', None),
        ("silence.ended", 'model="rides"', None),
        ("channel.deleted", "pager", "webhook"),
        ("model.deleted", "rides", None),
    ]
    told = api.get("/v1/audit?limit=1000").text
    assert not any(one in told for one in ("hidden-token", SECRET, rotated["secret"], "hooks.example.org"))


def test_a_channel_that_was_switched_off_and_on_and_replayed_says_by_whom(
    api: TestClient, sqlite_engine: Engine
) -> None:
    channel = done(api, "POST", "/v1/channels", CHANNEL)
    sent = done(api, "POST", f"/v1/channels/{channel['id']}/test")
    with writing(sqlite_engine) as connection:
        channels.disable_channel(connection, channel["id"], clock.now(), "answered 410 Gone")
    done(api, "POST", f"/v1/channels/{channel['id']}/enable")
    done(api, "POST", f"/v1/channels/{channel['id']}/enable")
    assert done(api, "POST", f"/v1/channels/{channel['id']}/replay")["replayed"] == 1
    done(api, "POST", f"/v1/channels/{channel['id']}/deliveries/{sent['id']}/replay")
    assert [(one["what"], one["actor"], one["detail"]) for one in deeds(api, "?limit=4")] == [
        ("deliveries.replayed", "test admin", "channel.test"),
        ("deliveries.replayed", "test admin", "1 that was given up"),
        ("channel.switched_on", "test admin", None),
        ("channel.switched_off", "keepwatch", "answered 410 Gone"),
    ]


def test_a_deed_on_an_alert_has_the_wall_clock_and_outlives_the_model(api: TestClient, sqlite_engine: Engine) -> None:
    done(api, "PUT", "/v1/models/churn", {**MODEL, "clock": "events"})
    with writing(sqlite_engine) as connection:
        model = catalog.get_model(connection, 1, "churn")
        apply(connection, 1, model.id, "churn", [verdict(family="features")], NOW, "")
    (alert,) = done(api, "GET", "/v1/alerts")["items"]
    began = clock.now()
    done(api, "POST", f"/v1/alerts/{alert['id']}/acknowledge", {"comment": "on it"})
    done(api, "POST", f"/v1/alerts/{alert['id']}/comments", {"comment": "a sensor"})
    done(api, "POST", f"/v1/alerts/{alert['id']}/comments", {"comment": "a sensor"})
    latest = deeds(api, "?limit=2")
    assert [(one["what"], one["subject"], one["detail"]) for one in latest] == [
        ("alert.commented", "churn: features", "a sensor"),
        ("alert.acknowledged", "churn: features", "on it"),
    ]
    assert all(one["alert_id"] == alert["id"] and clock.parse(one["at"]) >= began for one in latest)
    done(api, "DELETE", "/v1/models/churn")
    assert [(one["what"], one["alert_id"]) for one in deeds(api, "?limit=3")] == [
        ("model.deleted", None),
        ("alert.commented", None),
        ("alert.acknowledged", None),
    ]


def test_the_log_is_paged_and_for_administrators_of_the_project_alone(
    api: TestClient, reader: Headers, make_key: Callable[..., str], sqlite_engine: Engine
) -> None:
    for name in "abcde":
        done(api, "PUT", f"/v1/models/{name}", MODEL)
    everything, seen, cursor = deeds(api), [], ""
    while True:
        page = done(api, "GET", f"/v1/audit?limit=2{cursor}")
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == everything and [one["subject"] for one in everything[:5]] == list("edcba")
    assert api.get("/v1/audit?cursor=nonsense").status_code == 422
    assert api.get("/v1/audit", headers=reader).status_code == 403
    with writing(sqlite_engine) as connection:
        other = keys.project_id_of(connection, "other", clock.now())
    theirs = api.get("/v1/audit", headers={"Authorization": f"Bearer {make_key('admin', other)}"})
    assert [one["what"] for one in theirs.json()["items"]] == ["key.made"]
