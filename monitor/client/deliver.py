"""Rows to the service: what an answer means for each of them, and when to try again.

| answer | what it means |
|---|---|
| 200 with counts that add up | stored; the rows that it lists as rejected are dead letters, with its reasons |
| 422 that lists every row | the same, all of them rejected |
| 400, 409, 413, 414, 422, 431 | some row is at fault: the batch is halved until the guilty rows stand alone |
| 408, 425, 429, 5xx, no answer, an answer of something else | again, the same rows with the same ids |
| 500 again and again | halved too: a row that fails alone, twice, while others are taken, is a dead letter |
| any other (401, 403, 404, a redirect) | again too, since no row is at fault: the address, the key or the model is |
"""

from __future__ import annotations

import os
from collections.abc import Callable

from monitor.client.transport import Answer, Unreachable

TYPE_CHECKING = False  # as typing's, which takes milliseconds to import
if TYPE_CHECKING:
    from typing import Any


GUILTY = frozenset((400, 409, 413, 414, 422, 431))
AGAIN = frozenset((408, 425, 429))
FAILED = 500  # a fault of the service's own; overload and outages are told by other numbers
PROBES = 32  # requests that may fail before one is answered: then it is the service, and not a row
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # seconds
LONGEST_ASKED = 3600.0  # seconds of a Retry-After that are believed
ROUTES = {b"p": "predictions", b"o": "outcomes"}

Post = Callable[[str, bytes], Answer]


class Later(Exception):
    """Not now. `asked`: how many seconds the service asked to wait; `blocked`: trying alone will not help; `failed`:
    the service met a fault of its own, which may be the fault of a row."""

    def __init__(self, reason: str, asked: float | None = None, *, blocked: bool = False, failed: bool = False) -> None:
        super().__init__(reason)
        self.asked, self.blocked, self.failed = asked, blocked, failed


class Delivered:
    """What became of a batch: counts of the service, and the rows that it will not take with the reasons."""

    def __init__(self) -> None:
        self.accepted = self.duplicates = 0
        self.refused: list[dict[str, Any]] = []
        # While a row is searched that the service fails at: rows that failed alone, and how many requests did.
        self.failing: list[tuple[str, bytes, Later]] = []
        self.failures = 0

    @property
    def answered(self) -> bool:
        return bool(self.accepted or self.duplicates or self.refused)


def deliver(post: Post, model: str, records: list[bytes], *, suspect: bool = False) -> Delivered:
    """Send records (a kind, then the row as JSON), predictions before outcomes.

    Args:
        suspect: the service failed at these records before: search the row that is at fault.

    Raises:
        Later: all of them are to be sent again; those that arrived will be duplicates.
    """
    done = Delivered()
    for kind, route in ROUTES.items():
        rows = [record[1:] for record in records if record[:1] == kind]
        if rows:
            _send(post, f"/v1/models/{model}/{route}", route, rows, done, suspect)
    failing, done.failing = done.failing, []
    for route, row, later in failing:
        if not done.answered:
            raise later  # nothing is taken: who knows whose fault it is
        _send(post, f"/v1/models/{model}/{route}", route, [row], done, suspect)  # once more, now that others were taken
    for route, row, later in done.failing:
        done.refused.append(_letter(route, row, FAILED, "failed", str(later)))
    return done


def _send(post: Post, path: str, route: str, rows: list[bytes], done: Delivered, suspect: bool) -> None:
    try:
        answer = post(path, b'{"rows":[' + b",".join(rows) + b"]}")
    except Unreachable as error:
        raise Later(f"no answer: {error}") from None
    content = answer.content or {}
    if (answer.status == 200 and _adds_up(content, len(rows))) or (
        answer.status == 422 and content.get("rejected_count") == len(rows) and _listed(content, len(rows)) == len(rows)
    ):
        done.accepted += _count(content, "accepted") + _count(content, "revised")
        done.duplicates += _count(content, "duplicates")
        for one in content["rejected"]:
            code, message = str(one.get("code")), str(one.get("message"))
            done.refused.append(_letter(route, rows[one["index"]], answer.status, code, message))
    elif answer.status in GUILTY or (answer.status == FAILED and suspect):
        if answer.status == FAILED:
            done.failures += 1
            if done.failures >= PROBES and not done.answered:
                raise _later(answer, content)
        if len(rows) > 1:
            half = len(rows) // 2
            _send(post, path, route, rows[:half], done, suspect)
            _send(post, path, route, rows[half:], done, suspect)
        elif answer.status == FAILED:
            done.failing.append((route, rows[0], _later(answer, content)))
        else:
            done.refused.append(_letter(route, rows[0], answer.status, "refused", str(content.get("detail", ""))))
    else:
        raise _later(answer, content)


def _adds_up(content: dict[str, Any], rows: int) -> bool:
    """Whether these are the counts of Keepwatch for so many rows: a proxy's page with status 200 is no receipt."""
    names = ("accepted", "duplicates", "revised", "rejected_count")
    total = sum(_count(content, name) for name in names)
    return total == rows and _listed(content, rows) == _count(content, "rejected_count")


def _listed(content: dict[str, Any], rows: int) -> int:
    """How many of the rows are listed as rejected; -1 when the list makes no sense."""
    rejected = content.get("rejected")
    if not isinstance(rejected, list):
        return -1
    places = {one.get("index") for one in rejected if isinstance(one, dict)}
    return len(places) if len(places) == len(rejected) and places <= set(range(rows)) else -1


def _count(content: dict[str, Any], name: str) -> int:
    value = content.get(name)
    return value if isinstance(value, int) else 0


def _letter(route: str, row: bytes, status: int, code: str, message: str) -> dict[str, Any]:
    return {"kind": route, "status": status, "code": code, "message": message, "row": row.decode("ascii")}


def _later(answer: Answer, content: dict[str, Any]) -> Later:
    detail = str(content.get("detail") or content.get("title") or "")[:300]
    reason = f"status {answer.status}{': ' if detail else ''}{detail}"
    if answer.status == 200:
        reason = "status 200, but not an answer of Keepwatch: is a proxy in between?"
    transient = answer.status in AGAIN or answer.status >= 500
    return Later(reason, _seconds(answer.retry_after), blocked=not transient, failed=answer.status == FAILED)


def _seconds(text: str | None) -> float | None:
    """A Retry-After, in seconds or as a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return min(float(text), LONGEST_ASKED)
    from email.utils import parsedate_to_datetime

    from monitor.client import clock

    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None
    return min(max(0.0, at - clock.wall() / clock.SECOND), LONGEST_ASKED)


def _chance() -> float:
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)


def pause(tries: int, asked: float | None, chance: Callable[[], float] = _chance) -> float:
    """Seconds to wait after so many tries in a row: full jitter, and never less than was asked for."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(tries - 1, 20))
    return (asked or 0.0) + chance() * longest
