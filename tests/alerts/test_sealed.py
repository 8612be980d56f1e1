"""A delivery through a channel whose URL and secret are sealed, with the right secret key and with another."""

from collections.abc import Callable

from sqlalchemy.engine import Engine
from standardwebhooks import Webhook

from monitor import clock
from monitor.alerts.deliver import deliver_due
from monitor.settings import Settings
from monitor.store import channels, outbox, replays
from monitor.store.session import reading, writing
from tests.alerts.receivers import SECRET, Receiver, make_channel
from tests.keys import OTHER_KEY


def test_with_another_secret_key_a_delivery_is_dead_and_says_what_to_do_and_goes_out_once_the_key_is_back(
    engine: Engine, settings: Settings, receiver: Callable[..., Receiver]
) -> None:
    one, now = receiver(), clock.now()
    with writing(engine) as connection:
        channel = make_channel(connection, one.url)
        id_ = outbox.add(connection, channel, "channel.test", None, '{"n":0}', now)
    assert deliver_due(engine, settings.model_copy(update={"secret_key": OTHER_KEY}), now, patience=20) == 1
    with reading(engine) as connection:
        dead = outbox.get_delivery(connection, channel, id_)
        (attempt,) = outbox.attempts_of(connection, [id_])[id_]
    assert "KEEPWATCH_SECRET_KEY" in str(attempt.error) and "replay" in str(attempt.error) and one.requests == []
    with writing(engine) as connection:
        assert dead.state == "dead" and len(channels.enabled_channels(connection, 1)) == 1
        replays.replay(connection, channel, dead, now, "ann")
    assert deliver_due(engine, settings, now, patience=20) == 1
    headers, body, _ = one.requests[0]
    assert Webhook(SECRET).verify(body, headers) and headers["webhook-id"] == id_
    with reading(engine) as connection:
        assert outbox.get_delivery(connection, channel, id_).state == "delivered"
