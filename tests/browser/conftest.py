"""A running installation with data, and a Chromium to look at it with."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.api import auth
from monitor.app import create_app
from monitor.settings import Settings
from monitor.store.session import make_engine, writing
from tests.browser.places import places
from tests.dashboards.seeded import Seeded, seed
from tests.keys import SECRET_KEY

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    return next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Running:
    """The installation that runs: where it is, what is in it, and its database."""

    base_url: str
    seeded: Seeded
    engine: Engine

    @property
    def model(self) -> str:
        return self.seeded.drifting

    def login_url(self) -> str:
        """A new log-in link of an admin."""
        return new_login(self.engine, self.base_url)


def new_login(engine: Engine, base_url: str, name: str = "anna") -> str:
    """A new log-in link of an admin of that name."""
    with writing(engine) as connection:
        token = auth.issue_login(connection, 1, name, "admin", clock.now())
    return auth.login_url(base_url, token)


@pytest.fixture(scope="session")
def running_app(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real application on a seeded database."""
    with installation(migrated_file, tmp_path_factory.mktemp("running")) as (engine, settings):
        seeded = seed(engine, settings)
        with serving(engine, settings) as base_url:
            yield Running(base_url, seeded, engine)


@pytest.fixture(scope="session")
def all_pages(running_app: Running) -> dict[str, str]:
    """The address of every page, by what it is called."""
    return places(running_app.engine, running_app.seeded)


@contextmanager
def installation(migrated_file: Path, folder: Path) -> Iterator[tuple[Engine, Settings]]:
    """A database of its own and its settings."""
    path = folder / "keepwatch.db"
    shutil.copy(migrated_file, path)
    settings = Settings(database_url=f"sqlite:///{path}", secret_key=SECRET_KEY)
    engine = make_engine(settings)
    yield engine, settings
    engine.dispose()


@contextmanager
def serving(engine: Engine, settings: Settings) -> Iterator[str]:
    """The application under uvicorn in a thread; where it is."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings, engine), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        reason = "no Chromium is installed (Debian: apt-get install chromium), so no page was looked at"
        if os.environ.get("KEEPWATCH_REQUIRE_BROWSER") == "1":
            pytest.fail(f"KEEPWATCH_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


# What the Content-Security-Policy forbade, said aloud: not every kind of breach is an error on the console.
TELL_REPORTS = """addEventListener("securitypolicyviolation", (breach) =>
  console.error(`CSP: ${breach.effectiveDirective} ${breach.blockedURI} ${breach.sample}`));"""


DRAWN = """() => [...document.querySelectorAll(".plot[data-figure]")].every((plot) =>
  plot.hasAttribute("data-ready") || plot.getBoundingClientRect().top >= innerHeight || !plot.checkVisibility())"""


class Watched:
    """Pages of one session, and everything that went wrong in them."""

    def __init__(self, context: BrowserContext, base_url: str, scripts: bool = True) -> None:
        self.context = context
        self.scripts = scripts
        self.base_url = base_url
        self.wrong: list[str] = []
        context.add_init_script(TELL_REPORTS)
        context.on("console", lambda message: self._note(message.type, f"{message.text} {message.location['url']}"))
        context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        context.on("dialog", lambda dialog: (self.wrong.append("a dialog: " + dialog.message), dialog.dismiss()))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(text)

    def open(self, path: str) -> Page:
        """The page with all charts in sight drawn."""
        page = self.context.new_page()
        page.goto(self.base_url + path)
        if self.scripts:
            page.wait_for_function(DRAWN)
        return page


def log_in(browser: Browser, running: Running, **options: object) -> Watched:
    return open_session(browser, running.base_url, running.login_url(), **options)


def open_session(browser: Browser, base_url: str, login: str, **options: object) -> Watched:
    """A browser's context that has used the log-in link."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(30_000)
    watched = Watched(context, base_url, scripts=options.get("java_script_enabled") is not False)
    page = context.new_page()
    page.goto(login)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(base_url + "/")
    page.close()
    return watched


@pytest.fixture(params=["dark", "phone"])
def session(request: pytest.FixtureRequest, chromium: Browser, running_app: Running) -> Iterator[Watched]:
    """Somebody who has logged in: at a dark screen, and on a phone."""
    phone = request.param == "phone"
    watched = log_in(
        chromium,
        running_app,
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
        color_scheme="dark" if request.param == "dark" else "light",
    )
    yield watched
    watched.context.close()


@pytest.fixture
def desk(chromium: Browser, running_app: Running) -> Iterator[Watched]:
    """Somebody who has logged in at a desk."""
    watched = log_in(chromium, running_app, viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield watched
    watched.context.close()
