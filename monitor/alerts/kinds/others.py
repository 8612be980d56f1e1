"""The hundred others, by apprise: Discord, Telegram, ntfy, Opsgenie and so on, by apprise's own URLs.

Apprise makes its connections itself, so it runs in a process of its own (`apprised`) where every connection is checked
as the guard checks it, and that is ended at the deadline. This process never imports it.
"""

import json
import os
import subprocess
import sys
from typing import Any

from monitor.alerts import guard
from monitor.alerts.message import plain_text, read_message
from monitor.alerts.sending import HIDDEN, Means, Receipt, SendError, no_secret
from monitor.errors import Invalid
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

MAX_URL = 2048
START = 10.0  # seconds for the process to start, beside those for the sending
SEVERITIES = {"critical": "failure", "warning": "warning"}
# Kinds that act on the machine they run on, or that Keepwatch has better.
LOCAL = ("blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows")
OWN = {"mailto": "email", "mailtos": "email", "pagerduty": "pagerduty", "http": "webhook", "https": "webhook"}
MISSING = 'apprise is not installed where Keepwatch runs: pip install "keepwatch[apprise]"'


def send_apprise(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """Send title and text; apprise tells no more than whether the service took it.

    Raises:
        SendError: it did not, or not in time.
    """
    message = read_message(delivery)
    request = {
        "url": channel.url,
        "title": message.title,
        "body": plain_text(message),
        "type": "success" if message.state == "resolved" else SEVERITIES.get(message.severity, "info"),
    }
    place = apprise_place(channel.url)
    try:
        answer = _run({**request, "networks": [str(network) for network in means.networks]})
    except subprocess.TimeoutExpired:
        raise SendError(f"{place}: the receiver took too long") from None
    if answer.get("sent"):
        return Receipt(None, "")
    raise SendError(f"{place}: {answer.get('error') or 'apprise ended without a word'}", status=answer.get("status"))


def check_apprise(url: str | None, secret: str | None, means: Means) -> tuple[str, str]:
    """One URL of apprise, as its pages describe it for each service.

    Raises:
        Invalid: names the field, without repeating what was written.
    """
    scheme = (url or "").partition("://")[0].lower()
    if url is None or "://" not in url or len(url) > MAX_URL or not url.isprintable() or " " in url or "," in url:
        raise Invalid.field("url", f"must be one apprise URL of at most {MAX_URL} characters: tgram://token/chat")
    if scheme in OWN:
        raise Invalid.field("url", f"use the kind {OWN[scheme]} for this: it is told more than apprise can tell")
    if scheme in LOCAL:
        raise Invalid.field("url", "is a kind that acts on the machine where Keepwatch runs")
    try:
        answer = _run({"url": url, "check": True, "networks": []})
    except subprocess.TimeoutExpired:
        raise Invalid.field("url", "could not be checked in time: try again") from None
    if answer.get("missing"):
        raise Invalid.field("kind", MISSING)
    if not answer.get("known"):
        raise Invalid.field("url", "is not a URL that apprise knows: see the service's page in apprise's wiki")
    return url, no_secret(secret, "apprise's URL holds the credentials")


def apprise_place(url: str) -> str:
    """What may be shown: the service's name. In apprise's URLs even the host is often a token."""
    return f"{url.partition('://')[0].lower()}://{HIDDEN}"


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """One request to the process, on its standard input, where no list of processes shows it."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-I", "-X", "utf8", "-c", _START, os.pathsep.join(sys.path)],
        input=json.dumps(request).encode(),
        capture_output=True,
        timeout=START + guard.DEADLINE,
        env={"PATH": os.defpath, "HOME": os.devnull, "LANG": "C.UTF-8"},  # no proxies, no .netrc
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {}
    return answer


# -I keeps the environment and the current folder out; the modules come from where this process has them.
_START = (
    "import os, sys; sys.path[:] = sys.argv[1].split(os.pathsep);"
    " from monitor.alerts.kinds.apprised import main; main()"
)
