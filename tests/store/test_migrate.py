"""The migrations make the schema that the tables declare."""

import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Engine

from monitor.errors import SetupError
from monitor.settings import Settings
from monitor.store import id_index, migrate, tasks
from monitor.store.session import make_engine, writing
from monitor.store.tables import metadata
from tests.indexed import indexed


def test_the_migrated_schema_is_the_declared_one(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_sqlite_tables_are_strict_and_some_have_no_rowid(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        query = "SELECT name, strict, wr FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"
        listed = {name: (strict, without) for name, strict, without in connection.exec_driver_sql(query)}
    for table in metadata.sorted_tables:
        assert listed[table.name] == (1, int(not table.dialect_options["sqlite"]["with_rowid"])), table.name


def test_partial_indexes_are_partial(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'"
        found = {name: sql.partition("WHERE ")[2] for name, sql in connection.exec_driver_sql(query)}
    assert found == {
        "uq_alert_open": "state <> 'resolved'",
        "ix_delivery_due": "state = 'pending'",
        "ix_delivery_waiting": "state = 'pending'",
        "ix_notification_due": "due_at IS NOT NULL",
        "ix_task_waiting": "finished_at IS NULL",
    }


def test_a_fresh_database_has_the_default_project(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id, name FROM project").all() == [(1, "default")]


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    assert migrate.is_current(engine)
    assert migrate.upgrade(engine) is False


def test_an_empty_database_is_not_current_and_names_the_command(tmp_path: Path) -> None:
    engine = make_engine(Settings(database_url=f"sqlite:///{tmp_path}/new.db"), create=True)
    assert not migrate.is_current(engine)
    with pytest.raises(SetupError, match="keepwatch migrate"):
        migrate.check_current(engine)
    assert migrate.upgrade(engine) is True
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_alone(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    for work in (migrate.upgrade, migrate.check_current):
        with pytest.raises(SetupError, match="newer"):
            work(sqlite_engine)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(Settings(database_url=f"sqlite:///{tmp_path}/new.db"), create=True)
    monkeypatch.setattr("monitor.clock.now", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrate.upgrade(engine)
    monkeypatch.undo()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    assert migrate.upgrade(engine) is True
    engine.dispose()


def test_reports_and_back_tests_of_before_are_tasks_after(tmp_path: Path) -> None:
    engine = make_engine(Settings(database_url=f"sqlite:///{tmp_path}/old.db"), create=True)
    with writing(engine) as connection:
        command.upgrade(migrate.config(connection), "0007")
        page = zlib.compress(b"<html>")
        connection.exec_driver_sql(
            "INSERT INTO report (id, project_id, model_id, from_at, to_at, state, progress, rows, html, created_at,"
            " finished_at) VALUES ('r', 1, 3, 10, 20, 'done', 'done', 7, ?, 1, 2)",
            (page,),
        )
        connection.exec_driver_sql(
            "INSERT INTO backtest (id, project_id, model_id, request, state, progress, attempts, created_at)"
            " VALUES ('b', 1, 3, '{}', 'running', 0.5, 1, 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO lease (job, subject, project_id, owner, token, lease_until)"
            " VALUES ('backtest', 'b', 1, 'x', 1, 9)"
        )
    assert migrate.upgrade(engine) is True
    with writing(engine) as connection:
        report, waiting = (tasks.get(connection, 3, kind, of) for kind, of in (("report", "r"), ("backtest", "b")))
        assert (report.asked, report.answer, report.progress) == ({"from": 10, "to": 20}, {"rows": 7}, 1.0)
        assert tasks.document(connection, 3, "r") == b"<html>"
        assert waiting.finished_at is None and tasks.claim(connection, "backtest", "y", 1, 1) is not None
        command.downgrade(migrate.config(connection), "0007")
    engine.dispose()


def test_what_the_index_of_ids_said_before_it_says_after(tmp_path: Path) -> None:
    engine = make_engine(Settings(database_url=f"sqlite:///{tmp_path}/old.db"), create=True)
    entries = sorted(
        (bytes([model]) + sha256(b"%d" % row).digest()[:15], 1 + row % 2, row, model)
        for model in (3, 4)
        for row in range(1300)
    )
    with writing(engine) as connection:
        command.upgrade(migrate.config(connection), "0007")
        insert = "INSERT INTO prediction_key (key, version_id, row, model_id, project_id) VALUES (?, ?, ?, ?, 1)"
        for entry in entries:
            connection.exec_driver_sql(insert, entry)
        for model in (3, 4):
            connection.exec_driver_sql(
                "INSERT INTO block (model_id, first_row, project_id, rows, arrived_at, min_timestamp, max_timestamp,"
                " payload) VALUES (?, 0, 1, 1000, 1, 1, 1, x'00')",
                (model,),
            )
    assert migrate.upgrade(engine) is True
    with writing(engine) as connection:
        for model in (3, 4):
            mine = [entry[:3] for entry in entries if entry[3] == model]
            assert indexed(connection, model) == mine
            found = id_index.rows_of_keys(connection, model, [key for key, _, _ in mine])
            assert sorted(found) == [entry for entry in mine if entry[2] < 1000]
        command.downgrade(migrate.config(connection), "0019")
        back = connection.exec_driver_sql("SELECT key, version_id, row, model_id FROM prediction_key ORDER BY 1, 2")
        assert [tuple(row) for row in back] == [entry for entry in entries if entry[2] < 1000]
    engine.dispose()
