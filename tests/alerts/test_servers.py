"""Channels against the servers they are made for: SMTP, TLS with an authority of one's own, Alertmanager, apprise."""

import email
import email.policy
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr
from sqlalchemy.engine import Engine
from standardwebhooks import Webhook

from monitor import clock
from monitor.alerts import guard
from monitor.alerts.deliver import deliver_due
from monitor.alerts.kinds.mail import check_mail, mail_place
from monitor.alerts.kinds.others import check_apprise
from monitor.alerts.picture import Curve
from monitor.alerts.refresh import refresh
from monitor.alerts.senders import Means, SendError, send
from monitor.alerts.transition import apply, resolve
from monitor.errors import Invalid
from monitor.settings import Settings
from monitor.store import alerts
from monitor.store.channels import Channel
from monitor.store.session import reading, writing
from tests.alerts.receivers import NOW, SECRET, Handler, Receiver, hang, make_channel, make_model, message, verdict

Receivers = Callable[..., Receiver]
NETWORKS = (ip_network("127.0.0.0/8"),)
LOOPBACK = Means(NETWORKS)
CURVE = Curve("PSI of f0", [(0.1, 0.05, 0.2)] * 40 + [(0.5, 0.4, 0.6)] * 9, 40)
PASSWORD = "a-password-of-the-server"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """An authority of one's own, which the operator trusts as OpenSSL lets him."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    guard.trusted.cache_clear()
    yield ca
    guard.trusted.cache_clear()


def _server_context(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


def _speak_tls(one: Receiver, context: ssl.SSLContext) -> None:
    plain = one.get_request

    def get_request() -> tuple[ssl.SSLSocket, object]:
        connection, address = plain()
        return context.wrap_socket(connection, server_side=True), address

    one.get_request = get_request  # type: ignore[method-assign,assignment]


# ---------------------------------------------------------------- TLS


def _webhook(url: str) -> Channel:
    return Channel("channel_1", 1, "webhook", "pager", url, SECRET, (), NOW)


def test_a_receiver_with_an_authority_of_ones_own_is_trusted_by_its_name_alone(
    receiver: Receivers, authority: trustme.CA
) -> None:
    one, wrong = receiver(), receiver()
    _speak_tls(one, _server_context(authority, "localhost"))
    _speak_tls(wrong, _server_context(authority, "other.example"))
    now = clock.now()
    send(_webhook(f"https://localhost:{one.port}/hook"), message(), now, LOOPBACK)
    headers, body, _ = one.requests[0]
    assert Webhook(SECRET).verify(body, headers)["type"] == "alert.firing"
    with pytest.raises(SendError, match="certificate"):
        send(_webhook(f"https://localhost:{wrong.port}/hook"), message(), now, LOOPBACK)
    assert wrong.requests == []


# ---------------------------------------------------------------- SMTP


class Box:
    """A mailbox that takes every recipient but `full@…`."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: Any) -> str:
        if address.startswith("full@"):
            return "452 the mailbox is full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return "250 taken"


@pytest.fixture
def mailbox(authority: trustme.CA) -> Iterator[tuple[Box, Means]]:
    """An SMTP server that wants STARTTLS and a password, and the means to reach it."""

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"keepwatch", PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    box, port = Box(), _free_port()
    server = Controller(
        box,
        hostname="localhost",
        port=port,
        tls_context=_server_context(authority, "localhost"),
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    server.start()
    url = f"smtp://keepwatch:{PASSWORD}@localhost:{port}?from=keepwatch@example.org"
    yield box, Means((), SecretStr(url), lambda delivery: CURVE)
    server.stop()


def _mail(to: str = "mailto:oncall@example.org,boss@example.org") -> Channel:
    return Channel("channel_1", 1, "email", "mail", to, "", (), NOW)


def test_a_mail_has_text_html_and_the_chart_and_one_id_on_every_attempt(mailbox: tuple[Box, Means]) -> None:
    box, means = mailbox
    for _ in range(2):
        send(_mail(), message(), NOW, means)
    first, second = (email.message_from_bytes(one.content or b"", policy=email.policy.default) for one in box.mails)
    assert first["Message-ID"] == second["Message-ID"] == "<msg_1@example.org>"
    assert box.mails[0].rcpt_tos == ["oncall@example.org", "boss@example.org"]
    assert first["Subject"] == "[critical] Firing: churn, features: churn: `f0` moved up by 0.4 sd (and 4 more)"
    assert first["From"] == "keepwatch@example.org" and first.get_content_type() == "multipart/alternative"
    text, html = first.get_body(("plain",)), first.get_body(("html",))
    for part in (text, html):
        content = part.get_content()
        for words in ("2027-01-15 06:00 UTC", "4.22 times", "f2", "and 2 more", "https://keepwatch.example/alerts"):
            assert words in content
    (picture,) = [part for part in first.walk() if part.get_content_type() == "image/png"]
    assert f"cid:{picture['Content-ID'][1:-1]}" in html.get_content()
    assert picture.get_content().startswith(b"\x89PNG") and "http" not in html.get_content().partition("<img")[0]


def test_names_cannot_break_out_of_a_mail(mailbox: tuple[Box, Means]) -> None:
    box, means = mailbox
    name = "x\r\nBcc: thief@example.org\r\n\r\n<script>alert(1)</script>"
    send(_mail(), message(model=name, text=name), NOW, means)
    found = email.message_from_bytes(box.mails[0].content or b"", policy=email.policy.default)
    assert found["Bcc"] is None and "\n" not in found["Subject"]
    assert "<script" not in found.get_body(("html",)).get_content()


def test_a_recipient_who_is_refused_does_not_stop_the_others(mailbox: tuple[Box, Means]) -> None:
    box, means = mailbox
    assert "1 of" in send(_mail("mailto:full@example.org,oncall@example.org"), message(), NOW, means).response
    with pytest.raises(SendError, match="none of the recipients"):
        send(_mail("mailto:full@example.org"), message(), NOW, means)
    assert len(box.mails) == 1


def test_mail_errors_say_what_to_do_and_tell_no_password(
    mailbox: tuple[Box, Means], receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, means = mailbox
    assert means.smtp_url is not None
    url, silent = means.smtp_url.get_secret_value(), _Silent()
    monkeypatch.setattr(guard, "DEADLINE", 0.5)
    cases = [
        (None, "KEEPWATCH_SMTP_URL"),
        (url.replace(PASSWORD, "wrong-" + PASSWORD), "refuses the user or password"),
        (url.replace("localhost", "127.0.0.1"), "certificate"),
        (url.replace(url.partition("localhost:")[2].partition("?")[0], str(_free_port())), "could not be reached"),
        (f"smtp://keepwatch:{PASSWORD}@localhost:{silent.port}?from=k@example.org", "took too long"),
    ]
    for wrong, words in cases:
        started = time.perf_counter()
        with pytest.raises(SendError, match=words) as caught:
            send(_mail(), message(), NOW, Means((), None if wrong is None else SecretStr(wrong)))
        assert PASSWORD not in f"{caught.value} {caught.value.response}" and time.perf_counter() - started < 5
    silent.close()


class _Silent(socket.socket):
    """A server that takes connections and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.port = int(self.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    [None, "", "mailto:", "oncall@example.org", "mailto:oncall", "mailto:a@b c", "mailto:a@b\r\nBcc: c@d", "x:a@b"],
)
def test_recipients_that_are_none_are_refused(url: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        check_mail(url, None, Means((), SecretStr("smtp://mail.example.org?from=k@example.org")))
    assert caught.value.errors[0]["field"] == "url"


def test_mail_needs_a_server_and_shows_domains_only() -> None:
    with pytest.raises(Invalid, match="KEEPWATCH_SMTP_URL"):
        check_mail("mailto:a@example.org", None, Means())
    for bad in ("smtp://", "http://x", "smtp://mail.example.org", "smtp://host:port?from=a@b"):
        with pytest.raises(Invalid, match="KEEPWATCH_SMTP_URL"):
            check_mail("mailto:a@example.org", None, Means((), SecretStr(bad)))
    assert mail_place("mailto:a@example.org,b@example.org") == "…@example.org"


# ---------------------------------------------------------------- apprise


def _apprise(url: str) -> Channel:
    return Channel("channel_1", 1, "apprise", "other", url, "", (), NOW)


def test_apprise_sends_where_it_may_and_nowhere_else(receiver: Receivers) -> None:
    inner = receiver()
    one = receiver(lambda handler, number: handler.answer(302, location=f"http://127.0.0.2:{inner.port}/"))
    allowed, target = Means((ip_network("127.0.0.1/32"),)), f"json://127.0.0.1:{one.port}/a-token-in-the-path"
    with pytest.raises(SendError):
        send(_apprise(target), message(), NOW, allowed)  # the redirect leads to an address that was not allowed
    assert len(one.requests) == 1 and inner.requests == []
    told = json.loads(one.requests[0][1])
    assert told["title"] == "Firing: churn, features" and "and 2 more" in told["message"]
    one.habit = lambda handler, number: handler.answer(200)
    assert send(_apprise(target), message(), NOW, allowed).status is None and len(one.requests) == 2
    with pytest.raises(SendError, match="KEEPWATCH_ALLOW_NETWORKS") as caught:
        send(_apprise(target), message(), NOW, Means())
    assert "a-token" not in str(caught.value) and len(one.requests) == 2


def test_apprise_tells_the_status_and_takes_no_proxy_and_no_file(
    receiver: Receivers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, one = receiver(), receiver(lambda handler, number: handler.answer(418))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(SendError, match="418"):
        send(_apprise(f"json://127.0.0.1:{one.port}/"), message(), NOW, LOOPBACK)
    assert len(one.requests) == 1 and proxy.requests == []
    secret = tmp_path / "card.json"
    secret.write_text('{"secret": "of this machine"}')
    with pytest.raises(SendError, match="on a file there"):
        send(
            _apprise(f"workflows://127.0.0.1:{one.port}/{'w' * 32}/{'s' * 20}/?template={secret}"),
            message(),
            NOW,
            LOOPBACK,
        )
    assert len(one.requests) == 1


@pytest.mark.parametrize(
    "url", [None, "no url", "tgrams", "unheardof://a/b", "syslog://", "dbus://", "mailto://a:b@c.de"]
)
def test_apprise_urls_that_are_none_or_act_here_are_refused(url: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        check_apprise(url, None, Means())
    assert caught.value.errors[0]["field"] == "url" and (not url or url not in caught.value.detail)


def test_apprise_urls_of_its_services_are_taken() -> None:
    url = "tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/-100123/"
    assert check_apprise(url, None, Means()) == (url, "")


# ---------------------------------------------------------------- Alertmanager

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """A real Alertmanager; its address."""
    if ALERTMANAGER is None:
        pytest.skip("no prometheus-alertmanager is installed (Debian's package of that name has it)")
    (tmp_path / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    address = f"127.0.0.1:{_free_port()}"
    command = [ALERTMANAGER, f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/am"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with (tmp_path / "am.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/-/ready", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "am.log").read_text()
                time.sleep(0.05)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


def _alerts(base: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(base + "/api/v2/alerts", timeout=5) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def test_a_real_alertmanager_shows_an_alert_keeps_it_and_ends_it(
    alertmanager: str, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    now = clock.now()
    with writing(sqlite_engine) as connection:
        make_channel(connection, alertmanager, kind="alertmanager", secret="")
        model = make_model(connection)
        apply(connection, 1, model.id, "churn", [verdict()], now, "https://keepwatch.example")
    assert deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=20) == 1
    (shown,) = _alerts(alertmanager)
    assert shown["labels"]["model"] == "churn" and shown["status"]["state"] == "active"
    assert "distance" in shown["annotations"]["summary"] and shown["generatorURL"].startswith("https://keepwatch.")
    assert refresh(sqlite_engine, sqlite_settings, clock.now() + clock.MINUTE) == 1
    (kept,) = _alerts(alertmanager)
    assert kept["fingerprint"] == shown["fingerprint"] and kept["endsAt"] > shown["endsAt"]
    with writing(sqlite_engine) as connection:
        (alert,), _ = alerts.list_alerts(connection, 1, limit=2)
        resolve(connection, 1, alert.id, "somebody", clock.now(), "")
    assert deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=20) == 1
    deadline = time.monotonic() + 5
    while _alerts(alertmanager):  # it lists what is active
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert refresh(sqlite_engine, sqlite_settings, clock.now()) == 0 and _alerts(alertmanager) == []


def test_an_alert_that_was_resolved_while_it_was_told_again_is_ended(
    receiver: Receivers, sqlite_engine: Engine, sqlite_settings: Settings
) -> None:
    def resolve_meanwhile(handler: Handler, number: int) -> None:
        if number == 1:
            with writing(sqlite_engine) as connection:
                resolve(connection, 1, alert_id, "somebody", clock.now(), "")
        handler.answer(200)

    one = receiver(resolve_meanwhile)
    with writing(sqlite_engine) as connection:
        make_channel(connection, one.url, kind="alertmanager", secret="")
        apply(connection, 1, make_model(connection).id, "churn", [verdict()], clock.now(), "")
        alert_id = alerts.list_alerts(connection, 1, limit=1)[0][0].id
    deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=20)
    now = clock.now()
    assert refresh(sqlite_engine, sqlite_settings, now) == 1
    ends = [clock.parse(json.loads(body)[0]["endsAt"]) for _, body, _ in one.requests]
    assert len(ends) == 3 and ends[1] > now and ends[2] == now
    with reading(sqlite_engine) as connection:
        assert alerts.get_alert(connection, 1, alert_id).state == "resolved"


def test_a_hanging_alertmanager_costs_a_refresh_and_nothing_else(
    receiver: Receivers, sqlite_engine: Engine, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = receiver()
    with writing(sqlite_engine) as connection:
        make_channel(connection, one.url, kind="alertmanager", secret="")
        apply(connection, 1, make_model(connection).id, "churn", [verdict()], clock.now(), "")
    deliver_due(sqlite_engine, sqlite_settings, clock.now(), patience=20)
    monkeypatch.setattr(guard, "DEADLINE", 0.2)
    one.habit = hang
    assert refresh(sqlite_engine, sqlite_settings, clock.now()) == 0 and len(one.requests) == 2
