"""Bodies that are compressed, long, broken or traps: what is read of them, and what is refused in time."""

import gzip
import io
import json
import os
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.ingest import tables
from monitor.ingest.inflate import zstd
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing
from tests.ingest.encoded import ARROW, CODINGS, ENCODINGS, NDJSON, PARQUET, Rows, arrow, lines, table

LIMIT = 1 << 20
Post = Callable[..., Any]


@pytest.fixture
def client(sqlite_settings: Settings, sqlite_engine: Engine) -> Iterator[TestClient]:
    """An application that takes 1 MB a body, with a model `m`."""
    settings = sqlite_settings.model_copy(update={"max_body_mb": 1})
    app = create_app(settings, sqlite_engine, Writer(sqlite_engine, settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as running:
        with writing(sqlite_engine) as connection:
            key = keys.create_key(connection, 1, "bodies", "admin", clock.now())
        running.headers["Authorization"] = f"Bearer {key}"
        assert running.put("/v1/models/m", json={"task": "binary"}).status_code == 201
        yield running


@pytest.fixture
def post(client: TestClient) -> Post:
    """post(body, content type, coding="", kind="predictions"): the answer."""

    def send(body: Any, content_type: str = NDJSON, coding: str = "", kind: str = "predictions") -> Any:
        headers = {"content-type": content_type} | ({"content-encoding": coding} if coding else {})
        return client.post(f"/v1/models/m/{kind}", content=body, headers=headers)

    return send


def rows(count: int, start: int = 0) -> Rows:
    return [{"id": f"r{i}", "features": {"x": i * 0.5}, "prediction": i % 2} for i in range(start, start + count)]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_read_compressed_too(post: Post, encoding: str, coding: str) -> None:
    content_type, body = ENCODINGS[encoding](rows(20))
    answer = post(CODINGS[coding](body), content_type, coding)
    assert answer.status_code == 200 and answer.json()["accepted"] == 20, answer.text


def test_outcomes_are_read_in_every_encoding(post: Post) -> None:
    outcomes = [{"id": f"r{i}", "actual": i % 2, "observed_at": "2026-01-05T00:00:00+00:00"} for i in range(5)]
    first = post(*reversed(ENCODINGS["rows"](outcomes)), kind="outcomes").json()
    assert first["accepted"] == first["pending"] == 5
    for encoding in ENCODINGS:
        content_type, body = ENCODINGS[encoding](outcomes)
        again = post(body, content_type, kind="outcomes").json()
        assert (again["accepted"], again["duplicates"]) == (0, 5), (encoding, again)
    half = pa.table({"id": ["r0", None], "actual": pa.array([None, 1.0])})
    assert post(arrow(half), ARROW, kind="outcomes").json()["rejected_count"] == 2


def test_a_reference_is_the_same_in_every_encoding(client: TestClient) -> None:
    sent = [
        {"timestamp": "2026-01-05T00:00:00+00:00", "features": {"x": i * 0.5, "c": "ab"[i % 2]}, "score": 0.5}
        | ({"actual": i % 2} if i % 3 else {})
        for i in range(60)
    ]
    answers = {}
    for number, (encoding, make) in enumerate(ENCODINGS.items()):
        assert client.put(f"/v1/models/ref{number}", json={"task": "binary"}).status_code == 201
        content_type, body = make(sent)
        headers = {"content-type": content_type, "content-encoding": "gzip"}
        answer = client.put(f"/v1/models/ref{number}/reference", content=gzip.compress(body), headers=headers)
        assert answer.status_code == 200, (encoding, answer.text)
        inferred = client.get(f"/v1/models/ref{number}").json()["features"]
        answers[encoding] = ({k: v for k, v in answer.json().items() if k not in ("id", "created_at")}, inferred)
    for encoding, answer in answers.items():
        assert answer == answers["rows"], encoding
    assert answers["rows"][0]["accepted"] == 60


def test_lines_of_any_length_are_taken_in_groups(client: TestClient, post: Post) -> None:
    def sent() -> Iterator[bytes]:
        for start in range(0, 20_000, 1000):
            yield lines(rows(1000, start))

    answer = post(sent()).json()
    assert (answer["accepted"], answer["rejected_count"]) == (20_000, 0)
    assert post(lines(rows(100, 19_950))).json()["duplicates"] == 50
    assert client.get("/v1/models/m/predictions/r19999").status_code == 200


def test_a_bad_line_leaves_the_lines_around_it_alone(post: Post) -> None:
    good = lines(rows(3)).splitlines()
    bad = [
        b"{",
        b"nonsense",
        b"[1]",
        b'{"id": "q", "nope": 1}',
        b'{"id": "w"}],"rows":[{"id":"v"}',
        b"\xff",
        b"[" * 9999,
    ]
    body = b"\n".join([good[0], *bad, b"", b"  ", good[1], b"\r"]) + b"\n" + good[2]  # no newline at the end
    answer = post(body).json()
    assert answer["accepted"] == 3
    assert [one["index"] for one in answer["rejected"]] == [1, 2, 3, 4, 5, 6, 7]
    assert answer["rejected"][3]["id"] == "q"


def test_ids_made_here_stand_in_their_places_whatever_the_length(post: Post) -> None:
    body = b'{"prediction": 1}\n' * 12_000
    answer = post(body).json()
    assert answer["accepted"] == 12_000
    assert len(answer["ids"]) == len(set(answer["ids"])) == 12_000


def test_nothing_usable_is_422_and_no_rows_are_fine(post: Post) -> None:
    refused = post(b'{"id": "a"}\n{}\n')
    assert refused.status_code == 422 and refused.json()["rejected_count"] == 2
    assert post(b"\n \n").json()["accepted"] == 0
    assert post(arrow(table(rows(1), structs=True).slice(0, 0)), ARROW).json()["accepted"] == 0


def test_what_was_committed_before_an_error_is_counted_in_its_answer(post: Post) -> None:
    body = gzip.compress(lines(rows(8_000)))
    answer = post(body[: len(body) * 3 // 4], coding="gzip")
    assert answer.status_code == 400
    stored = answer.json()["accepted"]
    assert stored >= 5000  # the first group
    again = post(body, coding="gzip").json()
    assert (again["duplicates"], again["accepted"]) == (stored, 8_000 - stored)


def wide(count: int) -> pa.Table:
    coded = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array(["x" * 1000]))
    return pa.table({"features.s": coded})


def parquet_bytes(found: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(found, sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def dictionary_bomb() -> bytes:
    """A level of 100 kB that every one of 100,000 rows refers to by a byte."""
    coded = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int8)), pa.array(["x" * 100_000]))
    return arrow(pa.table({"features.s": coded}))


MEBIBYTE = b" " * (1 << 20)
BOMBS: dict[str, Callable[[], tuple[bytes, str, str]]] = {
    "gzip": lambda: (gzip.compress(MEBIBYTE) * 190, "application/json", "gzip"),
    "zstd": lambda: (zstd.compress(MEBIBYTE) * 3000, "application/json", "zstd"),
    "a line without end": lambda: (gzip.compress(b"x" * (1 << 20)) * 190, NDJSON, "gzip"),
    "gzip of gzip": lambda: (gzip.compress(gzip.compress(MEBIBYTE) * 500), "application/json", "gzip"),
    "parquet": lambda: (parquet_bytes(wide(200_000)), PARQUET, ""),
    "parquet in gzip": lambda: (gzip.compress(parquet_bytes(wide(50_000))), PARQUET, "gzip"),
    "arrow buffers": lambda: (arrow(pa.table({"features.x": np.zeros(900_000)}), "zstd"), ARROW, ""),
    "arrow dictionary": lambda: (dictionary_bomb(), ARROW, ""),
    "arrow rows without bytes": lambda: (arrow(pa.table({"features.x": pa.nulls(1 << 30)})), ARROW, ""),
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see the memory")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_the_limit_quickly_and_in_little_memory(post: Post, name: str) -> None:
    body, content_type, coding = BOMBS[name]()
    assert len(body) < LIMIT
    list(tables.parquet_batches(parquet_bytes(wide(1)), LIMIT))  # the process that reads them is warm
    before, began = resident(), time.monotonic()
    answer = post(body, content_type, coding)
    took, grown = time.monotonic() - began, resident() - before
    assert answer.status_code == (400 if name == "gzip of gzip" else 413), answer.text
    assert took < 5 and grown < 64 << 20, (took, grown)
    assert post(lines(rows(1))).status_code == 200


def test_a_broken_body_is_400_and_an_unknown_encoding_415(post: Post) -> None:
    for content_type, body in ((ARROW, arrow(table(rows(9), structs=True))), (PARQUET, parquet_bytes(wide(9)))):
        for cut in (0, 1, 7, len(body) // 2, len(body) - 9):
            answer = post(body[:cut], content_type)
            assert answer.status_code in (400, 200) and answer.status_code < 500, (cut, answer.text)
            broken = bytearray(body)
            broken[cut] ^= 0x55
            assert post(bytes(broken), content_type).status_code < 500
    for coding, body in (("gzip", b"no"), ("gzip", gzip.compress(b"{}")[:-3]), ("zstd", zstd.compress(b"{}")[:-3])):
        assert post(body, "application/json", coding).status_code == 400
    assert post(zlib.compress(b"{}"), "application/json", "deflate").status_code == 415
    assert post(b"{}", "text/csv").status_code == 415
    assert post(b"{}", "application/json", "gzip, gzip").status_code == 415


def test_columns_that_are_not_known_or_not_readable_are_named(post: Post) -> None:
    ids = pa.array(["a"])
    for column, kind in (
        ("nonsense", pa.array([1.0])),
        ("features", pa.array([1.0])),
        ("features.x", pa.array([b"raw"])),
        ("features.x", pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))),
    ):
        answer = post(arrow(pa.table({"id": ids, column: kind})), ARROW)
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"], answer.text
    twice = pa.Table.from_arrays([ids, pa.array([1.0]), pa.array([2.0])], ["id", "features.x", "features.x"])
    assert post(arrow(twice), ARROW).status_code == 422


def test_nan_and_infinity_of_arrow_are_kept(client: TestClient, post: Post) -> None:
    odd = pa.table({"id": ["nan", "inf"], "features.x": pa.array([np.nan, np.inf])})
    assert post(arrow(odd), ARROW).json()["accepted"] == 2
    assert post(arrow(odd), ARROW).json()["duplicates"] == 2
    assert client.get("/v1/models/m/predictions/nan").status_code == 200


def test_times_need_an_offset_and_labels_have_one_text(client: TestClient, post: Post) -> None:
    naive = pa.table({"id": ["a"], "prediction": [1], "timestamp": pa.array([0], pa.timestamp("us"))})
    answer = post(arrow(naive), ARROW).json()
    assert answer["rejected"][0]["code"] == "invalid" and "offset" in answer["rejected"][0]["message"]
    now = clock.now()
    for unit, scale in (("s", 1_000_000), ("ms", 1000), ("us", 1)):
        stamp = pa.array([now // scale], pa.timestamp(unit, tz="Europe/Paris"))
        sent = pa.table({"id": [unit], "prediction": pa.array([1.0], pa.float32()), "timestamp": stamp})
        assert post(arrow(sent), ARROW).json()["accepted"] == 1
        row = client.get(f"/v1/models/m/predictions/{unit}").json()
        assert json.dumps(row).count('"prediction": "1"') == 1, row
    far = pa.table({"id": ["far"], "prediction": [1], "timestamp": pa.array([2**62], pa.timestamp("s", tz="UTC"))})
    assert post(arrow(far), ARROW).json()["rejected_count"] == 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the process")
def test_the_process_that_reads_files_goes_on_when_it_is_asked_to_end_with_the_server() -> None:
    """As systemd does, which asks all processes of a service at once; a file cut short looked like one too large."""
    numbers = pa.table({"features.x": np.arange(900_000.0)})
    batches = tables.parquet_batches(parquet_bytes(numbers), 64 << 20)
    taken = next(batches).num_rows
    started = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    readers = [one for one in started.split() if b"table_child" in Path(f"/proc/{one}/cmdline").read_bytes()]
    assert readers
    for process in readers:
        os.kill(int(process), signal.SIGTERM)
    assert taken + sum(batch.num_rows for batch in batches) == len(numbers)
    tables.close()
