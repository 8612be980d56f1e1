"""What is taken as the URL and secret of a channel, by its kind, and what of it is shown."""

import pytest

from monitor.alerts.senders import KINDS, Means, place_of
from monitor.errors import Invalid
from monitor.store.channels import Channel
from tests.alerts.receivers import NOW

ROUTING_KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("kind", "url", "secret", "field"),
    [
        ("webhook", None, None, "url"),
        ("slack", "https://example.slack.com/archives/C1", None, "url"),
        ("slack", "https://hooks.slack.com/triggers/T1/2/3", None, "url"),
        ("slack", "http://hooks.slack.com/services/T1/B1/secret", None, "url"),
        ("slack", "https://hooks.slack.com/services/T1/B1/secret", "secret", "secret"),
        ("teams", "https://contoso.webhook.office.com/webhookb2/secret", None, "url"),
        ("teams", "https://10.0.0.1/secret", None, "url"),
        ("pagerduty", None, None, "secret"),
        ("pagerduty", None, "secret", "secret"),
        ("pagerduty", "ftp://events.pagerduty.com/", ROUTING_KEY, "url"),
        ("alertmanager", "http://10.0.0.1:9093", None, "url"),
        ("alertmanager", "https://example.org", "se\ncret", "secret"),
    ],
)
def test_what_cannot_work_is_refused_by_its_field_and_not_repeated(
    kind: str, url: str | None, secret: str | None, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        KINDS[kind].check(url, secret, Means())
    assert [error["field"] for error in caught.value.errors] == [field]
    assert "secret" not in caught.value.detail.replace("secret: ", "")


@pytest.mark.parametrize(
    ("kind", "url", "secret", "shown"),
    [
        ("slack", "https://hooks.slack.com/services/T1/B1/secret", None, "https://hooks.slack.com/…"),
        ("slack", "https://mattermost.example.org/hooks/secret", None, "https://mattermost.example.org/…"),
        ("teams", "https://prod-1.westus.logic.azure.com:443/workflows/secret?sig=s", None, None),
        ("pagerduty", None, ROUTING_KEY, "https://events.pagerduty.com/…"),
        ("pagerduty", "https://events.eu.pagerduty.com/v2/enqueue", ROUTING_KEY, None),
        ("alertmanager", "https://alerts.example.org/prefix", "user:secret", "https://alerts.example.org/…"),
    ],
)
def test_what_can_work_is_taken_and_shown_without_its_secret(
    kind: str, url: str | None, secret: str | None, shown: str | None
) -> None:
    stored, kept = KINDS[kind].check(url, secret, Means())
    told = place_of(Channel("channel_1", 1, kind, "pager", stored, kept, (), NOW))
    assert told.endswith("…") and "secret" not in told and told == (shown or told)
