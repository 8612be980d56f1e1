"""What is known of messages and silences goes when it is long over, and what is needed still stays."""

import json

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor import clock, jobs
from monitor.alerts.deliver import deliver_due
from monitor.alerts.rules import read_silence
from monitor.alerts.senders import Receipt
from monitor.alerts.transition import apply, resolve
from monitor.settings import Settings
from monitor.store import alerts, outbox, silences, sweeping
from monitor.store import tables as t
from monitor.store.session import reading, writing
from tests.alerts.receivers import make_channel, make_model, verdict

NOW = clock.now()
OLD = NOW - 100 * clock.DAY
LATER = NOW - 1 * clock.DAY
KINDS = ("alert.firing", "alert.resolved")


def _counts(engine: Engine) -> dict[str, int]:
    tables = (t.notification, t.delivery, t.delivery_attempt, t.silence, t.alert, t.alert_event)
    with reading(engine) as connection:
        return {one.name: connection.scalar(sa.select(sa.func.count()).select_from(one)) or 0 for one in tables}


@pytest.fixture
def house(engine: Engine, settings: Settings) -> Engine:
    """An alert that was resolved long ago, one as old that is open, one of yesterday; two silences; all was sent."""
    with writing(engine) as connection:
        make_channel(connection, "https://1.1.1.1/")
        for name, at, over in (("old", OLD, True), ("open", OLD, False), ("new", LATER, True)):
            model = make_model(connection, name)
            apply(connection, 1, model.id, model.name, [verdict()], at, "")
            if over:
                found = alerts.list_alerts(connection, 1, limit=1, model_id=model.id)[0][0]
                resolve(connection, 1, found.id, "Ada", at + clock.HOUR, "")
        for name, ends in (("past", OLD + clock.DAY), ("lately", LATER), ("weekly", NOW + clock.DAY)):
            body = {"matchers": [{"name": "model", "value": name}], "endsAt": clock.render(ends)}
            silences.add_silence(connection, read_silence(body, 1, OLD, "Ada"))
    for at in (OLD + clock.DAY, NOW):
        deliver_due(engine, settings, at, send=lambda channel, delivery, now, means: Receipt(200, ""))
    return engine


def test_what_is_long_over_goes_and_what_is_needed_stays(house: Engine, settings: Settings) -> None:
    assert _counts(house) == {
        "notification": 5, "delivery": 5, "delivery_attempt": 5, "silence": 3, "alert": 3, "alert_event": 5,
    }  # fmt: skip
    jobs.sweep(house, settings.model_copy(update={"retention": "7d"}), NOW)  # 90 days at least
    assert _counts(house) == {
        "notification": 3, "delivery": 3, "delivery_attempt": 3, "silence": 2, "alert": 3, "alert_event": 5,
    }  # fmt: skip
    with reading(house) as connection:
        kept = [json.loads(body)["data"]["model"] for body in connection.scalars(sa.select(t.delivery.c.body))]
    assert sorted(kept) == ["new", "new", "open"]
    jobs.sweep(house, settings.model_copy(update={"retention": "200d"}), NOW)
    assert _counts(house)["delivery"] == 3


def test_what_is_under_way_or_held_stays_however_old(house: Engine) -> None:
    with writing(house) as connection:
        connection.execute(sa.update(t.notification).values(state="held"))
        connection.execute(sa.update(t.delivery).values(state="pending"))
    before = _counts(house)
    assert sweeping.sweep_notifications(house, NOW) == sweeping.sweep_deliveries(house, NOW) == 0
    assert _counts(house) == before


def test_more_than_one_transaction_takes_goes_all_the_same(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "MOST", 4)
    with writing(engine) as connection:
        channel = make_channel(connection, "https://1.1.1.1/")
        for number in range(10):
            id_ = outbox.add(connection, channel, "channel.test", None, "{}", OLD + number)
            taken = outbox.Attempt(OLD + number, 200, None, "", 0)
            claimed = outbox.get_delivery(connection, channel, id_)
            outbox.finish(connection, claimed, taken, next_attempt_at=None)
    assert sweeping.sweep_deliveries(engine, OLD + 9) == 9
    assert _counts(engine)["delivery"] == _counts(engine)["delivery_attempt"] == 1
