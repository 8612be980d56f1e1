"""Erasure: nothing of an id is left anywhere, everything else is, and it cannot come in again unnoticed."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock, jobs, reports
from monitor import settings as settings_module
from monitor.archive import erase as module
from monitor.archive import frames
from monitor.archive.erase import erase
from monitor.archive.places import place_of
from monitor.cli import run_command
from monitor.settings import Settings
from monitor.store import audit, blocks, catalog, two_sample
from monitor.store import tables as t
from monitor.store.codec import decode
from monitor.store.session import database_file, reading, writing
from monitor.sweep import sweep
from tests.archive.conftest import label, profiled, send
from tests.archive.test_keep import OVER, archived, stored

GONE = ["subject-2", "subject-5", "absent"]
IDS = [f"subject-{i}" for i in range(8)]


def traces(engine: Engine, settings: Settings) -> bytes:
    """All that the database's files hold, or on PostgreSQL all that its tables do."""
    if settings.embedded:
        path = database_file(settings.url)
        wal = path.with_name(path.name + "-wal")
        return path.read_bytes() + (wal.read_bytes() if wal.exists() else b"")
    with reading(engine) as connection:
        tables = list(t.metadata.tables)
        return b"".join(str(connection.execute(sa.text(f"SELECT * FROM {name}")).all()).encode() for name in tables)


def profiles_of(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        query = sa.select(t.profile.c.start, t.profile.c.span, t.profile.c.rows, t.profile.c.payload)
        return [(*tuple(row[:3]), bytes(row[3])) for row in connection.execute(query.order_by(t.profile.c.span))]


def test_rows_outcomes_and_rejected_rows_of_the_ids_go_and_the_others_stay(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    send(client, IDS)
    send(client, ["subject-2"], version="2")
    label(client, ["subject-2", "subject-3", "absent"])
    bad = [{"id": i, "score": 7} for i in ("subject-2", "subject-3")]
    bad.append({"features": {"who": "subject-5"}, "score": 7})
    client.post("/v1/models/m/predictions", json={"rows": bad})
    rejected = client.get("/v1/models/m/quarantine").json()["rejected"]
    done = erase(engine, 1, "m", GONE, None, clock.now(), "ann")
    assert (done.ids, done.new_ids, done.rows, done.outcomes, done.quarantined) == (3, 3, 3, 2, 2)
    assert sorted(stored(engine)) == sorted(set(IDS) - set(GONE))
    with reading(engine) as connection:
        deed = audit.deeds(connection, 1, 1)[0][0]
    assert (deed.actor, deed.what, deed.subject) == ("ann", "rows.erased", "m")
    assert deed.detail == "3 ids (3 of them not before): 3 rows, 2 outcomes"  # and none of the ids
    for one in GONE:
        answer = client.get(f"/v1/models/m/predictions/{one}")
        assert answer.status_code == 404 and "erased" in answer.json()["detail"]
    left = client.get("/v1/models/m/predictions/subject-3").json()
    assert left["predictions"][0]["features"]["who"] == "p-subject-3" and left["outcomes"][0]["actual"] == "1"
    quarantine = client.get("/v1/models/m/quarantine").json()
    assert [one["id"] for one in quarantine["items"]] == ["subject-3"] and quarantine["rejected"] == rejected
    assert client.get("/v1/models/m/predictions/never").json()["detail"].startswith("no prediction")


def test_an_erased_id_does_not_come_in_again_and_nothing_of_the_try_is_kept(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    send(client, IDS)
    erase(engine, 1, "m", GONE, None, clock.now(), "ann")
    rows = [{"id": i, "features": {"who": "secret-" + i}, "score": 0.5} for i in ("subject-2", "fresh")]
    answer = client.post("/v1/models/m/predictions", json={"rows": rows}).json()
    assert (answer["accepted"], [one["code"] for one in answer["rejected"]]) == (1, ["erased"])
    assert answer["rejected"][0]["index"] == 0
    answer = client.post(
        "/v1/models/m/outcomes", json={"rows": [{"id": "fresh", "actual": 1}, {"id": "absent", "actual": 1}]}
    )
    assert (answer.json()["accepted"], answer.json()["rejected"][0]["code"]) == (1, "erased")
    quarantine = client.get("/v1/models/m/quarantine").json()
    assert quarantine["items"] == [] and quarantine["rejected"] == {"erased": 2}
    assert "fresh" in stored(engine) and "subject-2" not in stored(engine)
    client.put("/v1/models/other", json={"task": "binary"})
    assert client.post("/v1/models/other/predictions", json={"id": "subject-2", "score": 0.1}).json()["accepted"] == 1


def test_nothing_of_them_is_left_in_the_files_of_the_database(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    # Outcomes and rejected rows lie in the tables as plain text; blocks are compressed.
    send(client, IDS)
    label(client, IDS)
    client.post("/v1/models/m/predictions", json={"id": "subject-2", "score": 7})
    assert b"subject-2" in traces(engine, settings)
    done = erase(engine, 1, "m", GONE, None, clock.now(), "ann")
    assert not done.traces_left
    found = traces(engine, settings)
    assert b"subject-2" not in found and b"subject-5" not in found and b"subject-3" in found


def test_counts_and_the_evaluation_of_what_came_after_stay_right(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    with reading(engine) as connection:
        model = catalog.get_model(connection, 1, "m")
    client.put("/v1/models/m", json={"task": "binary", "features": {"x": {"kind": "numeric"}}})
    send(client, IDS, ago=clock.HOUR)
    label(client, IDS)
    jobs.evaluate_fully(engine, settings, model.id, clock.now())
    before = profiles_of(engine)
    assert before
    erase(engine, 1, "m", GONE, None, clock.now(), "ann")
    assert profiles_of(engine) == before
    # Rows that were not profiled yet may be erased too: what is left of their block is counted.
    send(client, ["new-1", "new-2", "new-3"], ago=clock.HOUR)
    erase(engine, 1, "m", ["new-2"], None, clock.now(), "ann")
    done = jobs.evaluate_fully(engine, settings, model.id, clock.now())
    assert done.complete
    with reading(engine) as connection:
        query = sa.select(sa.func.sum(t.profile.c.rows)).where(t.profile.c.span == 3600)
        assert connection.scalar(query) == 10
        assert (
            connection.scalar(sa.select(t.watermark.c.next_row)) == blocks.log_end(connection, model.id).next_row == 11
        )


def test_the_archive_is_rewritten_without_them(
    client: TestClient, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    kept = settings.model_copy(update={"archive_url": str(tmp_path / "archive")})
    send(client, IDS)
    send(client, ["subject-9"], ago=clock.DAY)
    profiled(engine)
    sweep(engine, kept, clock.now() + OVER)
    done = erase(engine, 1, "m", ["subject-2", "subject-9"], place_of(kept.archive_url), clock.now(), "ann")
    assert (done.rows, done.archived_rows, done.archive_files) == (0, 2, 2)
    assert sorted(row["id"] for row in archived(tmp_path)) == sorted(set(IDS) - {"subject-2"})
    assert len(list((tmp_path / "archive").glob("**/*.parquet"))) == 1  # a file without rows is removed
    assert not list((tmp_path / "archive").glob("**/.*"))


def test_a_run_that_was_killed_is_completed_by_the_next(
    client: TestClient, engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = settings.model_copy(update={"archive_url": str(tmp_path / "archive")})
    for ago in range(3):
        send(client, [f"old-{ago}", f"stays-{ago}"], ago=ago * clock.DAY)
    profiled(engine)
    sweep(engine, kept, clock.now() + OVER)
    ids = ["subject-2", "old-0", "old-1", "old-2"]
    place = place_of(kept.archive_url)

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    # In the middle of the database's transaction: nothing happened.
    send(client, IDS)
    monkeypatch.setattr(module.erased, "erase_reports", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(engine, 1, "m", ids, place, clock.now(), "ann")
    assert "subject-2" in stored(engine)
    assert client.get("/v1/models/m/predictions/subject-2").status_code == 200
    monkeypatch.undo()
    # Between two files of the archive: the next run finds what is left.
    write, calls = frames.replace_table, 0

    def second(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(frames, "replace_table", second)
    with pytest.raises(KeyboardInterrupt):
        erase(engine, 1, "m", ids, place, clock.now(), "ann")
    assert "subject-2" not in stored(engine)
    monkeypatch.undo()
    done = erase(engine, 1, "m", ids, place, clock.now(), "ann")
    assert (done.new_ids, done.archived_rows) == (0, 2)
    assert sorted(row["id"] for row in archived(tmp_path)) == ["stays-0", "stays-1", "stays-2"]


def test_reports_over_their_rows_and_rows_of_references_go_too(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    send(client, IDS)
    rows = [{"id": f"subject-{i}", "features": {"x": float(i)}, "score": 0.5} for i in range(4)]
    answer = client.put("/v1/models/m/reference", json={"rows": rows})
    assert answer.status_code in (200, 201), answer.text
    now = clock.now()
    with writing(engine) as connection:
        made = [
            reports.ask(connection, catalog.get_model_by_id(connection, 1), low, low + clock.DAY, now)
            for low in (now - clock.HOUR, now - 5 * clock.DAY)
        ]
        connection.execute(sa.update(t.task).values(state="done", document=b"x", finished_at=now))
        memory = two_sample.Memory(1, now, b"state", b"encoded rows")
        assert two_sample.save(connection, 1, 1, memory, None)
    done = erase(engine, 1, "m", GONE, None, now, "ann")
    assert (done.reports, done.reference_rows) == (1, 1)
    with reading(engine) as connection:
        assert two_sample.read(connection, 1) == memory._replace(rows=None)
        assert [one.id for one in reports.listed(connection, 1, 10)] == [made[1].id]
        payloads = connection.scalars(sa.select(t.reference_rows.c.payload)).all()
        ids = [one for payload in payloads for one in decode(payload)["id"].to_pylist()]
        assert "subject-2" not in ids and "subject-3" in ids


def test_the_command_reads_a_file_and_says_what_went(
    client: TestClient,
    engine: Engine,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", settings.url)
    settings_module.load.cache_clear()
    monkeypatch.setattr("monitor.log.setup", lambda _level: None)
    send(client, IDS)
    listed = tmp_path / "ids.txt"
    listed.write_text("subject-2\n\nsubject-5\r\n")
    assert run_command(["erase", "--model", "m", "--ids", str(listed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert run_command(["erase", "--model", "m", "--ids", str(listed)]) == 0
    assert "0 of them were not before" in capsys.readouterr().out
    listed.write_text("\n")
    assert run_command(["erase", "--model", "m", "--ids", str(listed)]) == 2
    assert "no ids" in capsys.readouterr().err
    assert run_command(["erase", "--model", "m", "--ids", str(tmp_path / "absent")]) == 2
    assert "no such file" in capsys.readouterr().err
    settings_module.load.cache_clear()
