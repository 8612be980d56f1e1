"""Slices on the pages: a search is asked for, waits, shows what it found, and one click follows it."""

import json

from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor import clock
from monitor.store import tasks
from monitor.store.session import writing
from tests.dashboards.seeded import HOSTILE, Seeded

LINKS = Links()
CHANGE = {"before": 0.1, "after": 0.25, "effect": 0.15, "low": 0.09, "high": 0.21, "p": 0.004, "excess": 0.14}
WHERE = [{"feature": "amount", "from": 1.5, "to": 4}, {"feature": HOSTILE, "missing": True}]
ANSWER = {
    "loss": "brier",
    "block": "24h",
    "rows": 1000,
    "rows_before": 2000,
    "alpha": 0.05,
    "text": "it rose for sure in 1 slice (7 were searched, 2 tested)",
    "slices": [{"where": WHERE, "text": f"`amount` from 1.5 to 4 and `{HOSTILE}` has no usable value", "rows": 80,
                "share": 0.08, **CHANGE}],
}  # fmt: skip


def done(pages: TestClient, engine: Engine, model: str) -> str:
    """A search that found one slice; its address."""
    address = pages.post(LINKS.slices(model), data={"against": "previous"}).headers["location"]
    assert "loads itself again" in pages.get(address).text
    with writing(engine) as connection:
        taken = tasks.claim(connection, "slices", "test", clock.now(), clock.MINUTE)
        assert taken is not None
        tasks.finish(connection, taken, clock.now(), result=json.dumps(ANSWER))
    return address


def test_a_search_is_asked_for_read_and_followed(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    assert f'href="{LINKS.slices(seeded.drifting)}"' in pages.get(LINKS.model(seeded.drifting)).text
    address = done(pages, seeded_engine, seeded.drifting)
    page = pages.get(address).text
    assert "<code>amount</code> from 1.5 to 4" in page and "0.09 to 0.21" in page and "80" in page and "8 %" in page
    assert HOSTILE not in page
    assert pages.post(address + "/follow", data={"slice": "0"}).status_code == 303
    assert "Follow" not in pages.get(address).text.split("<tbody>")[1].split("</tbody>")[0]
    (name,) = pages.get(f"/v1/models/{seeded.drifting}").json()["slices"]
    listed = pages.get(LINKS.slices(seeded.drifting)).text
    assert "it rose for sure in 1 slice" in listed.replace("It rose", "it rose") and "Followed as segments" in listed
    assert pages.post(LINKS.unfollow(seeded.drifting), data={"name": name}).status_code == 303
    assert pages.get(f"/v1/models/{seeded.drifting}").json()["slices"] == {}


def test_a_model_without_outcomes_is_not_offered_a_search(pages: TestClient, seeded: Seeded) -> None:
    assert LINKS.slices(seeded.learning) not in pages.get(LINKS.model(seeded.learning)).text


def test_wrong_forms_are_answered_in_words(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    assert pages.post(LINKS.slices(seeded.drifting), data={"from": "soon"}).status_code == 422
    address = done(pages, seeded_engine, seeded.drifting)
    for fields, status in (({"slice": "x"}, 422), ({"slice": "9"}, 404), ({}, 422)):
        assert pages.post(address + "/follow", data=fields).status_code == status
    assert pages.post(LINKS.unfollow(seeded.drifting), data={"name": "none"}).status_code == 404
