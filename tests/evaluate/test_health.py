"""A model's health in a word, and why."""

import pytest
import sqlalchemy as sa

from monitor.clock import DAY, HOUR, MINUTE
from monitor.evaluate.health import Health, health
from monitor.store import catalog
from monitor.store.session import reading, writing
from monitor.store.tables import alert, measurement
from tests.evaluate.small import START, Log, binary_rows


def ask(log: Log, now: int) -> Health:
    with reading(log.engine) as connection:
        return health(connection, log.model, now)


def raise_alert(log: Log, severity: str, state: str = "firing") -> None:
    with writing(log.engine) as connection:
        connection.execute(
            sa.insert(alert).values(
                id=f"{severity}{state}",
                project_id=1,
                model_id=log.model_id,
                family="features" if severity == "warning" else "performance",
                state=state,
                severity=severity,
                opened_at=START,
                first_evidence_at=START,
                updated_at=START,
                evidence=1.0,
                budget="1 per 90d",
                causes="[]",
                text=f"A {severity} thing.",
            )
        )


def test_a_model_without_rows_has_no_data(log: Log) -> None:
    found = ask(log, START)
    assert found.state == "no_data" and found.reasons == ["No predictions have arrived yet."]


def test_a_model_without_a_reference_is_learning(log: Log) -> None:
    log.predictions(binary_rows(20))
    log.build()
    found = ask(log, START + HOUR)
    assert found.state == "learning" and "reference" in found.reasons[0]


def test_a_model_with_a_reference_and_rows_is_healthy(log: Log) -> None:
    log.reference(binary_rows(100))
    log.predictions(binary_rows(20))
    assert ask(log, START + HOUR) == Health("healthy", [])


def test_silence_of_three_windows_is_no_data(log: Log) -> None:
    log.reference(binary_rows(100))
    log.predictions(binary_rows(20))
    assert ask(log, START + 3 * HOUR + 28 * MINUTE).state == "healthy"
    found = ask(log, START + 2 * DAY)
    assert found.state == "no_data" and found.reasons[0].startswith("No predictions for 47 hours")
    assert all(reason.endswith(".") for reason in found.reasons) and ".0" not in found.reasons[0]


@pytest.mark.parametrize(("severity", "state"), [("warning", "warning"), ("critical", "critical")])
def test_an_open_alert_shows(log: Log, severity: str, state: str) -> None:
    log.reference(binary_rows(100))
    log.predictions(binary_rows(20))
    raise_alert(log, severity, state="resolved")
    assert ask(log, START + HOUR).state == "healthy"
    raise_alert(log, severity)
    found = ask(log, START + HOUR)
    assert (found.state, found.reasons) == (state, [f"A {severity} thing."])


def test_the_worst_alert_comes_first(log: Log) -> None:
    log.predictions(binary_rows(20))
    raise_alert(log, "warning")
    raise_alert(log, "critical")
    assert ask(log, START + HOUR).reasons[:2] == ["A critical thing.", "A warning thing."]


def test_a_failed_measurement_is_a_warning(log: Log) -> None:
    log.reference(binary_rows(100))
    log.predictions(binary_rows(70))
    log.evaluate()
    with writing(log.engine) as connection:
        connection.execute(sa.update(measurement).values(error="OverflowError: too large", inputs_state="error"))
    found = ask(log, START + HOUR)
    assert found.state == "warning" and "OverflowError" in found.reasons[0]


def test_a_pause_is_mentioned(log: Log) -> None:
    log.reference(binary_rows(100))
    log.predictions(binary_rows(20))
    with writing(log.engine) as connection:
        catalog.set_paused(connection, log.model, START)
    assert ask(log, START + HOUR).reasons == ["Paused since 2026-03-02T00:00:00Z: windows are measured but not judged."]
