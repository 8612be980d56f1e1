"""A model, a channel, and short ways to let things happen to them."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.alerts.release import release_due
from monitor.alerts.rules import read_route, read_silence
from monitor.alerts.transition import apply
from monitor.stats.verdict import Verdict
from monitor.store import alerts, notifications, routing, silences
from monitor.store import tables as t
from monitor.store.session import reading, writing
from tests.alerts.receivers import NOW, make_channel, make_model

URL = "https://keepwatch.example"
CHURN = [{"name": "model", "value": "churn"}]


class House:
    """An engine with the model churn and the channel `pager`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with writing(engine) as connection:
            self.model = make_model(connection)
            self.channel = make_channel(connection, "https://example.org/")

    def judge(self, now: int, *verdicts: Verdict, model: Any = None) -> None:
        chosen = model or self.model
        with writing(self.engine) as connection:
            apply(connection, 1, chosen.id, chosen.name, verdicts, now, URL)

    def silence(self, until: int, now: int = NOW, **more: Any) -> str:
        body = {"matchers": CHURN, "endsAt": clock.render(until), "comment": "deploy", **more}
        made = read_silence(body, 1, now, "Ada")
        with writing(self.engine) as connection:
            silences.add_silence(connection, made)
        return made.id

    def route(self, **more: Any) -> None:
        with writing(self.engine) as connection:
            routing.put_route(connection, read_route("a", {"channels": ["pager"], **more}, 1, NOW), "ann")

    def release(self, now: int) -> int:
        return release_due(self.engine, URL, now)

    @property
    def alert(self) -> str:
        with reading(self.engine) as connection:
            return alerts.list_alerts(connection, 1, limit=1)[0][0].id

    def by_hand(self, act: Any, now: int) -> None:
        with writing(self.engine) as connection:
            act(connection, 1, self.alert, "Ada", now, URL, "on it")

    def bodies(self) -> list[dict[str, Any]]:
        query = sa.select(t.delivery.c.body).order_by(t.delivery.c.created_at)
        with reading(self.engine) as connection:
            return [json.loads(body) for body in connection.scalars(query)]

    def sent(self) -> list[str]:
        return [body["type"] for body in self.bodies()]

    def fates(self) -> list[tuple[str, str, str]]:
        with reading(self.engine) as connection:
            return [(one.type, one.state, one.reason) for one, _ in notifications.of_alert(connection, 1, self.alert)]
