"""The gate: who may come in, from where, with what."""

import base64
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from monitor import clock
from monitor.api import auth
from monitor.api.auth import required_scope
from monitor.api.hosts import is_clean
from monitor.store import keys
from monitor.store.session import writing

Headers = dict[str, str]
Key = Callable[..., str]

OPEN = {
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("GET", "/shared/{link:path}"),
    ("POST", "/login"),
    ("GET", "/static/{path}"),
}


def every_route(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route of the application, those of mounts and included routers too."""
    for route in routes:
        path = prefix + getattr(route, "path", "")
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if inner:
            yield from every_route(inner, path)
        for method in getattr(route, "methods", None) or ():
            yield method, path


def test_every_route_but_the_open_ones_asks_for_a_key(app: FastAPI, client: TestClient) -> None:
    routes = set(every_route(app.routes))
    assert len(routes) > 20
    asked = 0
    for method, path in routes:
        address = path.replace("{", "").replace("}", "").replace(":path", "")
        answer = client.request(method, address)
        if method == "HEAD" or (method, path) in OPEN:
            continue
        assert answer.status_code == 401, f"{method} {path} answers {answer.status_code} without a key"
        assert answer.headers["content-type"] == "application/problem+json"
        asked += 1
    assert asked > 15


def test_an_unknown_address_asks_for_a_key_too(client: TestClient) -> None:
    for path in ("/", "/nowhere", "/v1", "/v1/models/m/secret", "/metrics/", "/docs/x", "/openapi.json"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "FANCY"):
            assert client.request(method, path).status_code == 401, f"{method} {path}"


CREDENTIALS = [
    "",
    "Bearer",
    "Bearer nonsense",
    "Bearer kw_aaaaaaaa_" + "b" * 43,
    "Bearer kw_" + "x" * 500,
    "Basic !!!",
    "Basic " + base64.b64encode(b"admin:admin").decode(),
    "Digest kw_aaaaaaaa_" + "b" * 43,
]


@pytest.mark.parametrize("authorization", CREDENTIALS)
def test_a_credential_that_is_not_good_is_refused(client: TestClient, authorization: str) -> None:
    answer = client.get("/v1/models", headers={"Authorization": authorization})
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_with_another_secret_is_refused(client: TestClient, make_key: Key) -> None:
    good, other = make_key("admin"), make_key("admin")
    mixed = good[:12] + other[12:]
    assert client.get("/v1/models", headers={"Authorization": f"Bearer {mixed}"}).status_code == 401
    assert client.get("/v1/models", headers={"Authorization": f"Bearer {good}"}).status_code == 200


def test_a_key_may_be_the_user_name_of_basic(client: TestClient, make_key: Key) -> None:
    answer = client.get("/v1/models", auth=(make_key("read"), ""))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        ("ingest", "POST", "/v1/models/m/predictions", True),
        ("ingest", "POST", "/v1/models/m/outcomes", True),
        ("ingest", "GET", "/v1/models", False),
        ("ingest", "GET", "/metrics", False),
        ("ingest", "PUT", "/v1/models/m", False),
        ("ingest", "POST", "/v1/models/m/reports", False),
        ("read", "GET", "/v1/models", True),
        ("read", "GET", "/metrics", True),
        ("read", "GET", "/openapi.json", True),
        ("read", "GET", "/docs", True),
        ("read", "POST", "/v1/models/m/reports", True),
        ("read", "POST", "/v1/models/m/predictions", False),
        ("read", "POST", "/v1/models/m/pause", False),
        ("read", "PUT", "/v1/models/m/reference", False),
        ("read", "DELETE", "/v1/models/m", False),
        ("read", "POST", "/v1/channels", False),
        ("read", "POST", "/v1/alerts/a/acknowledge", False),
        ("admin", "POST", "/v1/models/m/predictions", True),
        ("admin", "DELETE", "/v1/models/m", True),
        ("admin", "GET", "/v1/models", True),
    ],
)
def test_a_scope_lets_in_where_it_should(
    client: TestClient, make_key: Key, scope: str, method: str, path: str, allowed: bool
) -> None:
    headers = {"Authorization": f"Bearer {make_key(scope)}", "Content-Type": "application/json"}
    status = client.request(method, path, headers=headers, content=b"{}").status_code
    assert (status not in (401, 403)) is allowed
    assert allowed or status == 403


def test_what_is_open_is_open_for_its_own_methods_alone() -> None:
    assert required_scope("GET", "/livez") is None and required_scope("POST", "/livez") == "admin"
    assert required_scope("POST", "/login") is None and required_scope("DELETE", "/login") == "admin"
    assert required_scope("GET", "/static/app.css") is None and required_scope("PUT", "/static/app.css") == "admin"
    assert required_scope("GET", "/static") == "read" and required_scope("GET", "/login/x") == "read"


def test_a_revoked_key_stops_within_five_seconds(
    client: TestClient, make_key: Key, monkeypatch: pytest.MonkeyPatch, sqlite_engine
) -> None:  # type: ignore[no-untyped-def]
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    headers = {"Authorization": f"Bearer {make_key('read')}"}
    assert client.get("/v1/models", headers=headers).status_code == 200
    with writing(sqlite_engine) as connection:
        keys.revoke_key(connection, headers["Authorization"][10:18], clock.now(), "n")
    now[0] += 5
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_a_remembered_key_costs_no_query(app: FastAPI, client: TestClient, reader: Headers) -> None:
    client.get("/livez")
    ring = app.state.ring
    assert not ring.is_fresh(reader["Authorization"], "")
    client.get("/openapi.json", headers=reader)
    assert ring.is_fresh(reader["Authorization"], "")


def test_last_use_is_written_when_the_application_stops(app: FastAPI, make_key: Key, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    headers = {"Authorization": f"Bearer {make_key('read')}"}
    with TestClient(app, base_url="http://localhost") as client:
        client.get("/openapi.json", headers=headers)
        with sqlite_engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT last_used_at FROM api_key").scalar() is None
    with sqlite_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT last_used_at FROM api_key").scalar() > 0


def log_in(engine, scope: str = "admin", at: int | None = None) -> str | None:  # type: ignore[no-untyped-def]
    now = clock.now() if at is None else at
    with writing(engine) as connection:
        token = auth.issue_login(connection, 1, "ada", scope, now)
        return auth.exchange_login(connection, token, clock.now())


def test_a_login_token_is_good_once_and_for_fifteen_minutes(sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    with writing(sqlite_engine) as connection:
        token = auth.issue_login(connection, 1, "ada", "admin", 0)
        assert auth.exchange_login(connection, token, 15 * clock.MINUTE) is None
        session = auth.exchange_login(connection, token, 15 * clock.MINUTE - 1)
        assert session is not None and auth.exchange_login(connection, token, 1) is None
        principal = auth.principal_of_session(connection, session, 16 * clock.MINUTE)
        assert principal is not None and (principal.name, principal.scope) == ("ada", "admin")
        assert auth.principal_of_session(connection, session, 8 * clock.DAY) is None
        stored = connection.exec_driver_sql("SELECT token_hash FROM login_session").scalar()
        assert session not in str(stored)


def test_a_session_may_change_things_from_our_own_pages_alone(client: TestClient, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    cookie = {"Cookie": f"{auth.COOKIE}={log_in(sqlite_engine)}"}
    url, body = "/v1/models/m", {"task": "binary"}
    assert client.get("/v1/models", headers=cookie).status_code == 200
    refused: list[Headers] = [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ]
    for headers in refused:
        assert client.put(url, json=body, headers={**cookie, **headers}).status_code == 403, headers
    for headers in ({"Origin": "http://127.0.0.1:8000"}, {"Sec-Fetch-Site": "same-origin"}):
        assert client.put(url, json=body, headers={**cookie, **headers}).status_code in (200, 201)


def test_basic_from_a_page_of_another_site_is_refused(client: TestClient, make_key: Key) -> None:
    answer = client.put(
        "/v1/models/m", json={"task": "binary"}, auth=(make_key("admin"), ""), headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


def test_a_browser_without_a_session_is_shown_the_way(client: TestClient) -> None:
    page = client.get("/models/m", headers={"Accept": "text/html,*/*"})
    assert page.status_code == 303 and page.headers["location"] == "/login?next=%2Fmodels%2Fm"
    assert client.get("/v1/models", headers={"Accept": "text/html"}).status_code == 401


def test_a_session_cookie_is_kept_from_scripts_and_other_sites(sqlite_settings) -> None:  # type: ignore[no-untyped-def]
    plain = auth.session_cookie("abc", sqlite_settings)
    assert "HttpOnly" in plain and "SameSite=Strict" in plain and "Max-Age=604800" in plain and "Secure" not in plain
    https = sqlite_settings.model_copy(update={"public_url": "https://monitor.example"})
    assert auth.session_cookie("abc", https).endswith("; Secure")
    assert "Max-Age=0" in auth.session_cookie(None, https)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8000"])
def test_a_host_that_is_not_ours_is_refused(client: TestClient, reader: Headers, host: str) -> None:
    assert client.get("/v1/models", headers={**reader, "Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "10.1.2.3"])
def test_a_host_that_is_ours_is_answered(client: TestClient, reader: Headers, host: str) -> None:
    assert client.get("/v1/models", headers={**reader, "Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [b"/v1/..", b"/v1/../livez", b"/%2e%2e/x", b"/v1/.", b"/a%2Fb", b"/a%5cb", b"/a%00", b"/a%0d%0a", b"/a%7f", b"//x"],
)
def test_a_path_with_two_readings_is_refused(path: bytes) -> None:
    assert not is_clean(path)
    assert is_clean(b"/v1/models/a.b/predictions/x%20y%C3%A9..z")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(sqlite_settings, sqlite_engine, make_key: Key) -> None:  # type: ignore[no-untyped-def]
    from monitor.app import create_app

    small = sqlite_settings.model_copy(update={"max_body_mb": 1})
    headers = {"Authorization": f"Bearer {make_key('admin')}", "Content-Type": "application/json"}
    with TestClient(create_app(small, sqlite_engine), base_url="http://localhost") as client:
        announced = client.put("/v1/models/m", content=b"x" * (1 << 20) + b"x", headers=headers)
        streamed = client.put("/v1/models/m", content=iter([b"x" * 300_000] * 4), headers=headers)
    assert announced.status_code == streamed.status_code == 413
    assert streamed.headers["content-type"] == "application/problem+json"


def test_every_answer_carries_the_headers_of_caution(client: TestClient, reader: Headers) -> None:
    for path, headers in (("/v1/models", reader), ("/v1/models", {}), ("/docs", reader), ("/livez", {})):
        answer = client.get(path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        csp = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in csp and "script-src 'self';" in csp and "unsafe-eval" not in csp
        assert "access-control-allow-origin" not in answer.headers
