"""Every encoding stores the same rows in the same way, and knows the others' rows again."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from fastapi.testclient import TestClient
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from monitor import clock
from monitor.app import create_app
from monitor.columns import FILLED_ID, FILLED_KNOWN_AT, FILLED_TIMESTAMP
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import catalog, keys
from monitor.store.blocks import log_end, read_blocks
from monitor.store.session import reading, writing
from tests.ingest.encoded import CODINGS, ENCODINGS, Rows

SCHEMA = {
    "age": {"kind": "numeric"},
    "city": {"kind": "categorical"},
    "member": {"kind": "boolean"},
    "note": {"kind": "text"},
    "old": {"kind": "ignored"},
}
FRESH = itertools.count()
Served = tuple[TestClient, Engine]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, Any]]:
    """A running application for all examples of the module: each makes models of its own."""
    from monitor.store.migrate import upgrade
    from monitor.store.session import make_engine
    from tests.keys import SECRET_KEY

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('encodings')}/kw.db"
    else:
        url = request.getfixturevalue("postgres_url")
    settings = Settings(database_url=url, secret_key=SECRET_KEY, max_body_mb=4)
    engine = make_engine(settings, create=True)
    upgrade(engine)
    app = create_app(settings, engine, Writer(engine, settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        with writing(engine) as connection:
            key = keys.create_key(connection, 1, "encodings", "admin", clock.now())
        client.headers["Authorization"] = f"Bearer {key}"
        yield client, engine
    engine.dispose()


def make_model(client: TestClient, **config: Any) -> str:
    name = f"model{next(FRESH)}"
    assert client.put(f"/v1/models/{name}", json={"task": "binary", **config}).status_code == 201
    return name


def post(client: TestClient, model: str, encoding: str, rows: Rows, kind: str = "predictions", coding: str = "") -> Any:
    content_type, body = ENCODINGS[encoding](rows)
    headers = {"content-type": content_type}
    if coding:
        body, headers["content-encoding"] = CODINGS[coding](body), coding
    return client.post(f"/v1/models/{model}/{kind}", content=body, headers=headers)


def stored(engine: Engine, name: str) -> list[dict[str, Any]]:
    """The rows of a model as they stand in its blocks, with the types of their values, less what was filled in."""
    found = []
    with reading(engine) as connection:
        model = catalog.get_model(connection, 1, name)
        for _, batch in read_blocks(connection, model.id, 0, log_end(connection, model.id).next_row):
            for row in batch.to_pylist():
                bits = row.pop("filled")
                row.pop("version")
                for bit, field in ((FILLED_ID, "id"), (FILLED_TIMESTAMP, "timestamp"), (FILLED_KNOWN_AT, "known_at")):
                    if bits & bit:
                        row.pop(field)
                found.append({k: (type(v).__name__, v) for k, v in row.items() if v is not None})
    return found


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBER = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
TIME = st.builds(lambda us: (START + timedelta(microseconds=us)).isoformat(), st.integers(0, 2 * 86_400_000_000))
# An Arrow column has one type, so a column of rows has one here too; which one is drawn.
LABELS = [TEXT, st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False)]


@st.composite
def batches(draw: st.DrawFn) -> Rows:
    """Rows whose columns have one type each: fitting ones, odd ones, absent ones."""
    size = draw(st.integers(1, 6))

    def column(*kinds: st.SearchStrategy[Any]) -> list[Any]:
        kind = draw(st.sampled_from([st.none(), *kinds]))
        return draw(st.lists(st.one_of(st.none(), kind), min_size=size, max_size=size))

    features = {
        name: column(*LABELS, st.lists(st.integers(0, 9), max_size=2)) for name in SCHEMA if draw(st.booleans())
    }
    if draw(st.booleans()):
        features[draw(TEXT.filter(bool))] = column(*LABELS)
    fields = {
        "timestamp": column(TIME),
        "version": column(st.sampled_from(["1", "v2", "bad version"])),
        "prediction": column(*LABELS),
        "score": column(st.floats(-0.25, 1), st.integers(0, 2), TEXT, st.booleans()),
        "latency_ms": column(st.floats(0, 1e9), st.integers(-1, 9)),
        "error": column(TEXT, st.booleans()),
        "role": column(st.sampled_from(["live", "shadow", "other"])),
        "served_from": column(st.sampled_from(["online", "fallback"])),
        "computed_at": column(TIME),
        "environment": column(TEXT),
        "known_at": column(TIME),
    }
    tags, scores = {"a": column(*LABELS)}, {"yes": column(st.floats(0, 1))}
    rows = []
    for at in range(size):
        row: dict[str, Any] = {"id": f"row {at}"}
        row |= {name: values[at] for name, values in fields.items() if values[at] is not None}
        for group, columns in (("features", features), ("tags", tags), ("scores", scores)):
            given = {name: values[at] for name, values in columns.items() if values[at] is not None}
            if given:
                row[group] = given
        rows.append(row)
    return rows


@hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate],
)
@hypothesis.given(rows=batches(), with_schema=st.booleans())
def test_the_same_rows_are_stored_alike_and_are_duplicates_of_each_other(
    served: Served, rows: Rows, with_schema: bool
) -> None:
    client, engine = served
    config = {"features": SCHEMA} if with_schema else {}
    answers, kept, models = {}, {}, {}
    for encoding in ENCODINGS:
        models[encoding] = make_model(client, **config)
        answer = post(client, models[encoding], encoding, rows)
        assert answer.status_code in (200, 422), (encoding, answer.text)
        body = answer.json()
        rejected = [(one["index"], one["id"], one["code"]) for one in body["rejected"]]
        answers[encoding] = (answer.status_code, body["accepted"], body["rejected_count"], rejected)
        kept[encoding] = stored(engine, models[encoding])
    for encoding in ENCODINGS:
        assert answers[encoding] == answers["rows"], encoding
        assert kept[encoding] == kept["rows"], encoding
    first = models["ndjson"]
    for encoding in ENCODINGS:
        again = post(client, first, encoding, rows).json()
        assert (again["accepted"], again["duplicates"]) == (0, answers["rows"][1]), (encoding, again)
