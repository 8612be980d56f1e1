"""Leases: one owner at a time, whoever is late finds out."""

import threading

from sqlalchemy.engine import Engine

from monitor import clock
from monitor.leadership import FileLeadership, LeaseLeadership
from monitor.store import leases
from monitor.store.session import reading, writing

LIFE = 60 * clock.SECOND


def test_a_lease_has_one_owner_until_it_ends(engine: Engine) -> None:
    with writing(engine) as connection:
        assert leases.claim(connection, "evaluate", "1", 1, "a", LIFE) == 1
        assert leases.claim(connection, "evaluate", "1", 1, "b", LIFE) is None
        assert leases.claim(connection, "evaluate", "2", 1, "b", LIFE) == 1
        assert leases.release(connection, "evaluate", "1", "a", 1)
        assert leases.claim(connection, "evaluate", "1", 1, "b", LIFE) == 2


def test_an_owner_that_slept_too_long_is_fenced(engine: Engine) -> None:
    with writing(engine) as connection:
        token = leases.claim(connection, "evaluate", "1", 1, "a", -1)
        assert token == 1
        assert leases.claim(connection, "evaluate", "1", 1, "b", LIFE) == 2
        assert not leases.renew(connection, "evaluate", "1", "a", token, LIFE)
        assert not leases.release(connection, "evaluate", "1", "a", token)
        assert leases.renew(connection, "evaluate", "1", "b", 2, LIFE)


def test_the_time_of_leases_is_in_microseconds(engine: Engine) -> None:
    with reading(engine) as connection:
        assert abs(leases.database_now(connection) - clock.now()) < 60 * clock.SECOND


def test_of_many_that_claim_at_once_one_gets_the_lease(engine: Engine) -> None:
    won: list[str] = []

    def claim(owner: str) -> None:
        with writing(engine) as connection:
            if leases.claim(connection, "sweep", "", 1, owner, LIFE) is not None:
                won.append(owner)

    threads = [threading.Thread(target=claim, args=(f"owner {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_lease_is_renewed_while_the_work_goes_on(engine: Engine) -> None:
    worker = LeaseLeadership(engine, life=LIFE, renew_seconds=0.02)
    with worker.holding("evaluate", "1", 1) as ours:
        assert ours
        before = until(engine)
        for _ in range(200):
            if until(engine) > before:
                break
            threading.Event().wait(0.01)
        assert until(engine) > before
        other = LeaseLeadership(engine, renew_seconds=10)
        with other.holding("evaluate", "1", 1) as theirs:
            assert not theirs
        other.close()
    assert until(engine) == 0
    worker.close()


def until(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.exec_driver_sql("SELECT lease_until FROM lease").scalar_one())


def test_on_sqlite_one_process_leads_until_it_ends(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first, second = FileLeadership(tmp_path / "kw.db"), FileLeadership(tmp_path / "kw.db")
    assert first.leads() and first.leads() and not second.leads()
    with second.holding("evaluate", "1", 1) as ours:
        assert not ours
    first.close()
    assert second.leads()
    second.close()
    assert (tmp_path / "kw.db.worker.lock").stat().st_mode & 0o777 == 0o600
