"""Everything at once on PostgreSQL: rows and outcomes come, references and settings change, two evaluators work."""

import random
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Engine

from monitor import jobs
from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate.cuts import Shelf, Want
from monitor.evaluate.references import put_reference
from monitor.settings import Settings
from monitor.store import catalog
from monitor.store.session import reading, writing
from tests.evaluate.small import START, Log, actuals, binary_rows, to_batch

FEATURES = {"x": "numeric", "carrier": "categorical"}
ROWS = 1800  # thirty hours


def put(log: Log, **body: Any) -> None:
    features = {name: {"kind": kind} for name, kind in FEATURES.items()}
    given = {"task": "binary", "positive_class": "1", "clock": "events", "label_delay": "4h", "features": features}
    with writing(log.engine) as connection:
        catalog.put_model(connection, 1, "small", given | body, START, "test")


def refer(log: Log, seed: int, shift: float) -> None:
    batch = to_batch(binary_rows(400, seed=seed, shift=shift, start=START - 10 * DAY), "binary", {"": 0})
    put_reference(log.engine, log.model, batch, None, None, None, START)


def test_nothing_is_lost_or_counted_twice_while_everything_changes(
    postgres_engine: Engine, postgres_settings: Settings
) -> None:
    log = Log.make(postgres_engine, features=FEATURES, label_delay="4h")
    refer(log, 1, 0.0)
    rows = binary_rows(ROWS)
    labels = actuals(rows, delay=30 * MINUTE)
    over = threading.Event()
    failures: list[BaseException] = []

    def thread(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        made = threading.Thread(target=run)
        made.start()
        return made

    def stream() -> None:
        chance = random.Random(5)
        for at in range(0, ROWS, 60):
            part = list(range(at, at + 60))
            chance.shuffle(part)
            log.predictions([rows[i] for i in part], block=25)
            if at >= 120:
                log.outcomes([labels[i] for i in range(at - 120, at - 60)])

    def evaluator() -> None:
        while not over.is_set():
            jobs.evaluate_fully(postgres_engine, postgres_settings, log.model_id, START)

    def settings() -> None:
        for seed, shift, timezone in ((2, 5.0, "Asia/Kolkata"), (3, -5.0, "America/New_York"), (4, 0.5, "UTC")):
            refer(log, seed, shift)
            over.wait(0.2)
            put(log, timezone=timezone)
            over.wait(0.2)

    evaluators = [thread(evaluator) for _ in range(2)]
    senders = [thread(stream), thread(settings)]
    for one in senders:
        one.join()
    over.set()
    for one in evaluators:
        one.join()
    assert failures == []
    log.outcomes(labels[ROWS - 120 :])
    while not jobs.evaluate_fully(postgres_engine, postgres_settings, log.model_id, START).complete:
        pass

    days = [value[:2] for key, value in sorted(log.profiles().items()) if key[0] == 86400]
    assert days == [(1440, 1440), (360, 360)]
    plain = Log.make(postgres_engine, "plain", features=FEATURES, label_delay="4h")
    refer(plain, 4, 0.5)
    plain.predictions(rows)
    plain.outcomes(labels)
    plain.build()
    with reading(postgres_engine) as connection:
        for at in (START + 3 * HOUR, START + 7 * HOUR + 13 * MINUTE, START + 3 * DAY):
            found, exact = (
                Shelf(connection, one.model, Want(as_of=at)).profile(START, START + 2 * DAY) for one in (log, plain)
            )
            assert found is not None and exact is not None
            assert (found.rows, found.labelled) == (exact.rows, exact.labelled)
    measured = {one.start: (one.rows, one.labelled) for one in log.measurements()}
    assert [measured[START + hour * HOUR] for hour in range(30)] == [(60, 60)] * 30
    evaluated = [(one.kind, one.start) for one in log.evaluated()]
    assert len(evaluated) == len(set(evaluated))
