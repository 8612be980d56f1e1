"""March to December in event order: predictions at departure, outcomes at landing, over the public HTTP API."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from demo.flights import CATEGORICAL, NUMERIC, TIMEZONE, Flights
from demo.server import DemoError

MODEL = "flight-delays"
VERSION = "1"
HOUR = 3_600_000_000
DAY = 24 * HOUR
STEP = 3 * HOUR  # what is sent at once: short against the window, so that evaluation follows as it would in life
PATIENCE_SECONDS = 180

SETTINGS: dict[str, Any] = {
    "task": "binary",
    "positive_class": "late",
    "features": {name: {"kind": "numeric"} for name in NUMERIC}
    | {name: {"kind": "categorical"} for name in CATEGORICAL},
    "clock": "events",  # the year is 2013: "now" is the latest time that the replay has reached
    "window": "1d",
    "timezone": TIMEZONE,
    "label_delay": "12h",  # nearly all outcomes land within a few hours; the last ones restate their day
    "alert_budget": {"false_alarms": 1, "per": "90d"},
    "segments": ["origin", "carrier"],
}


@dataclass(frozen=True)
class Step:
    """A few simulated hours: the rows to send, and how many they are."""

    at: int
    predictions: bytes | None
    outcomes: bytes | None
    rows: int


class Client:
    """The public API as the demo uses it; anything but success is a DemoError with the server's own words."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def send(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        for attempt in range(8):
            try:
                answer = self._http.request(
                    method, path, content=content, headers={"content-type": "application/json"} if content else {}
                )
            except httpx.TransportError as error:
                raise DemoError(f"{method} {path}: the connection to the server broke ({error})") from error
            if answer.status_code not in (429, 503):
                break
            time.sleep(min(float(answer.headers.get("retry-after", "1")), 0.2 * 2**attempt))
        if not answer.is_success:
            raise DemoError(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()


def reference_body(flights: Flights, scores: np.ndarray) -> bytes:
    """The reference by column: out-of-fold predictions with what really happened."""
    actual = labels(flights.late == 1)
    columns = {
        "id": flights.table["id"].tolist(),
        "timestamp": times(flights.departs),
        "features": values_of(flights),
        "prediction": labels(scores > 0.5),
        "score": [round(score, 6) for score in scores.tolist()],
        "actual": [None if late != late else actual[row] for row, late in enumerate(flights.late.tolist())],
    }
    return json.dumps({"columns": columns}).encode()


def values_of(flights: Flights) -> dict[str, list[float | str | None]]:
    """Every feature as a list, None where it is missing."""
    return {
        name: [None if value != value else value for value in flights.table[name].tolist()]
        for name in NUMERIC + CATEGORICAL
    }


def labels(late: np.ndarray) -> list[str]:
    return ["late" if one else "on time" for one in late]


def steps(flights: Flights, scores: np.ndarray) -> Iterator[Step]:
    """Every stretch of STEP in which a flight was due to leave or one landed, in order."""
    features = values_of(flights)
    ids = flights.table["id"].tolist()
    departs = times(flights.departs)
    known = np.flatnonzero(flights.lands >= 0)
    landed = known[np.argsort(flights.lands[known], kind="stable")]
    lands = times(flights.lands[landed])
    actual = labels(flights.late[landed] == 1)
    rounded = [round(score, 6) for score in scores.tolist()]
    predicted = labels(scores > 0.5)

    leaving, landing = flights.departs // STEP, flights.lands[landed] // STEP
    numbers = np.unique(np.concatenate([leaving, landing]))
    bounds = [np.searchsorted(of, numbers, side) for of in (leaving, landing) for side in ("left", "right")]
    for number, a, b, c, d in zip(numbers.tolist(), *(bound.tolist() for bound in bounds), strict=True):
        predictions = {
            "id": ids[a:b],
            "timestamp": departs[a:b],
            "known_at": departs[a:b],
            "version": [VERSION] * (b - a),
            "features": {name: values[a:b] for name, values in features.items()},
            "prediction": predicted[a:b],
            "score": rounded[a:b],
        }
        outcomes = [
            {"id": ids[row], "actual": actual[place], "observed_at": lands[place], "known_at": lands[place]}
            for place, row in enumerate(landed[c:d].tolist(), c)
        ]
        yield Step(
            number * STEP,
            json.dumps({"columns": predictions}).encode() if b > a else None,
            json.dumps({"rows": outcomes}).encode() if d > c else None,
            b - a + d - c,
        )


def times(at: np.ndarray) -> list[str]:
    """RFC 3339 in UTC of microseconds."""
    return [text + "Z" for text in np.datetime_as_string(at.astype("datetime64[us]"), unit="s").tolist()]


def replay(client: Client, flights: Flights, scores: np.ndarray, progress: Callable[[Step], None]) -> int:
    """Send everything, the outcomes of a step after its predictions. Returns the number of rows that were taken."""
    taken = 0
    for step in steps(flights, scores):
        for kind, body in (("predictions", step.predictions), ("outcomes", step.outcomes)):
            if body is not None:
                answer = client.send("POST", f"/v1/models/{MODEL}/{kind}", body)
                if answer["rejected_count"]:
                    raise DemoError(f"the server rejected {kind}: {answer['rejected'][0]}")
                taken += answer["accepted"]
        progress(step)
    return taken


def wait_until_evaluated(
    client: Client, flights: Flights, check: Callable[[], None], progress: Callable[[int, int], None]
) -> None:
    """Return when every window that is due at the replay's last instant is final, for inputs and for performance.

    Raises:
        DemoError: that took longer than PATIENCE_SECONDS.
    """
    now = int(max(flights.departs.max(), flights.lands.max()))
    first, last = times(np.array([flights.departs.min(), now]))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        check()
        due = final = 0
        for metric, delay in (("volume", HOUR // 6), ("accuracy", DAY)):
            path = f"/v1/models/{MODEL}/series?metric={metric}&from={first}&to={last}"
            for point in client.send("GET", path)["points"]:
                if np.datetime64(point["end"].removesuffix("Z"), "us").astype(np.int64) + delay <= now:
                    due += 1
                    final += point["state"] != "provisional"
        progress(final, due)
        if due and final == due:
            return
        if time.monotonic() > deadline:
            raise DemoError(f"after {PATIENCE_SECONDS} seconds {due - final} of {due} windows are still not evaluated")
        time.sleep(0.5)
