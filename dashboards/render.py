"""Templates to answers: autoescaped HTML, and JSON that cannot leave its element."""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import orjson
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from dashboards import assets, formats, theme, words
from dashboards.formats import Zone
from dashboards.links import Links
from monitor import clock
from monitor.api import docs

LEAST_COMPRESSED = 1000  # bytes


@dataclass(frozen=True)
class Frame:
    """What every page shows around its content.

    `theme` is "light", "dark" or "" (the system's choice); `viewer` the name of the session or key, "" before log-in;
    `firing` the number of open alerts, `open_of` that of each model by its number; `refresh` seconds after which an
    untouched page loads again, 0 for never; `address` that of the page where it can be shared, else "".
    """

    links: Links
    theme: str = ""
    viewer: str = ""
    may_write: bool = False
    firing: int = 0
    open_of: Mapping[int, int] = field(default_factory=dict)
    section: str = ""
    refresh: int = 0
    address: str = ""


def page(template: str, frame: Frame, status: int = 200, **content: Any) -> HTMLResponse:
    """The template as an answer. `content` is plain data: strings are escaped, wherever they stand."""
    html = environment().get_template(template).render(frame=frame, links=frame.links, **content)
    return HTMLResponse(html, status_code=status)


def compressed(answer: Response, accepted: str) -> Response:
    """A page with gzip for who takes it: numbers shrink to a fifth, in a few milliseconds.

    Pages hold no secret beside what a visitor sent, so their lengths give nothing away.
    """
    encodings = {part.partition(";")[0].strip() for part in accepted.split(",")}
    if not isinstance(answer, HTMLResponse) or "gzip" not in encodings or len(answer.body) < LEAST_COMPRESSED:
        return answer
    answer.body = gzip.compress(bytes(answer.body), 4, mtime=0)
    answer.headers["content-length"] = str(len(answer.body))
    answer.headers["content-encoding"] = "gzip"
    answer.headers["vary"] = "accept-encoding"
    return answer


def script_json(value: Any) -> Markup:
    """JSON for a <script type="application/json"> element: no `<`, so no end tag and no comment can appear in it."""
    text = orjson.dumps(value).decode()
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(safe)  # noqa: S704 - the three characters that could end the element are gone


def time_tag(at: int | None, zone: Zone, text: str = "") -> Markup:
    """<time> with the machine's form, UTC as its tooltip, and the zone's wall time (or `text`) to read.

    A wall time names its zone: static/habits.js tells it by the clock of who looks instead.
    """
    if at is None:
        return escape(formats.NONE)
    machine = clock.render(at // clock.SECOND * clock.SECOND)
    utc = Zone().minute(at) + " UTC"
    if text:
        return Markup('<time datetime="{}" title="{}">{}</time>').format(machine, utc, text)
    told = '<time datetime="{}" title="{}" data-wall="{}">{}</time>'
    return Markup(told).format(machine, utc, zone.name, zone.minute(at))  # noqa: S704 - a constant


@lru_cache(maxsize=16_384)
def brief_time(at: int, zone: Zone) -> Markup:
    """A time among hundreds, each in many tables: as `time_tag` makes it, its tooltip left to the script."""
    machine = clock.render(at // clock.SECOND * clock.SECOND)
    return Markup('<time datetime="{}" data-wall="{}">{}</time>').format(machine, zone.name, zone.minute(at))


_INSTANT = re.compile(r"\b(since|at) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")
_SPOKEN = re.compile(r"\bsince [A-Z][a-z]+day (\d{4}-\d\d-\d\d \d\d:\d\d) ([A-Za-z][A-Za-z0-9_+/-]*)")  # clock.spoken


def told(text: str) -> Markup:
    """A text for people as `docs.told` makes it; an instant that it names (since …, at …) is a time like the others.

    Messages to channels spell such times out, with weekday and time zone: nobody's clock is known there.
    """

    def moment(found: re.Match[str]) -> str:
        try:
            at = clock.parse(found[2])
        except ValueError:
            return found[0]
        utc = Zone().minute(at) + " UTC"
        tag = Markup('<time datetime="{}" title="{}" data-wall="UTC">{}</time>').format(found[2], utc, utc)
        return f"{found[1]} {tag}"

    def spoken(found: re.Match[str]) -> str:
        try:
            zone = Zone(found[2])
            wall = datetime.fromisoformat(found[1]).replace(tzinfo=zone.info)
            return f"since {time_tag(clock.from_datetime(wall), zone)}"
        except (KeyError, ValueError):  # no zone, or no time
            return found[0]

    plain = docs.told(text)
    return Markup(_SPOKEN.sub(spoken, _INSTANT.sub(moment, plain)))  # noqa: S704 - escaped before


def zone_tag(zone: Zone) -> Markup:
    """The name of the zone that times beside it are told in; the script puts the viewer's in its place."""
    return Markup("<span data-zone>{}</span>").format(zone.name)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates, compiled once a process."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("dashboards"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        count=formats.count,
        short_count=formats.short_count,
        number=formats.number,
        percent=formats.percent,
        span=formats.span,
        script_json=script_json,
        sentence=formats.sentence,
        told=told,
    )
    made.globals.update(
        time_text=clock.render,
        zone=Zone(),
        heat_top=theme.HEAT_TOP,
        time_tag=time_tag,
        brief_time=brief_time,
        zone_tag=zone_tag,
        interval=formats.interval,
        words=words,
        static=assets.static_url,
        plotly=assets.PLOTLY,
    )
    return made
