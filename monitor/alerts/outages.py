"""What becomes of a channel that fails: it is given a pause when it asks for one, is switched off when it says that it
is gone or took nothing over a whole schedule, and then the project is told by another channel."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from monitor import clock, log
from monitor.alerts import payload
from monitor.alerts.retry import LONGEST_RETRY_AFTER
from monitor.alerts.sending import SendError
from monitor.store import channels, outbox
from monitor.store.channels import Channel

DEAD_AFTER = 72 * clock.HOUR  # of failures alone, when a delivery is given up: a little less than the schedule takes
TOLD = 3  # channels that are told
NOTICE = "channel.disabled"
BUSY = (429, 502, 503, 504)  # with these a Retry-After speaks for the receiver, not for the one message

_log = log.get(__name__)


def note(connection: Connection, channel: Channel, at: int, error: SendError | None, *, dead: bool, url: str) -> bool:
    """Note how an attempt on a channel ended; returns whether this switched it off: one that is `dead` (given up) may.

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
    """Tell other channels, also what this one should have told of others and never took."""
    others = _others(connection, channel)
    if not others:
        _log.error("nobody_told_of_dead_channel", channel=channel.id)
    bodies = [payload.channel_body(channel, at, reason, url), *outbox.told_nobody(connection, channel, NOTICE)]
    for body in bodies:
        for other in others[:TOLD]:
            outbox.add(connection, other, NOTICE, None, body, at)


def _others(connection: Connection, channel: Channel) -> Sequence[Channel]:
    """The channels that can be told, the best first.

    What works at present and has taken a message before comes first, for it is not known of the others whether they are
    any good; among these, what hears of every alert, then what took a message lately.
    """
    taken = outbox.last_taken(connection, channel.project_id)
    others = [one for one in channels.enabled_channels(connection, channel.project_id) if one.id != channel.id]

    def rank(one: Channel) -> tuple[bool, bool, int, int]:
        return one.failing_since is not None, one.id not in taken, len(one.match), -taken.get(one.id, 0)

    return sorted(others, key=rank)
