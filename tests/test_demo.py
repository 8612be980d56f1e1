"""The demo's parts: the data, the order of the replay, and the receiver that verifies signatures by hand.

The whole demo takes minutes and is run by `make demo ARGS=--exit`.
"""

import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='the demo needs pip install "keepwatch[demo]"')

from demo import flights, receiver, replay
from demo.server import free_port


@pytest.fixture(scope="module")
def year() -> flights.Flights:
    return flights.load()


@pytest.fixture(scope="module")
def march(year: flights.Flights) -> flights.Flights:
    """The first week of March."""
    return year.where((year.month == 3) & (year.day < 67))


def test_every_flight_of_the_year_is_there_once_and_in_order(year: flights.Flights):
    assert len(year) == 336_776
    assert year.table["id"].is_unique
    assert (np.diff(year.departs) >= 0).all()


def test_the_first_flight_leaves_when_the_timetable_said(year: flights.Flights):
    assert np.datetime64(int(year.departs[0]), "us") == np.datetime64("2013-01-01T10:15")  # 5:15 in New York


def test_outcomes_are_known_after_the_prediction_or_never(year: flights.Flights):
    known = year.lands >= 0
    assert (known == ~np.isnan(year.late)).all()
    assert (year.lands[known] > year.departs[known]).all()
    assert 0.02 < 1 - known.mean() < 0.03


def test_a_model_never_sees_what_happened_after_the_departure():
    assert not {"dep_delay", "arr_delay", "air_time", "arr_time", "month", "day"} & set(flights.FEATURES)


def test_the_replay_sends_every_row_once_and_goes_forward(march: flights.Flights):
    sent: list[str] = []
    landed: list[str] = []
    last = -1
    for step in replay.steps(march, np.full(len(march), 0.25)):
        assert step.at > last
        last = step.at
        if step.predictions:
            columns = json.loads(step.predictions)["columns"]
            assert columns["timestamp"] == columns["known_at"]
            sent += columns["id"]
        if step.outcomes:
            rows = json.loads(step.outcomes)["rows"]
            assert {row["actual"] for row in rows} <= {"late", "on time"}
            landed += [row["id"] for row in rows]
    assert sent == march.table["id"].tolist()
    assert sorted(landed) == sorted(march.table["id"][march.lands >= 0])


def test_no_row_is_sent_before_it_is_known(march: flights.Flights):
    for step in replay.steps(march, np.full(len(march), 0.25)):
        end = replay.times(np.array([step.at + replay.STEP]))[0]
        for row in json.loads(step.outcomes)["rows"] if step.outcomes else []:
            assert row["known_at"] < end


def test_the_reference_holds_no_number_that_json_has_not(march: flights.Flights):
    text = replay.reference_body(march, np.full(len(march), 0.25)).decode()
    assert "NaN" not in text and "Infinity" not in text
    columns = json.loads(text)["columns"]
    assert {len(values) for name, values in columns.items() if name != "features"} == {len(march)}
    assert columns["actual"].count(None) == int(np.isnan(march.late).sum())


@pytest.fixture
def listening() -> Iterator[receiver.Receiver]:
    made = receiver.Receiver()
    yield made
    made.close()


def post(to: receiver.Receiver, message: str, sent_at: int, *, key: bytes | None = None) -> int:
    body = json.dumps({"type": "alert.firing", "data": {"family": "features"}}).encode()
    secret = key or base64.b64decode(to.secret.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{message}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(to.url, body, headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def now() -> int:
    import time

    return int(time.time())


def test_the_receiver_keeps_a_delivery_once_however_often_it_comes(listening: receiver.Receiver):
    assert [post(listening, "msg_1", now()) for _ in range(3)] == [204, 204, 204]
    assert [one.type for one in listening.received.values()] == ["alert.firing"]


def test_the_receiver_refuses_another_key_and_old_messages(listening: receiver.Receiver):
    assert post(listening, "msg_1", now(), key=b"x" * 32) == 401
    assert post(listening, "msg_1", now() - 3600) == 401
    assert not listening.received and len(listening.refused) == 2


def test_the_next_free_port_is_taken():
    import socket

    first = free_port(18_000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert free_port(first) > first
