"""Whether a channel is told now, or later, or not at all: one pure decision with a named reason.

The order of the reasons is the order in `hold`: it stands there once. Nothing here reads a database or a clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from monitor import clock
from monitor.alerts import hours
from monitor.alerts.matchers import matches
from monitor.store.alerts import Alert
from monitor.store.routing import Policy, Route
from monitor.store.silences import Silence

NO_DATA = -0.8  # traffic that fell by this share or more: what is left says little about the inputs
DRIFT = ("features", "multivariate", "quality", "latency")  # what an outage holds back; performance is none of it


class Why(StrEnum):
    """Why something is not sent now, or was dropped. Stored and shown: the words are a promise."""

    INHIBITED = "inhibited"
    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    QUIET_HOURS = "quiet hours"
    ESCALATION = "escalation"
    OVER_BUDGET = "over budget"
    DIGEST = "digest"
    # dropped:
    RESOLVED = "resolved before it could be sent"
    ACKNOWLEDGED = "acknowledged in time"
    SUPERSEDED = "told with a later message"
    CHANNEL_OFF = "the channel is gone or switched off"


BY_HAND = "monitor:"  # families of monitors by hand: a bound that somebody set has no evidence to share out
GATHERED = (Why.DIGEST, Why.OVER_BUDGET)  # what is sent as a digest when its time comes


@dataclass(frozen=True)
class Hold:
    """Not now: why, the same for people, and when to look again (microseconds)."""

    why: Why
    detail: str
    until: int


@dataclass(frozen=True)
class Budget:
    """How a project's budget stands: its models, the false alarms a day that theirs allow, the pages of its span."""

    models: int
    expected_per_day: float
    pages: Mapping[int, int] = field(default_factory=dict)  # model -> alerts told one by one in the span


@dataclass(frozen=True)
class Rules:
    """Everything that a decision looks at beside the alert itself."""

    silences: Sequence[Silence] = ()
    routes: Sequence[Route] = ()
    policy: Policy = field(default_factory=Policy)
    outage: Alert | None = None  # the open volume alert of the same model
    budget: Budget | None = None  # None: the project has no budget of its own


@dataclass(frozen=True)
class Message:
    """What is to be said: `type` of the webhook, since when it waits, whether the channel knows of the alert yet.

    `gathered`: it has waited for its digest, and the digest's time has come.
    """

    type: str
    since: int
    told: bool = False
    gathered: bool = False


def void(message: Message, alert: Alert, route: Route | None, *, held: bool) -> Why | None:
    """Why the message has nothing left to say (`held`: earlier ones of the alert wait for the same channel)."""
    escalates = route is not None and route.escalate_after is not None
    if message.told:
        return None
    if alert.state == "resolved" and (held or escalates) and not message.gathered:
        return Why.RESOLVED
    risen = message.type == "alert.updated" and alert.severity == "critical"  # worse than what was acknowledged
    return Why.ACKNOWLEDGED if escalates and alert.state == "acknowledged" and not risen else None


def route_of(routes: Sequence[Route], channel: str, alert: Alert) -> tuple[bool, Route | None]:
    """Whether a channel listens to an alert as far as routes go, and the route that says how.

    A channel that no route names listens to everything, without a route. Of several routes that take the alert the
    first by name decides.
    """
    naming = [route for route in routes if channel in route.channels]
    taking = next((route for route in naming if matches(route.match, alert.labels)), None)
    return not naming or taking is not None, taking


def hold(message: Message, alert: Alert, route: Route | None, rules: Rules, now: int) -> Hold | None:
    """Why the message is not sent at `now`; None: send it.

    The end of an alert passes silences, maintenance and inhibition where the channel knows of the alert: it closes
    there what is open. Critical alerts wait for no quiet hours, no digest and no budget.
    """
    closing = message.type == "alert.resolved" and message.told
    urgent = alert.severity == "critical"
    found = None
    if not closing:
        found = _inhibited(alert, rules, now) or silenced(alert, rules.silences, now)
    if found is None and not message.told:
        found = _waiting(message, alert, route, now)
    if found is None and not urgent:
        found = _quiet(route, now)
    if found is None and not urgent and not message.gathered:
        found = _over_budget(message, alert, rules, now) or _digest(route, now)
    return found


def _inhibited(alert: Alert, rules: Rules, now: int) -> Hold | None:
    if rules.outage is None or alert.family not in DRIFT or not is_outage(rules.outage):
        return None
    return Hold(Why.INHIBITED, "the model gets almost no data: see its alert about traffic", now + clock.DAY)


def is_outage(volume: Alert) -> bool:
    """Whether an open alert about traffic says that there is hardly any."""
    drops = [cause["effect"] for cause in volume.causes if cause["metric"] == "volume"]
    return any(drop is not None and drop <= NO_DATA for drop in drops)


def silenced(alert: Alert, silences: Iterable[Silence], now: int) -> Hold | None:
    """The end of the silence that ends last, of those that act now and take the alert."""
    held = []
    for silence in silences:
        if silence.state(now) != "active" or not matches(silence.matchers, alert.labels):
            continue
        if silence.weekly is None:
            held.append(Hold(Why.SILENCED, _who(silence), silence.ends_at))
        elif (end := hours.end_of(silence.weekly, now)) is not None:
            held.append(Hold(Why.MAINTENANCE, _who(silence), min(end, silence.ends_at)))
    return max(held, key=lambda one: one.until, default=None)


def _who(silence: Silence) -> str:
    said = silence.comment or silence.name or silence.id
    return f"{said[:200]} (by {silence.created_by})"


def _waiting(message: Message, alert: Alert, route: Route | None, now: int) -> Hold | None:
    """An escalation waits for somebody to acknowledge; `since` is when the alert began to wait for that."""
    if route is None or route.escalate_after is None or alert.state != "firing":
        return None
    until = message.since + clock.parse_span(route.escalate_after)
    detail = f"goes out when nobody has acknowledged for {route.escalate_after} (route {route.name})"
    return Hold(Why.ESCALATION, detail, until) if now < until else None


def _quiet(route: Route | None, now: int) -> Hold | None:
    if route is None or route.quiet_hours is None:
        return None
    end = hours.end_of(route.quiet_hours, now)
    return None if end is None else Hold(Why.QUIET_HOURS, f"{hours.told(route.quiet_hours)} (route {route.name})", end)


def _digest(route: Route | None, now: int) -> Hold | None:
    if route is None or route.digest is None:
        return None
    detail = f"gathered for {route.digest} (route {route.name})"
    return Hold(Why.DIGEST, detail, now + clock.parse_span(route.digest))


def _over_budget(message: Message, alert: Alert, rules: Rules, now: int) -> Hold | None:
    """The project's budget, shared out.

    While nothing changes, an alert reaches k times its threshold at most 1/k as often (the evidence is an e-value).
    With k = what all models' budgets allow over what the project's allows, pages that are false stay within the
    project's budget however many models there are. Beside that, a model gets its part of the pages of a span, and all
    of them the whole: what exceeds this is gathered.
    """
    policy, budget = rules.policy, rules.budget
    if message.type != "alert.firing" or message.told or budget is None or policy.false_alarms is None:
        return None
    span = clock.parse_span(policy.per or "1d")
    until = now + clock.parse_span(policy.digest)
    share = budget.expected_per_day * span / clock.DAY / policy.false_alarms
    threshold = alert.budget.get("threshold")
    by_hand = alert.family.startswith(BY_HAND)
    if share > 1 and threshold and alert.evidence < share * threshold and not by_hand:
        much = alert.evidence / threshold
        detail = f"the evidence is {much:.3g} times the model's threshold; alone it goes out from {share:.3g} times on"
        return Hold(Why.OVER_BUDGET, detail, until)
    pages = policy.pages or 1
    if sum(budget.pages.values()) >= pages:
        return Hold(Why.OVER_BUDGET, f"the project's {pages} pages of {policy.per} are used up", until)
    part = max(1, -(-pages // max(1, budget.models)))
    if budget.pages.get(alert.model_id, 0) >= part:
        return Hold(Why.OVER_BUDGET, f"this model's part ({part} of {pages} pages in {policy.per}) is used up", until)
    return None
