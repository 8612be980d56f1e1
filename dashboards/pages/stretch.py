"""The stretch of time that a page shows, and the step it is drawn in."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from dashboards.asked import one_of
from dashboards.formats import Zone
from monitor import clock
from monitor.errors import Invalid
from monitor.evaluate import windows
from monitor.store.catalog import Model
from monitor.store.profiles import first_start

RANGES = {"24h": clock.DAY, "7d": 7 * clock.DAY, "30d": 30 * clock.DAY, "90d": 90 * clock.DAY}
NAMES = (*RANGES, "all")
POINTS = 200  # windows are stored measured: cheap
MERGED = 100  # days and weeks are measured from profiles when they are asked for
COLUMNS = 120
FIRST, LAST = clock.parse("1970-01-01T00:00:00Z"), clock.parse("2199-12-31T00:00:00Z")
_HOURS = (1, 2, 3, 4, 6, 8, 12)
_DAYS = (1, 2, 7, 14, 28)


@dataclass(frozen=True)
class Stretch:
    """From (included) to (excluded) in microseconds; `name` is one of the ranges, "all", or "" for a chosen stretch."""

    from_us: int
    to_us: int
    name: str
    window_us: int

    @property
    def step_us(self) -> int:
        """The window where that draws at most 200 points, else the shortest step that draws at most 100."""
        length = self.to_us - self.from_us
        return self.window_us if length <= POINTS * self.window_us else step(length, self.window_us, MERGED)

    @property
    def heat_step_us(self) -> int:
        """The shortest step that draws at most 120 columns."""
        return step(self.to_us - self.from_us, self.window_us, COLUMNS)

    def step_at_least(self, needed: float) -> int:
        """The shortest step for the heat map that is `needed` microseconds long, if ten columns are left then."""
        length = self.to_us - self.from_us
        fitting = [size for size in steps(length, self.window_us) if self.heat_step_us <= size <= length / 10]
        return next((size for size in fitting if size >= needed), fitting[-1] if fitting else self.heat_step_us)

    @property
    def earlier(self) -> dict[str, str]:
        """The stretch of the same length before, as `query`."""
        return _query(max(FIRST, 2 * self.from_us - self.to_us), self.from_us)

    @property
    def later(self) -> dict[str, str]:
        """The stretch of the same length behind."""
        return _query(self.to_us, min(LAST, 2 * self.to_us - self.from_us))

    @property
    def wider(self) -> dict[str, str]:
        """The stretch and half its length on both sides."""
        half = (self.to_us - self.from_us) // 2
        return _query(max(FIRST, self.from_us - half), min(LAST, self.to_us + half))

    @property
    def query(self) -> dict[str, str]:
        """The stretch as parameters of `Links.model` and `Links.feature`."""
        if self.name:
            return {"range_": self.name}
        return _query(self.from_us, self.to_us)


def _query(from_us: int, to_us: int) -> dict[str, str]:
    return {"from_": clock.render(from_us), "to": clock.render(to_us)}


def steps(length: int, window: int) -> list[int]:
    """Steps that a stretch may be drawn in, ascending: the window, hours while they are few, days and weeks.

    Windows are stored measured, days are stored profiled; steps of several hours are merged from every hour's profile,
    which takes too long for a page beyond eight days.
    """
    hours = [hours * clock.HOUR for hours in _HOURS] if length <= 8 * clock.DAY else []
    sizes = {window, *hours, *(days * clock.DAY for days in _DAYS)}
    return sorted(size for size in sizes if size % window == 0)


def step(length: int, window: int, most: int) -> int:
    """The shortest span that is a multiple of `window` and cuts `length` into at most `most` parts."""
    fitting = steps(length, window)
    return next((size for size in fitting if length <= size * most), fitting[-1] if fitting else window)


def choose(
    connection: Connection, model: Model, now: int, range_: str | None, from_: str | None, to: str | None
) -> Stretch:
    """What the query asks for: `from` and `to`, else a named range that ends at the model's now.

    Without one, every page begins with the same.

    Raises:
        Invalid: no range is called so, a time cannot be read, the stretch is empty, or both are asked for.
    """
    window = model.config.window_us
    named = one_of("range", range_, NAMES)
    if named and (from_ or to):
        raise Invalid.field("range", "cannot be asked for beside `from` and `to`: give one or the other")
    if from_ or to:
        zone = Zone(model.config.timezone)
        end = _time(to, zone, "to") if to else now
        start = _time(from_, zone, "from") if from_ else end - 7 * clock.DAY
        if start >= end:
            raise Invalid.field("from", "must be before `to`")
        return _whole(model, start, end, "")
    first = first_start(connection, model.id, 86400)
    name = named or _usual(window)
    if name == "all":
        start = min(first if first is not None else now, now - window)
    else:
        start = now - RANGES[name]
    return _whole(model, start, max(now, start + window), name)


def _whole(model: Model, start: int, end: int, name: str) -> Stretch:
    """Cut at windows, so that stored profiles answer every question and no rows are read."""
    window, zone = model.config.window_us, model.config.timezone
    first = windows.start_of(start, window, zone)
    last = windows.start_of(end - 1, window, zone)
    return Stretch(first, windows.next_start(last, window, zone), name, window)


def _usual(window: int) -> str:
    """What every page begins with: some days of hours, a month of parts of days, a season of days."""
    return "7d" if window <= 3 * clock.HOUR else "30d" if window < clock.DAY else "90d"


def _time(text: str, zone: Zone, field: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid.field(field, "is not a time; for instance 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone.info)
    try:
        return clock.in_range(clock.from_datetime(moment))
    except ValueError as error:
        raise Invalid.field(field, str(error)) from None
