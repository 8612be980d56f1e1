"""The list of models: sorted by any heading, paged, as many questions for a thousand models as for three."""

import re

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards import words
from dashboards.links import Links
from dashboards.pages.models import COLUMNS, Order, read_order
from dashboards.sparkline import spark_line
from monitor.clock import DAY
from monitor.stats.measure import FIRST
from monitor.store import tables as t
from monitor.store.catalog import put_model
from monitor.store.session import writing
from tests.dashboards.seeded import Seeded, statements

LINKS = Links()


def names(html: str) -> list[str]:
    """The models of the list, from the top."""
    return re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', html)


def test_models_that_need_a_look_stand_first(pages: TestClient, seeded: Seeded) -> None:
    assert names(pages.get("/").text) == [seeded.drifting, seeded.empty, seeded.learning]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["churn", "fresh", "shell"]),
        ("-name", ["shell", "fresh", "churn"]),
        ("traffic", ["churn", "fresh", "shell"]),
        ("alerts", ["churn", "fresh", "shell"]),
        ("labelled", ["churn", "fresh", "shell"]),
        ("last", ["shell", "fresh", "churn"]),
        ("-last", ["churn", "fresh", "shell"]),
        ("", ["churn", "shell", "fresh"]),
    ],
)
def test_the_list_is_sorted_by_what_the_address_says(pages: TestClient, sort: str, expected: list[str]) -> None:
    assert names(pages.get("/", params={"sort": sort}).text) == expected


def test_a_heading_leads_to_its_order_and_then_to_the_other_way_round(pages: TestClient) -> None:
    for column in COLUMNS:
        once = read_order(read_order(None).by(column))
        assert once.column == column and read_order(once.by(column)).turned != once.turned
    html = pages.get(LINKS.home(sort="traffic")).text
    assert 'aria-sort="descending"><a href="/?sort=-traffic">Traffic' in html
    assert html.count("aria-sort") == 1 and Order("health", False).text is None


def test_performance_stands_beside_traffic_where_outcomes_came(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    html = pages.get("/").text
    row = next(part for part in html.partition("<tbody>")[2].split("<tr>") if f">{seeded.drifting}</a>" in part)
    shown = re.search(r"ROC AUC (0\.\d+)", row)
    assert shown is not None and html.count("no outcomes yet") == 2
    with seeded_engine.connect() as connection:
        measured = list(connection.scalars(sa.select(t.measurement.c.performance)))
    known = [one for one in measured if one is not None]
    assert min(abs(float(shown[1]) - one) for one in known) < 0.0005
    with seeded_engine.begin() as connection:
        connection.execute(sa.update(t.measurement).where(t.measurement.c.labelled > 3).values(labelled=3))
    html = pages.get("/").text
    assert html.count("too few outcomes yet") == 1 and "ROC AUC 0." not in html


def test_the_list_shows_the_metric_that_is_chosen_first_on_a_models_page() -> None:
    assert {task: chosen[0] for task, chosen in words.PERFORMANCE.items()} == FIRST


def test_a_list_of_more_models_asks_no_more(pages: TestClient, seeded_engine: Engine) -> None:
    asked = statements(seeded_engine)
    counts = {}
    for many in (3, 130):
        with writing(seeded_engine) as connection:
            for number in range(many - 3):
                put_model(connection, 1, f"other-{number:03}", {"task": "regression"}, DAY, "test")
        for sort in ("", *COLUMNS):
            pages.get("/", params={"sort": sort})
            asked.clear()
            html = pages.get("/", params={"sort": sort}).text
            assert counts.setdefault(sort, len(asked)) == len(asked), "\n".join(asked)
    assert len(names(html)) == 50 and "1 to 50 of 130" in html and 'rel="next"' in html
    last = pages.get(LINKS.home(page=3)).text
    assert len(names(last)) == 30 and "101 to 130 of 130" in last and 'rel="next"' not in last
    assert names(pages.get(LINKS.home(page=99)).text) == names(last)


def test_a_line_has_gaps_and_says_nothing_of_nothing() -> None:
    assert spark_line([None, None], "none").count("<path") == 0
    drawn = str(spark_line([0.5, None, 0.7, 0.9], "MAE <3>"))
    assert drawn.count("M") - drawn.count("MAE") == 3 and "nan" not in drawn and "MAE &lt;3&gt;" in drawn
