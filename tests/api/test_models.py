"""Models through the API."""

import pytest
from fastapi.testclient import TestClient

Headers = dict[str, str]


def test_a_model_is_made_with_its_defaults_and_read_back(client: TestClient, admin: Headers, reader: Headers) -> None:
    made = client.put("/v1/models/churn", json={"task": "binary"}, headers=admin)
    assert made.status_code == 201
    read = client.get("/v1/models/churn", headers=reader).json()
    assert read["name"] == "churn" and read["positive_class"] == "1" and read["window"] == "1h"
    assert read["alert_budget"] == {"false_alarms": 1, "per": "90d"} and read["features"] is None
    assert read["health"] in ("learning", "no_data") and isinstance(read["reasons"], list)


def test_a_second_put_replaces_and_keeps_every_change(client: TestClient, admin: Headers, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    client.put("/v1/models/m", json={"task": "binary", "threshold": 0.3, "grace": "5m"}, headers=admin)
    again = client.put("/v1/models/m", json={"task": "binary", "window": "24h"}, headers=admin)
    assert again.status_code == 200
    assert (again.json()["threshold"], again.json()["grace"], again.json()["window"]) == (0.5, "10m", "24h")
    client.put("/v1/models/m", json={"task": "binary", "window": "24h"}, headers=admin)
    with sqlite_engine.connect() as connection:
        changes = connection.exec_driver_sql("SELECT changed_by, config FROM model_change ORDER BY id").all()
    assert [row[0] for row in changes] == ["test admin"] * 2  # the third put changed nothing


def test_task_and_positive_class_cannot_change(client: TestClient, admin: Headers) -> None:
    client.put("/v1/models/m", json={"task": "binary", "positive_class": "yes"}, headers=admin)
    other_task = client.put("/v1/models/m", json={"task": "regression"}, headers=admin)
    assert other_task.status_code == 422 and other_task.json()["errors"][0]["field"] == "task"
    other_class = client.put("/v1/models/m", json={"task": "binary", "positive_class": "no"}, headers=admin)
    assert other_class.status_code == 422 and other_class.json()["errors"][0]["field"] == "positive_class"
    left_out = client.put("/v1/models/m", json={"task": "binary"}, headers=admin)
    assert left_out.json()["positive_class"] == "yes"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "task"),
        ({"task": "ranking"}, "task"),
        ({"task": "binary", "colour": 1}, "colour"),
        ({"task": "binary", "threshold": 1}, "threshold"),
        ({"task": "binary", "threshold": True}, "threshold"),
        ({"task": "binary", "window": "5h"}, "window"),
        ({"task": "binary", "window": "30m"}, "window"),
        ({"task": "binary", "window": 3600}, "window"),
        ({"task": "binary", "timezone": "Mars/Olympus"}, "timezone"),
        ({"task": "binary", "timezone": "../../etc/passwd"}, "timezone"),
        ({"task": "binary", "clock": "atomic"}, "clock"),
        ({"task": "binary", "grace": "-1m"}, "grace"),
        ({"task": "binary", "label_delay": "1y"}, "label_delay"),
        ({"task": "binary", "alert_budget": 3}, "alert_budget"),
        ({"task": "binary", "alert_budget": {"false_alarms": 0}}, "alert_budget.false_alarms"),
        ({"task": "binary", "alert_budget": {"per": "90d", "of": 1}}, "alert_budget.of"),
        ({"task": "binary", "alert_budget": {"false_alarms": 5000, "per": "90d"}}, "alert_budget"),
        ({"task": "binary", "features": {"x": {"kind": "float"}}}, "features.x"),
        ({"task": "binary", "features": {"x": "numeric"}}, "features.x"),
        ({"task": "binary", "features": {"é" * 129: {"kind": "text"}}}, "features." + "é" * 100),
        ({"task": "binary", "features": {f"f{i}": {"kind": "text"} for i in range(1001)}}, "features"),
        ({"task": "binary", "segments": "country"}, "segments"),
        ({"task": "binary", "segments": ["a", "b\0"]}, "segments[1]"),
        ({"task": "regression", "positive_class": "1"}, "positive_class"),
        ({"task": "binary", "latency_budget_ms": 0}, "latency_budget_ms"),
        ({"task": "binary", "variant_of": "m"}, "variant_of"),
    ],
)
def test_a_field_that_is_not_right_is_named(client: TestClient, admin: Headers, body: object, field: str) -> None:
    answer = client.put("/v1/models/m", json=body, headers=admin)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert client.get("/v1/models/m", headers=admin).status_code == 404


@pytest.mark.parametrize("name", ["-a", ".hidden", "a b", "a" * 129, "ü", "a:b"])
def test_a_name_that_is_not_allowed_is_refused(client: TestClient, admin: Headers, name: str) -> None:
    assert client.put(f"/v1/models/{name}", json={"task": "binary"}, headers=admin).status_code == 422


@pytest.mark.parametrize(("text", "windows"), [("1h", 2160.0), ("24h", 90.0), ("1d", 90.0), ("1w", 90 / 7)])
def test_windows_are_whole_hours_days_or_weeks(client: TestClient, admin: Headers, text: str, windows: float) -> None:
    from monitor.store.model_config import ModelConfig

    assert client.put("/v1/models/m", json={"task": "binary", "window": text}, headers=admin).status_code == 201
    assert ModelConfig.from_body({"task": "binary", "window": text}).budget_windows == pytest.approx(windows)


def test_a_schema_stays_when_a_put_gives_none(client: TestClient, admin: Headers) -> None:
    features = {"x": {"kind": "numeric"}, "naïve": {"kind": "ignored"}}
    client.put("/v1/models/m", json={"task": "binary", "features": features}, headers=admin)
    assert client.put("/v1/models/m", json={"task": "binary"}, headers=admin).json()["features"] == features


def test_models_are_listed_in_pages(client: TestClient, admin: Headers, reader: Headers) -> None:
    for name in ("c", "a", "b"):
        client.put(f"/v1/models/{name}", json={"task": "regression"}, headers=admin)
    first = client.get("/v1/models?limit=2", headers=reader).json()
    assert [one["name"] for one in first["items"]] == ["a", "b"]
    second = client.get("/v1/models", params={"cursor": first["next_cursor"]}, headers=reader).json()
    assert [one["name"] for one in second["items"]] == ["c"] and second["next_cursor"] is None


def test_a_model_is_paused_and_goes_on(client: TestClient, admin: Headers) -> None:
    client.put("/v1/models/m", json={"task": "binary"}, headers=admin)
    assert client.post("/v1/models/m/pause", headers=admin).json()["paused_at"] is not None
    assert client.post("/v1/models/m/pause", json={"paused": False}, headers=admin).json()["paused_at"] is None
    assert client.post("/v1/models/m/pause", json={"paused": 1}, headers=admin).status_code == 422


def test_a_deleted_model_leaves_no_row_behind(client: TestClient, admin: Headers, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    from monitor.store.tables import metadata

    client.put("/v1/models/m", json={"task": "binary"}, headers=admin)
    assert client.delete("/v1/models/m", headers=admin).status_code == 204
    assert client.get("/v1/models/m", headers=admin).status_code == 404
    with sqlite_engine.connect() as connection:
        for table in metadata.sorted_tables:
            if "model_id" in table.c:
                assert connection.execute(table.select()).all() == []


def test_another_project_sees_no_model(client: TestClient, admin: Headers, make_key) -> None:  # type: ignore[no-untyped-def]
    client.put("/v1/models/m", json={"task": "binary"}, headers=admin)
    stranger = {"Authorization": f"Bearer {make_key('admin', 2)}"}
    absent = client.get("/v1/models/never", headers=stranger)
    hidden = client.get("/v1/models/m", headers=stranger)
    assert hidden.status_code == absent.status_code == 404 and hidden.json() == absent.json()
    assert client.get("/v1/models", headers=stranger).json()["items"] == []
    assert client.delete("/v1/models/m", headers=stranger).status_code == 404


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"task": NaN}', "application/json", 400),
        (b"[]", "application/json", 422),
        (b"task=binary", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    client: TestClient, admin: Headers, content: bytes, content_type: str, status: int
) -> None:
    headers = {**admin, "Content-Type": content_type}
    assert client.put("/v1/models/m", content=content, headers=headers).status_code == status


@pytest.mark.parametrize("rows", [1, 2])
def test_a_model_that_is_made_anew_takes_rows_at_once(client: TestClient, admin: Headers, rows: int) -> None:
    body = {"rows": [{"id": f"r{at}", "version": "2", "features": {"x": 1.5}} for at in range(rows)]}
    for _ in range(2):
        client.put("/v1/models/m", json={"task": "binary"}, headers=admin)
        sent = client.post("/v1/models/m/predictions", json=body if rows > 1 else body["rows"][0], headers=admin)
        assert (sent.status_code, sent.json()["accepted"]) == (200, rows)
        client.delete("/v1/models/m", headers=admin)
    assert client.post("/v1/models/m/predictions", json=body, headers=admin).status_code == 404
