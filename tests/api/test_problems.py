"""Errors as problem+json, without what was sent, without what is secret."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import exc as database

from monitor import app as application
from monitor.api import problems
from monitor.errors import Conflict, Invalid, Overloaded, QuotaExceeded
from monitor.store import body

Headers = dict[str, str]
CANARY = "c4n4ry-value"


class Body(BaseModel, extra="forbid"):
    size: int
    name: str = ""


router = APIRouter()


@router.get("/raise/{kind}")
def raising(kind: str) -> None:
    errors: dict[str, Exception] = {
        "conflict": Conflict("already there"),
        "invalid": Invalid.field("size", "must be a number"),
        "quota": QuotaExceeded("slow down", retry_after=7),
        "overloaded": Overloaded("later"),
        "locked": database.OperationalError(f"SELECT '{CANARY}'", {"p": CANARY}, Exception("database is locked")),
        "pool": database.TimeoutError("QueuePool limit"),
        "bug": ZeroDivisionError(CANARY),
    }
    raise errors[kind]


@router.post("/v1/models/{model}/predictions/body")
def typed(model: str, body: Body, limit: int = 1) -> None:
    del model, body, limit


@pytest.fixture
def client(sqlite_settings, sqlite_engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(application, "ROUTERS", (*application.ROUTERS, router))
    with TestClient(application.create_app(sqlite_settings, sqlite_engine), base_url="http://localhost") as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        ("conflict", 409, None),
        ("invalid", 422, None),
        ("quota", 429, "7"),
        ("overloaded", 503, "2"),
        ("locked", 503, "2"),
        ("pool", 503, "2"),
        ("bug", 500, None),
    ],
)
def test_every_error_is_a_problem(
    client: TestClient, reader: Headers, kind: str, status: int, retry_after: str | None
) -> None:
    answer = client.get(f"/raise/{kind}", headers=reader)
    assert answer.status_code == status == answer.json()["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    assert answer.json()["type"] == "about:blank" and answer.json()["title"] and answer.json()["detail"]
    assert CANARY not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    if kind == "bug":
        assert len(answer.json()["id"]) == 16 and "division" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/v1/models/m", "DELETE, GET, PUT"),  # of three routes
        ("PUT", "/v1/models/m/predictions", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("DELETE", "/alerts", "GET"),
    ],
)
def test_who_takes_a_wrong_method_is_told_the_right_ones(
    client: TestClient, admin: Headers, method: str, path: str, allow: str
) -> None:
    answer = client.request(method, path, headers=admin)
    assert answer.status_code == 405 and answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == allow
    assert answer.json()["detail"] == f"this address does not know that method: it knows {allow}"
    shown = client.request(method, path, headers={**admin, "accept": "text/html"})
    assert (shown.status_code, shown.headers["allow"]) == (405, allow), "browsers are told, too"


def test_who_mistypes_a_field_is_told_the_one_that_was_meant(client: TestClient, admin: Headers) -> None:
    def errors(method: str, path: str, sent: dict[str, object]) -> dict[str, str]:
        answer = client.request(method, path, headers=admin, json=sent)
        assert answer.status_code == 422
        return {one["field"]: one["detail"] for one in answer.json()["errors"]}

    said = "is not a field that is known here"
    assert errors("PUT", "/v1/models/m", {"task": "binary", "positive_clas": "yes"}) == {
        "positive_clas": f"{said}: did you mean positive_class?"
    }
    wrong = {"task": "binary", "alert_budget": {"false_alarm": 2}, "zzz": 1, "label-delay": "1d"}
    assert errors("PUT", "/v1/models/m", wrong) == {
        "alert_budget.false_alarm": f"{said}: did you mean false_alarms?",
        "zzz": said,
        "label-delay": f"{said}: did you mean label_delay?",
    }
    stretch = {"from": "2026-03-02T00:00:00Z", "to": "2026-03-03T00:00:00Z"}
    assert errors("POST", "/v1/models/m/reports", {**stretch, "segmnt": "a:b"}) == {
        "segmnt": f"{said}: did you mean segment?"
    }


def test_what_was_meant_is_looked_for_only_of_the_fields_that_are_told(
    client: TestClient, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body has room for a million fields, and each search takes as long as all the rest that is done for one."""
    asked = []
    monkeypatch.setattr(body, "nearest", lambda field, *_, **__: asked.append(field))
    fields = {f"positive_clas{number}": 1 for number in range(3000)}
    answer = client.put("/v1/models/m", headers=admin, json={"task": "binary", **fields, "alert_budget": fields})
    assert answer.status_code == 422 and len(answer.json()["errors"]) == 100
    assert len(asked) <= 2 * body.MOST_ERRORS


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("PATCH", "/v1/models", 405), ("POST", "/raise/bug", 405), ("GET", "/raise/", 404)],
)
def test_what_the_router_refuses_is_a_problem_too(
    client: TestClient, admin: Headers, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path, headers=admin)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b'{"size": "' + CANARY.encode() + b'"}', 422, "size"),
        (b'{"size": 1, "colour": "' + CANARY.encode() + b'"}', 422, "colour"),
        (b"{}", 422, "size"),
        (b"[]", 422, "body"),
        (b'{"size": ' + CANARY.encode(), 400, None),
    ],
)
def test_a_body_that_is_not_valid_names_the_field_and_not_its_value(
    client: TestClient, admin: Headers, content: bytes, status: int, field: str | None
) -> None:
    headers = {**admin, "Content-Type": "application/json"}
    answer = client.post("/v1/models/m/predictions/body", content=content, headers=headers)
    assert answer.status_code == status and CANARY not in answer.text
    assert field is None or field in [error["field"] for error in answer.json()["errors"]]


def test_a_query_that_is_not_valid_names_the_parameter(client: TestClient, reader: Headers) -> None:
    answer = client.get(f"/v1/models?limit={CANARY}", headers=reader)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "limit" and CANARY not in answer.text
    assert client.get("/v1/models?limit=100000", headers=reader).status_code == 422


def test_a_database_that_is_gone_is_503(sqlite_settings, sqlite_engine, make_key) -> None:  # type: ignore[no-untyped-def]
    gone = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    app: FastAPI = application.create_app(sqlite_settings, gone)
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/v1/models", headers={"Authorization": f"Bearer {make_key('read')}"})
        assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert ready.status_code == 503 and ready.json()["reason"] == "database"


def test_a_reason_holds_nothing_of_the_input() -> None:
    error = {"type": "greater_than_equal", "ctx": {"ge": 1, "input": CANARY}, "input": CANARY}
    assert problems._reason(error) == "must be at least 1"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("/v1/models?limit=many", "limit: must be a whole number"),
        ("/v1/models?limit=0", "limit: must be at least 1"),
        ("/v1/models?limit=5000", "limit: must be at most 1000"),
        ("/v1/silences?state=over", "state: must be one of 'pending', 'active', 'expired'"),
        ("/v1/models/m/summary?metric=volume&exact=perhaps", "exact: must be true or false"),
        ("/v1/models/m/series?metric=volume&step=" + "1" * 9, "step: must have at most so many characters: 8"),
        ("/v1/models/m/series", "metric: is required"),
    ],
)
def test_a_query_that_is_not_valid_says_what_was_expected(
    client: TestClient, reader: Headers, query: str, words: str
) -> None:
    answer = client.get(query, headers=reader)
    assert (answer.status_code, answer.json()["detail"]) == (422, words)
