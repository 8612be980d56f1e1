"""The sentence above a model's charts, and performance before its outcomes."""

import json
import re

import pytest
from fastapi.testclient import TestClient

from dashboards import words
from dashboards.links import Links, stretch
from dashboards.pages.performance import estimate_of
from monitor.clock import DAY
from tests.dashboards.seeded import DRIFTED, REFERENCE, START, WINDOW, WINDOWS, Seeded

LINKS = Links()
CHANGE = START + DRIFTED * WINDOW


def sentence(html: str) -> str:
    found = re.search(r'<p class="lately"><bdi>(.*?)</bdi>', html)
    assert found is not None
    return found[1]


def test_a_stretch_is_told_beside_the_one_before(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.model(seeded.drifting, **stretch(CHANGE, CHANGE + 4 * DAY))).text
    assert re.match(
        r"[\d\s]+ predictions, (as many as|.* (more|fewer) than) in the 4\sdays before; ROC AUC", sentence(html)
    )
    assert ", clearly worse than 0." in sentence(html) and re.search(r"; \d alerts opened\.$", sentence(html))
    calm = pages.get(LINKS.model(seeded.drifting, **stretch(START + 4 * DAY, START + 8 * DAY))).text
    assert "clearly" not in sentence(calm) and sentence(calm).endswith("no alert opened.")
    assert "before" not in sentence(pages.get(LINKS.model(seeded.drifting, range_="all")).text)


def test_what_is_still_to_come_is_no_fall_of_the_traffic(pages: TestClient, seeded: Seeded) -> None:
    end = START + WINDOWS * WINDOW
    whole = pages.get(LINKS.model(seeded.drifting, **stretch(CHANGE, end))).text
    longer = pages.get(LINKS.model(seeded.drifting, **stretch(CHANGE, end + 20 * DAY))).text
    traffic = re.compile(r"predictions, (.*?) before")
    known, said = traffic.search(sentence(whole)), traffic.search(sentence(longer))
    assert known is not None and said is not None
    assert "as many as" in known[1] and "as many as" in said[1]
    future = pages.get(LINKS.model(seeded.drifting, **stretch(end + 20 * DAY, end + 30 * DAY)))
    assert future.status_code == 200 and "fewer" not in future.text


def test_what_was_expected_is_drawn_open_until_outcomes_confirm_it(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.model(seeded.drifting, **stretch(START + REFERENCE * WINDOW, CHANGE + 5 * DAY))).text
    text = re.search(r'id="figure-performance">(.*?)</script>', html)
    assert text is not None
    figure = json.loads(text[1])
    (estimate,) = [trace for trace in figure["data"] if trace["name"] == "estimated"]
    assert estimate["marker"]["symbol"] == "diamond-open" and estimate["line"]["dash"] == "dot"
    sizes = estimate["marker"]["size"]
    assert sizes[0] == 0 and sizes[-1] > 0 and sizes == sorted(sizes)
    known = [value for value in estimate["y"] if value is not None]
    realized = next(trace["y"] for trace in figure["data"] if trace["name"] == "ROC AUC")
    assert known[0] == pytest.approx(realized[0], abs=0.2)
    assert min(known) > 0.6 and min(v for v in realized if v is not None) < 0.4  # scores lost their meaning: unseen
    assert '<th scope="col">Estimated</th>' in html


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_model_without_estimates_has_its_page(pages: TestClient, task: str) -> None:
    assert pages.put(f"/v1/models/{task}", json={"task": task}).status_code == 201
    for metric in words.PERFORMANCE[task]:
        assert pages.get(LINKS.model(task, metric=metric)).status_code == 200


def test_only_tasks_with_scores_of_one_class_have_estimates() -> None:
    assert estimate_of("binary", "accuracy") == "estimated_accuracy"
    assert estimate_of("multiclass", "accuracy") is None and estimate_of("binary", "brier") is None
