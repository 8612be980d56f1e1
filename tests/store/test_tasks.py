"""The queue of background work: how a claim is taken, kept, lost and ended, and what room finished tasks take."""

import pytest
from sqlalchemy.engine import Engine

from monitor import clock, tasks
from monitor.errors import NotFound, QuotaExceeded, SetupError
from monitor.store import catalog
from monitor.store import tasks as store
from monitor.store.session import reading, writing
from monitor.work import Done, Work

NOW = clock.parse("2026-03-02T00:00:00Z")
LEASE = 10 * clock.MINUTE


@pytest.fixture
def model_id(engine: Engine) -> int:
    with writing(engine) as connection:
        return catalog.put_model(connection, 1, "m", {"task": "binary"}, NOW, "test")[0].id


def ask(engine: Engine, model_id: int, kind: str = "report", now: int = NOW) -> store.Task:
    with writing(engine) as connection:
        return store.ask(connection, 1, model_id, kind, '{"from": 1, "to": 2}', now)


def look(engine: Engine, one: store.Task) -> store.Task:
    with reading(engine) as connection:
        return store.get(connection, one.model_id, one.kind, one.id)


def test_a_claimed_task_is_not_claimed_again_before_its_lease_ends(engine: Engine, model_id: int) -> None:
    asked = ask(engine, model_id)
    with writing(engine) as connection:
        first = store.claim(connection, "report", "a", NOW, 0)
        assert first is not None and first.task.id == asked.id
        second = store.claim(connection, "report", "b", NOW, LEASE)
        assert second is not None and second.token == first.token + 1
        assert store.claim(connection, "report", "c", NOW, LEASE) is None


def test_who_says_how_far_it_is_keeps_the_task(engine: Engine, model_id: int) -> None:
    asked = ask(engine, model_id)
    with writing(engine) as connection:
        taken = store.claim(connection, "report", "a", NOW, 0)
        assert taken is not None and store.tell(connection, taken, LEASE, "computing", 0.5)
        assert store.claim(connection, "report", "b", NOW, LEASE) is None
    assert (look(engine, asked).stage, look(engine, asked).progress) == ("computing", 0.5)


def test_who_was_overtaken_can_write_neither_progress_nor_the_end(engine: Engine, model_id: int) -> None:
    asked = ask(engine, model_id)
    with writing(engine) as connection:
        slow = store.claim(connection, "report", "a", NOW, 0)
        quick = store.claim(connection, "report", "b", NOW, LEASE)
        assert slow is not None and quick is not None
        assert not store.tell(connection, slow, LEASE, "late", 0.9)
        assert not store.hand_back(connection, slow)
        assert not store.finish(connection, slow, NOW, document=b"late")
        assert store.finish(connection, quick, NOW, document=b"right")
        assert not store.finish(connection, slow, NOW, error="late")
        assert store.document(connection, model_id, asked.id) == b"right"
    assert look(engine, asked).state == "done"


def test_kinds_are_claimed_apart_and_the_oldest_first(engine: Engine, model_id: int) -> None:
    second, first = ask(engine, model_id, now=NOW + 1), ask(engine, model_id, now=NOW)
    other = ask(engine, model_id, "backtest", NOW - 1)
    with writing(engine) as connection:
        taken = [store.claim(connection, kind, "a", NOW, LEASE) for kind in ("report", "report", "report", "backtest")]
    assert [one and one.task.id for one in taken] == [first.id, second.id, None, other.id]


def test_a_task_that_kills_its_workers_is_given_up(engine: Engine, model_id: int) -> None:
    asked = ask(engine, model_id)
    with writing(engine) as connection:
        for _ in range(store.MAX_ATTEMPTS):
            assert store.claim(connection, "report", "a", NOW, 0) is not None
        assert store.claim(connection, "report", "a", NOW, 0) is None
    given_up = look(engine, asked)
    assert given_up.state == "failed" and "3 times" in str(given_up.error)


def test_a_task_that_was_handed_back_is_free_at_once_and_has_lost_no_attempt(engine: Engine, model_id: int) -> None:
    asked = ask(engine, model_id)
    with writing(engine) as connection:
        for _ in range(2 * store.MAX_ATTEMPTS):
            taken = store.claim(connection, "report", "a", NOW, LEASE)
            assert taken is not None and store.hand_back(connection, taken)
    assert (look(engine, asked).state, look(engine, asked).attempts) == ("pending", 0)


def test_finished_tasks_make_room_by_kind_and_waiting_ones_stay(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "KEPT", 2)
    other = ask(engine, model_id, "backtest")
    waiting = ask(engine, model_id, now=NOW + 100)
    for i in range(4):
        ask(engine, model_id, now=NOW + i)
        with writing(engine) as connection:
            taken = store.claim(connection, "report", "a", NOW, LEASE)
            assert taken is not None and store.finish(connection, taken, NOW + i)
    ask(engine, model_id, now=NOW + 9)
    with reading(engine) as connection:
        kept = store.listed(connection, model_id, "report", 100)
    assert [one.state for one in kept].count("done") == 2
    assert waiting.id in {one.id for one in kept}
    assert look(engine, other).state == "pending"


def test_too_many_waiting_tasks_of_a_kind_are_refused(engine: Engine, model_id: int) -> None:
    for _ in range(store.WAITING):
        ask(engine, model_id)
    with pytest.raises(QuotaExceeded, match="report"):
        ask(engine, model_id)
    ask(engine, model_id, "backtest")


def test_another_models_task_and_one_of_another_kind_are_not_found(engine: Engine, model_id: int) -> None:
    asked = ask(engine, model_id)
    with reading(engine) as connection:
        for mine in ((model_id + 1, "report"), (model_id, "backtest")):
            with pytest.raises(NotFound):
                store.get(connection, *mine, asked.id)


# ---------------------------------------------------------------- doing them


def test_work_ends_with_its_result_its_reason_or_a_word_to_the_log(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Exception | None] = [None, SetupError("not installed"), ZeroDivisionError("secret")]
    asked = [ask(engine, model_id, now=NOW + place) for place in range(3)]

    def do(work: Work) -> Done:
        work.tell("half", 0.5)
        if (end := ends.pop(0)) is not None:
            raise end
        return Done('{"rows": 3}', b"page")

    monkeypatch.setitem(tasks.KINDS, "report", tasks.Kind(do))
    assert tasks.run_pending(engine, "report") == 3
    good, refused, broken = (look(engine, one) for one in asked)
    assert (good.state, good.answer, good.error) == ("done", {"rows": 3}, None)
    assert (refused.state, refused.error) == ("failed", "not installed")
    assert broken.state == "failed" and "unforeseen" in str(broken.error) and "secret" not in str(broken.error)


def test_a_worker_that_stops_hands_its_task_back(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, stopping = ask(engine, model_id), [False]

    def do(work: Work) -> Done:
        stopping[0] = True
        work.tell("never said", 0.5)
        raise AssertionError("it went on")

    monkeypatch.setitem(tasks.KINDS, "report", tasks.Kind(do))
    assert tasks.run_pending(engine, "report", lambda: stopping[0]) == 0
    assert look(engine, asked).state == "pending"
    with writing(engine) as connection:
        assert store.claim(connection, "report", "other", NOW, LEASE) is not None


def test_work_that_was_overtaken_ends_and_leaves_the_task_to_the_other(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(engine, model_id)

    def do(work: Work) -> Done:
        with writing(work.engine) as connection:
            assert store.claim(connection, "report", "other", NOW, LEASE) is not None
        work.tell("late", 0.5)
        raise AssertionError("it went on")

    monkeypatch.setitem(tasks.KINDS, "report", tasks.Kind(do, life=0))
    assert tasks.run_pending(engine, "report") == 0
    assert (look(engine, asked).state, look(engine, asked).stage) == ("running", "begun")


def test_work_on_a_model_that_was_deleted_is_no_failure(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(engine, model_id)

    def do(work: Work) -> Done:
        with writing(work.engine) as connection:
            catalog.delete_model(connection, catalog.get_model(connection, 1, "m"), 1, "ann")
        raise NotFound("no such model")

    monkeypatch.setitem(tasks.KINDS, "report", tasks.Kind(do))
    assert tasks.run_pending(engine, "report") == 0
