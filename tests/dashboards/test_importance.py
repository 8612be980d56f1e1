"""What matters to the model and moved comes first: in the heat map and in the list of features, and both say so."""

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from dashboards.pages.drift import rank
from monitor.evaluate import loaded
from monitor.store import tables as t
from monitor.store.session import reading, writing
from tests.dashboards.seeded import FEATURES, Seeded
from tests.dashboards.test_pages import Elements

LINKS = Links()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """References never change, so what was loaded of one is kept; here they do."""
    loaded._reference.cache_clear()
    yield
    loaded._reference.cache_clear()


def weigh(engine: Engine, weights: list[float] | None) -> None:
    """Let the references of the drifting model say how much each feature matters; None: as if they were older."""
    with writing(engine) as connection:
        rows = connection.execute(sa.select(t.reference.c.id, t.reference.c.source)).all()
        for number, source in rows:
            kept = json.loads(source)
            if weights is None:
                kept.pop("importance", None)
            elif len(kept["layout"]["features"]) == len(weights):
                kept["importance"] = weights
            values = {"source": json.dumps(kept)}
            connection.execute(sa.update(t.reference).where(t.reference.c.id == number).values(values))
    loaded._reference.cache_clear()


def binned(engine: Engine) -> list[str]:
    """The features in the order of their binning."""
    with reading(engine) as connection:
        sources = connection.scalars(sa.select(t.reference.c.source).order_by(t.reference.c.id)).all()
    return list(next(one for text in sources if len(one := json.loads(text)["layout"]["features"]) == len(FEATURES)))


def heatmap(pages: TestClient, model: str) -> tuple[dict[str, object], str]:
    html = pages.get(LINKS.model(model, range_="all")).text
    return next(json.loads(one) for one in Elements(html).scripts if '"heatmap"' in one), html


def test_a_feature_that_matters_stands_above_one_that_only_drifts(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    names = binned(seeded_engine)
    for chosen, other in (("plan", "amount"), ("amount", "plan")):
        weigh(seeded_engine, [0.9 if name == chosen else 0.0 for name in names])
        figure, html = heatmap(pages, seeded.drifting)
        shown = figure["layout"]["yaxis"]["ticktext"]
        assert shown[0] == chosen and other in shown[1:3], "what matters little counts as 1 %, so drift orders the rest"
        assert figure["data"][1]["x"][0] == 0.9 and figure["data"][1]["xaxis"] == "x2"
        assert "ordered by the highest PSI × importance" in html and "Theil" in html and "90.0" in html
        listed = pages.get(LINKS.features(seeded.drifting, range_="all")).text
        assert listed.index(f"<bdi>{chosen}</bdi>") < listed.index(f"<bdi>{other}</bdi>")
        assert "ordered by PSI × importance" in listed


def test_without_importance_drift_alone_orders_and_the_page_says_so(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    weigh(seeded_engine, None)
    figure, html = heatmap(pages, seeded.drifting)
    assert len(figure["data"]) == 1 and "the most drifted feature on top" in html
    assert "the most drifted first" in pages.get(LINKS.features(seeded.drifting, range_="all")).text


def test_the_order_is_importance_times_drift_with_nothing_below_a_hundredth() -> None:
    assert rank(0.1, 0.5) < rank(0.4, 0.1) < rank(None, 0.9)
    assert rank(3.0, 0.0) < rank(0.1, 0.02), "much drift of what tells little is not hidden"
    assert rank(0.2, 0.0) < rank(0.1, 0.005), "what chance tells orders nothing"
    assert rank(0.2, None) < rank(0.1, None)
