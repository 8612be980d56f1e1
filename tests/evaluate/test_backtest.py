"""A back-test pages when the evaluation would have, and tells which pages vanish with late labels."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor import backtests, jobs, tasks
from monitor.backtests import Asked
from monitor.clock import DAY, HOUR, MINUTE, render
from monitor.errors import Invalid
from monitor.evaluate import watched
from monitor.evaluate.references import put_reference
from monitor.evaluate.rules import read_rule
from monitor.settings import Settings
from monitor.store import alerts, catalog, retention, routing
from monitor.store import tasks as stored
from monitor.store.alerts import Alert
from monitor.store.session import make_engine, reading, writing
from tests.evaluate.small import START, Log, binary_rows

FEATURES = {"x": "numeric", "carrier": "categorical"}
WRONG: dict[str, Any] = {"conditions": [{"metric": "accuracy", "op": "<", "value": 0.5}], "min_rows": 10}
WRONG_AA = {"conditions": [{**WRONG["conditions"][0], "segment": "carrier:AA"}], "min_rows": 1}
HOURS, ROWS = 18, 30


def turned(label: str) -> str:
    return "0" if label == "1" else "1"


def history(log: Log, *, in_time: bool) -> None:
    """Hours 2, 6 and 10 look wrong when their labels are due; of 2 and 6 the late labels and corrections say otherwise.

    in_time: evaluate hour after hour, as the worker does; else load everything, then evaluate.
    """
    rows = binary_rows(HOURS * ROWS, step=2 * MINUTE, seed=4)
    by_hour = [rows[at : at + ROWS] for at in range(0, len(rows), ROWS)]
    late: list[tuple[str, str, int]] = []
    for hour, chunk in enumerate(by_hour):
        log.predictions(chunk)
        for place, row in enumerate(chunk):
            label, known = str(row["prediction"]), int(row["timestamp"]) + 10 * MINUTE
            if hour in (2, 6):
                if place < 12:
                    log_outcome(log, row["id"], turned(label), known)
                late.append((row["id"], label, START + (hour + 7) * HOUR))
            else:
                log_outcome(log, row["id"], turned(label) if hour == 10 else label, known)
        due = [one for one in late if one[2] <= START + hour * HOUR]
        late = [one for one in late if one not in due]
        if due:
            log.outcomes(due)
        if in_time and hour >= 6:
            evaluate(log)
    log.outcomes(late) if late else None
    log.predictions(binary_rows(1, start=START + (HOURS + 5) * HOUR, prefix="end"))
    evaluate(log)


def log_outcome(log: Log, row_id: str, actual: str, known: int) -> None:
    _WAITING.setdefault(id(log), []).append((row_id, actual, known))
    if len(_WAITING[id(log)]) >= 6:
        log.outcomes(_WAITING.pop(id(log)))


_WAITING: dict[int, list[tuple[str, str, int]]] = {}


def evaluate(log: Log) -> None:
    jobs.evaluate_fully(log.engine, Settings(), log.model_id, START)


def put(log: Log, name: str, body: dict[str, Any]) -> None:
    with writing(log.engine) as connection:
        rule = read_rule(connection, log.model, body)
        watched.put_monitor(connection, 1, log.model_id, name, rule, START, "ann")


def play(log: Log, body: dict[str, Any]) -> dict[str, Any]:
    with reading(log.engine) as connection:
        now = catalog.model_now(connection, log.model, START)
        return backtests.play(connection, log.model, backtests.read(connection, log.model, body, now), now)


def alerts_of(log: Log, families: str = "monitor:wrong") -> list[Alert]:
    with reading(log.engine) as connection:
        found, _ = alerts.list_alerts(connection, 1, limit=50, model_id=log.model_id)
    return [one for one in found if one.family in families.split()][::-1]


def times(found: list[Alert]) -> list[tuple[str, str | None]]:
    return [(render(one.opened_at), None if one.resolved_at is None else render(one.resolved_at)) for one in found]


@pytest.fixture(scope="module")
def played_out(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The database of each way to load the history, with two monitors that watch it."""
    made = {}
    for name in ("evaluated in time", "loaded at once"):
        made[name] = tmp_path_factory.mktemp("history") / "keepwatch.db"
        shutil.copy(migrated_file, made[name])
        engine = make_engine(Settings(database_url=f"sqlite:///{made[name]}"))
        log = Log.make(engine, features=FEATURES, label_delay="4h")
        log.reference(binary_rows(60, seed=9, start=START - 10 * DAY), ["0", "1"] * 30)
        with writing(engine) as connection:  # every episode an alert of its own
            routing.put_policy(connection, 1, routing.Policy(cooldown="0s"), START, "ann")
        put(log, "wrong", WRONG)
        put(log, "wrong-aa", WRONG_AA)
        history(log, in_time=name == "evaluated in time")
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()
    return made


@pytest.fixture
def open_log(played_out: dict[str, Path], tmp_path: Path) -> Iterator[Callable[[str], Log]]:
    """open_log(name): a copy of one of them."""
    path = tmp_path / "copy.db"
    engines = []

    def opened(name: str) -> Log:
        shutil.copy(played_out[name], path)
        engines.append(make_engine(Settings(database_url=f"sqlite:///{path}")))
        return Log(engines[0], 1)

    yield opened
    for one in engines:
        one.dispose()


@pytest.fixture
def log(open_log: Callable[[str], Log]) -> Log:
    return open_log("evaluated in time")


@pytest.fixture
def loaded(open_log: Callable[[str], Log]) -> Log:
    return open_log("loaded at once")


@pytest.mark.parametrize("name", ["evaluated in time", "loaded at once"])
def test_it_pages_when_the_evaluation_paged_and_two_of_three_vanish(open_log: Callable[[str], Log], name: str) -> None:
    log = open_log(name)
    played = play(log, WRONG)
    assert played["text"] == "would have paged 3 times in 18 windows; 2 of them vanish with late labels"
    assert [one["vanishes"] for one in played["episodes"]] == [True, True, False]
    assert times(alerts_of(log)) == [(one["opened_at"], one["resolved_at"]) for one in played["episodes"]]
    assert (played["late_windows"], played["unknown_windows"], played["appearing"]) == (2, 0, 0)


def test_of_segments_the_past_is_counted_from_rows(log: Log) -> None:
    played = play(log, WRONG_AA)
    assert times(alerts_of(log, "monitor:wrong-aa")) == [
        (one["opened_at"], one["resolved_at"]) for one in played["episodes"]
    ]
    assert played["vanishing"] >= 1


def test_where_rows_and_revisions_are_gone_it_says_that_nobody_can_tell(loaded: Log) -> None:
    log = loaded  # its measurements know only what came in the end
    while retention.expire_blocks(log.engine, log.model_id, START + DAY * 2):
        pass
    played = play(log, WRONG)
    assert played["unknown_windows"] == 2 and "nobody can tell any more" in played["text"]
    assert played["pages"] == 1  # hour 10, whose labels were wrong and stayed so


def test_missing_numbers_and_hysteresis_count_as_in_the_evaluation(log: Log) -> None:
    rule = {"conditions": [{"metric": "volume", "op": "<", "value": 5}], "windows": 2}
    assert play(log, rule)["pages"] == 1  # the silence at the end
    few = {"conditions": [{"metric": "accuracy", "op": "<", "value": 0.1}], "min_rows": 10**6, "missing": "alert"}
    assert play(log, few)["pages"] == 1
    assert play(log, {**few, "missing": "ignore"})["pages"] == 0


def test_a_budget_is_played_by_the_models_own_detectors(make_log: Callable[..., Log]) -> None:
    log = make_log(features=FEATURES, label_delay="4h", alert_budget={"false_alarms": 1, "per": "30d"})
    log.predictions(binary_rows(4 * 24 * 30, step=2 * MINUTE))
    evaluate(log)
    put_reference(log.engine, log.model, None, START, START + 4 * DAY, None, START)
    for part, shift in enumerate((0.0, 2.0, 0.0)):
        start = START + 4 * DAY + part * 10 * HOUR
        log.predictions(binary_rows(300, start=start, step=2 * MINUTE, shift=shift, prefix=f"p{part}-", seed=part))
    evaluate(log)
    live = alerts_of(log, "features performance volume latency quality")
    with reading(log.engine) as connection:
        model, now = log.model, catalog.model_now(connection, log.model, START)
        asked = backtests.read(connection, model, {"alert_budget": {"false_alarms": 1, "per": "30d"}}, now)
        assert asked.budget == (1, "30d")
        same = backtests.play(connection, model, asked, now)
        tight = backtests.play(connection, model, asked._replace(budget=(1, "3650d")), now)
    assert live and [one["opened_at"] for one in same["episodes"]] == [at for at, _ in times(live)]
    assert {one["family"] for one in same["episodes"]} == {one.family for one in live}
    assert same["windows"] == 29 and tight["pages"] <= same["pages"]
    assert max(one["opened_at"] for one in tight["episodes"]) >= same["episodes"][0]["opened_at"]


def test_waiting_back_tests_are_played_by_the_worker(log: Log) -> None:
    with writing(log.engine) as connection:
        asked = Asked(read_rule(connection, log.model, WRONG), None, START, START + HOURS * HOUR)
        made = stored.ask(connection, 1, log.model_id, "backtest", asked.dump(), START)
        broken = stored.ask(connection, 1, log.model_id, "backtest", "{}", START + 1)
    assert tasks.run_pending(log.engine, "backtest") == 2 and tasks.run_pending(log.engine, "backtest") == 0
    with reading(log.engine) as connection:
        done, failed = (stored.get(connection, log.model_id, "backtest", one.id) for one in (made, broken))
    assert done.state == "done" and done.result is not None and "3 times" in done.result
    assert failed.state == "failed" and failed.error is not None and "log" in failed.error


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**WRONG, "from": "soon"},
        {**WRONG, "from": "2026-03-03T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        {**WRONG, "alert_budget": {"false_alarms": 1}},
        {"alert_budget": {"false_alarms": 0}},
        {"alert_budget": 3},
        {"alert_budget": {"false_alarms": 5, "per": "1h"}},
    ],
)
def test_what_cannot_be_played_is_refused(log: Log, body: dict[str, Any]) -> None:
    with reading(log.engine) as connection, pytest.raises(Invalid):
        backtests.read(connection, log.model, body, START)
