"""Rows on their way: batches, retries, rows at fault, and what the caller sees of it."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections import UserDict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.client import Client, deliver
from monitor.client.__main__ import main
from monitor.client.transport import Answer
from tests.client.services import Reply, StandIn, eventually

Make = Callable[..., Client]


def letters(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "queue" / "m" / "dead-letters.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_what_is_logged_arrives_with_an_id_its_times_and_its_version(make: Make, service: StandIn):
    client = make()
    began = datetime.now(UTC)
    row_id = client.log({"age": 41, "plan": "pro"}, "yes", score=0.81, tags={"region": "north"}, latency_ms=8.5)
    client.outcome(row_id, "no")
    assert client.flush()
    row = service.rows["predictions", row_id]
    assert row["features"] == {"age": 41, "plan": "pro"} and row["prediction"] == "yes" and row["version"] == "3"
    assert row["timestamp"] == row["known_at"]
    assert began <= datetime.fromisoformat(row["timestamp"]) <= datetime.now(UTC)
    outcome = service.rows["outcomes", row_id]
    assert outcome["actual"] == "no" and outcome["known_at"] > row["known_at"] and "observed_at" not in outcome
    assert client.stats()["accepted"] == 2 and client.stats()["problem"] is None


def test_many_rows_share_a_request_and_keep_their_order(make: Make, service: StandIn):
    client = make()
    ids = [client.log({"x": i}, i) for i in range(2500)]
    assert client.flush()
    assert [one for request in service.requests for one in request] == ids == sorted(ids)
    assert len(service.requests) < 25
    assert all(one.durable for one in ids)


def test_values_of_python_services_become_json(make: Make, service: StandIn):
    client = make()
    naive = datetime(2026, 1, 2, 3, 4, 5)
    features = UserDict(
        {
            "f32": np.float32(0.5),
            "i64": np.int64(7),
            "flag": np.True_,
            "nan": float("nan"),
            "np_nan": np.float64("nan"),
            "inf": float("inf"),
            "money": Decimal("1.25"),
            "at": datetime(2026, 1, 2, tzinfo=UTC),
            3: "number as a name",
            "surrogate": "a\ud800",
        }
    )
    row_id = client.log(features, np.int64(1), score=np.float64(0.25), timestamp=naive)
    assert client.flush()
    row = service.rows["predictions", row_id]
    assert row["features"] == {
        "f32": 0.5,
        "i64": 7,
        "flag": True,
        "nan": None,
        "np_nan": None,
        "inf": None,
        "money": 1.25,
        "at": "2026-01-02T00:00:00+00:00",
        "3": "number as a name",
        "surrogate": "a\ud800",
    }
    assert (row["prediction"], row["score"]) == (1, 0.25)
    assert datetime.fromisoformat(row["timestamp"]) == naive.astimezone()


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text of mine")


def test_rows_that_cannot_be_sent_are_counted_and_nothing_is_raised(make: Make, tmp_path: Path, problems: list[str]):
    client = make()
    endless: list[Any] = []
    endless.append(endless)
    for bad in ({"x": Hostile()}, {"x": endless}, {"x": "y" * (1 << 21)}, 7):
        assert not client.log(bad, 1).wait(5)  # type: ignore[arg-type]
    assert client.log({"x": 1}, 1).wait(5)
    client.close()
    stats = client.stats()
    assert (stats["logged"], stats["written"], stats["not_taken"]) == (5, 1, 4)
    assert sum(stats["not_taken_ever"].values()) == 4  # on disk too: a restart does not hide it
    assert any("not taken" in text for text in problems)
    assert not client.log({"x": 1}, 1).wait(1)
    assert client.stats()["not_taken_reasons"]["the client was closed"] == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_asks_to_try_again_is_obeyed_with_the_same_rows(make: Make, service: StandIn, status: int):
    client = make()
    service.rule = lambda _route, _rows: (status, {}, {}) if len(service.requests) <= 2 else None
    row_id = client.log({"x": 1}, 1)
    assert client.flush()
    assert service.requests == [[row_id]] * 3 and len(service.rows) == 1


@pytest.mark.parametrize(
    ("status", "reply"), [(200, b"<html>log in to the hotel</html>"), (200, {"accepted": 7}), (302, {})]
)
def test_what_is_not_an_answer_of_the_service_is_no_receipt(make: Make, service: StandIn, status: int, reply: Any):
    client = make()
    service.rule = lambda _route, _rows: (status, {}, reply) if len(service.requests) <= 1 else None
    client.log({"x": 1}, 1)
    eventually(lambda: client.stats()["problem"])
    assert client.flush() and len(service.rows) == 1


def test_an_answer_that_was_lost_makes_a_duplicate_and_not_a_second_row(make: Make, service: StandIn):
    client = make()
    service.then_cut = 2
    client.log({"x": 1}, 1)
    assert client.flush()
    assert len(service.rows) == 1 and client.stats()["duplicates"] == 1


def test_a_retry_after_is_waited_for(make: Make, service: StandIn):
    client = make()
    service.rule = lambda _route, _rows: (429, {"Retry-After": "1"}, {}) if len(service.requests) == 1 else None
    client.log({"x": 1}, 1)
    assert client.flush()
    assert service.at[1] - service.at[0] >= 1


def test_pauses_grow_with_full_jitter_and_never_undercut_what_was_asked():
    longest = [deliver.pause(tries, None, lambda: 1.0) for tries in range(1, 12)]
    assert longest == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert deliver.pause(5, None, lambda: 0.0) == 0
    assert deliver.pause(3, 7.0, lambda: 0.5) == 8.0
    assert len({deliver.pause(3, None) for _ in range(20)}) > 10
    assert deliver._seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert deliver._seconds("99999999") == 3600
    assert deliver._seconds("soon") is None


def guilty(*bad: str, status: int = 400) -> Callable[[str, list[dict[str, Any]]], Reply | None]:
    """A service that refuses a whole batch because of these rows, without saying which."""
    return lambda _route, rows: (status, {}, {"detail": "?"}) if {row["id"] for row in rows} & set(bad) else None


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_that_is_refused_is_split_until_the_guilty_rows_stand_alone(
    make: Make, service: StandIn, tmp_path: Path, problems: list[str], status: int
):
    client = make()
    service.rule = guilty("7", "41", status=status)
    for i in range(60):
        client.log({"x": i}, i, id=str(i))
    assert client.flush()
    assert service.ids == {str(i) for i in range(60)} - {"7", "41"}
    found = letters(tmp_path)
    assert [json.loads(one["row"])["id"] for one in found] == ["7", "41"]
    assert all(one["status"] == status and one["kind"] == "predictions" and one["at"] for one in found)
    assert client.stats()["refused"] == 2
    assert any("dead-letters.ndjson" in text for text in problems)


def test_a_row_that_the_service_always_fails_at_lets_the_others_pass_and_is_not_dropped_silently(
    make: Make, service: StandIn, tmp_path: Path, problems: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deliver, "LONGEST_DELAY", 0.01)
    client = make()
    at_fault = guilty("0", "41", status=500)
    service.rule = lambda route, rows: at_fault(route, rows) if route == "predictions" else None
    for i in range(60):
        client.log({"x": i}, i, id=str(i))
    client.outcome("0", 1)
    assert client.flush()
    assert service.ids == {str(i) for i in range(60)} - {"41"}  # the outcome of 0 is there, its prediction is not
    assert ("predictions", "0") not in service.rows
    found = letters(tmp_path)
    assert [(json.loads(one["row"])["id"], one["kind"], one["status"], one["code"]) for one in found] == [
        ("0", "predictions", 500, "failed"),
        ("41", "predictions", 500, "failed"),
    ]
    assert client.stats()["refused"] == 2 and any("failed" in text for text in problems)
    alone = [one for one in service.requests if one == ["41"]]
    assert 2 <= len(alone) <= 4 and len(service.requests) < 60


def test_while_the_service_fails_at_everything_no_row_is_given_up(
    make: Make, service: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deliver, "LONGEST_DELAY", 0.01)
    client = make()
    service.rule = lambda _route, rows: (500, {}, {})
    for i in range(300):
        client.log({"x": i}, i, id=str(i))
    eventually(lambda: sum(len(one) > 200 for one in service.requests) > 7, 30)
    tries = sum(len(one) > 200 for one in service.requests)
    assert len(service.requests) <= tries * deliver.PROBES + 20  # it is not flooded by the search for a row
    service.rule = None
    assert client.flush()
    assert service.ids == {str(i) for i in range(300)} and not (tmp_path / "queue/m/dead-letters.ndjson").exists()


def test_a_row_that_fails_alone_waits_until_another_shows_that_it_is_at_fault(
    make: Make, service: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deliver, "LONGEST_DELAY", 0.01)
    client = make()
    service.rule = guilty("bad", status=500)
    client.log({"x": 1}, 1, id="bad")
    eventually(lambda: len(service.requests) > 10)
    assert not (tmp_path / "queue/m/dead-letters.ndjson").exists()
    client.log({"x": 1}, 1, id="good")
    assert client.flush()
    assert service.ids == {"good"} and len(letters(tmp_path)) == 1


def test_rows_that_the_service_names_become_dead_letters_with_its_reasons(make: Make, service: StandIn, tmp_path: Path):
    client = make()
    service.rule = lambda route, rows: service.store(
        route, rows, {at: "expired" for at, row in enumerate(rows) if row["id"] in "ac"}
    )
    client.log({"x": 1}, 1, id="a")
    client.log({"x": 1}, 1, id="b")
    client.log({"x": 1}, 1, id="c")
    assert client.flush()
    found = letters(tmp_path)
    assert [json.loads(one["row"])["id"] for one in found] == ["a", "c"] and {one["code"] for one in found} == {
        "expired"
    }
    service.rule = lambda route, rows: service.store(route, rows, {0: "conflict"})  # 422: none was usable
    client.log({"x": 1}, 1, id="d")
    assert client.flush()
    assert letters(tmp_path)[-1]["code"] == "conflict" and service.ids == {"b"}


@pytest.mark.parametrize("status", [401, 403, 404, 301])
def test_a_wrong_key_or_an_unknown_model_is_nobodys_row(
    make: Make, service: StandIn, tmp_path: Path, problems: list[str], status: int
):
    client = make()
    service.rule = lambda _route, _rows: (status, {}, {"detail": "there is no such model"})
    row_id = client.log({"x": 1}, 1)
    eventually(lambda: problems)
    assert "no such model" in problems[0]
    assert not client.flush(0.2)
    service.rule = None
    assert client.flush()
    assert service.ids == {row_id} and not letters(tmp_path)


def test_dead_letters_can_be_sent_again(
    make: Make, service: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    client = make()
    service.rule = guilty("a", "b")
    client.log({"x": 1}, 1, id="a")
    client.outcome("b", 1)
    assert client.flush() and client.close()
    queue = str(tmp_path / "queue")
    assert main([queue]) == 1
    assert json.loads(capsys.readouterr().out)["dead_letters"] == 2
    assert main([queue, "--requeue"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["requeued"], shown["dead_letters"]) == (2, 0) and shown["waiting_bytes"] > 0
    service.rule = None
    assert make().flush()
    assert set(service.rows) == {("predictions", "a"), ("outcomes", "b")}
    assert main([queue]) == 0 and json.loads(capsys.readouterr().out)["waiting_bytes"] == 0
    assert main([queue + "-not"]) == 2 and main([]) == 2


def test_a_full_directory_keeps_what_was_promised_and_counts_the_rest(
    make: Make, service: StandIn, problems: list[str]
):
    client = make(max_bytes=1 << 20)
    service.rule = lambda _route, _rows: (503, {}, {})
    ids = [client.log({"pad": "x" * 1000}, i) for i in range(2000)]
    assert not client.sync()
    kept = {one for one in ids if one.durable}
    stats = client.stats()
    assert 850 < len(kept) < 1000 and stats["not_taken"] == 2000 - len(kept)
    assert stats["not_taken_reasons"] == {"the queue directory was full": 2000 - len(kept)}
    service.rule = None
    assert client.flush(30)
    assert service.ids == kept
    assert client.log({"x": 1}, 1).wait(10)  # there is room again
    eventually(lambda: any("full" in text for text in problems))


def test_when_the_memory_is_full_rows_are_counted_and_told(
    make: Make, service: StandIn, monkeypatch: pytest.MonkeyPatch
):
    client = make(max_memory=100_000)
    hold = threading.Event()
    append = client._spool.append
    monkeypatch.setattr(client._spool, "append", lambda rows: (hold.wait(10), append(rows)))
    ids = [client.log({"pad": "x" * 1000}, i) for i in range(200)]
    lost = [one for one in ids if one.state == "not taken"]
    assert 100 <= len(lost) < 200
    hold.set()
    assert client.flush()
    assert service.ids == set(ids) - set(lost)
    assert client.stats()["not_taken_reasons"] == {"the memory for waiting rows was full": len(lost)}


def test_while_the_disk_takes_nothing_rows_are_sent_from_memory(
    make: Make, service: StandIn, tmp_path: Path, problems: list[str], monkeypatch: pytest.MonkeyPatch
):
    client = make()

    def full(_rows: list[bytes]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client._spool, "append", full)
    ids = [client.log({"x": i}, i) for i in range(300)]
    assert all(one.wait(10) for one in ids)
    assert service.ids == set(ids) and client.stats()["sent_from_memory"] == 300
    assert any("No space left" in text for text in problems)
    monkeypatch.undo()
    last = client.log({"x": 1}, 1)
    assert client.flush() and last in service.ids
    assert client.log({"x": 1}, 1).wait(10)  # to the disk again, when it was tried again
    eventually(lambda: client.stats()["problem"] is None)


def test_a_directory_that_cannot_be_made_does_not_stop_the_sending(make: Make, service: StandIn, tmp_path: Path):
    (tmp_path / "file").write_text("")
    client = make(directory=tmp_path / "file" / "queue")
    assert client.log({"x": 1}, 1).wait(10)
    assert len(service.rows) == 1


def test_what_was_not_sent_waits_for_the_next_process(make: Make, service: StandIn):
    service.rule = lambda _route, _rows: (503, {}, {})
    first = make()
    ids = [first.log({"x": i}, i) for i in range(50)]
    assert not first.close(0.3)
    service.rule = None
    assert make().flush()
    assert service.ids == set(ids)


def test_many_threads_log_at_once(make: Make, service: StandIn):
    client = make()
    ids: list[list[str]] = [[] for _ in range(8)]

    def work(mine: list[str]) -> None:
        mine.extend(client.log({"x": i}, i) for i in range(300))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush()
    assert service.ids == {one for mine in ids for one in mine} and len(service.rows) == 2400


def test_forked_workers_each_log_on_their_own(make: Make, service: StandIn):
    client = make()  # made before the fork, as gunicorn does with --preload
    mine = client.log({"who": "parent"}, 0)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            mine.wait(0.01)  # nothing of the parent's holds it up
            made = [client.log({"who": os.getpid()}, i) for i in range(40)]
            os._exit(0 if client.close(10) and len(set(made)) == 40 else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    client.log({"who": "parent"}, 1)
    assert client.flush()
    who = [row["features"]["who"] for row in service.rows.values()]
    assert sorted(map(str, who)) == sorted([str(child) for child in children for _ in range(40)] + ["parent"] * 2)


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


SCRIPT = """
import sys
from monitor.client import Client
client = Client(sys.argv[1], "kw_test", "m", directory=sys.argv[2])
"""


def test_a_script_that_just_ends_has_sent_its_rows(service: StandIn, tmp_path: Path):
    code = SCRIPT + "for i in range(20): client.log({'x': i}, i)\n"
    done = run(code, service.url, str(tmp_path / "queue"))
    assert done.returncode == 0 and not done.stderr
    assert len(service.rows) == 20
    assert not [one for one in (tmp_path / "queue" / "m").iterdir() if one.is_dir()]  # nothing is left behind


def test_children_of_multiprocessing_write_their_rows_before_they_end(service: StandIn, tmp_path: Path):
    code = (
        SCRIPT
        + """
import multiprocessing
def work(n):
    for i in range(20): client.log({'x': i}, i)
children = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
for child in children: child.start()
for child in children: child.join()
"""
    )
    done = run(code, service.url, str(tmp_path / "queue"))
    assert done.returncode == 0, done.stderr
    assert len(service.rows) == 60


def test_without_a_receiver_problems_are_warnings_of_a_logger(
    make: Make, service: StandIn, caplog: pytest.LogCaptureFixture
):
    service.rule = lambda _route, _rows: (401, {}, {"detail": "a key is needed"})
    client = make(on_problem=None)
    client.log({"x": 1}, 1)
    eventually(lambda: caplog.records)
    assert (caplog.records[0].name, caplog.records[0].levelno) == ("keepwatch", logging.WARNING)
    assert "kw_test" not in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"url": "keepwatch:8000"}, {"url": "http://k@h"}, {"key": "a\nb"}, {"model": "../x"}, {"max_bytes": 10}]
)
def test_wrong_arguments_are_told_when_the_client_is_made(make: Make, wrong: dict[str, Any]):
    with pytest.raises(ValueError):
        make(**wrong)


def test_a_refused_batch_is_not_lost_when_its_second_half_cannot_be_sent():
    seen: list[list[str]] = []

    def post(_path: str, body: bytes) -> Answer:
        ids = [row["id"] for row in json.loads(body)["rows"]]
        seen.append(ids)
        return Answer(400, None, {}) if len(ids) > 1 or ids == ["a"] else Answer(503, "3", {})

    with pytest.raises(deliver.Later) as later:
        deliver.deliver(post, "m", [b'p{"id":"a"}', b'p{"id":"b"}'])
    assert later.value.asked == 3 and not later.value.blocked  # both are sent again: nothing was acknowledged


def test_an_id_can_be_copied_and_pickled_like_any_text(make: Make):
    import copy
    import pickle

    row_id = make().log({"x": 1}, 1)
    assert copy.deepcopy(row_id) == row_id == pickle.loads(pickle.dumps(row_id))
    assert type(copy.deepcopy(row_id)) is str
