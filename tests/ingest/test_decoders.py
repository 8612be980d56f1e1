"""Bodies that are decoded in processes beside this one: the same rows, the same errors, and nothing lost with them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from monitor import clock
from monitor.errors import Invalid, Overloaded, Problem
from monitor.ingest import children, decoders
from monitor.ingest.decoders import Decoders
from monitor.ingest.prepare import Batch, Form, prepared
from monitor.ingest.validate import PredictionBatch, Times
from monitor.store.catalog import Model
from monitor.store.model_config import ModelConfig

NOW = 1_770_000_000_000_000
TIMES = Times(NOW, NOW, False, 400 * clock.DAY)
KINDS = {"x": "numeric", "city": "categorical", "on": "boolean"}
MODEL = Model(1, 1, "m", "binary", ModelConfig("binary"), KINDS, 0, None)
ROWS = 1000


def row(at: int, **more: Any) -> dict[str, Any]:
    features = {"x": at / 7, "city": f"c{at % 5}" if at % 9 else None, "on": at % 2 == 0}
    given = {"id": f"r-{at}", "timestamp": clock.render(NOW - at * clock.MINUTE), "version": str(at % 3)}
    return given | {"features": features, "prediction": at % 2, "score": at / ROWS, "tags": {"region": "eu"}} | more


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    return [row(at) for at in range(count)]


def columns(of: list[dict[str, Any]]) -> dict[str, Any]:
    features = {name: [one["features"][name] for one in of] for name in KINDS}
    return {"id": [one["id"] for one in of], "prediction": [one["prediction"] for one in of], "features": features}


BODIES = {
    "rows": (Form.WHOLE, orjson.dumps({"rows": rows()})),
    "columns": (Form.WHOLE, orjson.dumps({"columns": columns(rows())})),
    "lines": (Form.LINES, b"\n".join(orjson.dumps(one) for one in rows())),
    "rows without ids": (Form.WHOLE, orjson.dumps({"rows": [{**one, "id": None} for one in rows()]})),
    "rows with classes and errors": (
        Form.WHOLE,
        orjson.dumps({"rows": [row(at, scores={"a": 0.5}, error="late" if at % 3 else None) for at in range(ROWS)]}),
    ),
    "bad rows among them": (
        Form.WHOLE,
        orjson.dumps({"rows": [row(at, score=2) if at % 100 == 7 else row(at) for at in range(ROWS)] + [{"x": 1}]}),
    ),
    "lines that are none": (Form.LINES, b"\n".join([b"{", b"[]", *(orjson.dumps(one) for one in rows())])),
    "features beside the schema": (
        Form.WHOLE,
        orjson.dumps({"rows": [row(at, features={"x": "?", "new": at}) for at in range(ROWS)]}),
    ),
    "nothing but bad rows": (Form.WHOLE, orjson.dumps({"rows": [row(at, role="?") for at in range(ROWS)]})),
    "no rows": (Form.WHOLE, b'{"rows": []' + b" " * decoders.SMALLEST + b"}"),
    "no lines": (Form.LINES, b"\n" * decoders.SMALLEST),
}


@pytest.fixture
def beside() -> Iterator[Decoders]:
    """One process that is ready."""
    made = Decoders(most=1)
    warm(made)
    yield made
    made.close()


def warm(made: Decoders) -> None:
    """Bodies at once, until a process is there."""
    form, body = BODIES["rows"]
    until = time.monotonic() + 30
    with ThreadPoolExecutor(2) as threads:
        while not made._idle:
            assert time.monotonic() < until
            for one in [threads.submit(made.prepare, form, "predictions", body, MODEL, TIMES) for _ in range(2)]:
                one.result(60)


def process_of(made: Decoders) -> int:
    (child,) = made._idle
    return child.pid


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Problem as problem:
            found.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def stopped_in_the_middle(made: Decoders) -> tuple[int, threading.Thread, list[Any]]:
    """The only process is given a body and does not come to it; who waits for it, and what that is told."""
    form, body = BODIES["rows"]
    process = process_of(made)
    os.kill(process, signal.SIGSTOP)
    thread, found = in_thread(lambda: made.prepare(form, "predictions", body, MODEL, TIMES))
    while made._idle:
        time.sleep(0.001)
    return process, thread, found


def same(one: Batch, other: Batch, *, but_ids: bool) -> None:
    assert isinstance(one, PredictionBatch)
    assert isinstance(other, PredictionBatch)
    left, right = (batch.drop_columns(["id"]) if but_ids else batch for batch in (one.batch, other.batch))
    assert left.equals(right)
    left.validate(full=True)
    assert (one.versions, one.total, one.rejected) == (other.versions, other.total, other.rejected)
    assert (one.made_ids, one.max_known_at) == (other.made_ids, other.max_known_at)
    np.testing.assert_array_equal(one.index, other.index)
    if not but_ids:
        np.testing.assert_array_equal(one.keys, other.keys)
    assert (one.keys.dtype, one.keys.shape) == (other.keys.dtype, other.keys.shape)


def test_what_comes_back_is_what_would_have_been_made_here(beside: Decoders) -> None:
    for name, (form, body) in BODIES.items():
        there = beside.prepare(form, "predictions", body, MODEL, TIMES)
        here = prepared(form, "predictions", body, MODEL, TIMES)
        assert len(there) == len(here), name
        for one, other in zip(there, here, strict=True):
            same(one, other, but_ids=name == "rows without ids")
    assert beside._running == 1


def test_columns_arrive_where_arrow_wants_them(beside: Decoders) -> None:
    form, body = BODIES["rows"]
    (batch,) = beside.prepare(form, "predictions", body, MODEL, TIMES)
    assert isinstance(batch, PredictionBatch)
    addresses = [buffer.address for column in batch.batch.columns for buffer in column.buffers() if buffer is not None]
    assert addresses and all(address % 8 == 0 for address in addresses)


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": 7' + b" " * decoders.SMALLEST + b"}",
        b'{"rows": [' + b" " * decoders.SMALLEST,
        orjson.dumps({"columns": {"id": ["a"] * ROWS, "score": [0.5] * (ROWS - 1), "pad": ["x" * 9] * ROWS}}),
        orjson.dumps({"rows": [{}] * 10_001}),
        b"[" * 100_000,
        orjson.dumps({"rows": [row(at, tags={f"t{n}": "v" for n in range(60)}) for at in range(100)]}),
    ],
)
def test_what_is_refused_here_is_refused_there_in_the_same_words(beside: Decoders, body: bytes) -> None:
    with pytest.raises(Problem) as here:
        prepared(Form.WHOLE, "predictions", body, MODEL, TIMES)
    with pytest.raises(Problem) as there:
        beside.prepare(Form.WHOLE, "predictions", body, MODEL, TIMES)
    assert type(there.value) is type(here.value)
    assert (there.value.detail, there.value.errors) == (here.value.detail, here.value.errors)
    assert beside._running == 1


def test_a_fault_of_ours_is_raised_with_where_it_was(beside: Decoders) -> None:
    form, body = BODIES["rows"]
    broken = replace(MODEL, features={"x": "a kind that nobody knows"})
    with pytest.raises(RuntimeError, match="KeyError") as raised:
        beside.prepare(form, "predictions", body, broken, TIMES)
    assert any("rowtypes" in note for note in raised.value.__notes__)
    assert len(beside.prepare(form, "predictions", body, MODEL, TIMES)) == 1


def test_a_lone_sender_needs_no_process() -> None:
    made = Decoders(most=2)
    form, body = BODIES["rows"]
    for _ in range(3):
        assert made.prepare(form, "predictions", body, MODEL, TIMES)
    assert made._running == made._starting == 0


def test_senders_at_once_are_served_all_the_time_and_by_no_more_processes_than_allowed() -> None:
    made = Decoders(most=2)
    form, body = BODIES["rows"]
    with ThreadPoolExecutor(6) as threads:
        until = time.monotonic() + 30
        while len(made._idle) < 2 and time.monotonic() < until:
            asked = [threads.submit(made.prepare, form, "predictions", body, MODEL, TIMES) for _ in range(6)]
            assert all(len(one.result(60)) == 1 for one in asked)
    assert (made._running, made._starting, len(made._idle)) == (2, 0, 2)
    made.close()
    assert made._running == 0


def test_outcomes_and_small_bodies_are_prepared_here(beside: Decoders) -> None:
    os.kill(process_of(beside), signal.SIGSTOP)  # whoever asked it would wait
    outcomes = orjson.dumps({"rows": [{"id": f"r-{at}", "actual": 1} for at in range(ROWS)]})
    assert len(beside.prepare(Form.WHOLE, "outcomes", outcomes, MODEL, TIMES)) == 1
    assert len(beside.prepare(Form.WHOLE, "predictions", orjson.dumps(row(1)), MODEL, TIMES)) == 1


def test_a_process_that_is_killed_in_the_middle_costs_one_answer_that_says_so(beside: Decoders) -> None:
    form, body = BODIES["rows"]
    process, thread, found = stopped_in_the_middle(beside)
    os.kill(process, signal.SIGKILL)
    thread.join(10)
    (problem,) = found
    assert isinstance(problem, Overloaded)
    assert problem.retry_after
    assert "nothing of it was stored" in problem.detail
    assert len(beside.prepare(form, "predictions", body, MODEL, TIMES)) == 1  # here
    warm(beside)  # and there is another one


def test_a_process_that_died_while_it_waited_costs_nothing(beside: Decoders) -> None:
    form, body = BODIES["rows"]
    os.kill(process_of(beside), signal.SIGKILL)
    while beside._idle[0].alive:
        time.sleep(0.001)
    assert len(beside.prepare(form, "predictions", body, MODEL, TIMES)) == 1
    assert beside._running == 0


def test_a_process_that_hangs_is_given_up(beside: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "SECONDS", 0.3)
    form, body = BODIES["rows"]
    os.kill(process_of(beside), signal.SIGSTOP)
    with pytest.raises(Overloaded):
        beside.prepare(form, "predictions", body, MODEL, TIMES)
    assert beside._running == 0


def test_whoever_waits_for_a_process_that_dies_is_prepared_here(
    beside: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_most", 0)  # no other one comes
    form, body = BODIES["rows"]
    process, first, failed = stopped_in_the_middle(beside)
    second, made = in_thread(lambda: beside.prepare(form, "predictions", body, MODEL, TIMES))
    time.sleep(0.05)
    assert not made
    os.kill(process, signal.SIGKILL)
    first.join(10)
    second.join(10)
    assert isinstance(failed[0], Overloaded)
    assert len(made[0]) == 1


def test_where_none_can_be_started_everything_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    made = Decoders(most=2)
    form, body = BODIES["rows"]
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(made.prepare, form, "predictions", body, MODEL, TIMES) for _ in range(20)]
        assert all(len(one.result(60)) == 1 for one in asked)
    assert made._running == made._starting == 0
    assert made._not_before > time.monotonic()


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc to see what a process was given")
def test_no_secret_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPWATCH_SECRET_KEY", "0" * 64)
    monkeypatch.setenv("PGPASSWORD", "of the database")
    made = Decoders(most=1)
    warm(made)
    given = Path(f"/proc/{process_of(made)}/environ").read_bytes()
    assert b"PATH=" in given
    assert b"KEEPWATCH_" not in given
    assert b"PGPASSWORD" not in given
    made.close()


def test_more_than_a_pipe_holds_goes_over_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_PIPE_BYTES", 4096)
    made = Decoders(most=1)
    warm(made)
    body = orjson.dumps({"rows": rows(10_000)})
    assert len(body) > 1 << 20
    (batch,) = made.prepare(Form.WHOLE, "predictions", body, MODEL, TIMES)
    (here,) = prepared(Form.WHOLE, "predictions", body, MODEL, TIMES)
    same(batch, here, but_ids=False)
    made.close()


def test_a_mistake_in_the_request_is_still_one_after_the_process_was_asked(beside: Decoders) -> None:
    """Errors have members beside their words, which the answer shows."""
    body = orjson.dumps({"columns": {"id": ["a"] * ROWS, "score": [0.5] * (ROWS + 1)}})
    with pytest.raises(Invalid) as raised:
        beside.prepare(Form.WHOLE, "predictions", body, MODEL, TIMES)
    assert raised.value.errors[0]["field"] == "columns.score"


def test_a_thread_that_cannot_be_started_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Decoders(most=2)
    form, body = BODIES["rows"]

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, made._counted():  # as beside another body
        patched.setattr(threading.Thread, "start", refuse)
        assert len(made.prepare(form, "predictions", body, MODEL, TIMES)) == 1
    assert made._under_way == made._starting == 0
    assert made._not_before > time.monotonic()


def test_a_large_body_may_take_longer(beside: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand rows that are refused one by one take a second a MiB, and on a busy machine many."""
    monkeypatch.setattr(decoders, "SECONDS", 0.0)
    body = orjson.dumps({"rows": rows(10_000)})
    assert len(beside.prepare(Form.WHOLE, "predictions", body, MODEL, TIMES)) == 1


def test_a_process_that_is_asked_to_end_with_the_server_answers_first(beside: Decoders) -> None:
    """As systemd does, which asks all processes of a service at once."""
    process, thread, found = stopped_in_the_middle(beside)
    os.kill(process, signal.SIGTERM)
    os.kill(process, signal.SIGCONT)
    thread.join(10)
    assert len(found[0]) == 1
    beside.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
