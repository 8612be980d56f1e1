"""A document as PDF, by the extra `pdf` (docs/decisions/0014), one at a time and within a time limit."""

import subprocess
import sys
import threading
from importlib.util import find_spec

from monitor import log
from monitor.errors import Conflict, Overloaded

TIMEOUT_SECONDS = 60
PRINT = "your browser prints this page as well"
_one = threading.Semaphore(1)
_log = log.get(__name__)


def render(html: str) -> bytes:
    """The document as PDF.

    Raises:
        Conflict: the extra or one of its libraries is not installed.
        Overloaded: another document has been rendered for a long time.
    """
    if find_spec("weasyprint") is None:
        raise Conflict(
            "PDF needs the extra `pdf` (pip install 'keepwatch[pdf]'); your browser prints this page as well"
        )
    if not _one.acquire(timeout=TIMEOUT_SECONDS / 2):
        raise Overloaded("another report is being printed: try again in a minute")
    try:
        child = [sys.executable, "-m", "dashboards.pdf_child"]
        done = subprocess.run(  # noqa: S603 - fixed arguments
            child, input=html.encode(), capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Conflict(f"this report took too long to print; {PRINT}") from None
    finally:
        _one.release()
    if done.returncode != 0 or not done.stdout.startswith(b"%PDF"):
        _log.error("pdf_failed", reason=done.stderr.decode("utf-8", "replace")[-500:])
        raise Conflict(
            "PDF needs Pango (Debian: libpango-1.0-0 libpangoft2-1.0-0); your browser prints this page as well"
        )
    return done.stdout
