"""Channels through the API, with a real receiver at the other end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy.engine import Engine
from standardwebhooks import Webhook, WebhookVerificationError

from monitor import clock
from monitor.alerts.deliver import deliver_due
from monitor.app import create_app
from monitor.settings import Settings
from monitor.store import channels
from monitor.store import tables as t
from monitor.store.session import writing
from tests.alerts.receivers import NOW, SECRET, Receiver
from tests.keys import OTHER_KEY

Headers = dict[str, str]
URL = "https://hooks.example.org/services/T000/token"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def _make(client: TestClient, admin: Headers, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/channels", headers=admin, json={"kind": "webhook", "name": "pager", "url": URL, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_the_secret_is_shown_once_and_the_url_only_by_its_host(
    client: TestClient, admin: Headers, reader: Headers
) -> None:
    made = _make(client, admin)
    assert made["secret"].startswith("whsec_") and made["url"] == "https://hooks.example.org/…"
    later = [
        client.get(f"/v1/channels/{made['id']}", headers=reader),
        client.get("/v1/channels", headers=reader),
        client.get(f"/v1/channels/{made['id']}/deliveries", headers=reader),
    ]
    for answer in later:
        assert answer.status_code == 200
        assert made["secret"] not in answer.text and "token" not in answer.text and "secret" not in answer.json()
    assert later[1].json()["items"] == [later[0].json()] and later[1].json()["next_cursor"] is None


def test_a_secret_of_ones_own_and_matchers_are_kept(client: TestClient, admin: Headers) -> None:
    match = [{"name": "model", "value": "churn.*", "isRegex": True}]
    made = _make(client, admin, secret=SECRET, match=match)
    assert made["secret"] == SECRET and made["match"] == [{**match[0], "isEqual": True}]


def test_a_test_message_takes_the_way_of_alerts(
    client: TestClient, admin: Headers, receiver: Receiver, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    made = _make(client, admin, url=receiver.url)
    sent = client.post(f"/v1/channels/{made['id']}/test", headers=admin)
    assert sent.status_code == 202 and sent.json()["state"] == "pending" and sent.json()["type"] == "channel.test"
    assert deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=10) == 1
    headers, body, _ = receiver.requests[0]
    message = Webhook(made["secret"]).verify(body, headers)
    assert message["type"] == "channel.test" and message["data"]["causes"] == []
    assert headers["webhook-id"] == sent.json()["id"]
    (logged,) = client.get(f"/v1/channels/{made['id']}/deliveries", headers=admin).json()["items"]
    assert logged["state"] == "delivered" and logged["delivered_at"] and logged["next_attempt_at"] is None
    assert [attempt["status_code"] for attempt in logged["attempts"]] == [204]

    again = client.post(f"/v1/channels/{made['id']}/deliveries/{logged['id']}/replay", headers=admin)
    assert again.status_code == 202 and again.json()["state"] == "pending" and again.json()["delivered_at"] is None
    assert deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=10) == 1
    assert receiver.ids == [logged["id"]] * 2 and receiver.requests[1][1] == body


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "fax"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": ["webhook"]}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "n" * 257}, "name"),
        ({"name": 7}, "name"),
        ({"url": None}, "url"),
        ({"url": "ftp://example.org/secret"}, "url"),
        ({"url": "https://user:secret@example.org/"}, "url"),
        ({"url": "http://10.0.0.1/secret"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/secret"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/secret"}, "url"),
        ({"url": "https://1.1.1.1:6379/secret"}, "url"),
        ({"secret": "secret"}, "secret"),
        ({"secret": 1}, "secret"),
        ({"match": {}}, "match"),
        ({"match": [{"name": "model", "value": "(", "isRegex": True}]}, "match[0].value"),
        ({"colour": "secret"}, "colour"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_by_its_field(
    client: TestClient, admin: Headers, change: dict[str, Any], field: str
) -> None:
    body = {"kind": "webhook", "name": "pager", "url": URL, **change}
    answer = client.post("/v1/channels", headers=admin, json=body)
    assert answer.status_code == 422 and [error["field"] for error in answer.json()["errors"]] == [field]
    assert "secret" not in answer.text.replace('"field":"secret"', "").replace("secret: must", "")
    assert client.get("/v1/channels", headers=admin).json()["items"] == []


def test_every_wrong_field_is_named_at_once_and_the_kinds_are_listed(client: TestClient, admin: Headers) -> None:
    answer = client.post("/v1/channels", headers=admin, json={"kind": "fax", "match": 1})
    assert [error["field"] for error in answer.json()["errors"]] == ["kind", "name", "match"]
    assert "webhook" in answer.json()["errors"][0]["detail"]
    assert client.post("/v1/channels", headers=admin, content=b"kind=webhook").status_code == 415


def test_with_another_secret_key_channels_say_so_and_can_be_deleted(
    client: TestClient, admin: Headers, reader: Headers, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    made = _make(client, admin)
    sent = client.post(f"/v1/channels/{made['id']}/test", headers=admin).json()["id"]
    wrong = sqlite_settings.model_copy(update={"secret_key": OTHER_KEY})
    with TestClient(create_app(wrong, sqlite_engine), base_url=client.base_url) as other:
        path = f"/v1/channels/{made['id']}"
        (shown,) = other.get("/v1/channels", headers=reader).json()["items"]
        assert shown["url"] is None and "KEEPWATCH_SECRET_KEY" in shown["unreadable"]
        assert other.get(path, headers=reader).json() == shown
        assert len(other.get(f"{path}/deliveries", headers=reader).json()["items"]) == 1
        for action in ("test", f"deliveries/{sent}/replay"):
            refused = other.post(f"{path}/{action}", headers=admin)
            assert refused.status_code == 409 and "KEEPWATCH_SECRET_KEY" in refused.json()["detail"]
        page = other.get("/channels", headers=reader)
        assert page.status_code == 200 and "KEEPWATCH_SECRET_KEY" in page.text and "hooks.example.org" not in page.text
        assert other.delete(path, headers=admin).status_code == 204
        assert _make(other, admin)["unreadable"] is None


def test_a_name_is_taken_once(client: TestClient, admin: Headers) -> None:
    _make(client, admin)
    body = {"kind": "webhook", "name": "pager", "url": URL}
    assert client.post("/v1/channels", headers=admin, json=body).status_code == 409
    _make(client, admin, name="another")


def test_a_deleted_channel_is_gone_with_its_log(client: TestClient, admin: Headers, sqlite_engine: Engine) -> None:
    made = _make(client, admin)
    client.post(f"/v1/channels/{made['id']}/test", headers=admin)
    assert client.delete(f"/v1/channels/{made['id']}", headers=admin).status_code == 204
    for path in ("", "/deliveries"):
        assert client.get(f"/v1/channels/{made['id']}{path}", headers=admin).status_code == 404
    with sqlite_engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.delivery)) == 0


def test_a_channel_that_was_switched_off_says_why_and_sends_nothing(
    client: TestClient, admin: Headers, sqlite_engine: Engine
) -> None:
    made = _make(client, admin)
    first = client.post(f"/v1/channels/{made['id']}/test", headers=admin).json()
    with writing(sqlite_engine) as connection:
        channels.disable_channel(connection, made["id"], NOW, "hooks.example.org answered 410 Gone")
    shown = client.get(f"/v1/channels/{made['id']}", headers=admin).json()
    assert shown["disabled_at"] == clock.render(NOW) and "410" in shown["disabled_reason"]
    for path in ("test", f"deliveries/{first['id']}/replay"):
        assert client.post(f"/v1/channels/{made['id']}/{path}", headers=admin).status_code == 409


def test_pages_of_channels_and_deliveries_follow_their_cursors(client: TestClient, admin: Headers) -> None:
    ids = [_make(client, admin, name=f"c{n}")["id"] for n in range(3)]
    sent = [client.post(f"/v1/channels/{ids[0]}/test", headers=admin).json()["id"] for _ in range(3)]
    for path, expected in (("/v1/channels", ids), (f"/v1/channels/{ids[0]}/deliveries", sent[::-1])):
        first = client.get(f"{path}?limit=2", headers=admin).json()
        second = client.get(f"{path}?limit=2&cursor={first['next_cursor']}", headers=admin).json()
        assert [item["id"] for item in first["items"] + second["items"]] == expected
        assert second["next_cursor"] is None


def test_channels_of_other_projects_do_not_exist(
    client: TestClient, admin: Headers, make_key: Callable[..., str], sqlite_engine: Engine
) -> None:
    made, own = _make(client, admin), _make(client, admin, name="own")
    sent = client.post(f"/v1/channels/{made['id']}/test", headers=admin).json()["id"]
    with writing(sqlite_engine) as connection:
        connection.execute(sa.insert(t.project).values(id=2, name="other", created_at=NOW))
    stranger = {"Authorization": f"Bearer {make_key('admin', 2)}"}
    path = f"/v1/channels/{made['id']}"
    assert client.get("/v1/channels", headers=stranger).json()["items"] == []
    answers = [
        client.get(path, headers=stranger),
        client.delete(path, headers=stranger),
        client.post(f"{path}/test", headers=stranger),
        client.get(f"{path}/deliveries", headers=stranger),
        client.post(f"{path}/deliveries/{sent}/replay", headers=stranger),
        client.post(f"/v1/channels/{own['id']}/deliveries/{sent}/replay", headers=admin),  # not of this channel
    ]
    assert [answer.status_code for answer in answers] == [404] * 6
    _make(client, stranger)  # a name is taken in its own project alone


def test_a_rotated_secret_signs_beside_the_old_one_until_the_overlap_is_over(
    client: TestClient, admin: Headers, receiver: Receiver, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    made = _make(client, admin, url=receiver.url)
    path = f"/v1/channels/{made['id']}"
    rotated = client.post(f"{path}/rotate", headers=admin, json={"overlap": "1h"}).json()
    assert rotated["secret"].startswith("whsec_") and rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] is not None
    client.post(f"{path}/test", headers=admin)
    deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=10)
    headers, body, _ = receiver.requests[0]
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(body, headers)
    with writing(sqlite_engine) as connection:  # an hour later
        connection.execute(sa.update(t.channel).values(previous_until=clock.now() - 1))
    client.post(f"{path}/test", headers=admin)
    deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=10)
    headers, body, _ = receiver.requests[1]
    assert Webhook(rotated["secret"]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body, headers)
    own = client.post(f"{path}/rotate", headers=admin, json={"secret": SECRET, "overlap": "0s"}).json()
    assert own["secret"] == SECRET
    stored = " ".join(str(value) for row in _rows(sqlite_engine) for value in row)
    assert not any(one.removeprefix("whsec_") in stored for one in (SECRET, rotated["secret"], made["secret"]))


@pytest.mark.parametrize(
    ("body", "field"), [({"overlap": "31d"}, "overlap"), ({"overlap": 5}, "overlap"), ({"secret": "x"}, "secret")]
)
def test_a_rotation_that_cannot_be_is_refused(
    client: TestClient, admin: Headers, body: dict[str, Any], field: str
) -> None:
    made = _make(client, admin)
    answer = client.post(f"/v1/channels/{made['id']}/rotate", headers=admin, json=body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
    slack = _make(client, admin, kind="slack", name="chat", url="https://hooks.slack.com/services/T1/B1/x")
    assert slack["secret"] is None
    assert client.post(f"/v1/channels/{slack['id']}/rotate", headers=admin).status_code == 409


def test_what_was_given_up_is_listed_and_replayed_once_the_channel_is_on_again(
    client: TestClient, admin: Headers, receiver: Receiver, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    made = _make(client, admin, url=receiver.url)
    path = f"/v1/channels/{made['id']}"
    sent = {client.post(f"{path}/test", headers=admin).json()["id"] for _ in range(3)}
    with writing(sqlite_engine) as connection:
        channels.disable_channel(connection, made["id"], NOW, "gone")
    dead = client.get(f"{path}/deliveries?state=dead", headers=admin).json()["items"]
    assert {one["id"] for one in dead} == sent
    assert client.get(f"{path}/deliveries?state=pending", headers=admin).json()["items"] == []
    assert client.get(f"{path}/deliveries?state=lost", headers=admin).status_code == 422
    assert client.post(f"{path}/replay", headers=admin).status_code == 409
    on = client.post(f"{path}/enable", headers=admin).json()
    assert (on["disabled_at"], on["disabled_reason"]) == (None, None)
    assert client.post(f"{path}/replay", headers=admin).json() == {"replayed": 3}
    deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=10)
    assert set(receiver.ids) == sent and len(receiver.ids) == 3


def test_every_kind_can_be_made_and_none_shows_what_it_holds(
    client: TestClient, admin: Headers, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    key = "0123456789abcdef0123456789abcdef"
    bodies = [
        {"kind": "slack", "url": "https://hooks.slack.com/services/T1/B1/hidden-part"},
        {"kind": "teams", "url": "https://prod-1.westus.logic.azure.com:443/workflows/hidden-part?sig=hidden-part"},
        {"kind": "pagerduty", "secret": key},
        {"kind": "alertmanager", "url": "https://alerts.example.org/", "secret": "user:hidden-part"},
        {"kind": "email", "url": "mailto:hidden-part@example.org"},
        {"kind": "apprise", "url": "json://hidden-part.example.org/hidden-part"},
    ]
    mailing = sqlite_settings.model_copy(update={"smtp_url": SecretStr("smtp://mail.example.org?from=k@example.org")})
    with TestClient(create_app(mailing, sqlite_engine), base_url=client.base_url) as able:
        for number, body in enumerate(bodies):
            answer = able.post("/v1/channels", headers=admin, json={"name": f"c{number}", **body})
            assert answer.status_code == 201 and answer.json()["secret"] is None, answer.text
            assert "hidden-part" not in answer.text and key not in answer.text
        listed = able.get("/v1/channels", headers=admin)
        page = able.get("/channels", headers=admin)
    assert [one["kind"] for one in listed.json()["items"]] == [body["kind"] for body in bodies]
    for shown in (listed.text, page.text):
        assert "hidden-part" not in shown and key not in shown
    refused = client.post(
        "/v1/channels", headers=admin, json={"kind": "email", "name": "m", "url": "mailto:a@b.example"}
    )
    assert refused.status_code == 422 and "KEEPWATCH_SMTP_URL" in refused.text


def _rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(t.channel)))


def test_a_key_that_may_only_read_makes_no_channel(client: TestClient, reader: Headers) -> None:
    body = {"kind": "webhook", "name": "pager", "url": URL}
    assert client.post("/v1/channels", headers=reader, json=body).status_code == 403
    assert client.get("/v1/channels").status_code == 401
