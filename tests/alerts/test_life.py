"""Firing, acknowledging, resolving, opening again and silencing in any order, on both databases.

Whatever happens: no model and family has two open alerts, every event has one fate for every channel, no message is
written twice, and once nothing is held back any more every channel knows exactly the alerts that are open.
"""

from collections import Counter
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.notify import end_silence, wake_all
from monitor.alerts.release import release_due
from monitor.alerts.rules import read_route, read_silence
from monitor.alerts.transition import acknowledge, apply, resolve
from monitor.store import alerts, notifications, routing, silences
from monitor.store import tables as t
from monitor.store.routing import Policy
from monitor.store.session import reading, writing
from monitor.store.tables import metadata
from tests.alerts.receivers import NOW, cause, make_channel, make_model, verdict

FAMILIES = ("features", "performance", "volume")
GONE = (cause(None, metric="volume", effect=-1.0),)
ROUTES: tuple[dict[str, Any], ...] = (
    {"escalate_after": "30m", "repeat": "2h"},
    {"digest": "1h"},
    {"quiet_hours": {"from": "00:00", "to": "12:00"}, "repeat": "3h"},
)


class Life(RuleBasedStateMachine):
    """One model, two channels of which `second` may have a route, and a clock that only goes on."""

    engine: Engine

    @initialize(route=st.sampled_from((None, *ROUTES)), cooldown=st.sampled_from(("0m", "6h")), budget=st.booleans())
    def begin(self, route: dict[str, Any] | None, cooldown: str, budget: bool) -> None:
        self.now = NOW
        with writing(self.engine) as connection:
            for table in reversed(metadata.sorted_tables):
                if table.name != "project":
                    connection.execute(sa.delete(table))
            self.model = make_model(connection)
            self.channels = {make_channel(connection, "https://example.org/", name).id for name in ("first", "second")}
            routing.put_policy(connection, 1, Policy(1.0 if budget else None, "6h", "30m", cooldown), NOW, "Ada")
            if route is not None:
                body = {"channels": ["second"], **route}
                routing.put_route(connection, read_route("night", body, 1, NOW), "ann")

    @rule(
        family=st.sampled_from(FAMILIES),
        action=st.sampled_from(("open", "update")),
        severity=st.sampled_from(("warning", "critical")),
        feature=st.sampled_from(("distance", "weather")),
    )
    def fire(self, family: str, action: str, severity: str, feature: str) -> None:
        causes = GONE if family == "volume" else (cause(feature),)
        self._judge(verdict(action, severity, causes, family=family))

    @rule(family=st.sampled_from(FAMILIES))
    def recover(self, family: str) -> None:
        self._judge(verdict("resolve", family=family))

    @rule(act=st.sampled_from((acknowledge, resolve)), family=st.sampled_from(FAMILIES), times=st.integers(1, 2))
    def by_hand(self, act: Any, family: str, times: int) -> None:
        for _ in range(times):
            with writing(self.engine) as connection:
                for alert in alerts.open_alerts(connection, self.model.id, family):
                    act(connection, 1, alert.id, "Ada", self.now, "", "seen")

    @rule(family=st.sampled_from(FAMILIES), hours=st.integers(1, 30))
    def silence(self, family: str, hours: int) -> None:
        ends = clock.render(self.now + hours * clock.HOUR)
        body = {"matchers": [{"name": "family", "value": family}], "endsAt": ends}
        with writing(self.engine) as connection:
            silences.add_silence(connection, read_silence(body, 1, self.now, "Ada"))

    @precondition(lambda self: self._silences())
    @rule()
    def end_a_silence(self) -> None:
        with writing(self.engine) as connection:
            end_silence(connection, 1, silences.current_silences(connection, 1, self.now)[0].id, self.now, "Ada")

    @rule(minutes=st.sampled_from((1, 31, 61, 200, 1000)), turns=st.integers(0, 2))
    def go_on(self, minutes: int, turns: int) -> None:
        self.now += minutes * clock.MINUTE
        for _ in range(turns):
            release_due(self.engine, "", self.now)

    @invariant()
    def at_most_one_alert_is_open_and_each_event_has_one_fate_for_each_channel(self) -> None:
        if not hasattr(self, "now"):
            return
        with reading(self.engine) as connection:
            found = connection.execute(sa.select(t.alert.c.family).where(t.alert.c.state != "resolved"))
            assert all(number == 1 for number in Counter(row.family for row in found).values())
            rows = connection.execute(sa.select(t.notification)).all()
            events = connection.execute(sa.select(t.alert_event)).all()
            deliveries = {row.id: row.type for row in connection.execute(sa.select(t.delivery.c.id, t.delivery.c.type))}
        told = [event.id for event in events if event.type not in ("alert.comment", "alert.escalated")]
        fates = Counter((row.event_id, row.channel_id) for row in rows if row.round == 0)
        assert fates == Counter((event, channel) for event in told for channel in self.channels)
        sent = [row.delivery_id for row in rows if row.state == "sent"]
        assert set(sent) == set(deliveries)
        assert all(number == 1 or deliveries[id_] == "alert.digest" for id_, number in Counter(sent).items())
        assert all(row.due_at is not None for row in rows if row.state == "held")
        assert all(row.reason for row in rows if row.state != "sent")

    def teardown(self) -> None:
        """In the end nothing is held back, and every channel knows what is open, and nothing else."""
        if not hasattr(self, "now"):
            return
        for _ in range(5):
            self.now += 2 * clock.DAY
            with writing(self.engine) as connection:
                for family in ("volume",):  # an outage ends, or it holds back for ever
                    for alert in alerts.open_alerts(connection, self.model.id, family):
                        resolve(connection, 1, alert.id, "Ada", self.now, "")
                wake_all(connection, 1, self.now)
            self.now = self._noon(self.now)
            release_due(self.engine, "", self.now)
        with reading(self.engine) as connection:
            held = sa.select(sa.func.count()).where(t.notification.c.state == "held")
            assert connection.scalar(held) == 0
            for alert in alerts.list_alerts(connection, 1, limit=100)[0]:
                knowing = notifications.told_channels(connection, alert.id)
                fates = [one for one, _ in notifications.of_alert(connection, 1, alert.id)]
                acknowledged = {one.channel_id for one in fates if one.reason == "acknowledged in time"}
                expected = self.channels if alert.state == "firing" else set()
                if alert.state == "acknowledged":
                    assert self.channels - acknowledged <= knowing
                else:
                    assert knowing == expected

    def _judge(self, *verdicts: Any) -> None:
        with writing(self.engine) as connection:
            apply(connection, 1, self.model.id, "churn", verdicts, self.now, "")

    def _silences(self) -> bool:
        if not hasattr(self, "now"):
            return False
        with reading(self.engine) as connection:
            return bool(silences.current_silences(connection, 1, self.now))

    @staticmethod
    def _noon(now: int) -> int:
        return now // clock.DAY * clock.DAY + 13 * clock.HOUR


def test_alerts_live_and_are_told_of_in_any_order(engine: Engine) -> None:
    def make() -> Life:
        machine = Life()
        machine.engine = engine
        return machine

    examples = 15 if engine.dialect.name == "sqlite" else 8
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
