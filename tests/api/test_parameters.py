"""Query parameters that a route does not know are told, and not ignored."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

Headers = dict[str, str]
SERIES = "/v1/models/m/series"


@pytest.fixture
def api(client: TestClient, admin: Headers) -> TestClient:
    client.headers.update(admin)
    assert client.put("/v1/models/m", json={"task": "binary"}).status_code == 201
    return client


def test_a_mistyped_parameter_is_named_with_the_nearest_and_all_that_are_known(api: TestClient) -> None:
    answer = api.get(f"{SERIES}?metric=volume&form=2026-01-01T00:00:00Z")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    (error,) = answer.json()["errors"]
    assert error["field"] == "form" and answer.json()["detail"] == f"form: {error['detail']}"
    assert error["detail"] == (
        "is not a parameter of this route, do you mean from?"
        " It knows metric, feature, segment, version, from, to, step, as_of"
    )
    assert api.get(f"{SERIES}?metric=volume&from=2026-01-01T00:00:00Z").status_code == 200


def test_it_is_told_before_what_is_missing_for_its_sake(api: TestClient) -> None:
    answer = api.get(f"{SERIES}?metrc=volume&zzz=1&zzz=2")
    assert [one["field"] for one in answer.json()["errors"]] == ["metrc", "zzz"]
    assert "do you mean metric?" in answer.json()["detail"]
    assert "do you mean" not in answer.json()["errors"][1]["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/m/predictions"),  # on the short way too
        ("POST", "/v1/models/m/outcomes"),
        ("PUT", "/v1/models/m/reference"),
        ("PUT", "/v1/models/m"),
        ("DELETE", "/v1/models/m"),
        ("GET", "/v1/models/m/predictions/some%20id"),
        ("GET", "/v1/models/m/badge.svg"),
        ("POST", "/v1/channels"),
    ],
)
def test_every_route_of_the_api_refuses_it_and_does_nothing(api: TestClient, method: str, path: str) -> None:
    answer = api.request(method, f"{path}?modle=x", json={"id": "a", "features": {"x": 1}})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "modle"
    assert api.get("/v1/models/m").status_code == 200 and api.get("/v1/models/m/predictions/a").status_code == 404


def test_what_it_is_called_is_shown_short_and_printable(api: TestClient) -> None:
    answer = api.get("/v1/alerts?a%0Ab%ff=1&" + "c" * 5000 + "=1")
    fields = [one["field"] for one in answer.json()["errors"]]
    assert answer.status_code == 422 and fields == ["a?b\N{REPLACEMENT CHARACTER}", "c" * 100]


def test_who_may_not_come_in_is_not_told_what_there_is(client: TestClient) -> None:
    assert client.get(f"{SERIES}?form=1").status_code == 401


def test_senders_that_are_not_ours_probes_and_pages_may_add_what_they_like(api: TestClient) -> None:
    for path in ("/livez?x=1", "/readyz?x=1", "/metrics?x=1", "/openapi.json?x=1", "/?utm_source=mail", "/alerts?x=1"):
        assert api.get(path, headers={"accept": "text/html"}).status_code == 200, path
    for path in ("/v1/kserve", "/v1/logs"):
        assert "parameter" not in api.post(f"{path}?x=1", content=b"").text


def v1_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    for path, methods in app.openapi()["paths"].items():
        if path.startswith("/v1/") and path not in ("/v1/kserve", "/v1/logs"):
            yield from ((method.upper(), path) for method in methods)


def test_no_route_of_the_api_is_left_out(app: FastAPI, api: TestClient) -> None:
    routes = list(v1_routes(app))
    assert len(routes) > 40
    for method, path in routes:
        answer = api.request(method, path.replace("{", "").replace("}", "") + "?zzz=1")
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "zzz", (method, path)
