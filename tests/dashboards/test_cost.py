"""What a page costs: as many queries for a year as for a day, no rows, and few bytes."""

import gzip

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor.store import blocks
from monitor.store.alerts import list_alerts
from monitor.store.session import reading
from tests.dashboards.seeded import Seeded, statements

LINKS = Links()
QUERIES = {  # at most
    LINKS.home(): 14,
    LINKS.home(sort="traffic"): 15,
    LINKS.model("churn"): 37,
    LINKS.model("churn", range_="24h"): 37,
    LINKS.model("churn", range_="all"): 37,
    LINKS.features("churn"): 14,
    LINKS.features("churn", range_="all"): 14,
    LINKS.feature("churn", "amount"): 27,
    LINKS.feature("churn", "amount", range_="all"): 27,
    LINKS.segments("churn"): 14,
    LINKS.segments("churn", range_="all"): 14,
    LINKS.segment("churn", "plan:pro"): 22,
    LINKS.segment("churn", "plan:pro", range_="all"): 22,
    LINKS.alerts(): 5,
    LINKS.channels(): 7,
    LINKS.versions("churn"): 7,
    LINKS.settings(): 4,
    LINKS.audit(): 8,
}


@pytest.fixture
def asked(seeded_engine: Engine) -> list[str]:
    return statements(seeded_engine)


@pytest.mark.parametrize("url", QUERIES)
def test_a_page_asks_the_database_a_fixed_number_of_times(pages: TestClient, asked: list[str], url: str) -> None:
    pages.get(url)
    asked.clear()
    assert pages.get(url).status_code == 200
    assert len(asked) <= QUERIES[url], "\n".join(asked)


def test_the_page_of_an_alert_asks_no_more_for_more_causes(
    pages: TestClient, asked: list[str], seeded_engine: Engine
) -> None:
    with reading(seeded_engine) as connection:
        found, _ = list_alerts(connection, 1, limit=10)
    for alert in found:
        pages.get(LINKS.alert(alert.id))
        asked.clear()
        assert pages.get(LINKS.alert(alert.id)).status_code == 200
        segments = sum(cause.get("segment") is not None for cause in alert.causes)
        assert len(asked) <= 17 + 9 * segments, "\n".join(asked)


def test_no_page_reads_a_row(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a page reads rows")

    monkeypatch.setattr(blocks, "decode", never)
    monkeypatch.setattr(blocks, "read_blocks_between", never)
    monkeypatch.setattr(blocks, "read_together", never)
    for url in QUERIES:
        assert pages.get(url).status_code == 200


def test_pages_are_sent_compressed_to_who_takes_it(pages: TestClient, seeded: Seeded) -> None:
    url = LINKS.model(seeded.drifting, range_="all")
    with pages.stream("GET", url, headers={"accept-encoding": "br, gzip;q=0.8"}) as answer:
        sent = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) == len(sent) < 50_000
    with pages.stream("GET", url, headers={"accept-encoding": "identity"}) as answer:
        plain = b"".join(answer.iter_raw())
        assert "content-encoding" not in answer.headers
    assert gzip.decompress(sent) == plain
