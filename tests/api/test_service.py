"""What orchestrators, Prometheus and people with questions ask for."""

import re

from fastapi import FastAPI
from fastapi.testclient import TestClient

Headers = dict[str, str]


def test_a_process_lives_and_is_ready(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_a_process_that_stops_is_not_ready(app: FastAPI, client: TestClient) -> None:
    app.state.draining = True
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["reason"] == "stopping"
    assert client.get("/livez").status_code == 200


def test_an_older_schema_is_not_ready(client: TestClient, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    with sqlite_engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
        connection.commit()
    assert client.get("/readyz").json()["reason"] == "schema"


def test_prometheus_reads_what_was_counted(client: TestClient, admin: Headers, reader: Headers) -> None:
    client.put("/v1/models/m", json={"task": "binary"}, headers=admin)
    text = client.get("/metrics", headers=reader).text
    assert 'keepwatch_request_duration_seconds_count{method="PUT",route="/v1/models/{model}",status="201"}' in text
    assert 'keepwatch_unprofiled_rows{model="m"} 0.0' in text
    assert "keepwatch_deliveries_pending 0.0" in text and "keepwatch_build_info{" in text


def test_models_beyond_the_bound_are_counted_as_other(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from monitor import telemetry

    monkeypatch.setattr(telemetry, "_models", set())
    labels = {telemetry.model_label(f"m{i}") for i in range(500)}
    assert len(labels) == telemetry.MAX_MODELS + 1 and telemetry.OTHER in labels


def test_the_reference_page_needs_no_other_site(client: TestClient, reader: Headers) -> None:
    page = client.get("/docs", headers=reader)
    assert page.status_code == 200
    assert "/v1/models/{model}" in page.text and "label_delay" in page.text
    loaded = re.findall(r"(?:src|href)=[\"']([^\"']+)", page.text)
    assert sorted(loaded) == ["/", "/docs/filter.js", "/openapi.json", "data:,"] and "<script>" not in page.text
    script = client.get("/docs/filter.js", headers=reader)
    assert script.headers["content-type"].startswith("text/javascript")


def test_openapi_lists_the_routes(client: TestClient, reader: Headers) -> None:
    document = client.get("/openapi.json", headers=reader).json()
    assert document["info"]["title"] == "Keepwatch"
    assert {"/v1/models", "/v1/models/{model}", "/v1/models/{model}/predictions"} <= set(document["paths"])
    assert "/login" not in document["paths"]
