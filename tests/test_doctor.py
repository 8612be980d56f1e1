"""The doctor finds what is wrong, names the change, hides secrets, and keeps quiet where all is well."""

import fcntl
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from dashboards.pages.doctor import AREAS
from monitor import clock, leadership
from monitor.clock import DAY, HOUR, MINUTE
from monitor.doctor import Finding, models, service
from monitor.evaluate import events, watched
from monitor.evaluate.events import Asked
from monitor.evaluate.rules import read_rule
from monitor.jobs import Jobs, evaluate_fully
from monitor.settings import Settings
from monitor.store import catalog, keys, ticks
from monitor.store import tables as t
from monitor.store.session import database_file, reading, writing
from monitor.store.ticks import Tick
from tests.evaluate.small import START, Log, actuals, binary_rows

FEATURES = {"x": "numeric", "carrier": "categorical"}


def about(found: list[Finding], area: str) -> list[Finding]:
    return [one for one in found if one.area == area and one.level != "ok"]


def of_model(log: Log) -> list[Finding]:
    with reading(log.engine) as connection:
        return models.examine(connection, log.model, catalog.model_now(connection, log.model, START))


def filled(engine: Engine, hours: int = 30, rows: int = 30, labels: bool = True, **settings: Any) -> Log:
    log = Log.make(engine, features=FEATURES, label_delay="2h", **settings)
    log.reference(binary_rows(400, seed=9, start=START - 10 * DAY), ["0", "1"] * 200)
    made = binary_rows(hours * rows, step=HOUR // rows)
    log.predictions(made)
    if labels:
        log.outcomes(actuals(made, delay=MINUTE))
    evaluate_fully(engine, Settings(), log.model_id, START)
    return log


# ---------------------------------------------------------------- the service


def test_a_fresh_installation_without_a_worker_is_told_to_start_one(
    sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    found = service.examine(sqlite_engine, sqlite_settings, None, clock.now())
    assert [one.text for one in about(found, "schedule")] == [
        "No background worker runs: no window is judged, and no alert is raised or sent",
        "No background worker has reported yet",
    ]
    assert "keys create" in about(found, "installation")[0].change
    assert not about(found, "database") and about(found, "deliveries")[0].level == "note"


def test_a_worker_that_ticks_is_seen_and_one_that_stopped_too(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    leader = leadership.make(sqlite_settings, sqlite_engine)
    jobs = Jobs(sqlite_engine, sqlite_settings, leader)
    jobs.evaluate()
    wall = clock.now()
    with writing(sqlite_engine) as connection:
        keys.create_key(connection, 1, "n", "admin", wall)
    found = service.examine(sqlite_engine, sqlite_settings, None, wall)
    assert not about(found, "schedule") and not about(found, "installation")
    (late,) = about(service.examine(sqlite_engine, sqlite_settings, None, wall + HOUR), "schedule")
    assert late.level == "error" and "60 min ago" in late.text
    leader.close()
    assert not leadership.is_led(database_file(sqlite_settings.url))


def test_asking_who_leads_takes_no_lock(tmp_path: Path) -> None:
    database = tmp_path / "k.db"
    assert not leadership.is_led(database)
    leader = leadership.FileLeadership(database)
    assert leader.leads() and leadership.is_led(database)
    leader.close()
    assert not leadership.is_led(database)
    with (tmp_path / "k.db.worker.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_failed_evaluation_is_told_with_its_reason(
    sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log.make(sqlite_engine)
    jobs = Jobs(sqlite_engine, sqlite_settings, leadership.make(sqlite_settings, sqlite_engine))
    monkeypatch.setattr("monitor.jobs.evaluate_fully", lambda *_: 1 / 0)
    jobs.evaluate()
    (found,) = about(service.examine(sqlite_engine, sqlite_settings, None, clock.now()), "schedule")
    assert found.model == log.model.name and "ZeroDivisionError" in found.text
    monkeypatch.undo()
    jobs._pauses[log.model_id] = (5.0, 0.0)
    jobs.evaluate()
    assert not about(service.examine(sqlite_engine, sqlite_settings, None, clock.now()), "schedule")


def test_each_database_is_examined(engine: Engine, settings: Settings) -> None:
    found = service.database(engine)
    assert {one.level for one in found} == {"ok"}
    texts = " ".join(one.text for one in found)
    assert "synchronous is 2" in texts if settings.embedded else "full_page_writes is on" in texts
    with writing(engine) as connection:
        ticks.note(connection, 1, Tick("evaluate", "", 1, "pid 1", None))
        ticks.note(connection, 1, Tick("evaluate", "", 2, "pid 1", None))
        assert [one.at for one in ticks.ticks(connection)] == [2]


def test_an_old_schema_is_told_and_nothing_else_is_asked(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    with writing(sqlite_engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    found = service.examine(sqlite_engine, sqlite_settings, None, clock.now())
    assert found[0].change == "Run `keepwatch migrate`" and {one.area for one in found} == {"database"}


def test_settings_are_shown_without_their_secrets() -> None:
    shown = service.shown_settings(
        Settings(
            database_url="postgresql://ann:hush@db/k",
            secret_key="s3cret" * 8,
            admin_key="kw_" + "a1b2c3d4" * 4,
            smtp_url="smtps://bob:hush@mail",
            archive_url="s3://me:hush@bucket",
        )
    )
    assert "hush" not in json.dumps(shown) and "s3cret" not in json.dumps(shown) and "a1b2" not in json.dumps(shown)
    assert shown["KEEPWATCH_DATABASE_URL"] == "postgresql://[hidden]@db/k"
    assert set(shown) == {f"KEEPWATCH_{name.upper()}" for name in Settings.model_fields}


# ---------------------------------------------------------------- models


def test_where_all_is_well_nothing_is_found(sqlite_engine: Engine) -> None:
    found = of_model(filled(sqlite_engine))
    assert [one.level for one in found] in (["ok"], ["note", "ok"]) or not [one for one in found if one.level != "note"]


def test_few_rows_a_window_starve_it_and_a_longer_window_is_named(sqlite_engine: Engine) -> None:
    (found,) = about(of_model(filled(sqlite_engine, rows=10)), "starved")
    assert found.change == "Take longer windows: PUT the model with `window` 6h"


def test_no_outcomes_starve_performance(sqlite_engine: Engine) -> None:
    (found,) = about(of_model(filled(sqlite_engine, labels=False)), "starved")
    assert "outcome" in found.text


def test_windows_that_are_often_restated_are_stale(sqlite_engine: Engine) -> None:
    log = filled(sqlite_engine)
    for hour in range(6):
        log.predictions(binary_rows(5, start=START + hour * HOUR, prefix=f"late{hour}-"))
    evaluate_fully(sqlite_engine, Settings(), log.model_id, START)
    (found,) = about(of_model(log), "stale")
    assert found.change == "Wait longer: raise `label_delay` (now 2h) for outcomes, or `grace` (now 10m) for rows"


def test_a_paused_model_and_a_known_bad_present_are_deaf(sqlite_engine: Engine) -> None:
    log = filled(sqlite_engine)
    with writing(sqlite_engine) as connection:
        catalog.set_paused(connection, log.model, START)
        events.add(connection, log.model, Asked("known_bad", START, START + 90 * DAY, ""), START, "ann")
    texts = [one.text for one in about(of_model(log), "deaf")]
    assert any("Paused" in text for text in texts) and any("marked this time as known bad" in text for text in texts)


def put(log: Log, name: str, condition: dict[str, Any], **more: Any) -> None:
    with writing(log.engine) as connection:
        rule = read_rule(connection, log.model, {"conditions": [condition], **more})
        watched.put_monitor(connection, 1, log.model_id, name, rule, START, "ann")


def test_monitors_by_hand_are_told_to_be_noisy_deaf_and_starved(sqlite_engine: Engine) -> None:
    log = filled(sqlite_engine)
    put(log, "noisy", {"metric": "latency_p95", "op": ">", "value": 1})
    put(log, "deaf", {"metric": "latency_p95", "op": ">", "value": 90000})
    put(log, "starved", {"metric": "unseen_share", "op": ">", "value": 0.5, "feature": "x"})
    put(log, "fine", {"metric": "volume", "op": "<", "value": 20})
    with writing(sqlite_engine) as connection:
        row = {"project_id": 1, "model_id": log.model_id, "family": "monitor:noisy", "state": "resolved"}
        row |= {"severity": "warning", "opened_at": START + HOUR, "first_evidence_at": START, "updated_at": START}
        row |= {"evidence": 1.0, "budget": "{}", "causes": "[]", "text": "x"}
        connection.execute(sa.insert(t.alert), [{**row, "id": f"alert_{number}"} for number in range(6)])
    found = of_model(log)
    (noisy,) = about(found, "noisy")
    assert "raised 6 alerts" in noisy.text and "3 windows in a row" in noisy.change and "ms" in noisy.change
    (deaf,) = [one for one in about(found, "deaf") if one.level == "warning"]
    assert "Monitor deaf" in deaf.text and "Move its bound near" in deaf.change
    assert ["Monitor starved" in one.text for one in about(found, "starved")] == [True]
    assert not any("Monitor fine" in one.text for one in found)


# ---------------------------------------------------------------- where it is told


def test_conditions_that_are_joined_and_those_of_segments_are_looked_at_one_by_one(sqlite_engine: Engine) -> None:
    log = filled(sqlite_engine, segments=["carrier"])
    far = {"metric": "latency_p95", "op": ">", "value": 90000}
    near = {"metric": "volume", "op": ">", "value": 10}
    segment = {"metric": "volume", "op": ">", "value": 90000, "segment": "carrier:AA"}
    for name, match, conditions in (
        ("all-far", "all", [near, far]),
        ("any-far", "any", [near, far]),
        ("both-far", "any", [segment, far]),
        ("inner", "all", [segment]),
    ):
        with writing(sqlite_engine) as connection:
            rule = read_rule(connection, log.model, {"match": match, "conditions": conditions})
            watched.put_monitor(connection, 1, log.model_id, name, rule, START, "test")
    deaf = [one for one in about(of_model(log), "deaf") if "Monitor" in one.text]
    assert sorted(one.text.split()[1] for one in deaf) == ["all-far", "both-far", "both-far", "inner"]
    assert any("where carrier is AA" in one.text or "carrier:AA" in one.text or "'AA'" in one.text for one in deaf)


def test_a_segment_that_is_counted_no_more_makes_its_monitor_deaf(sqlite_engine: Engine) -> None:
    log = filled(sqlite_engine, segments=["carrier"])
    with writing(sqlite_engine) as connection:
        condition = {"metric": "volume", "op": ">", "value": 10, "segment": "carrier:AA"}
        rule = read_rule(connection, log.model, {"conditions": [condition]})
        watched.put_monitor(connection, 1, log.model_id, "gone", rule, START, "test")
        body = {"task": "binary", "clock": "events", "label_delay": "2h", "segments": []}
        catalog.put_model(connection, 1, log.model.name, body, START, "test")
    log.build()
    (deaf,) = [one for one in about(of_model(log), "deaf") if "Monitor" in one.text]
    assert "is not measured any more" in deaf.text


def test_a_reference_of_few_days_is_deaf_to_features_that_go_together(sqlite_engine: Engine) -> None:
    log = Log.make(sqlite_engine, features=FEATURES)
    log.reference(binary_rows(400, seed=9, start=START - 10 * DAY), ["0", "1"] * 200)
    found = [one for one in about(of_model(log), "deaf") if "features change together" in one.text]
    assert [one.level for one in found] == ["note"] and "14 days, and this one has" in found[0].text


def test_the_command_says_so_and_its_exit_code_too(
    sqlite_settings: Settings,
    sqlite_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from monitor import cli, settings

    log = filled(sqlite_engine, rows=10)
    monkeypatch.setattr(settings, "load", lambda: sqlite_settings)
    assert cli.run_command(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  schedule" in said and f"WARN  starved       {log.model.name}: " in said
    assert "-> Take longer windows" in said
    assert cli.run_command(["doctor", "--model", "typo"]) == 2
    refused = capsys.readouterr()
    assert refused.out == "" and refused.err.count("\n") == 1 and f"there are {log.model.name}" in refused.err
    with writing(sqlite_engine) as connection:
        catalog.put_model(connection, 1, "young", {"task": "binary"}, clock.now(), "ann")
    assert cli.run_command(["doctor", "--json", "--model", "young"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["well"] is False and shown["settings"]["KEEPWATCH_SECRET_KEY"] == "set, hidden"
    leader = leadership.make(sqlite_settings, sqlite_engine)
    Jobs(sqlite_engine, sqlite_settings, leader)._note_tick()
    with writing(sqlite_engine) as connection:
        keys.create_key(connection, 1, "n", "admin", clock.now())
    assert cli.run_command(["doctor", "--model", "young"]) == 0
    leader.close()


def test_each_kind_of_finding_has_a_name_for_people() -> None:
    sources = "".join(path.read_text() for path in Path(service.__file__).parent.glob("*.py"))
    assert set(re.findall(r'Finding\(\s*"(\w+)"', sources)) == set(AREAS)


def test_the_page_says_the_same(make_client: Callable[[str], Any], sqlite_engine: Engine) -> None:
    log = filled(sqlite_engine, rows=10)
    page = make_client("admin").get("/doctor")
    assert page.status_code == 200 and "Take longer windows" in page.text and log.model.name in page.text
    told = re.sub(r"<[^>]+>", " ", page.text.partition("<main")[2]).lower()
    assert "too little data" in told and "background worker" in told
    for word in ("deaf", "starved", "stale", "noisy", "tick", "schema", "evidence", "restated", "profiled"):
        assert not re.search(rf"\b{word}", told), f"{word}: a word of who wrote Keepwatch, not of who runs it"
    settings = make_client("admin").get("/settings")
    assert "KEEPWATCH_DATABASE_URL" in settings.text and "set, hidden" in settings.text
    assert make_client("read").get("/settings").status_code == 403


@pytest.fixture
def make_client(sqlite_engine: Engine, sqlite_settings: Settings) -> Callable[[str], Any]:
    from fastapi.testclient import TestClient

    from monitor.app import create_app

    def make(scope: str) -> TestClient:
        with writing(sqlite_engine) as connection:
            key = keys.create_key(connection, 1, scope, scope, clock.now())
        app = create_app(sqlite_settings, sqlite_engine)
        return TestClient(app, base_url="http://127.0.0.1:8000", headers={"Authorization": f"Bearer {key}"})

    return make
