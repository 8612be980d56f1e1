"""What other systems send by themselves: inference-logger events in pairs, and BentoML's OTLP log records."""

import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.app import create_app
from monitor.ingest import pairs
from monitor.ingest.load import import_file
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import blocks, catalog
from monitor.store.session import reading, writing
from tests.api.conftest import BASE

SAMPLES = Path(__file__).parents[1] / "ingest/samples"
Headers = dict[str, str]
KEY = "0009174a-24a8-4603-b098-09c8799950e9"
IRIS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture
def sqlite_settings(sqlite_settings: Settings) -> Settings:
    """Rows are kept for ever: the samples grow older."""
    return sqlite_settings.model_copy(update={"retention": "36500d"})


def at(milliseconds: int) -> str:
    """A time of today: an hour ago and some milliseconds."""
    return clock.render((clock.now() // clock.DAY - 1) * clock.DAY + milliseconds * 1000)


def binary(side: str, content: Any, call: str = KEY, milliseconds: int = 0, **more: str) -> tuple[Headers, bytes]:
    """An event as KServe's logger posts it."""
    headers = {
        "Ce-Specversion": "1.0",
        "Ce-Id": call,
        "Ce-Type": f"org.kubeflow.serving.inference.{side}",
        "Ce-Source": "http://localhost:9081/",
        "Ce-Time": at(milliseconds),
        "Ce-Inferenceservicename": "iris",
        "Ce-Namespace": "default",
        "Ce-Component": "predictor",
        "Ce-Endpoint": "default",
        "Content-Type": "application/json",
        **more,
    }
    return headers, json.dumps(content).encode()


def structured(headers: Headers, body: bytes, **more: Any) -> dict[str, Any]:
    """The same event in the structured mode."""
    attributes = {name[3:].lower(): value for name, value in headers.items() if name.lower().startswith("ce-")}
    return {**attributes, "datacontenttype": "application/json", "data": json.loads(body), **more}


def post(client: TestClient, key: Headers, event: tuple[Headers, bytes], query: str = "") -> dict[str, Any]:
    answer = client.post("/v1/kserve" + query, content=event[1], headers={**event[0], **key})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    total = found["accepted"] + found["duplicates"] + found["revised"] + found["rejected_count"]
    assert total >= 1 and found["pending"] <= found["accepted"]
    return found


V1 = {"instances": [[6.8, 2.8, 4.8, 1.4]]}, {"predictions": [1]}
V2 = (
    {"id": "x", "inputs": [{"name": "predict", "shape": [1, 4], "datatype": "FP32", "data": [6.8, 2.8, 4.8, 1.4]}]},
    {
        "model_name": "iris",
        "model_version": "1",
        "id": "x",
        "outputs": [{"name": "predict", "shape": [1], "datatype": "INT64", "data": [1]}],
    },
)
V2_NAMED = (
    {
        "inputs": [
            {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}
            for name, value in zip(IRIS, V1[0]["instances"][0], strict=True)
        ]
    },
    {"model_version": "1", "outputs": [{"name": "label", "shape": [1, 1], "datatype": "BYTES", "data": ["1"]}]},
)
SELDON = (
    {"data": {"names": IRIS, "ndarray": V1[0]["instances"]}},
    {"data": {"names": ["0", "1"], "tensor": {"shape": [1, 2], "values": [0.25, 0.75]}}, "meta": {}},
)


def put(client: TestClient, admin: Headers, name: str, **more: Any) -> None:
    body = {"task": "binary", "features": {name: {"kind": "numeric"} for name in IRIS}, **more}
    assert client.put(f"/v1/models/{name}", json=body, headers=admin).status_code == 201


def stored(engine: Engine, name: str) -> list[dict[str, Any]]:
    """A model's rows without nulls, versions by name, ordered by id."""
    with reading(engine) as connection:
        model = catalog.get_model(connection, 1, name)
        versions = catalog.version_names(connection, model.id)
        rows = [one for _, batch in blocks.read_blocks(connection, model.id, 0, 10**9) for one in batch.to_pylist()]
    shown = [
        {field: value for field, value in row.items() if value is not None and field != "known_at"}
        | {"version": versions[row["version"]]}
        for row in rows
    ]
    return sorted(shown, key=lambda row: str(row["id"]))


def waiting(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM event_half").scalar() or 0)


@pytest.fixture
def ours(client: TestClient, admin: Headers, sqlite_engine: Engine) -> Callable[..., list[dict[str, Any]]]:
    """ours(rows): what our own JSON stores of these rows."""

    def send(*rows: dict[str, Any], **config: Any) -> list[dict[str, Any]]:
        put(client, admin, "ours", **config)
        answer = client.post("/v1/models/ours/predictions", json={"rows": list(rows)}, headers=admin)
        assert answer.json()["accepted"] == len(rows), answer.text
        return stored(sqlite_engine, "ours")

    return send


def row(**more: Any) -> dict[str, Any]:
    """The call of the examples as a row of ours."""
    return {
        "id": KEY,
        "timestamp": at(0),
        "environment": "default",
        "latency_ms": 12.5,
        "features": dict(zip(IRIS, V1[0]["instances"][0], strict=True)),
        "prediction": 1,
        "tags": {"endpoint": "default", "component": "predictor"},
        **more,
    }


@pytest.mark.parametrize("first", ["request", "response"])
@pytest.mark.parametrize(
    ("protocol", "version"), [(V1, None), (V2, "1"), (V2_NAMED, "1")], ids=["v1", "v2", "v2 by name"]
)
def test_a_call_is_stored_as_our_own_json_in_either_order(
    client: TestClient,
    admin: Headers,
    sqlite_engine: Engine,
    ours: Callable[..., list[dict[str, Any]]],
    protocol: tuple[Any, Any],
    version: str | None,
    first: str,
) -> None:
    put(client, admin, "iris")
    events = {"request": binary("request", protocol[0]), "response": binary("response", protocol[1], milliseconds=12)}
    events["response"][0]["Ce-Time"] = at(12)[:-1].replace("012", "0125") + "Z"
    second = "response" if first == "request" else "request"
    waits = post(client, admin, events[first])
    assert (waits["accepted"], waits["pending"], waits["rows"]["accepted"]) == (1, 1, 0)
    assert waiting(sqlite_engine) == 1 and stored(sqlite_engine, "iris") == []
    pair = post(client, admin, events[second])
    assert (pair["accepted"], pair["pending"], pair["rows"]["accepted"]) == (1, 0, 1)
    assert waiting(sqlite_engine) == 0
    assert stored(sqlite_engine, "iris") == ours(row(**({"version": version} if version else {})))


def test_seldon_events_join_by_their_request_id(
    client: TestClient, admin: Headers, sqlite_engine: Engine, ours: Callable[..., list[dict[str, Any]]]
) -> None:
    put(client, admin, "iris")
    for side, content in zip(("request", "response"), SELDON, strict=True):
        kind = {"Ce-Type": f"io.seldon.serving.inference.{side}", "Ce-Requestid": KEY}
        post(client, admin, binary(side, content, call=f"own-{side}", **kind))
    expected = row(score=0.75, latency_ms=0)
    del expected["prediction"]
    assert stored(sqlite_engine, "iris") == ours(expected)


def test_a_batch_of_structured_events_becomes_rows_numbered_within_a_call(
    client: TestClient, admin: Headers, sqlite_engine: Engine
) -> None:
    put(client, admin, "iris")
    instances = {"instances": [dict.fromkeys(IRIS, 1.0), dict.fromkeys(IRIS, 2.0)]}
    request = structured(*binary("request", instances, call="two"))
    response = structured(*binary("response", {"predictions": [0, 1]}, call="two", milliseconds=5))
    alone = structured(*binary("request", V1[0], call="later"))
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    answer = post(client, admin, (headers, json.dumps([response, request, alone]).encode()))
    assert (answer["accepted"], answer["pending"], answer["rows"]["accepted"]) == (3, 1, 2)
    rows = stored(sqlite_engine, "iris")
    assert [(one["id"], one["prediction"], one["f:petal_width"]) for one in rows] == [
        ("two#0", "0", 1.0),
        ("two#1", "1", 2.0),
    ]
    one = (
        {"Content-Type": "application/cloudevents+json"},
        json.dumps(structured(*binary("response", V1[1], "later"))),
    )
    assert post(client, admin, (one[0], one[1].encode()))["rows"]["accepted"] == 1


def test_what_waits_survives_a_restart(
    client: TestClient, admin: Headers, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    put(client, admin, "iris")
    post(client, admin, binary("response", V1[1]))
    second = create_app(sqlite_settings, sqlite_engine, Writer(sqlite_engine, sqlite_settings))
    with TestClient(second, base_url=BASE) as other:
        assert post(other, admin, binary("request", V1[0]))["rows"]["accepted"] == 1
    assert len(stored(sqlite_engine, "iris")) == 1


def test_an_event_that_comes_again_is_a_duplicate_and_one_that_differs_a_conflict(
    client: TestClient, admin: Headers, sqlite_engine: Engine
) -> None:
    put(client, admin, "iris")
    request, response = binary("request", V1[0]), binary("response", V1[1])
    other = binary("response", {"predictions": [0]})
    post(client, admin, request)
    assert post(client, admin, request)["duplicates"] == 1  # while it waits
    different = client.post("/v1/kserve", content=b'{"instances": [[1, 2, 3, 4]]}', headers={**request[0], **admin})
    assert different.status_code == 422 and different.json()["rejected"][0]["code"] == "conflict"
    post(client, admin, response)
    for again in (request, response):  # when the pair is stored
        assert post(client, admin, again)["duplicates"] == 1
    late = client.post("/v1/kserve", content=other[1], headers={**other[0], **admin})
    assert late.status_code == 422 and late.json()["rejected"][0]["code"] == "conflict"
    assert [one["prediction"] for one in stored(sqlite_engine, "iris")] == ["1"]
    assert waiting(sqlite_engine) == 0


def test_any_order_and_repetition_of_events_leaves_the_same_rows(
    client: TestClient, admin: Headers, sqlite_engine: Engine
) -> None:
    calls = {"a": ([6.8, 2.8, 4.8, 1.4], 1), "b": ([1, 2, 3, 4], 0)}
    events = [
        structured(*binary(side, content, call=call))
        for call, (values, label) in calls.items()
        for side, content in (("request", {"instances": [values]}), ("response", {"predictions": [label]}))
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    expected = None
    for number, order in enumerate(list(itertools.permutations(events))[::3]):
        name = f"order{number}"
        put(client, admin, name)
        for part in (order[:1] + order[:3], order[1:]):  # cut, and overlapping
            post(client, admin, (headers, json.dumps(part).encode()), f"?model={name}")
        found = stored(sqlite_engine, name)
        expected = expected or found
        assert found == expected and len(found) == 2, number
    assert waiting(sqlite_engine) == 0


def test_a_half_that_stays_alone_becomes_a_row_that_says_so(
    client: TestClient, admin: Headers, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    put(client, admin, "iris")
    post(client, admin, binary("request", V1[0], call="asked"))
    post(client, admin, binary("response", V1[1], call="answered"))
    gauge = 'keepwatch_unpaired_events{model="iris"}'
    assert f"{gauge} 2.0" in client.get("/metrics", headers=admin).text
    jobs.sweep(sqlite_engine, sqlite_settings, clock.now() + pairs.WAIT // 2)
    assert stored(sqlite_engine, "iris") == []
    jobs.sweep(sqlite_engine, sqlite_settings, clock.now() + pairs.WAIT + clock.MINUTE)
    answered, asked = stored(sqlite_engine, "iris")
    assert (asked["id"], asked["t:unpaired"], asked["f:petal_width"]) == ("asked", "request", 1.4)
    assert (answered["id"], answered["t:unpaired"], answered["prediction"]) == ("answered", "response", "1")
    assert "prediction" not in asked and "f:petal_width" not in answered
    assert gauge not in client.get("/metrics", headers=admin).text
    late = binary("response", V1[1], call="asked")
    answer = client.post("/v1/kserve", content=late[1], headers={**late[0], **admin})
    assert answer.status_code == 422 and "given up" in answer.json()["rejected"][0]["message"]
    quarantined = client.get("/v1/models/iris/quarantine", headers=admin).json()["items"]
    assert quarantined[0]["code"] == "conflict"


def test_a_log_of_events_is_imported_as_the_route_takes_it(
    client: TestClient, admin: Headers, sqlite_engine: Engine, sqlite_settings: Settings, tmp_path: Path
) -> None:
    put(client, admin, "iris")
    put(client, admin, "filed")
    events = [binary("request", V1[0]), binary("response", V1[1], milliseconds=12)]
    for event in events:
        post(client, admin, event)
    path = tmp_path / "events.jsonl"
    lines = [json.dumps(structured(*event)) for event in reversed(events)]
    path.write_text("\n".join([*lines, '{"specversion": "1.0", "type": "other"}', "{"]))
    result = import_file(sqlite_engine, sqlite_settings, 1, "filed", path, "predictions")
    assert (result["format"], result["accepted"], result["rejected_count"]) == ("kserve", 2, 2)
    assert result["columns"]["request.petal_width"] == "f:petal_width"
    assert stored(sqlite_engine, "filed") == stored(sqlite_engine, "iris")
    again = import_file(sqlite_engine, sqlite_settings, 1, "filed", path, "predictions")
    assert (again["accepted"], again["duplicates"]) == (0, 2)


def test_basic_authentication_and_ingest_keys_are_enough(
    client: TestClient, admin: Headers, make_key: Callable[..., str]
) -> None:
    put(client, admin, "iris")
    headers, body = binary("request", V1[0])
    answer = client.post("/v1/kserve", content=body, headers=headers, auth=(make_key("ingest"), ""))
    assert answer.status_code == 200
    assert client.post("/v1/kserve", content=body, headers=headers).status_code == 401
    reader = {"Authorization": f"Bearer {make_key('read')}"}
    assert client.post("/v1/kserve", content=body, headers={**headers, **reader}).status_code == 403
    foreign = {"Authorization": f"Bearer {make_key('ingest', 2)}"}
    assert client.post("/v1/kserve", content=body, headers={**headers, **foreign}).status_code == 404


@pytest.mark.parametrize(
    ("change", "body", "status", "words"),
    [
        ({"Ce-Inferenceservicename": "absent"}, V1[0], 404, "PUT /v1/models"),
        ({"Ce-Inferenceservicename": ""}, V1[0], 422, "ce-inferenceservicename"),
        ({"Ce-Type": ""}, V1[0], 422, "org.kubeflow.serving.inference."),
        ({"Ce-Type": "io.seldon.serving.feedback"}, V1[0], 422, "org.kubeflow.serving.inference."),
        ({"Ce-Id": ""}, V1[0], 422, "no id"),
        ({"Ce-Id": "x" * 300}, V1[0], 422, "256"),
        ({"Ce-Id": "%00"}, V1[0], 422, "NUL"),
        ({"Ce-Time": "noon"}, V1[0], 422, "timestamp"),
        ({"Ce-Time": "2999-01-01T00:00:00Z"}, V1[0], 422, "timestamp"),
        ({}, {"instances": [[1, 2]]}, 422, "4 features"),
        ({}, {"instances": []}, 422, "1 to 10,000 rows"),
        ({}, {"instances": [[1, 2, 3, 4]] * 10_001}, 422, "1 to 10,000 rows"),
        ({}, {"inputs": [{"name": "a", "shape": [2, 4], "datatype": "FP32", "data": [1]}]}, 422, "shape"),
        ({}, {"inputs": [{"name": "a", "shape": [-1], "datatype": "FP32", "data": [1]}]}, 422, "shape"),
        ({}, {"anything": {"features": 1}}, 200, ""),
        ({}, "text", 422, "instances"),
        ({"Content-Type": "text/plain"}, V1[0], 415, "CloudEvent"),
        ({"Content-Encoding": "br"}, V1[0], 415, "gzip"),
        ({"Content-Encoding": "gzip"}, V1[0], 400, "gzip"),
    ],
)
def test_events_that_cannot_be_used_say_why(
    client: TestClient, admin: Headers, change: Headers, body: Any, status: int, words: str
) -> None:
    put(client, admin, "iris")
    headers, content = binary("request", body)
    answer = client.post("/v1/kserve", content=content, headers={**headers, **change, **admin})
    assert answer.status_code == status, answer.text
    assert words in answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


ODD: list[Any] = [
    *(None, True, -1, 2**63, 10**400, 1e308, "", "\0", "x" * 300, [], {}, [[]], [None], [[None]], [{}], [[[1]]], ["a"]),
    *([[1, 2, 3, "x"]], [{"sepal_length": {"a": [1]}}], [{"": 1}], [{"x\0": 1}], [{"x" * 300: 1}], {"a": [1], "b": []}),
    *([{f"f{i}": i for i in range(1_001)}], {"columns": ["a"], "data": [[1, 2]]}, {"names": ["a"], "ndarray": [1]}),
    *([{"name": "a", "shape": [2**62, 2], "data": [1]}], [{"name": "a", "shape": [1, 4], "data": [[1, 2, 3, 4]]}]),
    *([{"name": "a", "data": "x"}], [{"name": 1, "shape": [1], "data": [1]}, {"name": "b", "shape": [0], "data": []}]),
    *([[0.5, 0.5, "x"]], [[0.1, 0.2, 0.7]], [2.5], [{"label": 1, "score": "x"}], [{"scores": {"a": 1}}], [{"a": "b"}]),
]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_odd_bodies_are_taken_or_refused_and_never_break_the_route(
    client: TestClient, admin: Headers, sqlite_engine: Engine, sqlite_settings: Settings, task: str
) -> None:
    assert client.put("/v1/models/iris", json={"task": task}, headers=admin).status_code == 201
    calls = itertools.count()
    requests = ("instances", "inputs", "dataframe_records", "dataframe_split", "data", "jsonData")
    answers = ("predictions", "outputs", "data", "jsonData")
    for side, names, good in (("request", requests, V1[1]), ("response", answers, V1[0])):
        other = "response" if side == "request" else "request"
        for name in names:
            batch = []
            for value in ODD:
                call = f"call-{next(calls)}"
                batch += [structured(*binary(side, {name: value}, call)), structured(*binary(other, good, call))]
            body = json.dumps(batch).encode()
            headers = {"content-type": "application/cloudevents-batch+json", **admin}
            answer = client.post("/v1/kserve", content=body, headers=headers)
            assert answer.status_code == 200, (name, answer.text[:500])
            assert answer.json()["accepted"] + answer.json()["rejected_count"] == len(batch)
    jobs.sweep(sqlite_engine, sqlite_settings, clock.now() + 2 * pairs.WAIT)
    assert waiting(sqlite_engine) == 0 and stored(sqlite_engine, "iris")


def test_a_compressed_event_is_read_and_a_bomb_refused(client: TestClient, admin: Headers) -> None:
    put(client, admin, "iris")
    headers, content = binary("request", V1[0])
    for name, packed in (("gzip", gzip.compress(content)), ("zstd", pa.Codec("zstd").compress(content, asbytes=True))):
        call = {"Content-Encoding": name, "Ce-Id": name}
        assert client.post("/v1/kserve", content=packed, headers={**headers, **call, **admin}).status_code == 200
    bomb = gzip.compress(b" " * (40 << 20))
    answer = client.post("/v1/kserve", content=bomb, headers={**headers, "Content-Encoding": "gzip", **admin})
    assert len(bomb) < 100_000 and answer.status_code == 413


# ---------------------------------------------------------------- OTLP

PROTOBUF = {"content-type": "application/x-protobuf"}
RECORDED = (SAMPLES / "bentoml/otlp.protobuf").read_bytes()


def logs(client: TestClient, key: Headers, body: bytes = RECORDED, query: str = "", **more: str) -> Any:
    return client.post("/v1/logs" + query, content=body, headers={**PROTOBUF, **key, **more})


def otlp_json() -> bytes:
    return MessageToJson(service.ExportLogsServiceRequest.FromString(RECORDED)).encode()


BENTO_ROWS = [
    {
        "id": f"64139305289998831{96 + i}",
        "timestamp": f"2026-02-27T09:15:0{i}.5Z",
        "prediction": label,
        "version": "uyzcztqjwkxxqaav",
        "features": dict(zip(["sepal length", "sepal width", "petal length", "petal width"], values, strict=True)),
    }
    for i, (values, label) in enumerate(
        [
            ((5.1, 3.5, 1.4, 0.2), "setosa"),
            ((6.7, 3.1, 4.7, 1.5), "versicolor"),
            ((7.2, 3.6, 6.1, 2.5), "virginica"),
        ]
    )
]


@pytest.mark.parametrize("kind", ["protobuf", "json", "gzip"])
def test_what_bentoml_sends_makes_the_model_and_is_stored_as_our_own_json(
    client: TestClient, admin: Headers, sqlite_engine: Engine, kind: str
) -> None:
    body, more = RECORDED, {}
    if kind == "json":
        body, more = otlp_json(), {"content-type": "application/json"}
    if kind == "gzip":
        body, more = gzip.compress(RECORDED), {"content-encoding": "gzip"}
    answer = logs(client, admin, body, **more)
    assert answer.status_code == 200
    if kind == "json":
        assert answer.json()["partialSuccess"] == {} and answer.json()["accepted"] == 3
    else:
        assert answer.headers["content-type"] == "application/x-protobuf"
        assert not service.ExportLogsServiceResponse.FromString(answer.content).HasField("partial_success")
    made = client.get("/v1/models/iris_otlp", headers=admin).json()
    assert made["task"] == "multiclass"
    assert made["features"]["sepal length"] == {"kind": "numeric"} and len(made["features"]) == 4
    body = {"task": "multiclass", "features": made["features"]}
    assert client.put("/v1/models/ours", json=body, headers=admin).status_code == 201
    sent = client.post("/v1/models/ours/predictions", json={"rows": BENTO_ROWS}, headers=admin)
    assert sent.json()["accepted"] == 3, sent.text
    assert stored(sqlite_engine, "iris_otlp") == stored(sqlite_engine, "ours")
    assert logs(client, admin, RECORDED).status_code == 200
    assert len(stored(sqlite_engine, "iris_otlp")) == 3


def test_only_an_admin_key_makes_a_model(client: TestClient, admin: Headers, make_key: Callable[..., str]) -> None:
    ingest = {"Authorization": f"Bearer {make_key('ingest')}"}
    refused = logs(client, ingest)
    assert refused.status_code == 404
    assert "PUT /v1/models" in refused.json()["detail"] and "admin" in refused.json()["detail"]
    assert logs(client, admin).status_code == 200
    assert logs(client, ingest).status_code == 200
    assert logs(client, {}).status_code == 401


def changed(change: Callable[[Any, int], None]) -> bytes:
    """The recorded request with its records changed."""
    request = service.ExportLogsServiceRequest.FromString(RECORDED)
    for number, record in enumerate(request.resource_logs[0].scope_logs[0].log_records):
        change(record, number)
    return request.SerializeToString()


def without_meta(record: Any, number: int) -> None:
    values = record.body.kvlist_value.values
    for at, pair in reversed(list(enumerate(values))):
        if pair.key == "bento_meta" and number:
            del values[at]


def test_records_without_a_schema_use_the_one_that_came_before(client: TestClient, admin: Headers) -> None:
    assert logs(client, admin, changed(without_meta)).status_code == 200
    assert client.get("/v1/models/iris_otlp/predictions/6413930528999883198", headers=admin).status_code == 200


def test_a_target_that_is_logged_along_becomes_an_outcome(client: TestClient, admin: Headers) -> None:
    def with_target(record: Any, number: int) -> None:
        for pair in record.body.kvlist_value.values:
            if pair.key == "petal width":
                pair.key = "truth"
                pair.value.string_value = "setosa"
            if pair.key == "bento_meta":
                for inner in pair.value.kvlist_value.values:
                    for column in inner.value.kvlist_value.values if inner.key == "schema" else ():
                        if column.key == "petal width":
                            for field, text in (("name", "truth"), ("role", "target"), ("type", "categorical")):
                                for one in column.value.kvlist_value.values:
                                    if one.key == field:
                                        one.value.string_value = text

    assert logs(client, admin, changed(with_target)).status_code == 200
    shown = client.get("/v1/models/iris_otlp/predictions/6413930528999883197", headers=admin).json()
    assert "setosa" in json.dumps(shown["outcomes"])


def test_other_log_records_are_counted_as_rejected(client: TestClient, admin: Headers) -> None:
    def other(record: Any, number: int) -> None:
        if number == 1:
            record.body.string_value = "GET /predict 200"

    answer = logs(client, admin, changed(other))
    partial = service.ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_log_records) == (200, 1)
    assert "BentoML" in partial.error_message

    def every(record: Any, number: int) -> None:
        record.body.string_value = "GET /predict 200"

    assert logs(client, admin, changed(every)).status_code == 422


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"", PROTOBUF, 200),
        (b"{", {"content-type": "application/json"}, 400),
        (b"[]", {"content-type": "application/json"}, 422),
        (b"{}", {"content-type": "application/json"}, 200),
        (b'{"resourceLogs": 1}', {"content-type": "application/json"}, 422),
        (b'{"resourceLogs": [1]}', {"content-type": "application/json"}, 422),
        (b"x", {"content-type": "text/plain"}, 415),
        (RECORDED, {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (b'{"resourceLogs":' + b'[{"scopeLogs":' * 5000, {"content-type": "application/json"}, 400),
    ],
)
def test_bodies_that_are_no_logs_are_refused(
    client: TestClient, admin: Headers, body: bytes, headers: Headers, status: int
) -> None:
    answer = client.post("/v1/logs", content=body, headers={**headers, **admin})
    assert answer.status_code == status, answer.text


def test_protobuf_that_was_cut_or_turned_never_breaks_the_route(client: TestClient, admin: Headers) -> None:
    for place in range(0, len(RECORDED), 97):
        turned = bytearray(RECORDED)
        turned[place] ^= 0xFF
        for body in (bytes(turned), RECORDED[:place]):
            assert logs(client, admin, body).status_code in (200, 400, 404, 422)


def test_two_databases_pair_alike(postgres_settings: Settings, postgres_engine: Engine) -> None:
    """PostgreSQL: halves that come to two processes at once become one row."""
    settings = postgres_settings.model_copy(update={"retention": "36500d"})
    with writing(postgres_engine) as connection:
        from monitor.store import keys

        key = {"Authorization": f"Bearer {keys.create_key(connection, 1, 'k', 'admin', clock.now())}"}
    apps = [create_app(settings, postgres_engine, Writer(postgres_engine, settings)) for _ in range(2)]
    with TestClient(apps[0], base_url=BASE) as one, TestClient(apps[1], base_url=BASE) as other:
        put(one, key, "iris")
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            jobs_ = [
                pool.submit(post, client, key, binary(side, content, call=f"call-{number}"))
                for number in range(20)
                for client, side, content in ((one, "request", V1[0]), (other, "response", V1[1]))
            ]
            answers = [job.result() for job in jobs_]
        assert sum(answer["rows"]["accepted"] for answer in answers) == 20
        assert sum(answer["pending"] for answer in answers) == 20
    assert waiting(postgres_engine) == 0
    assert len(stored(postgres_engine, "iris")) == 20
