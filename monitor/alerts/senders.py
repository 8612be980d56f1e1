"""How a delivery leaves, by the kind of its channel.

A sender is one function. It ends well, with what the receiver answered, or raises SendError; it knows nothing of
retries, leases or tables. A new kind is one function and one line in KINDS.
"""

from monitor.alerts.kinds.alertmanager import check_alertmanager, send_alertmanager
from monitor.alerts.kinds.mail import check_mail, mail_place, send_mail
from monitor.alerts.kinds.others import apprise_place, check_apprise, send_apprise
from monitor.alerts.kinds.pagerduty import check_pagerduty, send_pagerduty
from monitor.alerts.kinds.slack import check_slack, send_slack
from monitor.alerts.kinds.teams import check_teams, send_teams
from monitor.alerts.kinds.webhook import check_webhook, send_webhook, sign
from monitor.alerts.sending import Kind, Means, Receipt, SendError, http_place
from monitor.store.channels import Channel
from monitor.store.outbox import Delivery

__all__ = ["KINDS", "Kind", "Means", "Receipt", "SendError", "place_of", "send", "sign"]

# Every kind of channel there is.
KINDS: dict[str, Kind] = {
    "webhook": Kind(send_webhook, check_webhook, http_place, signs=True),
    "alertmanager": Kind(send_alertmanager, check_alertmanager, http_place),
    "slack": Kind(send_slack, check_slack, http_place),
    "teams": Kind(send_teams, check_teams, http_place),
    "pagerduty": Kind(send_pagerduty, check_pagerduty, http_place),
    "email": Kind(send_mail, check_mail, mail_place),
    "apprise": Kind(send_apprise, check_apprise, apprise_place),
}


def send(channel: Channel, delivery: Delivery, now: int, means: Means) -> Receipt:
    """Make one attempt. `now` is the wall clock in microseconds.

    Raises:
        SendError: it did not arrive.
    """
    return KINDS[channel.kind].send(channel, delivery, now, means)


def place_of(channel: Channel) -> str:
    """What may be shown of where a channel leads; empty when it cannot be read."""
    kind = KINDS.get(channel.kind)
    return kind.place(channel.url) if kind is not None and channel.url else ""
