"""A webhook as Standard Webhooks 1.0 wants it, verified by that specification's own library."""

import base64
from collections.abc import Callable
from ipaddress import ip_network

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from monitor import clock
from monitor.alerts import guard
from monitor.alerts.kinds.webhook import check_webhook, new_secret, sign
from monitor.alerts.senders import KINDS, Means, Receipt, SendError, send
from monitor.alerts.sending import host_of, read_retry_after
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery
from tests.alerts.receivers import NOW, SECRET, Handler, Receiver, cut, hang

LOOPBACK = Means((ip_network("127.0.0.0/8"),))
NOWHERE = Means()
Receivers = Callable[..., Receiver]


def _channel(url: str, secret: str = SECRET) -> Channel:
    return Channel("channel_1", 1, "webhook", "pager", url, secret, (), NOW)


def _delivery(body: str = '{"type":"alert.firing","data":{"text":"größer"}}') -> Delivery:
    return Delivery("msg_1", 1, "channel_1", None, "alert.firing", body, NOW, "pending", 0, NOW, "me", NOW, None)


def test_the_specifications_own_library_verifies_what_arrives(receiver: Receivers) -> None:
    one = receiver(lambda handler, number: handler.answer(200, b"thanks"))
    for secret in (SECRET, new_secret()):
        assert send(_channel(one.url, secret), _delivery(), clock.now(), LOOPBACK) == Receipt(200, "thanks")
        headers, body, _ = one.requests[-1]
        assert Webhook(secret).verify(body, headers)["data"]["text"] == "größer"
        assert headers["webhook-id"] == "msg_1" and headers["content-type"] == "application/json"


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "secret", "old", "future"])
def test_what_was_changed_on_the_way_does_not_verify(receiver: Receivers, change: str) -> None:
    one = receiver()
    shift = {"old": -6 * clock.MINUTE, "future": 6 * clock.MINUTE}.get(change, 0)
    send(_channel(one.url), _delivery(), clock.now() + shift, LOOPBACK)
    headers, body, _ = one.requests[0]
    if change == "body":
        body = body.replace(b"firing", b"fixing")
    if change == "id":
        headers["webhook-id"] = "msg_2"
    if change == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret() if change == "secret" else SECRET).verify(body, headers)


def test_a_signature_is_the_one_of_the_specifications_example() -> None:
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "permanent", "words"),
    [
        (301, False, "301: redirects are not followed"),
        (400, False, "400 Bad Request"),
        (404, False, "404 Not Found"),
        (410, True, "410 Gone"),
        (429, False, "429 Too Many Requests"),
        (500, False, "500 Internal Server Error"),
        (599, False, "599"),
    ],
)
def test_what_is_no_success_is_a_send_error(receiver: Receivers, status: int, permanent: bool, words: str) -> None:
    one = receiver(lambda handler, number: handler.answer(status, b"no\0", retry_after="17"))
    with pytest.raises(SendError, match=words) as caught:
        send(_channel(one.url), _delivery(), NOW, LOOPBACK)
    error = caught.value
    assert (error.permanent, error.status, error.retry_after, error.response) == (permanent, status, 17, "no\ufffd")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(receiver: Receivers, status: int) -> None:
    one = receiver(lambda handler, number: handler.answer(status))
    assert send(_channel(one.url), _delivery(), NOW, LOOPBACK).status == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("0", 0),
        ("9" * 40, 999_999_999),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 08:01:00", None),
        ("Fri, 99 Jan 2027 08:01:00 GMT", None),
        ("١٢", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str | None, seconds: int | None) -> None:
    assert clock.render(NOW) == "2027-01-15T08:00:00Z"
    assert read_retry_after(value, NOW) == seconds


def _refuse(handler: Handler, number: int) -> None:
    handler.answer(500)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"email", "apprise"}))
@pytest.mark.parametrize("habit", [_refuse, cut, hang, None])
def test_no_error_of_any_kind_tells_a_secret_or_the_path_of_the_url(
    receiver: Receivers, kind: str, habit: Callable[[Handler, int], None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "DEADLINE", 0.2)
    one = receiver(habit or _refuse)
    channel = _channel(one.url, SECRET)
    with pytest.raises(SendError) as caught:
        KINDS[kind].send(channel, _delivery(), NOW, NOWHERE if habit is None else LOOPBACK)
    told = f"{caught.value} {caught.value!r} {channel!r} {caught.value.__cause__!r}"
    assert "token-in-the-path" not in told and SECRET not in told and SECRET.removeprefix("whsec_") not in told
    assert "127.0.0.1" in str(caught.value)


def test_a_new_secret_has_32_random_bytes() -> None:
    one, other = new_secret(), new_secret()
    assert one.startswith("whsec_") and one != other and len(base64.b64decode(one.removeprefix("whsec_"))) == 32
    assert check_webhook("https://example.org/", None, NOWHERE)[1].startswith("whsec_")
    assert check_webhook("https://example.org/", SECRET, NOWHERE) == ("https://example.org/", SECRET)


@pytest.mark.parametrize(
    "secret", ["", "x", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "whsec_ü", SECRET[6:], SECRET + "!"]
)
def test_a_secret_that_is_too_weak_or_not_base64_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_webhook("https://example.org/", secret, NOWHERE)
    assert caught.value.errors[0]["field"] == "secret" and (len(secret) < 8 or secret not in caught.value.detail)


def test_a_url_that_cannot_be_shown_is_not_shown() -> None:
    assert host_of("https://hooks.example/T0/secret?token=1") == "hooks.example"
    assert host_of("not a url with a secret") == "the receiver"
