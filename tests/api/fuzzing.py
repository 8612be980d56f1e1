"""Requests that schemathesis makes of our OpenAPI document, right and wrong ones: none may break the service.

Half of the requests about a model are about one that exists and has rows, a reference and a channel.
"""

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.session import writing

MODEL = "fuzzed"


@dataclass
class Tally:
    """How many requests there were, their statuses, and what must not have happened."""

    requests: int = 0
    operations: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def fuzz(
    client: TestClient,
    spec: dict[str, Any],
    examples: int,
    seed: int,
    every: int = 1,
    before: Callable[[TestClient], None] | None = None,
) -> Tally:
    """Send so many right and so many wrong requests of each operation of a document, or of every so manyth.

    Args:
        before: what is done before each operation; None: a model is made that has everything.
    """
    tally = Tally()
    for number, operation in enumerate(schemathesis.openapi.from_dict(spec).get_all_operations()):
        if number % every:
            continue
        made = operation.ok()
        tally.operations += 1
        (before or prepare)(client)
        # Where only the address can be wrong, schemathesis searches long for a wrong one.
        wrong = [GenerationMode.NEGATIVE] if list(made.query) or list(made.body) else []
        for mode in (GenerationMode.POSITIVE, *wrong):
            _send_all(client, made, mode, examples, seed, tally)
    return tally


def prepare(client: TestClient) -> None:
    """A model with everything: an operation before may have removed it."""
    if client.get(f"/v1/models/{MODEL}").status_code == 200:
        return
    assert client.put(f"/v1/models/{MODEL}", json={"task": "binary"}).status_code in (200, 201)
    at = clock.render(clock.now() - clock.HOUR)
    rows = [{"id": f"r{i}", "timestamp": at, "features": {"x": i}, "score": i / 40, "prediction": 1} for i in range(40)]
    assert client.post(f"/v1/models/{MODEL}/predictions", json={"rows": rows}).status_code == 200
    told = [{"id": f"r{i}", "actual": i % 2} for i in range(30)]
    assert client.post(f"/v1/models/{MODEL}/outcomes", json={"rows": told}).status_code == 200
    assert client.put(f"/v1/models/{MODEL}/reference", json={"rows": rows}).status_code == 200


def _send_all(client: TestClient, operation: Any, mode: GenerationMode, examples: int, seed: int, tally: Tally) -> None:
    chance = random.Random(f"{operation.label} {mode} {seed}")

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if "model" in (case.path_parameters or {}) and chance.random() < 0.6:
            case.path_parameters["model"] = MODEL
        _send(client, case, tally)

    with contextlib.suppress(Unsatisfiable):  # nothing about it can be wrong
        send()


def _send(client: TestClient, case: Any, tally: Tally) -> None:
    asked = case.as_transport_kwargs(base_url="http://localhost")
    known = {name: asked[name] for name in ("params", "json", "content", "files") if asked.get(name) is not None}
    if isinstance(asked.get("data"), dict):
        known["data"] = asked["data"]
    elif asked.get("data") is not None:
        known["content"] = asked["data"]
    headers = {name: value for name, value in dict(asked.get("headers") or {}).items() if name.lower() != "user-agent"}
    try:
        answer = client.request(asked["method"], asked["url"], headers=headers, **known)
    except (UnicodeError, ValueError):  # no client can send that
        return
    tally.requests += 1
    tally.statuses[answer.status_code] += 1
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 500 or (answer.status_code >= 400 and "problem+json" not in kind):
        tally.failures.append(f"{answer.status_code} {kind} {case.as_curl_command()[:2000]}: {answer.text[:300]}")


@contextmanager
def serving(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    """A client of the application on that database, with an admin's key."""
    app = create_app(settings, engine, Writer(engine, settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        with writing(engine) as connection:
            key = keys.create_key(connection, 1, "fuzz", "admin", clock.now())
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


def documented(client: TestClient) -> dict[str, Any]:
    """The OpenAPI document as the service gives it."""
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found
