"""E-mail over the SMTP server of KEEPWATCH_SMTP_URL: text and HTML, the chart as a picture inside.

The server is the operator's choice, made in the environment, so its address does not pass the guard; what users write
down are recipients alone. The Message-ID is the delivery's id on every attempt.
"""

import re
import smtplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from monitor import clock
from monitor.alerts import guard
from monitor.alerts.mailtext import html_text
from monitor.alerts.message import Message, plain_text, read_message
from monitor.alerts.picture import draw
from monitor.alerts.sending import Means, Receipt, SendError, clip, no_secret, redact
from monitor.errors import Invalid, SetupError
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

PREFIX = "mailto:"
MAX_RECIPIENTS = 20
MAX_SUBJECT = 200
PORTS = {"smtp": 587, "smtps": 465}
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
HOW = "KEEPWATCH_SMTP_URL must be smtp://user:password@host:587?from=keepwatch@example.org (or smtps://…:465)"


@dataclass(frozen=True)
class Server:
    """A mail server: `smtps` speaks TLS from the start, `smtp` turns to it when offered (with a password: always)."""

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    sender: str


def send_mail(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """Hand the mail over to the server, for all recipients at once.

    Raises:
        SendError: no server is set, it cannot be reached, or it takes none of the recipients.
    """
    try:
        server = read_server(means.smtp_url)
    except SetupError as error:
        raise SendError(str(error)) from None
    curve = means.curve(delivery)
    mail = compose(
        server, recipients(channel.url), delivery, draw(curve) if curve else None, curve.title if curve else ""
    )
    place = f"the mail server {server.host}"
    try:
        with _connected(server) as smtp:
            refused = smtp.send_message(mail, server.sender, recipients(channel.url))
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise SendError(
            f"{place} takes none of the recipients ({code})", status=code, response=_said(said, channel)
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        raise SendError(f"{place} refuses the user or password of KEEPWATCH_SMTP_URL ({error.smtp_code})") from None
    except smtplib.SMTPResponseException as error:
        told = _said(error.smtp_error, channel)
        raise SendError(f"{place} answered {error.smtp_code}", status=error.smtp_code, response=told) from None
    except ssl.SSLError:
        raise SendError(f"{place}: no TLS connection could be made, or its certificate is not valid") from None
    except smtplib.SMTPNotSupportedError:
        raise SendError(f"{place} offers no TLS, without which the password is not sent") from None
    except (smtplib.SMTPException, OSError, ValueError):
        raise SendError(f"{place} could not be reached, took too long, or hung up") from None
    return Receipt(250, f"{len(refused)} of the recipients were refused" if refused else "")


def compose(
    server: Server, to: list[str], delivery: Delivery, picture: bytes | None, picture_words: str
) -> EmailMessage:
    """The mail: plain text, HTML beside it, and within the HTML the picture."""
    message = read_message(delivery)
    mail = EmailMessage()
    mail["Subject"] = subject(message)
    mail["From"] = server.sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(clock.to_datetime(delivery.created_at))
    domain = server.sender.rpartition("@")[2]
    mail["Message-ID"] = f"<{delivery.id}@{domain}>"
    mail["References"] = f"<{one_word(message.alert_id)}@{domain}>"  # a mail program shows an alert as one thread
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Keepwatch-Event"] = one_word(message.type)
    mail.set_content(plain_text(message))
    name = f"{delivery.id}.png"
    mail.add_alternative(html_text(message, f"cid:{name}" if picture else None, picture_words), subtype="html")
    if picture is not None:
        page = mail.get_payload()[1]  # type: ignore[index]
        page.add_related(picture, "image", "png", cid=f"<{name}>", disposition="inline", filename="chart.png")  # type: ignore[union-attr]
    return mail


def subject(message: Message) -> str:
    """One line, whatever stands in the names."""
    severity = f"[{message.severity}] " if message.severity and message.state != "resolved" else ""
    words = f"{severity}{message.title}" + (f": {message.text}" if message.title not in message.text else "")
    return clip("".join(letter if letter.isprintable() else " " for letter in words), MAX_SUBJECT)


def one_word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def check_mail(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """The recipients as `mailto:` and addresses with commas in between; there must be a mail server.

    Raises:
        Invalid: names the field, without repeating what was written.
    """
    if url is None:
        raise Invalid.field("url", "is required: mailto:oncall@example.org, several with commas in between")
    found = recipients(url)
    if not url.startswith(PREFIX) or not found or not all(_ADDRESS.fullmatch(one) for one in found):
        raise Invalid.field("url", "must be mailto: and addresses with commas in between: mailto:oncall@example.org")
    if len(found) > MAX_RECIPIENTS:
        raise Invalid.field("url", f"at most {MAX_RECIPIENTS} recipients: make a list at the mail server instead")
    try:
        read_server(means.smtp_url)
    except SetupError as error:
        raise Invalid.field("kind", str(error)) from None
    return PREFIX + ",".join(found), no_secret(secret, "the mail server's password is part of KEEPWATCH_SMTP_URL")


def recipients(url: str) -> list[str]:
    return [one.strip() for one in url.removeprefix(PREFIX).split(",") if one.strip()]


def mail_place(url: str) -> str:
    """The domains of the recipients: who they are is theirs to tell."""
    return ", ".join(sorted({f"…@{one.rpartition('@')[2]}" for one in recipients(url)})) or "the recipients"


def read_server(smtp_url: SecretStr | None) -> Server:
    """The mail server of the setting.

    Raises:
        SetupError: it is not set or cannot be read; repeats nothing of it.
    """
    if smtp_url is None:
        raise SetupError("no mail server is set: " + HOW)
    try:
        parts = urlsplit(smtp_url.get_secret_value())
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise SetupError(HOW) from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    sender = parse_qs(parts.query).get("from", [user])[0]
    if not parts.hostname or not _ADDRESS.fullmatch(sender):
        raise SetupError(HOW)
    return Server(parts.scheme, parts.hostname, port, user, password, sender)


@contextmanager
def _connected(server: Server) -> Iterator[smtplib.SMTP]:
    """A session that is logged in, and that ends at the deadline however slowly the server drips."""
    context, deadline = guard.trusted(), guard.DEADLINE
    if server.scheme == "smtps":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(timeout=deadline, context=context)
    else:
        smtp = smtplib.SMTP(timeout=deadline)
    ended = threading.Event()
    over = threading.Thread(target=_cut, args=(smtp, ended, deadline), name="smtp-deadline")
    over.daemon = True
    over.start()
    try:
        smtp._host = server.host  # type: ignore[attr-defined]  # what TLS checks the certificate against
        code, said = smtp.connect(server.host, server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        smtp.ehlo_or_helo_if_needed()
        if server.scheme == "smtp" and (server.password or smtp.has_extn("starttls")):
            smtp.starttls(context=context)
            smtp.ehlo()
        if server.password:
            smtp.login(server.user, server.password)
        yield smtp
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()  # the mail is accepted by now, whatever comes of the farewell
    finally:
        ended.set()
        smtp.close()


def _cut(smtp: smtplib.SMTP, ended: threading.Event, deadline: float) -> None:
    """End a session from outside; what waits in it fails at once, also where its connection is made only later."""
    import socket

    while not ended.wait(deadline):
        with suppress(OSError, AttributeError):
            smtp.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        deadline = 0.5


def _said(said: bytes | str, channel: Channel) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return redact(text, channel)[:1000]
