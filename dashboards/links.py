"""Every URL of the dashboard. Names are data: each is quoted, wherever it stands."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from monitor import clock
from monitor.api.sharing import PREFIX, Shown
from monitor.errors import Invalid

LONGEST_TARGET = 2000
_PLAIN = re.compile(r"[^\x00-\x1f\x7f/\\]+")


def _name(text: str) -> str:
    return quote(text, safe="")


def own(target: str) -> str:
    """The path that somebody is led to after log-in; empty for what might lead to another site, or is no path."""
    below = target.startswith("/") and not target.startswith("//") and len(target) <= LONGEST_TARGET
    return target if below and target.isascii() and target.isprintable() and not set(target) & {"\\", " "} else ""


@dataclass(frozen=True)
class Links:
    """URLs below the path that the service is mounted at (`root`, for instance "" or /keepwatch).

    `shared` is what somebody sees who came by a shared link.
    """

    root: str = ""
    shared: Shown | None = None

    def _page(self, path: str, name: str | None = None) -> str:
        """A page that can be shared; who came by its link stays on the link."""
        if self.shared is not None and (self.shared.path, self.shared.name) == (path, name):
            return self.shared.link
        return self.root + path

    def home(self, search: str | None = None, sort: str | None = None, page: int = 1) -> str:
        return f"{self.root}/" + _query(q=search or None, sort=sort, page=str(page) if page > 1 else None)

    def static(self, path: str) -> str:
        return f"{self.root}/static/{path}"

    def login(self, next_: str | None = None) -> str:
        """`next_` is a path below `root` that who logs in is led to."""
        return f"{self.root}/login" + _query(next_=next_ or None)

    def logout(self) -> str:
        return f"{self.root}/logout"

    def model(self, model: str, **query: str | None) -> str:
        return self._page(f"/models/{_name(model)}") + _query(**query)

    def _below(self, model: str) -> str:
        return f"{self.root}/models/{_name(model)}"

    def features(self, model: str, **query: str | None) -> str:
        return self._page(f"/models/{_name(model)}/features") + _query(**query)

    def feature(self, model: str, feature: str, **query: str | None) -> str:
        """A feature's page; names that a path cannot carry (slashes, dots, control characters) go into the query."""
        if not _PLAIN.fullmatch(feature) or feature in (".", ".."):
            return self._page(f"/models/{_name(model)}/features", feature) + _query(name=feature, **query)
        return self._page(f"/models/{_name(model)}/features/{_name(feature)}") + _query(**query)

    def segments(self, model: str, **query: str | None) -> str:
        return self._page(f"/models/{_name(model)}/segments") + _query(**query)

    def segment(self, model: str, segment: str, **query: str | None) -> str:
        """The page of a segment NAME:VALUE; one that a path cannot carry goes into the query."""
        if not _PLAIN.fullmatch(segment):
            return self._page(f"/models/{_name(model)}/segments", segment) + _query(name=segment, **query)
        return self._page(f"/models/{_name(model)}/segments/{_name(segment)}") + _query(**query)

    def versions(self, model: str, **query: str | None) -> str:
        return self._page(f"/models/{_name(model)}/versions") + _query(**query)

    def reports(self, model: str) -> str:
        return f"{self._below(model)}/reports"

    def events(self, model: str) -> str:
        return f"{self._below(model)}/events"

    def event_removal(self, model: str, event: str) -> str:
        return f"{self.events(model)}/{_name(event)}/delete"

    def monitors(self, model: str) -> str:
        return f"{self._below(model)}/monitors"

    def monitor_removal(self, model: str, monitor: str) -> str:
        return f"{self.monitors(model)}/{_name(monitor)}/delete"

    def backtests(self, model: str) -> str:
        return f"{self._below(model)}/backtests"

    def backtest(self, model: str, backtest: str) -> str:
        return f"{self.backtests(model)}/{_name(backtest)}"

    def budget(self, model: str) -> str:
        return f"{self._below(model)}/budget"

    def slices(self, model: str) -> str:
        return f"{self._below(model)}/slices"

    def search(self, model: str, search: str) -> str:
        return f"{self.slices(model)}/{_name(search)}"

    def follow(self, model: str, search: str) -> str:
        return f"{self.search(model, search)}/follow"

    def unfollow(self, model: str) -> str:
        return f"{self.slices(model)}/unfollow"

    def report(self, model: str, report: str) -> str:
        return f"{self.reports(model)}/{_name(report)}"

    def report_state(self, model: str, report: str) -> str:
        return f"{self.root}/v1/models/{_name(model)}/reports/{_name(report)}"

    def report_html(self, model: str, report: str) -> str:
        return f"{self.report_state(model, report)}/html"

    def months(self, model: str) -> str:
        return self._page(f"/models/{_name(model)}/monthly")

    def month(self, model: str, report: str) -> str:
        return self._page(f"/models/{_name(model)}/monthly/{_name(report)}")

    def month_file(self, model: str, report: str, kind: str) -> str:
        return f"{self.root}/models/{_name(model)}/monthly/{_name(report)}/{kind}"

    def alerts(self, **query: str | None) -> str:
        return f"{self.root}/alerts" + _query(**query)

    def alert(self, alert: str, **query: str | None) -> str:
        return self._page(f"/alerts/{_name(alert)}") + _query(**query)

    def alert_action(self, alert: str, action: str) -> str:
        return f"{self.root}/alerts/{_name(alert)}/{action}"

    def shares(self) -> str:
        return f"{self.root}/shares"

    def share_end(self, share: str) -> str:
        return f"{self.shares()}/{_name(share)}/revoke"

    def link(self, token: str) -> str:
        """What a shared page is opened by."""
        return f"{self.root}{PREFIX}{token}"

    def silences(self, **query: str | None) -> str:
        return f"{self.root}/silences" + _query(**query)

    def silence_end(self, silence: str) -> str:
        return f"{self.silences()}/{_name(silence)}/end"

    def channels(self) -> str:
        return f"{self.root}/channels"

    def channel_action(self, channel: str, action: str) -> str:
        return f"{self.channels()}/{_name(channel)}/{action}"

    def replay(self, channel: str, delivery: str) -> str:
        return f"{self.channels()}/{_name(channel)}/deliveries/{_name(delivery)}/replay"

    def rows(self, model: str, **query: str | None) -> str:
        return f"{self._below(model)}/rows" + _query(**query)

    def settings(self) -> str:
        return f"{self.root}/settings"

    def keys(self) -> str:
        return f"{self.settings()}/keys"

    def key_revocation(self, key: str) -> str:
        return f"{self.keys()}/{_name(key)}/revoke"

    def audit(self, after: str | None = None) -> str:
        return f"{self.root}/audit" + _query(after=after)

    def doctor(self) -> str:
        return f"{self.root}/doctor"

    def docs(self) -> str:
        return f"{self.root}/docs"


def _query(**values: str | None) -> str:
    given = {name.rstrip("_"): value for name, value in values.items() if value is not None}
    return "?" + urlencode(given) if given else ""


def stretch(from_us: int, to_us: int) -> dict[str, str]:
    """A stretch of time as query parameters (for `Links.model(name, **stretch(a, b))`)."""
    return {"from_": clock.render(from_us), "to": clock.render(to_us)}


def place(at: tuple[int, str] | None) -> str | None:
    """The place of the next page as one query parameter."""
    return None if at is None else f"{at[0]}-{at[1]}"


def read_place(text: str | None) -> tuple[int, str] | None:
    """What `place` wrote; None where nothing is asked for: the first page.

    Raises:
        Invalid: `place` did not write that.
    """
    if not text:
        return None
    when, _, name = text.partition("-")
    if not (when.isascii() and when.isdigit() and len(when) < 19 and name):
        raise Invalid.field("after", "is no place in this list: begin with the newest")
    return int(when), name
