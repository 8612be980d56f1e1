"""Metrics, series, summaries and references through the API."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.clock import HOUR, MINUTE
from monitor.evaluate.run import evaluate_model

Headers = dict[str, str]
FEATURES = {"x": {"kind": "numeric"}, "city": {"kind": "categorical"}}


def at(minute: int) -> str:
    """A time of the hour before the last whole hour."""
    return clock.render(clock.now() // HOUR * HOUR - 2 * HOUR + minute * MINUTE)


def row(i: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"r{i}",
        "timestamp": at(i % 60),
        "features": {"x": i % 10 + 0.5, "city": "ab"[i % 2]},
        "prediction": i % 2,
        "score": 0.25 + 0.5 * (i % 2),
        **more,
    }


@pytest.fixture
def model(client: TestClient, admin: Headers, sqlite_engine: Engine) -> str:
    """A model with 120 labelled rows and a reference, evaluated."""
    client.put("/v1/models/m", json={"task": "binary", "features": FEATURES}, headers=admin)
    reference = {"rows": [row(i, actual=i % 2) for i in range(200)]}
    assert client.put("/v1/models/m/reference", json=reference, headers=admin).status_code == 200
    client.post("/v1/models/m/predictions", json={"rows": [row(i) for i in range(120)]}, headers=admin)
    actuals = [{"id": f"r{i}", "actual": i % 2 if i % 4 else 1} for i in range(120)]
    client.post("/v1/models/m/outcomes", json={"rows": actuals}, headers=admin)
    evaluate_model(sqlite_engine, 1, clock.now(), lambda *_: None)
    return "m"


def test_metrics_lists_what_the_task_has(client: TestClient, reader: Headers, model: str) -> None:
    found = client.get("/v1/models/m/metrics", headers=reader).json()
    names = {metric["name"]: metric for metric in found["items"]}
    assert {"volume", "psi", "accuracy", "roc_auc", "label_delay_p50"} <= names.keys()
    assert "rmse" not in names
    assert names["psi"]["per_feature"] and names["psi"]["family"] == "features"
    assert names["accuracy"]["direction"] == "higher" and set(found["features"]) == {"x", "city"}


def test_a_series_shows_points_with_their_state(client: TestClient, reader: Headers, model: str) -> None:
    question = {"metric": "accuracy", "from": at(0), "to": at(60)}
    found = client.get("/v1/models/m/series", params=question, headers=reader).json()
    (point,) = found["points"]
    assert point.keys() == {"start", "end", "value", "low", "high", "n", "coverage", "state", "revision"}
    assert (point["start"], point["end"], point["n"], point["coverage"]) == (at(0), at(60), 120, 1.0)
    assert point["value"] == pytest.approx(0.75) and point["low"] < 0.75 < point["high"]
    assert point["state"] == "provisional"  # its labels are due in two days
    psi = client.get("/v1/models/m/series", params={**question, "metric": "psi", "feature": "x"}, headers=reader).json()
    assert psi["points"][0]["value"] == pytest.approx(0, abs=1e-9) and psi["points"][0]["low"] is None
    assert len(client.get("/v1/models/m/series?metric=volume", headers=reader).json()["points"]) in (168, 169)


def test_a_series_takes_segments_steps_and_views_of_the_past(client: TestClient, reader: Headers, model: str) -> None:
    question = {"metric": "volume", "from": at(0), "to": at(60)}

    def ask(**more: str) -> list[dict[str, Any]]:
        answer = client.get("/v1/models/m/series", params={**question, **more}, headers=reader)
        assert answer.status_code == 200, answer.text
        points: list[dict[str, Any]] = answer.json()["points"]
        return points

    assert [point["value"] for point in ask(segment="city:a")] == [60]
    assert sum(point["value"] or 0 for point in ask(step="1d")) == 120
    assert [point["state"] for point in ask(as_of=at(0))] == ["no_data"]


def test_a_summary_is_one_value(client: TestClient, reader: Headers, model: str) -> None:
    question = {"metric": "roc_auc", "from": at(0), "to": at(30)}
    merged = client.get("/v1/models/m/summary", params=question, headers=reader).json()
    exact = client.get("/v1/models/m/summary", params={**question, "exact": "true"}, headers=reader).json()
    assert merged["n"] == merged["labelled"] == 60 and merged["coverage"] == 1.0
    assert merged["value"] == pytest.approx(exact["value"], abs=1e-3)
    assert {"value", "low", "high", "n", "labelled", "coverage"} <= merged.keys()


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ("metric=nonsense", "metric"),
        ("metric=volume&from=yesterday", "from"),
        ("metric=volume&from=2026-01-01T00:00:00", "from"),
        ("metric=volume&step=fast", "step"),
        ("metric=volume&from=1990-01-01T00:00:00Z", "step"),
        ("metric=psi&feature=nobody", "feature"),
    ],
)
def test_a_wrong_question_names_its_field(
    client: TestClient, reader: Headers, model: str, question: str, field: str
) -> None:
    answer = client.get(f"/v1/models/m/series?{question}", headers=reader)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
    assert answer.headers["content-type"] == "application/problem+json"


def test_other_projects_and_strangers_see_nothing(client: TestClient, model: str, make_key: Any) -> None:
    stranger = {"Authorization": f"Bearer {make_key('read', 1)}"}
    for path in ("metrics", "series?metric=volume", "summary?metric=volume", "reference"):
        assert client.get(f"/v1/models/m/{path}").status_code == 401
        assert client.get(f"/v1/models/nobody/{path}", headers=stranger).status_code == 404


def test_a_reference_may_be_a_stretch_of_the_log(
    client: TestClient, admin: Headers, reader: Headers, model: str
) -> None:
    body = {"from": at(0), "to": at(60)}
    made = client.put("/v1/models/m/reference", params={"version": "v2"}, json=body, headers=admin)
    assert made.status_code == 422  # version v2 has no rows
    made = client.put("/v1/models/m/reference", json=body, headers=admin)
    assert made.status_code == 200, made.text
    assert (made.json()["rows"], made.json()["source"]) == (120, body)
    listed = client.get("/v1/models/m/reference", headers=reader).json()["items"]
    assert [one["number"] for one in listed] == [1, 2] and listed[0]["source"] == {"rows": 200}


def test_only_an_admin_sets_a_reference(client: TestClient, reader: Headers, model: str) -> None:
    assert client.put("/v1/models/m/reference", json={"rows": [row(1)]}, headers=reader).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b'{"from": "2026-01-01T00:00:00Z"}', 422),
        (b'{"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}', 422),
        (b'{"rows": []}', 422),
        (b'{"rows": [{"features": {"x": "text"}, "prediction": {}}]}', 422),
    ],
)
def test_a_reference_that_cannot_be_read_is_refused(
    client: TestClient, admin: Headers, model: str, body: bytes, status: int
) -> None:
    headers = {**admin, "Content-Type": "application/json"}
    assert client.put("/v1/models/m/reference", content=body, headers=headers).status_code == status


def test_rows_of_a_reference_that_are_wrong_are_listed(client: TestClient, admin: Headers, model: str) -> None:
    rows = [row(i, actual=1) for i in range(50)] + [{"id": "bad"}]
    made = client.put("/v1/models/m/reference", json={"rows": rows}, headers=admin).json()
    assert (made["accepted"], made["rejected_count"], made["rejected"][0]["index"]) == (50, 1, 50)
