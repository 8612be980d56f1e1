"""The migrations make the schema that the tables declare."""

import zlib
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Engine

from monitor.errors import SetupError
from monitor.settings import Settings
from monitor.store import audit, catalog, id_index, migrate, tasks
from monitor.store.session import make_engine, writing
from monitor.store.tables import Packed, metadata
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


def test_postgresql_does_not_compress_what_is_packed(postgres_engine: Engine) -> None:
    with postgres_engine.connect() as connection:
        query = (
            "SELECT attrelid::regclass::text, attname, attstorage FROM pg_attribute WHERE atttypid = 'bytea'::regtype"
        )
        stored = {(table, column): kind for table, column, kind in connection.exec_driver_sql(query)}
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, sa.LargeBinary):
                assert stored[table.name, column.name] == ("e" if column.type is Packed else "x"), str(column)


def test_a_new_model_gets_a_number_that_no_other_ever_had(engine: Engine) -> None:
    """What was read of a deleted model may still be written: into nothing."""

    def made(name: str) -> catalog.Model:
        with writing(engine) as connection:
            return catalog.put_model(connection, 1, name, {"task": "binary"}, 1, "ann")[0]

    first, second = made("first"), made("second")
    with writing(engine) as connection:
        catalog.delete_model(connection, second, 2, "ann")
    assert made("second").id > second.id
    with writing(engine) as connection:
        command.downgrade(migrate.config(connection), "0021")
    assert migrate.upgrade(engine)
    with writing(engine) as connection:
        assert catalog.get_model(connection, 1, "first") == first
        latest = catalog.get_model(connection, 1, "second")
        catalog.delete_model(connection, latest, 3, "ann")
    assert made("second").id > latest.id


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


BEFORE_DEEDS = """
INSERT INTO model (id, project_id, name, task, config, created_at) VALUES (3, 1, 'm', 'binary', '{}', 10);
INSERT INTO model_change (project_id, model_id, changed_at, changed_by, config)
    VALUES (1, 3, 10, 'ann', '{"window": "1h"}'), (1, 3, 20, 'bob', '{"window": "2h"}');
INSERT INTO api_key (id, project_id, name, scope, secret_hash, created_at, revoked_at)
    VALUES ('k', 1, 'scorer', 'ingest', 'x', 30, 40);
INSERT INTO alert (id, project_id, model_id, family, state, severity, opened_at, first_evidence_at, updated_at,
    evidence, budget, causes, text) VALUES ('a', 1, 3, 'features', 'resolved', 'info', 1, 1, 1, 1, '{}', '[]', '');
INSERT INTO alert_event (id, project_id, alert_id, at, type, actor, text, comment)
    VALUES (1, 1, 'a', 5, 'alert.firing', 'keepwatch', '', NULL), (2, 1, 'a', 6, 'alert.comment', 'eve', '', 'hm'),
           (3, 1, 'a', 7, 'alert.resolved', 'eve', '', NULL);
INSERT INTO notification (project_id, model_id, alert_id, event_id, channel_id, round, type, state, reason, detail,
    created_at, changed_at) VALUES (1, 3, 'a', 3, 'c', 0, 'alert.resolved', 'dropped', '', '', 50, 50);
INSERT INTO silence (id, project_id, matchers, starts_at, ends_at, comment, created_by, created_at, updated_at) VALUES
    ('s', 1, '[{"name": "model", "value": "m", "isRegex": true, "isEqual": false}]', 1, 2, 'why', 'ann', 60, 60);
INSERT INTO reference (project_id, model_id, number, binning, provisional, created_at, rows, source, profile, windows)
    VALUES (1, 3, 1, 1, 1, 70, 9, '{}', x'', x''), (1, 3, 2, 1, 0, 80, 9, '{"rows": 9}', x'', x''),
           (1, 3, 3, 2, 0, 80, 9, '{"remade_from": 2}', x'', x'');
INSERT INTO erased (model_id, hash, project_id, erased_at) VALUES (3, x'01', 1, 90), (3, x'02', 1, 90)
"""


def test_who_did_what_before_is_what_the_other_tables_know(tmp_path: Path) -> None:
    engine = make_engine(Settings(database_url=f"sqlite:///{tmp_path}/old.db"), create=True)
    with writing(engine) as connection:
        command.upgrade(migrate.config(connection), "0012")
        for statement in BEFORE_DEEDS.split(";"):
            connection.exec_driver_sql(statement)
    assert migrate.upgrade(engine) is True
    with writing(engine) as connection:
        audit.note(connection, 1, 90, "ann", "route.deleted", "later")
        found, _ = audit.deeds(connection, 1, 100)
        assert [(one.at, one.actor, one.what, one.subject, one.detail) for one in reversed(found)] == [
            (6, "eve", "alert.commented", "m: features", "hm"),  # the model's clock: nothing says more
            (10, "ann", "model.made", "m", ""),
            (20, "bob", "model.changed", "m", 'window: "1h" → "2h"'),
            (30, "", "key.made", "scorer", "ingest, k"),
            (40, "", "key.revoked", "scorer", "k"),
            (50, "eve", "alert.resolved", "m: features", ""),
            (60, "ann", "silence.made", 'model!~"m"', "why"),
            (80, "", "reference.made", "m", "reference 2, 9 rows"),
            (90, "command line", "rows.erased", "m", "2 ids"),
            (90, "ann", "route.deleted", "later", ""),
        ]
        command.downgrade(migrate.config(connection), "0012")
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
