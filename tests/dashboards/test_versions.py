"""The page of two versions: what it says first, what it reads, and what it does without a second version."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from dashboards.pages.versions import verdict
from dashboards.sparkline import span_bar
from monitor import clock
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.stats.values import Value
from monitor.store import blocks
from tests.dashboards.conftest import settings_of
from tests.dashboards.seeded import BASE, START, WINDOW, Seeded, jobs_until, statements

LINKS = Links()


@pytest.fixture
def shadow(seeded_engine: Engine, seeded: Seeded) -> Iterator[TestClient]:
    """Version b.2 is the shadow of a on 200 rows: the same answers in the first half, the opposite ones then."""
    settings = settings_of(seeded_engine)
    app = create_app(settings, seeded_engine, Writer(seeded_engine, settings))
    with TestClient(app, base_url=BASE, headers=seeded.admin) as client:
        _send_both(client)
        jobs_until(seeded_engine, settings)
        yield client


def _send_both(client: TestClient) -> None:
    rows = []
    for version, role in (("a", "live"), ("b.2", "shadow")):
        for i in range(200):
            score = ((i * 37) % 100) / 100
            said = 1 - score if version == "b.2" and i >= 100 else score
            at = clock.render(START + 73 * WINDOW + i * clock.MINUTE)
            rows.append(
                {"id": f"v{i}", "timestamp": at, "known_at": at, "version": version, "role": role, "score": said,
                 "prediction": "yes" if said >= 0.5 else "no", "latency_ms": 10 + i % 5, "features": {"amount": 50.0,
                 "plan": "basic" if i < 100 else "pro"}}
            )  # fmt: skip
    assert client.post("/v1/models/churn/predictions", json={"rows": rows}).json()["accepted"] == 400
    seen = dict.fromkeys(("observed_at", "known_at"), clock.render(START + 74 * WINDOW))
    actual = [{"id": f"v{i}", "actual": "yes" if (i * 37) % 100 >= 50 else "no", **seen} for i in range(200)]
    assert client.post("/v1/models/churn/outcomes", json={"rows": actual}).status_code == 200


def test_the_first_sentence_says_which_version_is_worse_and_where(shadow: TestClient) -> None:
    html = shadow.get(LINKS.versions("churn", baseline="a", candidate="b.2", pairs="yes")).text
    lead = re.search(r'<p class="lead"><bdi>(.*?)</bdi>', html)
    assert lead is not None
    assert lead[1].startswith("Version b.2 is clearly worse by Accuracy")
    assert "In plan:pro it is clearly worse" in lead[1] and "plan:basic" not in lead[1]
    assert "Differences are of the same rows" in html and "McNemar" in html
    assert re.search(r"Same answer</dt><dd>50\.\d", html)
    changed = re.search(r'<ul class="changes">(.*?)</ul>', html, re.DOTALL)
    assert changed is not None and changed[1].count("<li>") == 2


def test_rows_are_read_only_when_it_is_asked_for(shadow: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a page reads rows")

    monkeypatch.setattr(blocks, "decode", never)
    monkeypatch.setattr(blocks, "read_blocks_between", never)
    html = shadow.get(LINKS.versions("churn", range_="all", baseline="a", candidate="b.2")).text
    assert "Tick “pair rows by id”" in html and "McNemar" not in html and "ROC AUC" in html


def test_the_api_gives_what_the_page_shows(shadow: TestClient) -> None:
    found = shadow.get("/v1/models/churn/compare?baseline=a&candidate=b.2").json()
    assert found["pairs"]["n"] == found["pairs"]["labelled"] == 200 and found["unpaired"] is None
    assert found["pairs"]["agreement"]["value"] == pytest.approx(0.505, abs=0.01)
    by_name = {one["metric"]: one for one in found["metrics"]}
    assert by_name["accuracy"]["paired"] and by_name["accuracy"]["difference"]["high"] < 0
    assert by_name["accuracy"]["baseline"]["value"] == 1.0
    assert {one["segment"] for one in found["segments"]} == {"plan:basic", "plan:pro"}
    alone = shadow.get("/v1/models/churn/compare?baseline=a&candidate=b.2&pairs=false").json()
    assert alone["pairs"] is None and alone["unpaired"] == "rows were not read"
    refused = shadow.get("/v1/models/churn/compare?baseline=a&candidate=c")
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "candidate"


def test_a_model_of_one_version_says_what_to_send(pages: TestClient, seeded: Seeded) -> None:
    assert "Only one version so far" in pages.get(LINKS.versions(seeded.drifting)).text
    assert "No rows yet" in pages.get(LINKS.versions(seeded.empty)).text
    assert pages.get(LINKS.versions(seeded.drifting, baseline="x", candidate="y")).status_code == 200


@pytest.mark.parametrize(
    ("metric", "low", "high", "expected"),
    [
        ("accuracy", 0.01, 0.02, "better"),
        ("log_loss", 0.01, 0.02, "worse"),
        ("mae", -2.0, -1.0, "better"),
        ("bias", 1.0, 2.0, "different"),
        ("roc_auc", -0.1, 0.2, "no clear difference"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(metric: str, low: float, high: float, expected: str) -> None:
    assert verdict(metric, Value((low + high) / 2, low, high, 9)) == expected
    assert verdict(metric, Value((low + high) / 2, None, None, 9)) == ""


def test_an_interval_is_drawn_around_nothing() -> None:
    drawn = str(span_bar(-0.02, 0.01, 0.04, "<b>"))
    assert 'class="range"' in drawn and "&lt;b&gt;" in drawn
    assert 'class="range"' not in str(span_bar(None, None, None, ""))


def test_the_page_asks_the_database_as_often_for_a_year_as_for_a_day(shadow: TestClient, seeded_engine: Engine) -> None:
    asked = statements(seeded_engine)
    for range_ in ("24h", "30d", "all"):
        url = LINKS.versions("churn", baseline="a", candidate="b.2", range_=range_)
        shadow.get(url)
        asked.clear()
        assert shadow.get(url).status_code == 200
        assert len(asked) <= 22, "\n".join(asked)
