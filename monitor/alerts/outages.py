"""What becomes of a channel that fails: it is given a pause when it asks for one, is switched off when it says that it
is gone or took nothing over a whole schedule, and then the project is told by another channel."""

from collections.abc import Sequence

import orjson
from sqlalchemy.engine import Connection

from monitor import clock, log
from monitor.alerts import payload
from monitor.alerts.retry import LONGEST_RETRY_AFTER
from monitor.alerts.sending import SendError
from monitor.store import channels, outbox
from monitor.store.channels import Channel

DEAD_AFTER = 72 * clock.HOUR  # of failures alone, when a delivery is given up: a little less than the schedule takes
TOLD = 3  # channels that are told
BUSY = (429, 502, 503, 504)  # with these a Retry-After speaks for the receiver, not for the one message

_log = log.get(__name__)


def note(connection: Connection, channel: Channel, at: int, error: SendError | None, *, dead: bool, url: str) -> bool:
    """Note how an attempt on a channel ended (`dead`: its delivery was given up); returns whether this switched it off.

    `url` is the address that people use, for the link in what the other channels are told.
    """
    if error is None:
        channels.note_success(connection, channel.id)
        return False
    if channel.unreadable is not None:
        return False  # our own fault, and no reason to switch anything off
    paused_until = None
    if error.retry_after is not None and error.status in BUSY:
        paused_until = at + min(error.retry_after * clock.SECOND, LONGEST_RETRY_AFTER)
    since = channels.note_failure(connection, channel.id, at, paused_until)
    if not error.permanent and not (dead and at - since >= DEAD_AFTER):
        return False
    reason = str(error) if error.permanent else f"took nothing for {(at - since) // clock.HOUR} hours: {error}"
    if not channels.disable_channel(connection, channel.id, at, reason):
        return False
    _tell(connection, channel, at, reason, url)
    return True


def _tell(connection: Connection, channel: Channel, at: int, reason: str, url: str) -> None:
    others = _others(connection, channel)
    if not others:
        _log.error("nobody_told_of_dead_channel", channel=channel.id)
    body = payload.channel_body(channel, at, reason, url)
    for other in others[:TOLD]:
        outbox.add(connection, other, orjson.loads(body)["type"], None, body, at)


def _others(connection: Connection, channel: Channel) -> Sequence[Channel]:
    """The channels that can be told: those that work, and first those that take every alert."""
    listening = channels.enabled_channels(connection, channel.project_id)
    working = [one for one in listening if one.id != channel.id and one.failing_since is None]
    return sorted(working, key=lambda one: len(one.match))
