"""Asking for back-tests and playing them: short ones at once, long ones in the worker."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.errors import Invalid
from monitor.evaluate import backtest, rules, watched
from monitor.evaluate.history import spans
from monitor.evaluate.monitors import is_plain, kind_of
from monitor.stats.rule import Rule
from monitor.store import catalog, profiles, tasks
from monitor.store.body import Reader
from monitor.store.catalog import Model
from monitor.store.session import reading, writing
from monitor.store.tasks import Task
from monitor.work import Done, Work

KIND = "backtest"
AT_ONCE = 1500  # windows that are played while the asker waits
LONGEST = 366 * clock.DAY  # by default


class Asked(NamedTuple):
    """What is to be played: a rule, or a budget (false alarms, per), over [from_at, to_at)."""

    rule: Rule | None
    budget: tuple[float, str] | None
    from_at: int
    to_at: int

    def dump(self) -> str:
        rule = None if self.rule is None else json.loads(watched.dump_rule(self.rule))
        return json.dumps({"rule": rule, "budget": self.budget, "from": self.from_at, "to": self.to_at})

    @classmethod
    def load(cls, text: str) -> "Asked":
        """What `dump` wrote."""
        content = json.loads(text)
        rule = None if content["rule"] is None else watched.load_rule(json.dumps(content["rule"]))
        budget = None if content["budget"] is None else (content["budget"][0], content["budget"][1])
        return cls(rule, budget, content["from"], content["to"])

    def shown(self) -> dict[str, Any]:
        """The setting as the API takes it."""
        if self.rule is not None:
            return rules.rule_json(self.rule)
        assert self.budget is not None
        return {"alert_budget": {"false_alarms": self.budget[0], "per": self.budget[1]}}


def read(connection: Connection, model: Model, body: Mapping[str, Any], now: int) -> Asked:
    """What a JSON body asks to be played: a monitor's rule, or `alert_budget`, with `from` and `to`.

    The stretch is by default all that is stored, the last year of it at most.

    Raises:
        Invalid: names every field that is wrong.
    """
    left = dict(body)
    stretch = Reader({name: left.pop(name) for name in ("from", "to") if left.get(name) is not None})
    to_at = _instant(stretch, "to", now)
    extent = profiles.extent(connection, model.id)
    from_at = _instant(stretch, "from", max(to_at - LONGEST, extent[0] if extent else 0))
    if from_at >= to_at and not stretch.errors:
        stretch.wrong("from", "must be before `to`")
    stretch.finish()
    if "alert_budget" not in left:
        return Asked(rules.read_rule(connection, model, left), None, from_at, to_at)
    wanted = catalog.ModelConfig.from_body(
        {**model.config.to_dict(), "variant_of": None, "alert_budget": left.pop("alert_budget")}
    )
    if left:
        raise Invalid.field("alert_budget", "stands alone, with `from` and `to`")
    return Asked(None, (wanted.false_alarms, wanted.per), from_at, to_at)


def _instant(reader: Reader, name: str, default: int) -> int:
    value = reader.body.pop(name, None)
    if value is None:
        return default
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        reader.wrong(name, str(error))
        return default


def ask(engine: Engine, model: Model, asked: Asked, wall: int) -> Task:
    """Keep a back-test; a rule over few windows is played at once, the rest waits for the worker.

    Raises:
        Invalid: the stretch has too many windows.
        QuotaExceeded: five back-tests of the model are not finished yet.
    """
    with reading(engine) as connection:
        now = catalog.model_now(connection, model, wall)
        kinds = ("inputs", "performance") if asked.rule is None else (kind_of(asked.rule),)
        windows = max(len(spans(connection, model, kind, asked.from_at, asked.to_at, now)) for kind in kinds)
        played = None
        if asked.rule is not None and windows <= AT_ONCE and all(is_plain(one) for one in asked.rule.conditions):
            played = play(connection, model, asked, now)
    with writing(engine) as connection:
        ours = (connection, model.project_id, model.id, KIND, asked.dump(), wall)
        return tasks.ask(*ours) if played is None else tasks.add(*ours, result=json.dumps(played))


def play(
    connection: Connection, model: Model, asked: Asked, now: int, tell: backtest.Tell = lambda _: None
) -> dict[str, Any]:
    """Play a setting; the answer as JSON."""
    if asked.rule is not None:
        played = backtest.replay_rule(connection, model, asked.rule, asked.from_at, asked.to_at, now, tell)
    else:
        from monitor.evaluate.replay import replay_budget  # the detectors, which the API does not load

        assert asked.budget is not None
        alarms, per = asked.budget
        played = replay_budget(connection, model, alarms, per, asked.from_at, asked.to_at, now, tell)
    return backtest.answer(played, asked.from_at, asked.to_at)


def make(work: Work) -> Done:
    """Play a back-test that was asked for."""
    with reading(work.engine) as connection:
        model = catalog.get_model_by_id(connection, work.task.model_id)
        now = catalog.model_now(connection, model, clock.now())
        asked = Asked.load(work.task.request)
        return Done(json.dumps(play(connection, model, asked, now, lambda share: work.tell("playing", share))))
