"""Channels that open incidents, and how an incident ends that a digest opened: when all alerts in it are over."""

from sqlalchemy.engine import Connection

from monitor.alerts.payload import digest_body, digest_id_of
from monitor.store import alerts, notifications, outbox
from monitor.store.alerts import Alert
from monitor.store.channels import Channel

INCIDENTS = ("pagerduty",)  # kinds that wake somebody: what is over already is no incident


def close_digests(connection: Connection, channel: Channel, alert: Alert, public_url: str, now: int) -> int:
    """After the end of an alert: end the incidents of digests that told of it and of nothing that is still open.

    Returns how many messages were written.
    """
    if channel.kind not in INCIDENTS or alert.state != "resolved":
        return 0
    closed = 0
    for digest in outbox.digests_of(connection, channel, alert.id):
        members = notifications.alerts_told_by(connection, digest.id)
        found = [alert if one == alert.id else alerts.get_alert(connection, alert.project_id, one) for one in members]
        if all(one.state == "resolved" for one in found):
            body = digest_body(now, found, digest_id_of(digest.body), public_url)
            outbox.add(connection, channel, "alert.digest", None, body, now)
            closed += 1
    return closed
