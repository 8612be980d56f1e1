"""The writer under races: requests that are given up, and several writers on one database."""

import json
import random
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.errors import Overloaded
from monitor.ingest.decode import decode_outcomes, decode_predictions
from monitor.ingest.validate import PredictionBatch, validate_outcomes, validate_predictions
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer, _Request
from monitor.settings import Settings
from monitor.store import blocks
from monitor.store.catalog import delete_model, put_model, version_names
from monitor.store.outcomes import outcomes_between
from monitor.store.session import make_engine, reading, writing
from tests.indexed import indexed
from tests.ingest.conftest import BINARY, NOW, Send


def batch_of(writer: Writer, body: Any, model: str = "loan") -> tuple[Any, PredictionBatch]:
    found, times = writer.model(1, model)
    return found, validate_predictions(decode_predictions(json.dumps(body).encode(), found), found, times)


def submit(writer: Writer, row_id: str) -> "Future[Answer]":
    return writer.submit(*batch_of(writer, {"id": row_id, "features": {"age": 1}}))


def test_a_request_that_is_given_up_does_not_stop_the_writer(writer: Writer) -> None:
    for number in range(20):
        submit(writer, f"gone-{number}").cancel()  # as asyncio does when a client's task is cancelled
        assert submit(writer, f"here-{number}").result(timeout=10).accepted == 1


def test_a_connection_that_the_database_has_ended_costs_no_answer(
    postgres_engine: Engine, postgres_settings: Settings
) -> None:
    with writing(postgres_engine) as connection:
        put_model(connection, 1, "loan", BINARY, NOW, "test")
    used = make_engine(postgres_settings)
    writer = Writer(used, postgres_settings, now=lambda: NOW)
    writer.start()
    try:
        for number in range(5):
            assert submit(writer, f"row {number}").result(30).accepted == 1
            with writing(postgres_engine) as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
    finally:
        writer.stop()
        used.dispose()


def test_writers_of_several_processes_count_a_row_once(writer: Writer, engine: Engine, settings: Settings) -> None:
    """Each of four clients sends the same ids, in an order of its own, now through one writer, now through another."""
    other = Writer(engine, settings, now=lambda: NOW)
    other.start()
    accepted: list[int] = []

    def client(seed: int) -> None:
        order = random.Random(seed)
        ids = [f"{number}" for number in range(120)]
        order.shuffle(ids)
        for at in range(0, 120, 8):
            through = order.choice([writer, other])
            rows = [{"id": one, "features": {"age": 1}} for one in ids[at : at + 8]]
            accepted.append(through.submit(*batch_of(through, {"rows": rows})).result(timeout=30).accepted)
            outcomes = [{"id": one, "actual": 1} for one in ids[at : at + 8]]
            model, times = through.model(1, "loan")
            draft = decode_outcomes(json.dumps({"rows": outcomes}).encode(), model)
            through.submit(model, validate_outcomes(draft, model, times)).result(timeout=30)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.stop()
    model, _ = writer.model(1, "loan")
    with reading(engine) as connection:
        end = blocks.log_end(connection, model.id)
        found = [one for _, batch in blocks.read_blocks(connection, model.id, 0, end.next_row) for one in batch["id"]]
        stored = outcomes_between(connection, model.id, 0, end.next_outcome)
    assert sum(accepted) == end.next_row == len(found) == len({str(one) for one in found}) == 120
    assert end.next_outcome == len(stored.key) == len(set(stored.key)) == 120


def test_what_comes_after_a_model_was_deleted_leaves_nothing(writer: Writer, engine: Engine) -> None:
    """The rows were validated for a model that is gone when they are written."""
    found, batch = batch_of(writer, {"id": "late", "features": {"age": 1}})
    with writing(engine) as connection:
        delete_model(connection, found, 1, "ann")
    with pytest.raises(Overloaded, match="made anew"):
        writer.submit(found, batch).result(timeout=10)
    with reading(engine) as connection:
        assert indexed(connection) == []


def test_a_model_that_is_made_anew_gets_none_of_the_versions_and_rows_of_the_deleted_one(
    writer: Writer, engine: Engine, settings: Settings
) -> None:
    """It was the last one made, whose number SQLite would give again; and a process may know it for a while."""
    other = Writer(engine, settings, now=lambda: NOW)
    other.start()
    rows = [{"id": version, "version": version, "features": {"age": 1}} for version in ("v1", "v2")]
    assert writer.submit(*batch_of(writer, {"rows": rows}, "replay")).result(timeout=10).accepted == 2
    writer._models.forget()
    found, late = batch_of(writer, {"id": "late", "version": "v2", "features": {"age": 1}}, "replay")
    with writing(engine) as connection:
        delete_model(connection, found, NOW, "ann")
        made, _ = put_model(connection, 1, "replay", {"task": "binary"}, NOW + 1, "ann")
    in_time = batch_of(other, {"id": "new", "version": "v2", "features": {"age": 1}}, "replay")
    requests = [_Request(found, late, 1, ""), _Request(*in_time, 1, "")]
    for request in requests:
        request.future.set_running_or_notify_cancel()
    writer._commit(requests)
    with pytest.raises(Overloaded, match="made anew"):
        requests[0].future.result(timeout=10)
    assert requests[1].future.result(timeout=10).accepted == 1
    again = writer.submit(*batch_of(writer, {"id": "again", "version": "v2", "features": {"age": 1}}, "replay"))
    other.stop()
    assert again.result(timeout=10).accepted == 1, "who was told that the model is gone looks for the new one"
    with reading(engine) as connection:
        end = blocks.log_end(connection, made.id)
        read = [batch for _, batch in blocks.read_blocks(connection, made.id, 0, end.next_row)]
        names = version_names(connection, made.id)
    assert [one for batch in read for one in batch["id"].to_pylist()] == ["new", "again"]
    assert [names.get(one) for batch in read for one in batch["version"].to_pylist()] == ["v2", "v2"]


def test_a_retry_means_the_same_after_the_schema_was_given(writer: Writer, engine: Engine) -> None:
    rows = [{"id": "a", "features": {"x": "odd", "y": 3}}, {"id": "b", "features": {"x": "1", "y": 2}}]
    assert writer.submit(*batch_of(writer, {"rows": rows}, "bare")).result(timeout=10).accepted == 2
    with writing(engine) as connection:
        body = {"task": "binary", "features": {"x": {"kind": "numeric"}, "y": {"kind": "ignored"}}}
        put_model(connection, 1, "bare", body, NOW, "test")
    writer._models.forget()
    answer = writer.submit(*batch_of(writer, {"rows": rows}, "bare")).result(timeout=10)
    assert (answer.duplicates, [one.code for one in answer.rejected]) == (2, [])


def test_very_many_values_that_do_not_fit_are_compared_as_they_were_kept(writer: Writer) -> None:
    row = {"id": "a", "features": {"age": 1, "odd": ["x" * 20_000]}}
    fates = [writer.submit(*batch_of(writer, row)).result(timeout=10) for _ in range(2)]
    assert [(one.accepted, one.duplicates) for one in fates] == [(1, 0), (0, 1)]


HISTORY = {"timestamp": "2013-03-01T11:00:00Z", "known_at": "2013-03-01T11:00:00Z", "features": {"x": 1}}


def known_at(writer: Writer) -> str:
    """Where the clock of `replay` stands, which runs on its events."""
    now = writer.model(1, "replay")[1].model_now
    assert now is not None
    return clock.render(now)


def test_a_models_clock_does_not_go_back_when_rows_are_committed_while_it_is_looked_at(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.submit(*batch_of(writer, {"id": "a", **HISTORY}, "replay")).result(timeout=10)
    looked_at = writer._models._ask
    later = batch_of(writer, {"id": "b", **HISTORY, "known_at": "2013-03-01T12:00:00Z"}, "replay")

    def slowly(which: tuple[int, str]) -> Any:
        found = looked_at(which)
        writer.submit(*later).result(timeout=10)
        return found

    monkeypatch.setattr(writer._models, "_ask", slowly)
    writer._models._asked((1, "replay"))
    assert known_at(writer) == "2013-03-01T12:00:00Z"


def test_a_writer_that_has_stopped_looks_at_nothing_any_more(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that outlives it opens a connection of an engine that was disposed of, and nobody closes it."""
    looked_at, begun, done = writer._models._ask, threading.Event(), threading.Event()

    def slowly(which: tuple[int, str]) -> Any:
        begun.set()
        time.sleep(0.1)
        found = looked_at(which)
        done.set()
        return found

    writer.model(1, "loan")
    monkeypatch.setattr(writer._models, "_ask", slowly)
    while not begun.is_set():
        writer.model(1, "loan")
        time.sleep(0.01)
    writer.stop()
    assert done.is_set()


def test_what_was_stored_before_does_not_move_a_models_clock(send: Send, writer: Writer) -> None:
    """Or a retry of today would make the rest of a history too old."""
    send({"id": "a", **HISTORY}, model="replay")
    send({"id": "a", "actual": 1, "known_at": HISTORY["known_at"]}, "outcomes", "replay")
    assert send({"id": "a", "actual": 1}, "outcomes", "replay")["duplicates"] == 1
    writer._models._asked((1, "replay"))
    assert known_at(writer) == HISTORY["known_at"]
