"""Shared links: one page for people without an account, read-only, for a while, and nothing else."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor import clock, jobs
from monitor.app import create_app
from monitor.settings import Settings
from monitor.store import tables as t
from monitor.store.catalog import get_model
from monitor.store.session import reading, writing
from tests.dashboards.seeded import BASE, FEATURES, HOSTILE, Seeded
from tests.keys import SECRET_KEY

LINKS = Links()
_LINK = re.compile(re.escape(BASE) + r"(/shared/[A-Za-z0-9_-]{43})")


def share(pages: TestClient, address: str, span: str = "7d") -> str:
    """The path of a new link to that address."""
    answer = pages.post("/shares", data={"address": address, "span": span})
    assert answer.status_code == 200, answer.text
    found = _LINK.search(answer.text)
    assert found is not None
    return found[1]


@pytest.fixture
def visitor(seeded_engine: Engine) -> Iterator[TestClient]:
    """Somebody without an account."""
    settings = Settings(database_url=str(seeded_engine.url), secret_key=SECRET_KEY)
    with TestClient(create_app(settings, seeded_engine), base_url=BASE, follow_redirects=False) as client:
        yield client


def alert_of(engine: Engine) -> str:
    with reading(engine) as connection:
        return str(connection.scalar(sa.select(t.alert.c.id).where(t.alert.c.family == "features")))


def test_a_link_shows_its_page_read_only(pages: TestClient, visitor: TestClient, seeded: Seeded) -> None:
    link = share(pages, LINKS.model(seeded.drifting, range_="all"))
    answer = visitor.get(link)
    assert answer.status_code == 200
    assert "A shared page, read-only until" in answer.text and 'id="figure-traffic"' in answer.text
    assert '<form method="post"' not in answer.text and "Log out" not in answer.text
    assert 'aria-label="Main"' not in answer.text, "no way to the other pages of the dashboard"
    assert f'href="{link}?range=24h"' in answer.text, "another stretch of the same page is a part of it"
    assert 'aria-current="true">all' in answer.text, "as it was shared"
    shorter = visitor.get(f"{link}?range=24h&metric=recall")
    assert 'aria-current="true">24h' in shorter.text and 'aria-current="true">Recall' in shorter.text


def test_a_shared_alert_tells_what_happened_and_not_who_did_or_heard_it(
    pages: TestClient, visitor: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    address = LINKS.alert(alert_of(seeded_engine))
    pages.post(f"{address}/comment", data={"comment": "ask the people of billing"})
    inside, outside = pages.get(address).text, visitor.get(share(pages, address)).text
    for told in ("ask the people of billing", "Who was told"):
        assert told in inside and told not in outside
    assert "First evidence" in outside and "Why: 2 causes" in outside


@pytest.mark.parametrize("name", [*FEATURES])
def test_features_of_any_name_are_shared(pages: TestClient, visitor: TestClient, seeded: Seeded, name: str) -> None:
    link = share(pages, LINKS.feature(seeded.drifting, name, range_="all"))
    there = pages.get(LINKS.feature(seeded.drifting, name, range_="all"))
    answer = visitor.get(link)
    title = re.compile(r"<h1>.*?</h1>")
    assert answer.status_code == 200 and title.findall(answer.text) == title.findall(there.text)
    assert f'href="{link}?' in answer.text


def test_a_link_opens_nothing_but_its_page(pages: TestClient, visitor: TestClient, seeded: Seeded) -> None:
    other = {"name": HOSTILE, "range": "all"}
    shared = share(pages, LINKS.feature(seeded.drifting, "a/b %41", range_="all"))
    assert "<h1><bdi>a/b %41</bdi></h1>" in visitor.get(f"{shared}?{urlencode(other)}").text
    link = share(pages, LINKS.model(seeded.drifting))
    for path in (
        f"{link}/features",
        f"{link}/../features",
        f"{link}x",
        f"/shared/{'A' * 43}",
        "/shared/",
        f"{share(pages, '/alerts/' + alert_of(pages.app.state.engine))}/badge.svg",  # type: ignore[attr-defined]
    ):
        assert visitor.get(path).status_code in (400, 404), path
    for path in (LINKS.model(seeded.drifting), "/v1/models", "/metrics", "/shares"):
        assert visitor.get(path, headers={"accept": "*/*"}).status_code == 401, path
    for method in ("POST", "PUT", "DELETE"):
        assert visitor.request(method, link).status_code == 405


def test_what_cannot_be_shared_is_refused(pages: TestClient, seeded: Seeded) -> None:
    for address in (
        "/",
        "/doctor",
        "/channels",
        "/v1/models",
        "//example.com/models/x",
        "/models/churn/reports/1",
        "/models/churn/rows",
        "",
    ):
        assert pages.post("/shares", data={"address": address}).status_code == 422, address
    assert pages.post("/shares", data={"address": LINKS.model("unknown")}).status_code == 404
    assert pages.post("/shares", data={"address": LINKS.model(seeded.drifting), "span": "9y"}).status_code == 422


def test_only_the_hash_of_a_link_is_kept(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    token = share(pages, LINKS.model(seeded.drifting)).rpartition("/")[2]
    with reading(seeded_engine) as connection:
        rows = connection.execute(sa.select(t.share)).all()
    assert len(rows) == 1 and token not in repr(rows)
    assert token not in pages.get("/shares").text


def test_a_link_ends_when_it_is_revoked_or_its_time_is_over(
    pages: TestClient, visitor: TestClient, seeded: Seeded, seeded_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked, expiring = (share(pages, LINKS.model(seeded.drifting), span) for span in ("30d", "1d"))
    listed = pages.get("/shares").text
    ends = re.findall(r'action="(/shares/[^/]+/revoke)"', listed)
    assert len(ends) == 2
    assert pages.post(ends[1]).status_code == 303
    answer = visitor.get(revoked, headers={"accept": "text/html"})
    assert answer.status_code == 404 and "this link has ended" in answer.text.lower()
    assert visitor.get(expiring).status_code == 200
    assert "Revoked" in pages.get("/shares").text
    later = clock.now() + clock.DAY + clock.SECOND
    monkeypatch.setattr(clock, "now", lambda: later)
    assert visitor.get(expiring).status_code == 404


def test_ended_links_are_forgotten_after_a_month(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    share(pages, LINKS.model(seeded.drifting), "1d")
    settings = pages.app.state.settings  # type: ignore[attr-defined]
    for days, kept in ((30, 1), (32, 0)):
        jobs.sweep(seeded_engine, settings, clock.now() + days * clock.DAY)
        with reading(seeded_engine) as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(t.share)) == kept


def test_links_are_those_of_a_project_and_go_with_their_model(
    pages: TestClient, visitor: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    with writing(seeded_engine) as connection:
        connection.execute(t.project.insert().values(id=2, name="other", created_at=0))
        model = get_model(connection, 1, seeded.drifting).id
        values = {"path": "/models/churn", "query": "", "created_at": 1, "created_by": "x", "expires_at": 2**60}
        connection.execute(t.share.insert().values(id="s", project_id=2, model_id=model, token_hash="h", **values))
    assert "/shares/s/revoke" not in pages.get("/shares").text
    assert pages.post("/shares/s/revoke").status_code == 404
    link = share(pages, LINKS.model(seeded.drifting))
    assert pages.delete(f"/v1/models/{seeded.drifting}").status_code in (200, 204)
    assert visitor.get(link).status_code == 404


def test_the_badge_of_a_model_is_a_picture_for_other_sites(
    pages: TestClient, visitor: TestClient, seeded: Seeded
) -> None:
    link = share(pages, LINKS.model(seeded.drifting, range_="30d"))
    answer = visitor.get(f"{link}/badge.svg")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    state = pages.get(f"/v1/models/{seeded.drifting}").json()["health"]
    word = (state["state"] if isinstance(state, dict) else state).replace("_", " ")
    assert f">{word}</text>" in answer.text and f'aria-label="{seeded.drifting}: {word}"' in answer.text
    direct = pages.get(f"/v1/models/{seeded.drifting}/badge.svg", params={"label": "</text><script>alert(1)</script>"})
    assert "<script" not in direct.text and "&lt;script&gt;" in direct.text
    assert visitor.get(f"/v1/models/{seeded.drifting}/badge.svg").status_code == 401
    assert pages.get("/v1/models").headers["cross-origin-resource-policy"] == "same-origin"


def test_a_reader_sees_the_list_and_changes_nothing(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    from monitor.store import keys

    share(pages, LINKS.model(seeded.drifting))
    with writing(seeded_engine) as connection:
        key = keys.create_key(connection, 1, "reader", "read", clock.now())
    reader = {"authorization": f"Bearer {key}"}
    listed = pages.get("/shares", headers=reader)
    assert listed.status_code == 200 and "/revoke" not in listed.text
    assert pages.post("/shares", data={"address": LINKS.model(seeded.drifting)}, headers=reader).status_code == 403
    assert "Make a link" not in pages.get(LINKS.model(seeded.drifting), headers=reader).text
