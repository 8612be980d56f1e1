"""Ten times what the server can take, sent whatever it answers: what it still takes, what it refuses, what it loses."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from monitor.settings import Settings
from monitor.store import id_index
from monitor.store import tables as t
from monitor.store.identity import keys_of
from monitor.store.session import make_engine, reading
from tests.benchmarks import load
from tests.benchmarks.bodies import ENCODINGS, Template
from tests.benchmarks.service import ADMIN_KEY, MODEL, free_port, kind_of, peak_mb, serving

TIMES = 10
CONNECTIONS = 700  # with a body each they are more than the server lets in at once
BATCH = 1000
_ENCODING = "arrow"


class Sent:
    """Requests with fresh ids, and the ids of each."""

    def __init__(self) -> None:
        self._templates = [Template(_ENCODING, BATCH) for _ in range(8)]
        self.ids: list[list[str]] = []

    def requests(self) -> Iterator[bytes]:
        while True:
            body, ids = self._templates[len(self.ids) % len(self._templates)].fresh()
            self.ids.append(ids)
            path = f"/v1/models/{MODEL}/predictions"
            yield load.requests_of(path, ADMIN_KEY, ENCODINGS[_ENCODING], [body])[0]


def run(url: str, seconds: float) -> dict[str, Any]:
    """The peak with few connections, then `TIMES` as many requests a second."""
    port = free_port()
    with serving(url, port) as process:
        load.closed(port, Sent().requests(), 8, 1.0)
        calm = load.closed(port, Sent().requests(), 8, seconds)
        peak = len(calm.times) / calm.seconds
        sent = Sent()
        seen = load.opened(port, sent.requests(), CONNECTIONS, 2 * seconds, TIMES * peak)
        memory = peak_mb(process)
    goodput = len(seen.answered) / seen.to_last_answer
    refused = seen.statuses[429] + seen.statuses[503]
    acknowledged = [one for number in seen.answered for one in sent.ids[number]]
    result = {
        "database": kind_of(url),
        "peak_rows_per_s": round(peak * BATCH),
        "goodput_rows_per_s": round(goodput * BATCH),
        "share": round(goodput / peak, 2),
        "refused": refused,
        "refused_without_retry_after": seen.without_retry_after,
        "broken": seen.broken,
        "acknowledged": len(acknowledged),
        "lost": _lost(url, acknowledged),
        "peak_mb": memory,
    }
    print(f"{kind_of(url):10} {result}", flush=True)
    return result


def _lost(url: str, ids: list[str]) -> int:
    """How many of these are not stored."""
    engine = make_engine(Settings(database_url=url))
    with reading(engine) as connection:
        model_id = connection.execute(sa.select(t.model.c.id).where(t.model.c.name == MODEL)).scalar_one()
        keys = keys_of(ids)
        lost = len(keys) - len(id_index.present(connection, model_id, keys))
    engine.dispose()
    return lost
