"""How long every page takes, how many bytes it is and how often it asks the database, with a year of hourly windows.

    python -m tests.benchmarks.dashboard [--rows N … --features F --repeat R] [--paint]

The same year is made with 10**5 and with 10**8 simulated rows; 100 features, a tag with 20 values as segments; and
beside it, in a project of their own, a thousand models for the list. Server
time is the whole answer, from the request's arrival at the application to its last byte, without the network; the first
request of each page is told apart, since it fills what later ones find kept. Bytes are those that a browser receives,
compressed, without the chart script. --paint opens the pages of the largest year in Chromium too. The last line is one
JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboards.links import Links
from monitor import clock
from monitor.app import create_app
from monitor.server import spare_collector
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.alerts import list_alerts
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, reading, writing
from tests.benchmarks.many import PROJECT, make_many
from tests.benchmarks.paint import MOST_PAINT_MS, first_paints
from tests.benchmarks.year import make_year

BASE = "http://127.0.0.1:8000"
MOST_MS, MOST_BYTES = 50, 150_000


@dataclass(frozen=True)
class Measured:
    """Milliseconds (the median; of the processor alone; of the first request), bytes as sent, queries; `rows` of the
    model."""

    page: str
    ms: float
    cpu_ms: float
    first_ms: float
    bytes: int
    queries: int
    rows: int


def pages(engine: Engine, model: str) -> dict[str, str]:
    """Every page that reads numbers of a model, by a name for the report."""
    links = Links()
    with reading(engine) as connection:
        found, _ = list_alerts(connection, 1, limit=10)
    return {
        "models": links.home(),
        "model": links.model(model),
        "model, 24 hours": links.model(model, range_="24h"),
        "model, 30 days": links.model(model, range_="30d"),
        "model, 90 days": links.model(model, range_="90d"),
        "model, all": links.model(model, range_="all"),
        "features": links.features(model),
        "features, all": links.features(model, range_="all"),
        "feature, numeric": links.feature(model, "x0"),
        "feature, numeric, all": links.feature(model, "x0", range_="all"),
        "feature, categorical, all": links.feature(model, "x2", range_="all"),
        "segments": links.segments(model),
        "segments, all": links.segments(model, range_="all"),
        "versions, 30 days": links.versions(model, range_="30d"),
        "versions, all": links.versions(model, range_="all"),
        "alerts": links.alerts(),
        **{f"alert, {one.family}": links.alert(one.id) for one in found},
        "channels": links.channels(),
        "settings": links.settings(),
        "audit log": links.audit(),
    }


class Timed:
    """The application, and how long it took from a request's arrival to the last byte of its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.ms = self.cpu_ms = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, worked = time.perf_counter(), time.process_time()
        await self._app(scope, receive, send)
        if scope["type"] == "http":
            self.ms, self.cpu_ms = 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - worked)


def many_pages() -> dict[str, str]:
    """The list of a project with a thousand models."""
    links = Links()
    return {
        "models, 1,000 of them": links.home(),
        **{f"models, 1,000 by {column}": links.home(sort=column) for column in ("name", "traffic", "labelled", "last")},
        "models, 1,000, last page": links.home(page=20),
    }


def measure(
    engine: Engine, settings: Settings, pages: dict[str, str], project: int, rows: int, repeat: int
) -> list[Measured]:
    """Ask for every page `repeat` times."""
    with writing(engine) as connection:
        key = keys.create_key(connection, project, "benchmark", "admin", clock.now())
    asked = [0]
    event.listen(engine, "before_cursor_execute", lambda *_: asked.__setitem__(0, asked[0] + 1))
    headers = {"Authorization": f"Bearer {key}", "accept": "text/html", "accept-encoding": "gzip"}
    found = []
    app = Timed(create_app(settings, engine))
    with TestClient(app, base_url=BASE, headers=headers) as client:
        client.get("/docs")  # compiles templates, makes the key known
        spare_collector()  # as the server does
        for name, url in pages.items():
            times, busy, sizes = [], [], []
            for _ in range(repeat + 1):
                asked[0] = 0
                with client.stream("GET", url) as answer:
                    sizes.append(sum(len(part) for part in answer.iter_raw()))
                times.append(app.ms)
                busy.append(app.cpu_ms)
                assert answer.status_code == 200, (url, answer.status_code)
            usual, cpu = statistics.median(times[1:]), statistics.median(busy[1:])
            found.append(Measured(name, usual, cpu, times[0], sizes[-1], asked[0], rows))
    return found


def say(text: str) -> None:
    print(f"\r{text:60}", end="", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**8], help="simulated rows of the year")
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=9, help="requests of each page after the first")
    parser.add_argument("--folder", type=Path, help="keep the databases there, and use those that are there")
    parser.add_argument("--paint", action="store_true", help="measure the first paint in Chromium too")
    options = parser.parse_args()
    measured: list[Measured] = []
    paints: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for rows in options.rows:
            path = (options.folder or Path(temporary)) / f"year-{rows}-{options.features}.db"
            is_new = not path.exists()
            settings = Settings(database_url=f"sqlite:///{path}", secret_key="benchmark" * 4)
            engine = make_engine(settings, create=True)
            if is_new:
                upgrade(engine)
                began = time.perf_counter()
                make_year(engine, rows, options.features, "year", say)
                make_many(engine, 1000)
                print(f"\r{rows:,} rows made in {time.perf_counter() - began:.0f} s", " " * 40, file=sys.stderr)
            measured += measure(engine, settings, pages(engine, "year"), 1, rows, options.repeat)
            measured += measure(engine, settings, many_pages(), PROJECT, rows, options.repeat)
            if options.paint and rows == max(options.rows):
                paints = first_paints(settings.url, pages(engine, "year"), options.repeat)
            engine.dispose()
    print(f"{'page':28}{'rows':>13}{'ms':>8}{'cpu ms':>8}{'first':>8}{'kB':>8}{'queries':>9}")
    for one in measured:
        late = " *" if one.ms > MOST_MS or one.bytes > MOST_BYTES else ""
        numbers = f"{one.ms:>8.1f}{one.cpu_ms:>8.1f}{one.first_ms:>8.1f}{one.bytes / 1000:>8.1f}{one.queries:>9}"
        print(f"{one.page:28}{one.rows:>13,}{numbers}{late}")
    print(f"* above {MOST_MS} ms or {MOST_BYTES // 1000} kB, or a first paint later than {MOST_PAINT_MS} ms")
    for name, ms in paints.items():
        print(f"{name:28}first paint {ms:8.0f} ms{' *' if ms > MOST_PAINT_MS else ''}")
    print(json.dumps({"pages": [asdict(one) for one in measured], "rows": max(options.rows), "paint_ms": paints}))


if __name__ == "__main__":
    main()
