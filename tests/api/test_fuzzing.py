"""What schemathesis makes of our OpenAPI document: no answer is a 5xx, and every refusal is a problem of RFC 9457.

A short form of `python -m tests.benchmarks.fuzz`; how requests are made stands in tests/api/fuzzing.py.
"""

from sqlalchemy.engine import Engine

from monitor.settings import Settings
from tests.api.fuzzing import documented, fuzz, serving


def test_no_request_that_the_document_allows_or_forbids_breaks_the_service(settings: Settings, engine: Engine) -> None:
    with serving(settings, engine) as client:
        tally = fuzz(client, documented(client), examples=2, seed=7, every=1 if settings.embedded else 4)
    assert tally.failures == []
    assert tally.requests > (120 if settings.embedded else 30) and {200, 404, 422} <= tally.statuses.keys()


def test_an_answer_of_500_is_seen(sqlite_settings: Settings, sqlite_engine: Engine) -> None:
    with serving(sqlite_settings, sqlite_engine) as client:
        document = documented(client)
        document["paths"] = {"/v1/alerts": document["paths"]["/v1/alerts"]}
        client.app.state.engine = None  # type: ignore[attr-defined]
        found = fuzz(client, document, examples=1, seed=7, before=lambda _client: None).failures
    assert found, "the service had no database, and nothing was found"
