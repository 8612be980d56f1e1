"""Hostile input on every route: a 4xx that names the field, never a 5xx; what was accepted breaks no reader."""

import itertools
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.app import create_app
from monitor.ingest.load import import_file
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.stats.measure import METRICS
from monitor.store import catalog, keys
from monitor.store.session import reading, writing

CANARY = "c4n4ry"
JSON = {"content-type": "application/json"}
DRAWN = 4  # values of each list for one parameter: enough over all routes, and still fast
TIMES = [
    "0001-01-01T00:00:00+14:00",  # before the first instant that a datetime can hold
    "9999-12-31T23:59:59.999999-14:00",  # after the last
    "1900-01-01T00:00:00Z",
    "2199-12-31T23:59:59Z",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00+00:00:00.000001",
]
TEXTS = [
    *("", "\0", "a\0b", "-1", "0", "1.5", "1e9", "9" * 18, "9" * 19, "-" + "9" * 40, "9" * 300, "NaN", "inf", "true"),
    *("'", '";--', "%", "_", "../..", "{}", "[", "\u0663", "\u00b2", "\u202e\x7f", "\U0001f600" * 50, "a" * 5000),
    *("MTIzOmE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTphYg", "MToA", "x:y", "c:other", "0-", "9" * 18 + "-a", "1-\0"),
    *("0h", "7h", "31d", "32d", "999999w", "psi", "accuracy", "all", "firing", CANARY),
]
BODIES = [
    *(b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a":"\\ud800"}', b'{"a\\u0000":1}'),
    *(b'{"rows":null}', b'{"rows":[]}', b'{"rows":[null,1,[],{}]}', b'{"rows":[],"rows":[{}]}', b'{"columns":{}}'),
    *(b'{"columns":[]}', b'{"columns":{"features":[1],"id":["a"]}}', b'{"columns":{"tags":{"a":null},"id":["q"]}}'),
    *(b'{"columns":{"id":[],"features":{"x":[1]}}}', b'{"columns":{"id":[null],"features":{"x":[null]}}}'),
    *(b"[" * 50_000, b'{"a":' * 5000, b'{"x":' * 900 + b"1" + b"}" * 900),
    b'{"rows":[' + b"[" * 2000 + b"]" * 2000 + b"]}",
    *(b'{"id":"z","features":{"x":NaN}}', b'{"id":"z","features":{"x":1e400}}'),
    *(
        b'{"rows":[{"id":"y","prediction":%s},{"id":"z","features":{"x":%s}}]}' % (b"9" * n, b"9" * n)
        for n in (19, 400)
    ),
    b'{"rows":[{"id":"y","features":{"x":1}},{"id":"z","features":{"x":%s}}]}' % (b"9" * 5000),
    b'{"columns":{"id":["z"],"prediction":[%s]}}' % (b"9" * 400),
    b"token=%00&from=0001-01-01T00:00:00%2B14:00&to=%ff",
    *(json.dumps({"from": low, "to": high}).encode() for low, high in itertools.pairwise(TIMES)),
]
VALUES: list[Any] = [
    *(None, True, -1, 2**53 + 1, 2**63, -(2**63) - 1, 2**64 - 1, 10**400, 1e308, -1e308, 5e-324, -0.0, "", CANARY),
    *("\0", "a\0", "x" * 257, "\u00e9" * 129, "\u202e\x1b[31m", "<script>", "../../etc", "Europe", "UTC\n", "999999w"),
    *("http://[::1", "http://a:99999/", f"http://{CANARY}@127.0.0.1", "http://" + "a" * 300 + ".com/", "7d", "0h"),
    *([], [None], [[]], ["\0"], ["x"] * 60, {}, {"": 1}, {"x": None}, {"x": {"kind": ["numeric"]}}, {"x\0": {}}),
    *({"x": 2**70}, {"x": {"kind": "text"}}, {"per": "1h"}, {"false_alarms": 5e-324}, {"false_alarms": CANARY}),
    *([{"name": "model", "value": v, "isRegex": True}] for v in ("((a{1000}){1000}){1000}", "\0", "a)|(b")),
    *([{"name": ["a"], "value": "b"}], *TIMES),
]


@pytest.fixture
def client(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    app = create_app(settings, engine, Writer(engine, settings))
    with TestClient(app, base_url="http://localhost", follow_redirects=False, raise_server_exceptions=False) as running:
        with writing(engine) as connection:
            key = keys.create_key(connection, 1, "hostile", "admin", clock.now())
        running.headers["Authorization"] = f"Bearer {key}"
        yield running


def leaves(routes: Iterable[Any]) -> Iterator[APIRoute]:
    for route in routes:
        inner = getattr(getattr(route, "original_router", None), "routes", None)
        if inner:
            yield from leaves(inner)
        elif isinstance(route, APIRoute):
            yield route


def send(client: TestClient, method: str, url: str, what: object = "", **more: Any) -> int:
    answer = client.request(method, url, **more)
    said = f"{method} {url[:200]} {str(what)[:200]!r}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, said
    if answer.status_code >= 400:
        shown = re.sub(r'"id":"[^"]*"', "", answer.text)  # rejected rows are named by their ids
        assert CANARY not in shown, said
        if url.startswith("/v1/"):
            assert answer.headers["content-type"] == "application/problem+json", said
            assert answer.status_code != 422 or answer.json()["detail"], said
    return int(answer.status_code)


def seed(client: TestClient, name: str, **config: Any) -> None:
    """A model with 200 rows of the last days, outcomes and a reference."""
    body = {"task": "binary", **config}
    assert client.put(f"/v1/models/{name}", json=body).status_code == 201
    now = clock.now()
    stamps = [clock.render(now - i * 30 * clock.MINUTE) for i in range(200)]
    rows: list[dict[str, Any]] = [
        {"id": f"{name}{i}", "timestamp": at, "features": {"x": i * 0.5, "c": "ab"[i % 2]}, "prediction": i % 2}
        for i, at in enumerate(stamps)
    ]
    assert client.post(f"/v1/models/{name}/predictions", json={"rows": rows}).status_code == 200
    outcomes = [{"id": row["id"], "actual": i % 2} for i, row in enumerate(rows)]
    assert client.post(f"/v1/models/{name}/outcomes", json={"rows": outcomes}).status_code == 200
    stretch = {"from": clock.render(now - 90 * clock.HOUR), "to": clock.render(now - 40 * clock.HOUR)}
    assert client.put(f"/v1/models/{name}/reference", json=stretch).status_code == 200


def evaluate(engine: Engine, settings: Settings) -> list[catalog.Model]:
    with reading(engine) as connection:
        numbers = catalog.model_ids(connection)
    for number in numbers:
        assert jobs.evaluate_fully(engine, settings, number, clock.now()).complete
    with reading(engine) as connection:
        return [catalog.get_model_by_id(connection, number) for number in numbers]


def fields_of(route: APIRoute) -> dict[str, Any]:
    """A body that the route's documentation shows as good, or the names of its fields."""
    body = (route.openapi_extra or {}).get("requestBody", {}).get("content", {}).get("application/json", {})
    row = body.get("examples", {}).get("row", {}).get("value")
    if row is not None:
        return {**row, **dict.fromkeys(set(row) & {"timestamp", "observed_at"})}  # the example's times are past
    return dict.fromkeys([*body.get("schema", {}).get("properties", {}), "unheard_of"])


def test_every_route_answers_hostile_parameters_with_4xx(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    seed(client, "m")
    seed(client, "d", window="7d", timezone="Asia/Kathmandu")
    evaluate(engine, settings)
    channel = client.post("/v1/channels", json={"kind": "webhook", "name": "n", "url": "http://127.0.0.1:1/"}).json()
    good = {"model": "m", "feature": "x", "id": channel["id"], "row_id": "m1"}
    pick = random.Random(7)
    seen = 0
    for route in leaves(client.app.routes):  # type: ignore[attr-defined]
        path = route.path.replace(":path", "")
        queries = [one.alias for one in route.dependant.query_params]
        needed = {"metric": "psi", "feature": "x"} if "metric" in queries and path.startswith("/v1/") else {}

        def filled(given: dict[str, str], path: str = path) -> str:
            values = {**good, **given}
            return re.sub(r"{(\w+)}", lambda part: quote(values.get(part[1], "zz"), safe=""), path)

        for method in sorted((route.methods or set()) - {"HEAD"}):
            if method == "DELETE":  # what others need must stay
                send(client, method, filled({"model": "zz", "id": "zz"}))
                continue
            for name in re.findall(r"{(\w+)}", path):
                for text in pick.sample(TEXTS, DRAWN):
                    send(client, method, filled({name: text}))
            for name in queries:
                for text in pick.sample(TEXTS, DRAWN) + pick.sample(TIMES, 2):
                    send(client, method, filled({}), (name, text), params={**needed, name: text})
            if "from" in queries:
                for low, high in ((2, 3), (0, 1), (1, 0)):
                    for model in ("m", "d"):
                        params = {**needed, "from": TIMES[low], "to": TIMES[high]}
                        send(client, method, filled({"model": model}), params, params=params)
            seen += 1
    assert seen > 35


def test_every_route_answers_hostile_bodies_with_4xx(client: TestClient, engine: Engine, settings: Settings) -> None:
    seed(client, "m")
    client.put("/v1/models/r", json={"task": "regression", "features": {"x": {"kind": "numeric"}}})
    client.put("/v1/models/young", json={"task": "multiclass", "clock": "events"})
    channel = client.post("/v1/channels", json={"kind": "webhook", "name": "n", "url": "http://127.0.0.1:1/"}).json()
    pick = random.Random(8)
    # Most of these are refused before a database is asked: on the second database a part of them, in turn.
    bodies = itertools.cycle([BODIES] if settings.embedded else [BODIES[n::6] for n in range(6)])
    number = 0
    for route in leaves(client.app.routes):  # type: ignore[attr-defined]
        for method in sorted((route.methods or set()) - {"HEAD", "GET", "DELETE"}):
            path = re.sub(r"{(?!model)\w+}", "zz", route.path.replace("{id}", channel["id"]))
            for body in next(bodies):
                kind = "application/x-www-form-urlencoded" if body.startswith(b"token") else "application/json"
                send(client, method, path.replace("{model}", "m"), body, content=body, headers={"content-type": kind})
            shown = fields_of(route)
            for model in ("m", "r", "young") if "{model}" in path else ("m",):
                for field in shown:
                    for value in pick.sample(VALUES, DRAWN):
                        number += 1
                        row = {name: one for name, one in shown.items() if one is not None} | {field: value}
                        if "id" in row and field != "id":
                            row["id"] = f"row {number}"
                        content = json.dumps(row).encode()
                        send(client, method, path.replace("{model}", model), row, content=content, headers=JSON)
    assert number > 300
    read_everything(client, evaluate(engine, settings))


FEW = ("volume", "psi", "accuracy", "mae")


def read_everything(client: TestClient, models: list[catalog.Model], metrics: Iterable[str] = FEW) -> None:
    """Every page of the models, and these numbers of them, answer 200."""
    for model in models:
        name = model.name
        features = [feature for feature, kind in (model.features or {}).items() if kind != "ignored"][:3]
        urls = ["", "/metrics", "/reference", "/quarantine?limit=1000", "/predictions/m1?"][: 4 if name != "m" else 5]
        few = metrics if name != "wide" else FEW
        urls = [f"/v1/models/{name}{url}" for url in urls] + [f"/models/{name}?range=all", f"/models/{name}/features"]
        urls += [f"/models/{name}/features?name={quote(feature, safe='')}" for feature in features]
        for metric in map(METRICS.__getitem__, few):
            if model.task in metric.tasks and (features or not metric.per_feature):
                asked = f"metric={metric.name}"
                asked += f"&feature={quote(features[0], safe='')}" if metric.per_feature else ""
                urls += [f"/v1/models/{name}/{kind}?{asked}" for kind in ("series", "summary")]
                urls.append(f"/v1/models/{name}/summary?{asked}&exact=true")
        for url in urls:
            status = send(client, "GET", url)
            assert status == 200, f"{url}: {status}"
    for url in ("/", "/alerts", "/channels", "/v1/models", "/v1/alerts", "/v1/channels"):
        assert send(client, "GET", url) == 200


NAMES = [
    *("f:x", "t:x", "actual", "id", "timestamp", "extra", "__class__"),
    *("a.b", "a/b", "..", "\n\x1b", "\u202e", "x" * 256),
]
LEVELS = ["\x01\x07", "<img src=x>", "other", "", "null", "\u202e", "x" * 256, "e\u0301", "\u00e9", "\U0001f600"]


def test_rows_that_are_accepted_break_no_reader(client: TestClient, engine: Engine, settings: Settings) -> None:
    now = clock.now()
    stamps = [clock.render(now - i * 20 * clock.MINUTE) for i in range(300)]

    def make(name: str, rows: list[dict[str, Any]], actual: Any = None, **config: Any) -> None:
        assert client.put(f"/v1/models/{name}", json={"task": "binary", **config}).status_code == 201, name
        rows = [{"id": f"{name}{i}", "timestamp": stamps[i % 300], **row} for i, row in enumerate(rows)]
        sent = client.post(f"/v1/models/{name}/predictions", json={"rows": rows})
        assert sent.status_code == 200 and sent.json()["accepted"] == len(rows), sent.text[:500]
        outcomes = [{"id": row["id"], "actual": row["prediction"] if actual is None else actual} for row in rows]
        assert client.post(f"/v1/models/{name}/outcomes", json={"rows": outcomes}).status_code == 200
        stretch = {"from": stamps[min(299, len(rows) - 1)], "to": stamps[len(rows) // 3]}
        if name != "young":
            made = client.put(f"/v1/models/{name}/reference", json=stretch)
            assert made.status_code == 200, made.text[:500]

    hostile = [
        {"features": {name: LEVELS[(i + j) % 10] for j, name in enumerate(NAMES)}, "prediction": i % 2, "score": i % 2}
        for i in range(300)
    ]
    tagged = [{**row, "tags": {"a:b": LEVELS[i % 10], "f:x": "c:d", "other": "other"}} for i, row in enumerate(hostile)]
    make("names", tagged, segments=["a:b", "f:x", "other", *NAMES[:3]], window="7d", timezone="Australia/Lord_Howe")
    make("young", hostile[:50], timezone="Antarctica/Troll", latency_budget_ms=5e-324)
    sides = [1e308, -1e308, 5e-324, 2**63, 0]
    huge = [{"features": {"x": sides[i % 5], "y": 0}, "prediction": sides[i % 5]} for i in range(300)]
    make("huge", huge, actual=-1e308, task="regression")
    make("constant", [{"features": {"x": 1, "c": "a"}, "prediction": 1, "score": 1}] * 300, actual=1, window="1d")
    make("wide", [{"features": {f"f{j}": i * j for j in range(1000)}, "prediction": 0} for i in range(12)], window="2h")
    classes = [{"prediction": LEVELS[i % 10] or "empty", "scores": {LEVELS[i % 10] or "z": 1.0}} for i in range(300)]
    make("classes", classes, actual=LEVELS[1], task="multiclass")
    values = [1, "a", True, 2**70, [1], {"a": 2**70}] * 20
    make("mixed", [{"features": {"x": value}, "prediction": 1} for value in values], clock="events")
    models = evaluate(engine, settings)
    every = METRICS if settings.embedded else FEW  # numbers are computed the same way whatever stored the rows
    read_everything(client, models, every)

    # Settings change while rows keep coming; then every schema that was frozen meets values of other types.
    change = {"task": "binary", "window": "12h", "timezone": "Pacific/Apia", "features": {"x": {"kind": "categorical"}}}
    assert client.put("/v1/models/constant", json=change).status_code == 200
    for model in models:
        rows = [{"id": f"late{i}", "features": {"x": v, "new": v}} for i, v in enumerate([1.5, "z", False, 10**400, 0])]
        send(client, "POST", f"/v1/models/{model.name}/predictions", content=json.dumps({"rows": rows}), headers=JSON)
    read_everything(client, evaluate(engine, settings))
    assert send(client, "DELETE", "/v1/models/wide") == 204
    for url in ("series?metric=volume", "summary?metric=volume", "metrics", "compare?baseline=1&candidate=2"):
        assert send(client, "GET", f"/v1/models/wide/{url}") == 404


def test_files_with_nan_nulls_and_far_times_break_no_reader(
    client: TestClient, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    client.put("/v1/models/file", json={"task": "binary"})
    now = clock.now()
    odd = np.array([np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0] * 50)
    stamps = np.array([now - i * clock.HOUR // 2 for i in range(300)])
    far = stamps.copy()
    far[:3] = [-(2**62), 2**62, 0]
    instants = pa.timestamp("us", "UTC")
    columns: dict[str, Any] = {"id": [f"i{i}" for i in range(300)], "timestamp": pa.array(far, instants)}
    columns |= {"computed_at": pa.array([2**62] + [None] * 299, instants), "prediction": np.arange(300) % 2}
    columns |= {"features.odd": odd, "features.nan": np.full(300, np.nan)}
    columns |= {"features.none": pa.nulls(300), "features.empty": pa.nulls(300, pa.float64())}
    table = pa.table(columns)
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    result = import_file(engine, settings, 1, "file", tmp_path / "rows.parquet", "predictions")
    assert (result["accepted"], result["rejected_count"]) == (297, 3)
    evaluate(engine, settings)
    stretch = {"from": clock.render(now - 140 * clock.HOUR), "to": clock.render(now - 40 * clock.HOUR)}
    assert client.put("/v1/models/file/reference", json=stretch).status_code == 200
    read_everything(client, evaluate(engine, settings))
    assert send(client, "GET", "/v1/models/file/predictions/i7") == 200
