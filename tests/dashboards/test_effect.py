"""Performance by the values of a feature: asked for by a link, computed from rows, and the same numbers as a table."""

import json
import re

import pytest
from fastapi.testclient import TestClient

from dashboards.links import Links
from dashboards.pages import effect
from monitor import clock
from monitor.evaluate import sample
from monitor.stats.bins import CategoricalBins
from tests.dashboards.seeded import HOSTILE, START, WINDOW, Seeded
from tests.dashboards.test_pages import Elements

LINKS = Links()
DRIFTED = {"from_": clock.render(START + 56 * WINDOW), "to": clock.render(START + 68 * WINDOW)}


def figure_of(html: str) -> dict[str, object]:
    return next(one for text in Elements(html).scripts if "xaxis2" in (one := json.loads(text))["layout"])


def test_a_feature_offers_its_effect_as_a_link_that_needs_no_script(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.feature(seeded.drifting, "amount", range_="7d")).text
    link = re.search(r'<a class="button" href="([^"]+#effect)">ROC AUC by value', html)
    assert link is not None and "range=7d" in link[1]
    assert 'id="effect"' not in html
    shown = pages.get(link[1].replace("&amp;", "&").partition("#")[0]).text
    assert 'id="effect"' in shown and "Numbers of ROC AUC by amount" in shown
    assert 'aria-current="true">7d' in shown and "effect=roc_auc" in shown.split('class="ranges"')[1].split("</nav>")[0]


def test_the_stretch_stands_beside_the_reference_with_intervals_and_shares(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.feature(seeded.drifting, "plan", effect="accuracy", **DRIFTED)).text
    figure = figure_of(html)
    bars, now, before = figure["data"]
    assert [now["name"], before["name"]] == ["now", "reference"] and bars["xaxis"] == "x2"
    names = figure["layout"]["yaxis"]["ticktext"]
    at = names.index("pro")
    assert sum(bars["x"]) == pytest.approx(1, abs=0.01) and bars["x"][at] > 0.5
    assert now["x"][at] < 0.5 < before["x"][at] and now["error_x"]["array"][at] > 0
    assert re.search(r"From all 7\d\d rows of this stretch and all 1\u202f680 rows of the reference\.", html)
    assert "Accuracy by plan: the worst at" in html


def test_any_metric_of_the_task_can_be_chosen_and_no_other(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.feature(seeded.drifting, "amount", effect="log_loss", **DRIFTED)).text
    assert "Log loss by amount: the worst at" in html and 'aria-current="true">Log loss' in html
    for other in ("psi", "mae", "<b>"):
        answer = pages.get(LINKS.feature(seeded.drifting, "amount", effect=other))
        assert answer.status_code == 422 and "must be one of roc_auc, accuracy" in answer.text


def test_a_sample_says_that_it_is_one(pages: TestClient, seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST_ROWS", 400)
    html = pages.get(LINKS.feature(seeded.drifting, "amount", effect="accuracy", **DRIFTED)).text
    assert "a fixed sample of 400 rows spread over this stretch" in html


def test_where_there_is_nothing_to_show_the_page_says_why(pages: TestClient, seeded: Seeded) -> None:
    long_ago = {"from_": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert "No rows of this stretch" in pages.get(LINKS.feature("churn", "amount", effect="accuracy", **long_ago)).text
    assert "Too few rows with an outcome" in pages.get(LINKS.feature("fresh", "age", effect="accuracy")).text
    hostile = pages.get(LINKS.feature(seeded.drifting, HOSTILE, effect="accuracy", range_="all"))
    assert hostile.status_code == 200 and "<img" not in hostile.text
    slashed = pages.get(LINKS.feature(seeded.drifting, "a/b %41", effect="accuracy", range_="all")).text
    assert 'name="name" value="a/b %41"' in slashed


def test_who_came_by_a_shared_link_is_not_offered_to_read_rows(pages: TestClient, seeded: Seeded) -> None:
    shown = {"address": LINKS.feature(seeded.drifting, "amount", range_="all"), "span": "1d"}
    made = pages.post(LINKS.shares(), data=shown).text
    link = re.search(r"/shared/[A-Za-z0-9_-]{20,}", made)
    assert link is not None
    html = pages.get(f"{link[0]}?effect=accuracy").text
    assert "Distribution" in html and "by value" not in html and 'id="effect"' not in html


def test_levels_are_named_as_they_are_and_the_rest_in_words() -> None:
    bins = CategoricalBins("plan", ("basic", ""), ("basic", "", "rare"), 0.0, 10)
    assert effect.labels(bins) == ["basic", "(empty)", "other levels", "never seen before", "missing"]
