"""The monthly report: its facts are those of the API, its words follow them, and it prints."""

import json
import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards import pdf
from dashboards.links import Links
from dashboards.pages import monthly as told
from monitor import clock, monthly, tasks
from monitor.errors import Conflict, Invalid
from monitor.monthly import Month, NoMonth
from monitor.store import catalog
from monitor.store import tasks as queue
from monitor.store.session import reading, writing
from tests.dashboards.seeded import HOSTILE, START, WINDOW, WINDOWS, Seeded

LINKS = Links()


def gathered(engine: Engine, name: str = "churn", month: str = "2026-03") -> dict[str, object]:
    with reading(engine) as connection:
        model = catalog.get_model(connection, 1, name)
        return monthly.facts(
            connection, model, Month.of(model, month), catalog.model_now(connection, model, clock.now())
        )


def test_the_facts_of_a_month_are_the_numbers_of_the_api(pages: TestClient, seeded_engine: Engine) -> None:
    found = gathered(seeded_engine)
    stretch = {"from": clock.render(found["from"]), "to": clock.render(found["to"])}
    for metric in ("volume", "roc_auc", "accuracy", "brier", "latency_p95"):
        asked = pages.get("/v1/models/churn/summary", params={"metric": metric, **stretch}).json()
        value = found["values"][metric]
        assert value["value"] == pytest.approx(asked["value"], rel=1e-9), metric
        if asked["low"] is not None:
            assert (value["low"], value["high"]) == pytest.approx((asked["low"], asked["high"]), rel=1e-9)
    asked = pages.get("/v1/models/churn/summary", params={"metric": "psi", "feature": "amount", **stretch}).json()
    assert dict(found["drifted"])["amount"] == pytest.approx(asked["value"], rel=1e-9)
    assert sum(one["rows"] for one in found["weeks"]) == found["rows"]
    assert found["labelled"] / found["rows"] > 0.9
    names = {one["id"] for one in pages.get("/v1/alerts", params={"model": "churn"}).json()["items"]}
    assert {one["id"] for one in found["alerts"]} == names != set()
    assert json.loads(json.dumps(found)) == found, "it is kept as JSON"


def test_the_month_before_has_every_number_that_the_month_has(seeded_engine: Engine) -> None:
    with reading(seeded_engine) as connection:
        model = catalog.get_model(connection, 1, "churn")
    halves = START + WINDOWS // 2 * WINDOW
    found = gathered(seeded_engine)
    month = Month(found["month"], halves, found["to"])
    with pytest.MonkeyPatch.context() as patched, reading(seeded_engine) as connection:
        patched.setattr(Month, "before", lambda self, model: Month("2026-03", START, halves))
        found = monthly.facts(connection, model, month, catalog.model_now(connection, model, clock.now()))
    numbers = {one.name: one for one in told.tell(model, found).numbers}
    assert {"ROC AUC", "Accuracy", "Precision", "Recall", "Brier score"} <= numbers.keys()
    assert [name for name, one in numbers.items() if one.before == "–"] == []


def test_a_month_that_goes_on_is_not_compared_with_a_whole_one(seeded_engine: Engine) -> None:
    with reading(seeded_engine) as connection:
        model = catalog.get_model(connection, 1, "churn")
    found = {**gathered(seeded_engine), "rows_before": 5000}
    over = told.tell(model, {**found, "told_at": found["to"]})
    assert "fewer than the month before" in over.summary[0]
    assert "before" not in told.tell(model, {**found, "told_at": found["to"] - 1}).summary[0]


def test_months_are_those_of_the_models_calendar(seeded_engine: Engine) -> None:
    with reading(seeded_engine) as connection:
        model = catalog.get_model(connection, 1, "churn")
    assert model.config.timezone == "Europe/Berlin"
    march = Month.of(model, "2026-03")
    assert clock.render(march.from_at) == "2026-02-28T23:00:00Z"
    assert clock.render(march.to_at) == "2026-03-31T22:00:00Z", "summer time began"
    assert Month.of(model, "2026-04").before(model) == march == Month.holding(model, march.from_at)
    assert Month.of(model, "2025-12").to_at == Month.of(model, "2026-01").from_at
    for wrong in ("2026-13", "2026", "", "0000-01", "99999-01", "2026-03-01", "<b>"):
        with pytest.raises(Invalid):
            Month.of(model, wrong)


def test_the_month_that_is_offered_first_is_the_last_whole_one(seeded_engine: Engine, pages: TestClient) -> None:
    with reading(seeded_engine) as connection:
        model = catalog.get_model(connection, 1, "churn")
        listed = told.listed(connection, model, clock.parse("2026-03-31T22:30:00Z"))  # April has begun in Berlin
    assert listed.months[:2] == [("2026-04", "April 2026, until now"), ("2026-03", "March 2026")]
    assert listed.chosen == "2026-03" and len(listed.months) == 12
    form = pages.get("/models/churn/monthly").text.partition('<select name="month">')[2].partition("</select>")[0]
    assert form.count(" selected") == 1 and '<option value="2026-02" selected>February 2026<' in form


def test_a_month_without_predictions_has_no_report(seeded_engine: Engine) -> None:
    with pytest.raises(NoMonth):
        gathered(seeded_engine, month="2025-01")


def change(low: float, high: float, value: float) -> dict[str, float]:
    return {"low": low, "high": high, "value": value, "n": 500}


@pytest.mark.parametrize(
    ("metric", "now", "before", "says"),
    [
        ("roc_auc", (0.70, 0.74, 0.72), (0.69, 0.73, 0.71), "not clearly different"),
        ("roc_auc", (0.60, 0.64, 0.62), (0.69, 0.73, 0.71), "clearly worse than the 0.710"),
        ("roc_auc", (0.80, 0.84, 0.82), (0.69, 0.73, 0.71), "clearly better"),
        ("mae", (4.0, 4.4, 4.2), (3.0, 3.4, 3.2), "clearly worse"),
        ("mae", (2.0, 2.4, 2.2), (3.0, 3.4, 3.2), "clearly better"),
    ],
)
def test_a_difference_is_told_only_where_the_intervals_part(
    metric: str, now: tuple[float, ...], before: tuple[float, ...], says: str
) -> None:
    assert says in told._compared(metric, change(*now), change(*before))


def test_a_month_that_ranks_better_says_what_became_worse() -> None:
    better, same = (change(0.67, 0.69, 0.68), change(0.63, 0.65, 0.64)), change(0.1, 0.2, 0.15)
    slow, fast = change(9, 10, 9.5), change(1, 2, 1.5)
    values = {"roc_auc": better[0], "accuracy": change(0.68, 0.69, 0.687), "brier": same, "latency_p95": slow}
    before = {"roc_auc": better[1], "accuracy": change(0.82, 0.83, 0.824), "brier": same, "latency_p95": fast}
    facts = {"lead": "roc_auc", "values": values, "before": before}
    said = told._how_well(facts, 0.96)
    assert "clearly better than the 0.640" in said
    assert said.endswith("Clearly worse than the month before: Accuracy (68.7\u00a0%, 82.4\u00a0% before).")
    falling = {**facts, "values": {**values, "roc_auc": better[1]}, "before": {**before, "roc_auc": better[0]}}
    assert "Accuracy" not in told._how_well(falling, 0.96), "the leading number says it"


def test_next_steps_follow_the_facts() -> None:
    calm = {"complete": True, "alerts": [], "rows": 100, "labelled": 90, "missing": [], "rejected": 0}
    alert = {"family": "performance", "resolved_at": None}
    assert monthly.next_steps(calm) == ["nothing"]
    assert monthly.next_steps({**calm, "labelled": 0}) == ["no_outcomes"]
    assert monthly.next_steps({**calm, "labelled": 10}) == ["few_outcomes"]
    assert monthly.next_steps({**calm, "labelled": 10, "complete": False}) == ["open_month"]
    assert monthly.next_steps({**calm, "alerts": [alert]}) == ["open_alerts", "retrain"]
    assert monthly.next_steps({**calm, "alerts": [{"family": "features", "resolved_at": 5}]}) == ["adopt"]
    assert monthly.next_steps({**calm, "missing": [["x", 0.3]], "rejected": 4}) == ["missing", "rejected"]


@pytest.fixture
def report(pages: TestClient, seeded_engine: Engine) -> str:
    """The path of a report that is done."""
    answer = pages.post("/models/churn/monthly", data={"month": "2026-03"})
    assert answer.status_code == 303
    place = answer.headers["location"]
    assert "shows here by itself" in pages.get(place).text
    assert tasks.run_pending(seeded_engine, "monthly") == 1
    return place


def test_a_report_is_asked_for_made_and_read(pages: TestClient, report: str) -> None:
    text = pages.get(report).text
    for heading in ("What happened", "How well the model did", "Alerts, and what became of them", "Next steps"):
        assert f"<h2>{heading}</h2>" in text
    assert "In March 2026 the model made 4" in text and 'class="month"' in text
    assert "ROC AUC: how well the model tells the two classes apart" in text
    assert "&lt;img src=x" in text and HOSTILE not in text
    assert report in pages.get("/models/churn/monthly").text
    assert "Monthly reports" in pages.get("/models/churn").text
    assert pages.post("/models/churn/monthly", data={"month": "2199-01"}).status_code == 422
    assert pages.get("/models/fresh/monthly/" + report.rpartition("/")[2]).status_code == 404


def test_a_report_is_kept_as_a_document_that_fetches_nothing(pages: TestClient, report: str) -> None:
    answer = pages.get(f"{report}/html")
    assert answer.headers["content-disposition"] == 'attachment; filename="churn-2026-03.html"'
    assert "<script" not in answer.text and not re.search(r"(?:src|<link)[= ]", answer.text.replace("img src=x", ""))


def test_a_report_is_a_pdf(pages: TestClient, report: str) -> None:
    answer = pages.get(f"{report}/pdf")
    if answer.status_code == 409 and "Pango" in answer.text:
        pytest.skip("Pango is not installed (Debian: libpango-1.0-0 libpangoft2-1.0-0)")
    assert answer.headers["content-type"] == "application/pdf" and answer.content.startswith(b"%PDF")
    assert answer.headers["content-disposition"] == 'attachment; filename="churn-2026-03.pdf"'
    assert 5_000 < len(answer.content) < 500_000


def test_without_the_extra_a_reader_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda _: None)
    with pytest.raises(Conflict, match=re.escape("keepwatch[pdf]")):
        pdf.render("<p>x</p>")


def test_the_last_month_is_asked_for_once_when_its_outcomes_are_in(
    seeded_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(now: int) -> int:
        monkeypatch.setattr(catalog, "model_now", lambda *_: now)
        return monthly.ask_due(seeded_engine, clock.now())

    last = START + WINDOWS * WINDOW
    assert due(last) == 0, "the month is not over"
    over = clock.parse("2026-04-01T00:00:00Z")
    assert due(over) == 0, "outcomes may still come"
    assert due(over + 3 * clock.DAY) >= 1
    assert due(over + 4 * clock.DAY) == 0
    with reading(seeded_engine) as connection:
        model = catalog.get_model(connection, 1, "churn")
        found = queue.listed(connection, model.id, "monthly", 10)
    assert [one.asked["month"] for one in found] == ["2026-03"]


def test_a_report_goes_with_its_model(pages: TestClient, seeded: Seeded, seeded_engine: Engine, report: str) -> None:
    pages.delete(f"/v1/models/{seeded.drifting}")
    assert pages.get(report).status_code == 404
    with writing(seeded_engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM task WHERE kind = 'monthly'").scalar() == 0
