"""When a page is first seen: First Contentful Paint in Chromium, each time in a browser that has nothing kept."""

import statistics
import sys
from collections.abc import Mapping

from playwright.sync_api import sync_playwright

from tests.benchmarks.service import ADMIN_KEY, free_port, running
from tests.browser.conftest import QUIET, find_chromium

MOST_PAINT_MS = 1000
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def first_paints(url: str, pages: Mapping[str, str], repeat: int) -> dict[str, float]:
    """Milliseconds from the address to the first paint, the median, by the name of the page; the server's first
    answer of each page, which fills what later ones find kept, is not among them.

    Args:
        url: of a database with the key of `tests.benchmarks.service` or none.
    """
    port = free_port()
    command = [sys.executable, "-m", "monitor.cli", "api", "--port", str(port)]
    found: dict[str, float] = {}
    with running(command, url, port, "/livez"), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        for name, path in pages.items():
            seen = []
            for _ in range(repeat + 1):
                context = browser.new_context(extra_http_headers={"Authorization": f"Bearer {ADMIN_KEY}"})
                page = context.new_page()
                page.goto(f"http://127.0.0.1:{port}{path}")
                while (painted := page.evaluate(_PAINTED)) is None:
                    page.wait_for_timeout(20)
                seen.append(float(painted))
                context.close()
            found[name] = statistics.median(seen[1:])
        browser.close()
    return found
