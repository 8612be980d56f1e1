"""SIGTERM under load: what was stored was answered, and the service ends in time."""

import json
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from monitor.settings import Settings
from monitor.store.identity import key_of
from monitor.store.session import make_engine, reading
from tests.faults.service import Service
from tests.indexed import indexed

CLIENTS = 8
SECONDS = 5.0


def test_a_service_that_is_asked_to_stop_answers_what_it_stored_and_ends_in_time(
    sqlite_settings: Settings, tmp_path: Path
) -> None:
    service = Service(sqlite_settings.url, tmp_path)
    service.start()
    service.call("PUT", "/v1/models/m", {"task": "binary"})
    acknowledged: list[set[str]] = [set() for _ in range(CLIENTS)]

    def send(client: int) -> None:
        for number in range(100_000):
            rows = [{"id": f"{client} {number} {i}", "prediction": 1} for i in range(1 + 40 * (client % 2))]
            try:
                service.call("POST", "/v1/models/m/predictions", {"rows": rows})
            except (OSError, json.JSONDecodeError, urllib.error.URLError):
                return  # refused or not reached: a good client would try again
            acknowledged[client] |= {row["id"] for row in rows}

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(send, client) for client in range(CLIENTS)]
        while sum(map(len, acknowledged)) < 500:
            time.sleep(0.02)
        began = time.monotonic()
        assert service.stop() == 0
        took = time.monotonic() - began
        for one in running:
            one.result()
    assert took <= SECONDS, took

    known = {key_of(row_id) for row_id in set().union(*acknowledged)}
    engine = make_engine(sqlite_settings)
    with reading(engine) as connection:
        stored = {key for key, _, _ in indexed(connection)}
    engine.dispose()
    assert known <= stored, "rows were acknowledged and are not there"
    assert stored <= known, "rows were stored, and their sender was not told"
