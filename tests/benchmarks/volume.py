"""The server's memory while gigabytes of JSON rows pass through it."""

import threading
from collections.abc import Iterator
from typing import Any

from tests.benchmarks import load
from tests.benchmarks.bodies import ENCODINGS, Template
from tests.benchmarks.service import ADMIN_KEY, MODEL, free_port, kind_of, peak_mb, serving

STEPS = 10
CONNECTIONS = 8
_BATCH = 1000


def run(url: str, gigabytes: float) -> dict[str, Any]:
    """Send so much; resident MB of the server at its worst, in each of ten parts of the way."""
    port = free_port()
    templates = [Template("rows", _BATCH) for _ in range(16)]
    sent = 0
    steps: list[float] = []
    worst = 0.0
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        nonlocal sent
        path = f"/v1/models/{MODEL}/predictions"
        while sent < gigabytes * 1e9:
            body, _ = templates[sent // 1000 % len(templates)].fresh()
            sent += len(body)
            yield load.requests_of(path, ADMIN_KEY, ENCODINGS["rows"], [body])[0]

    with serving(url, port) as process:

        def watch() -> None:
            nonlocal worst
            while not over.wait(0.2):
                worst = max(worst, peak_mb(process, "VmRSS"))
                if sent >= (len(steps) + 1) * gigabytes * 1e9 / STEPS:
                    steps.append(worst)
                    print(f"{kind_of(url):10} {sent / 1e9:6.2f} GB  {worst:7.1f} MB resident at most", flush=True)
                    worst = 0.0

        watcher = threading.Thread(target=watch)
        watcher.start()
        seen = load.closed(port, requests(), CONNECTIONS, 36_000)
        over.set()
        watcher.join()
        peak = peak_mb(process)
    rate = len(seen.answered) * _BATCH / seen.seconds
    print(f"{kind_of(url):10} {rate:,.0f} rows/s, {sent / 1e9 / seen.seconds:.3f} GB/s, peak {peak} MB", flush=True)
    return {"database": kind_of(url), "gb": round(sent / 1e9, 2), "peak_mb": peak, "steps_mb": steps}
