"""Any order, repetition and contradiction: nothing doubled, nothing overwritten, and the reports of the straight order.

A short form of `python -m tests.benchmarks.retries`; senders and oracle stand in tests/ingest/retries.py.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as of_hypothesis
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy.engine import Engine

from monitor.ingest import fates
from monitor.settings import Settings
from tests.ingest.retries import Bench, Retries


@pytest.fixture
def bench(engine: Engine, settings: Settings) -> Iterator[Bench]:
    made = Bench(engine, settings)
    yield made
    made.close()


def run(bench: Bench, examples: int) -> None:
    few = of_hypothesis(
        max_examples=examples,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(type("OnThisDatabase", (Retries,), {"bench": bench}), settings=few)


def test_retries_reorderings_and_crowds_store_each_row_once_and_change_no_report(bench: Bench) -> None:
    run(bench, 10)
    assert bench.tally.repeated > 500 and bench.tally.at_once > 200 and bench.tally.reports == 10


def test_an_identity_that_forgets_bodies_is_found_by_the_same_machine(
    bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings.embedded:  # once is enough
        alike = lambda given, _other: np.full(given.num_rows, fates.DUPLICATE, np.uint8)  # noqa: E731
        monkeypatch.setattr(fates, "_compared", alike)
        with pytest.raises(AssertionError):
            run(bench, 10)
