"""The processes that decode bodies are killed under load, and then the server is: no acknowledged row is lost or
doubled, and none of these processes stays behind."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.settings import Settings
from monitor.store.identity import key_of
from monitor.store.session import make_engine, reading
from tests.faults.service import Service
from tests.indexed import indexed

CLIENTS = 4
REQUESTS = 40
KILLS = 6
START_SECONDS = 1.5  # one that is killed before it has begun is not tried again at once


def decoders(service: Service) -> set[int]:
    """The processes of a service that decode bodies."""
    children: list[str] = []
    for thread in Path(f"/proc/{service.pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            children += (thread / "children").read_text().split()
    return {child for child in map(int, children) if decodes(child)}


def decodes(process: int) -> bool:
    """Whether it runs and decodes bodies."""
    try:
        return b"monitor.ingest.decoder_child" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def service(sqlite_settings: Settings, tmp_path: Path) -> Iterator[Service]:
    made = Service(sqlite_settings.url, tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the processes")
def test_killed_decoders_cost_answers_and_no_rows(service: Service, sqlite_settings: Settings) -> None:
    service.call(
        "PUT", "/v1/models/m", {"task": "binary", "features": {"x": {"kind": "numeric"}, "note": {"kind": "text"}}}
    )
    over, killed = threading.Event(), 0
    chance = random.Random(5)

    def send(client: int) -> int:
        taken = 0
        for number in range(REQUESTS):
            ids = [f"{client} {number} {at}" for at in range(400)]
            rows = [{"id": one, "prediction": 1, "features": {"x": 0.5, "note": "n" * 60}} for one in ids]
            answer = service.persist("POST", "/v1/models/m/predictions", {"rows": rows})
            assert answer["accepted"] + answer["duplicates"] == len(rows)
            taken += answer["accepted"]
        return taken

    def kill() -> None:
        nonlocal killed
        seen: dict[int, float] = {}
        while not over.wait(chance.uniform(0.05, 0.2)):
            now = time.monotonic()
            for process in decoders(service):
                if now - seen.setdefault(process, now) > START_SECONDS:
                    os.kill(process, signal.SIGKILL)
                    killed += 1

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        killer = pool.submit(kill)
        try:
            sent = [pool.submit(send, client) for client in range(CLIENTS)]
            taken = sum(one.result(120) for one in sent)
            while killed < KILLS and not killer.done():  # on a machine that was quick there is more to send
                taken += sum(one.result(120) for one in [pool.submit(send, CLIENTS + killed + at) for at in range(2)])
        finally:
            over.set()
        killer.result()
    assert killed >= KILLS
    engine = make_engine(sqlite_settings)
    with reading(engine) as connection:
        stored = [key for key, _, _ in indexed(connection)]
    engine.dispose()
    assert len(stored) == len(set(stored)) == taken
    sent_ids = [f"{client} {number} {at}" for client in range(CLIENTS) for number in range(REQUESTS) for at in (0, 399)]
    assert {key_of(one) for one in sent_ids} <= set(stored)

    while not decoders(service):  # and now the server, while they are there
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(send, (1000, 1001)))
    left = decoders(service)
    service.kill()
    until = time.monotonic() + 10
    while any(map(decodes, left)):
        assert time.monotonic() < until, "processes stayed behind"
        time.sleep(0.05)
