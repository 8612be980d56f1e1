"""What Prometheus reads: counts of all processes, and numbers of the models, bounded and of one project."""

import time

import pytest
from fastapi.testclient import TestClient
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import Engine

from monitor import clock, jobs, telemetry
from monitor.api import exposed
from monitor.app import create_app
from monitor.settings import Settings
from monitor.store import counted, keys
from monitor.store import tables as t
from monitor.store.session import reading, writing
from monitor.telemetry import Sample
from tests.dashboards.conftest import pages, seeded, seeded_engine, seeded_file
from tests.dashboards.seeded import BASE, FEATURES, HOSTILE, Seeded
from tests.test_jobs import Always

__all__ = ["pages", "seeded", "seeded_engine", "seeded_file"]


def families(client: TestClient, **headers: str) -> dict[str, Metric]:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(family: Metric, **labels: str) -> dict[tuple[str, ...], float]:
    """The samples with these labels, by their other labels."""
    return {
        tuple(text for name, text in one.labels.items() if name not in labels): one.value
        for one in family.samples
        if labels.items() <= one.labels.items()
    }


def test_the_numbers_of_a_model_are_those_of_its_last_final_windows(pages: TestClient, seeded: Seeded) -> None:
    found = families(pages)
    states = values(found["keepwatch_model_health"], model=seeded.drifting)
    assert sum(states.values()) == 1 and len(states) == 5
    health = pages.get(f"/v1/models/{seeded.drifting}").json()["health"]
    assert states[(health["state"] if isinstance(health, dict) else health,)] == 1
    end = values(found["keepwatch_model_window_end_timestamp_seconds"], model=seeded.drifting, kind="inputs")[()]
    window = {"from": clock.render(int((end - 6 * 3600) * 1e6)), "to": clock.render(int(end * 1e6))}

    def asked(metric: str, **more: str) -> dict[str, float]:
        answer = pages.get(f"/v1/models/{seeded.drifting}/summary", params={"metric": metric, **window, **more})
        return dict(answer.json())

    assert values(found["keepwatch_model_window_rows"])[(seeded.drifting,)] == asked("volume")["value"]
    latency = values(found["keepwatch_model_metric"], model=seeded.drifting, metric="latency_p95")[()]
    assert latency == pytest.approx(asked("latency_p95")["value"], rel=1e-9)
    psi = values(found["keepwatch_model_feature_psi"], model=seeded.drifting)
    assert set(psi) == {(name,) for name in FEATURES}, "names are data: every one comes back as it was"
    assert psi[HOSTILE,] == pytest.approx(asked("psi", feature=HOSTILE)["value"], rel=1e-9)
    end = values(found["keepwatch_model_window_end_timestamp_seconds"], model=seeded.drifting, kind="performance")[()]
    window = {"from": clock.render(int((end - 6 * 3600) * 1e6)), "to": clock.render(int(end * 1e6))}
    accuracy = asked("accuracy")
    for ending, name in (("", "value"), ("_low", "low"), ("_high", "high")):
        shown = values(found[f"keepwatch_model_metric{ending}"], model=seeded.drifting, metric="accuracy")[()]
        assert shown == pytest.approx(accuracy[name], rel=1e-9)
    assert (seeded.empty,) not in values(found["keepwatch_model_window_rows"])
    opened = values(found["keepwatch_model_alerts_open"], model=seeded.drifting)
    assert sum(opened.values()) == len(pages.get("/v1/alerts", params={"state": "firing"}).json()["items"]) > 0


def test_openmetrics_is_given_to_who_asks_for_it(pages: TestClient) -> None:
    answer = pages.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "keepwatch_model_health" in {family.name for family in read_openmetrics(answer.text)}


def test_labels_are_bounded(seeded_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposed, "MAX_MODELS", 2)
    monkeypatch.setattr(exposed, "MAX_FEATURES", 3)
    with reading(seeded_engine) as connection:
        found = {one.name: one for one in exposed.families(connection, 1, clock.now())}
    assert {labels[0] for labels in values(found["keepwatch_model_health"])} == {"churn", "fresh"}
    assert len(values(found["keepwatch_model_feature_psi"], model="churn")) == 3


def test_the_models_are_read_once_in_ten_seconds(seeded_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(exposed, "families", lambda *_: made.append(1) or [])
    kept = exposed.Kept()
    began = time.monotonic()
    with reading(seeded_engine) as connection:
        for after in (0, 9, 11):
            monkeypatch.setattr(clock, "monotonic", lambda at=began + after: at)
            kept.families(connection, 1)
    assert len(made) == 2


@pytest.fixture
def stranger(seeded_engine: Engine) -> str:
    """A read key of another project."""
    with writing(seeded_engine) as connection:
        connection.execute(t.project.insert().values(id=2, name="other", created_at=0))
        return keys.create_key(connection, 2, "prometheus", "read", clock.now())


def test_a_key_reads_nothing_of_another_project(pages: TestClient, stranger: str, seeded: Seeded) -> None:
    pages.put("/v1/models/secret-name", json={"task": "binary"})
    answer = pages.get("/metrics", headers={"authorization": f"Bearer {stranger}"})
    assert answer.status_code == 200 and "keepwatch_build_info" in answer.text
    for name in (seeded.drifting, seeded.learning, "secret-name"):
        assert f'"{name}"' not in answer.text
    assert "keepwatch_alerts_open{" not in answer.text
    assert pages.get("/metrics", headers={"authorization": ""}).status_code == 401


@pytest.fixture(autouse=True)
def nothing_worked() -> None:
    """A worker that has just started."""
    for metric in (telemetry.JOBS, telemetry.JOB_SECONDS, telemetry.DELIVERIES):
        metric.clear()


def test_what_workers_count_is_added_up_in_the_database(engine: Engine, settings: Settings) -> None:
    done = Sample("keepwatch_job_runs_total", (("job", "test-count"), ("result", "done")))
    workers = [jobs.Jobs(engine, settings, Always()) for _ in range(2)]
    for worker in workers:
        worker.count()
    telemetry.JOBS.labels("test-count", "done").inc(3)
    for worker in workers:  # two workers in one process: each tells what the process has counted
        worker.count()
        worker.count()
    with reading(engine) as connection:
        assert counted.totals(connection)[done] == 6
    with TestClient(create_app(settings, engine), base_url=BASE) as client:
        with writing(engine) as connection:
            key = keys.create_key(connection, 1, "prometheus", "read", clock.now())
        found = families(client, authorization=f"Bearer {key}")
    assert values(found["keepwatch_job_runs"], job="test-count")[("done",)] == 6


def test_durations_of_jobs_come_through_as_a_histogram(engine: Engine, settings: Settings) -> None:
    telemetry.JOB_SECONDS.labels("test-duration").observe(0.03)
    telemetry.JOB_SECONDS.labels("test-duration").observe(7.0)
    jobs.Jobs(engine, settings, Always()).count()
    with reading(engine) as connection:
        found = {one.name: one for one in telemetry.worked_families(counted.totals(connection))}
    samples = [one for one in found["keepwatch_job_duration_seconds"].samples if one.labels["job"] == "test-duration"]
    buckets = [(float(one.labels["le"]), one.value) for one in samples if one.name.endswith("_bucket")]
    assert buckets == sorted(buckets) and dict(buckets)[0.025] == 0 and dict(buckets)[0.05] == 1
    ends = {one.name.rpartition("_")[2]: one.value for one in samples}
    assert (ends["count"], ends["sum"]) == (2, pytest.approx(7.03))


def test_counts_that_could_not_be_told_are_told_later(engine: Engine, settings: Settings) -> None:
    done = Sample("keepwatch_job_runs_total", (("job", "test-late"), ("result", "done")))
    worker = jobs.Jobs(engine, settings, Always())
    telemetry.JOBS.labels("test-late", "done").inc()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE counted RENAME TO away")
    worker.count()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO counted")
    worker.count()
    with reading(engine) as connection:
        assert counted.totals(connection)[done] == 1
