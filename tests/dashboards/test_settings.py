"""Settings, keys and the audit log: for administrators alone."""

import re
from html import unescape

from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards.links import Links
from monitor import clock
from monitor.store import audit, catalog, keys
from monitor.store.session import reading, writing
from tests.dashboards.seeded import Seeded
from tests.dashboards.test_lists import input_alert

LINKS = Links()


def test_a_key_is_made_shown_once_used_and_revoked(pages: TestClient, seeded_engine: Engine) -> None:
    made = pages.post(LINKS.keys(), data={"name": "<scorer>", "scope": "read"})
    assert made.status_code == 200
    secret = re.search(r"<code>(kw_[^<]+)</code>", made.text)
    assert secret is not None and "&lt;scorer&gt;" in made.text
    assert secret[1] not in pages.get(LINKS.settings()).text
    mine = {"authorization": f"Bearer {secret[1]}", "accept": "text/html"}
    assert pages.get("/", headers=mine).status_code == 200
    for url in (LINKS.settings(), LINKS.audit()):
        assert pages.get(url, headers=mine).status_code == 403
    assert "/settings" not in pages.get("/", headers=mine).text
    number = secret[1].removeprefix("kw_").split("_")[0]
    assert pages.post(LINKS.key_revocation(number)).headers["location"] == "/settings#keys"
    with reading(seeded_engine) as connection:
        key = keys.find_key(connection, number)
    assert key is not None and key.revoked_at is not None


def test_a_key_of_another_project_is_not_there(pages: TestClient, seeded_engine: Engine) -> None:
    with writing(seeded_engine) as connection:
        other = keys.project_id_of(connection, "other", clock.now())
        secret = keys.create_key(connection, other, "theirs", "read", clock.now())
    number = secret.removeprefix("kw_").split("_")[0]
    assert pages.post(LINKS.key_revocation(number)).status_code == 404
    assert "theirs" not in pages.get(LINKS.settings()).text + pages.get(LINKS.audit()).text


def test_a_wrong_scope_or_name_makes_no_key(pages: TestClient) -> None:
    for fields in ({"name": "x", "scope": "root"}, {"name": "", "scope": "read"}):
        assert pages.post(LINKS.keys(), data=fields).status_code == 422


def test_the_audit_log_says_who_did_what(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    alert = input_alert(seeded_engine)
    pages.post(LINKS.alert_action(alert, "acknowledge"), data={"comment": "<b>looking</b>"})
    pages.post(LINKS.events(seeded.drifting), data={"kind": "deploy", "from": "2026-03-10T10:00", "text": "version 9"})
    with writing(seeded_engine) as connection:
        body = {"task": "regression", "grace": "1h"}
        catalog.put_model(connection, 1, seeded.empty, body, clock.now(), "terraform")
    html = pages.get(LINKS.audit()).text
    assert html.index("Model changed") < html.index("Event made") < html.index("Alert acknowledged")
    assert "grace: &#34;10m&#34; → &#34;1h&#34;" in html and "<bdi>terraform</bdi>" in html
    assert "&lt;b&gt;looking&lt;/b&gt;" in html and LINKS.alert(alert) in html and "deploy 2026-03-10T09:00:00Z" in html
    assert html.count("Model made") == 3 and "Key made" in html and "Reference made" in html


def test_what_is_done_on_a_page_is_done_by_who_is_logged_in(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    began = clock.now()
    secret = re.search(r"<code>(kw_[^<]+)</code>", pages.post(LINKS.keys(), data={"name": "new", "scope": "read"}).text)
    assert secret is not None
    pages.post(LINKS.key_revocation(secret[1].split("_")[1]))
    link = pages.post(LINKS.shares(), data={"address": LINKS.model(seeded.drifting), "span": "7d"}).text
    pages.post(re.search(r'action="([^"]+/revoke)"', link)[1])  # type: ignore[index]
    pages.post(LINKS.silences(), data={"span": "1h", "model": seeded.empty})
    pages.post(re.search(r'action="([^"]+/end)"', pages.get(LINKS.silences()).text)[1])  # type: ignore[index]
    alert = input_alert(seeded_engine)
    pages.post(LINKS.alert_action(alert, "comment"), data={"comment": "seen"})
    with reading(seeded_engine) as connection:
        found, _ = audit.deeds(connection, 1, 7)
    assert [one.what for one in found] == [
        "alert.commented",
        "silence.ended",
        "silence.made",
        "shared_link.revoked",
        "shared_link.made",
        "key.revoked",
        "key.made",
    ]
    assert {one.actor for one in found} == {"seed"} and found[4].subject == LINKS.model(seeded.drifting)
    assert all(began <= one.at <= clock.now() for one in found)  # also of a model whose clock is its events
    assert not any(secret[1].split("_", 2)[2] in one.detail for one in found)


def test_the_log_is_read_page_by_page(pages: TestClient, seeded_engine: Engine) -> None:
    with writing(seeded_engine) as connection:
        for number in range(150):
            body = {"task": "regression", "grace": f"{number + 1}m"}
            catalog.put_model(connection, 1, "shell", body, clock.now(), "t")
    first = pages.get(LINKS.audit()).text
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None
    second = pages.get(unescape(following[1])).text
    told = re.findall(r"grace: &#34;\d+m&#34; → &#34;(\d+)m&#34;", first + second)
    assert told == [str(number) for number in range(150, 0, -1)]
