"""One line around an endpoint or a model: what it answers is untouched, and each call is logged."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flask
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sklearn.linear_model import LinearRegression, LogisticRegression

from monitor.client import Client
from tests.client.services import StandIn

Make = Callable[..., Client]


class Order(BaseModel):
    age: int
    plan: str


@dataclass
class Ride:
    distance: float


def sent(client: Client, service: StandIn) -> list[dict[str, Any]]:
    """What arrived, in the order it was logged."""
    assert client.flush()
    return [service.rows["predictions", row_id] for request in service.requests for row_id in request]


def test_a_fastapi_endpoint(make: Make, service: StandIn):
    client, app = make(), FastAPI()

    @app.post("/score")
    @client.fastapi
    def score(order: Order) -> dict[str, Any]:
        """Scores an order."""
        if order.age < 0:
            raise RuntimeError("a secret")
        return {"id": f"order-{order.age}", "prediction": "yes", "score": 0.75, "other": 1}

    @app.post("/later")
    @client.fastapi(version="4", tags=lambda ride: {"long": ride.distance > 5})
    async def later(ride: Ride) -> float:
        return ride.distance * 2

    with TestClient(app, raise_server_exceptions=False) as browser:
        assert browser.post("/score", json={"age": 41, "plan": "pro"}).json()["other"] == 1
        assert browser.post("/score", json={"age": "no"}).status_code == 422
        assert browser.post("/score", json={"age": -1, "plan": "pro"}).status_code == 500
        assert browser.post("/later", json={"distance": 7.5}).json() == 15.0
        assert "Scores an order." in browser.get("/openapi.json").text
    first, failed, other = sent(client, service)
    assert first["features"] == {"age": 41, "plan": "pro"} and first["latency_ms"] >= 0
    assert (first["id"], first["prediction"], first["score"], first["version"]) == ("order-41", "yes", 0.75, "3")
    assert failed["error"] == "RuntimeError" and "prediction" not in failed and failed["features"]["age"] == -1
    assert (other["features"], other["prediction"], other["version"]) == ({"distance": 7.5}, 15.0, "4")
    assert other["tags"] == {"long": True}


def test_a_flask_view(make: Make, service: StandIn):
    client, app = make(), flask.Flask("shop")

    @app.post("/score")
    @client.flask
    def score() -> Any:
        return {"label": "yes", "score": 0.25}, 201

    @app.get("/plain/<name>")
    @client.flask(answer=lambda text: {"prediction": text.upper()}, id=lambda name: "row-" + name)
    def plain(name: str) -> str:
        return name

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        browser = app.test_client()
        assert browser.post("/score", json={"features": {"age": 41}}).status_code == 201
        assert browser.get("/plain/lyon?size=3").text == "lyon"
    first, second = sent(client, service)
    assert (first["features"], first["prediction"], first["score"]) == ({"age": 41}, "yes", 0.25)
    assert (second["features"], second["prediction"], second["id"]) == ({"size": "3"}, "LYON", "row-lyon")


def test_wrappers_that_cannot_read_a_call_log_that_and_let_it_pass(make: Make, service: StandIn):
    client = make()

    @client.fastapi(features=lambda **_: 1 / 0)
    def score(x: int) -> int:
        return x

    assert score(x=3) == 3
    assert sent(client, service)[0]["error"] == "not readable by the wrapper: ZeroDivisionError"


SAMPLES = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])


def test_a_scikit_learn_classifier(make: Make, service: StandIn):
    client = make()
    frame = pd.DataFrame(SAMPLES, columns=["age", "income"])
    plain = LogisticRegression().fit(frame, ["no", "no", "yes", "yes"])
    model = client.sklearn(plain)
    assert model.predict(frame).tolist() == plain.predict(frame).tolist()
    logged = model.ids
    shares = model.predict_proba(frame, ids=["a", "b", "c", "d"])
    assert shares.tolist() == plain.predict_proba(frame).tolist()
    assert model.ids == ["a", "b", "c", "d"]
    assert model.classes_.tolist() == ["no", "yes"] and model.score(frame, ["no", "no", "yes", "yes"]) == 1
    for row_id in logged:
        client.outcome(row_id, "yes")
    assert client.flush()
    for at, row_id in enumerate(logged):
        row = service.rows["predictions", row_id]
        assert row["features"] == {"age": SAMPLES[at, 0], "income": SAMPLES[at, 1]}
        assert row["prediction"] == plain.predict(frame)[at] and row["latency_ms"] >= 0
        assert service.rows["outcomes", row_id]["actual"] == "yes"
    assert service.rows["predictions", "c"]["score"] == shares[2, 1]
    assert service.rows["predictions", "c"]["prediction"] == "yes"


@pytest.mark.parametrize(("features", "names"), [(None, ["x0", "x1"]), (["a", "b"], ["a", "b"])])
def test_scikit_learn_on_arrays_without_names(make: Make, service: StandIn, features: Any, names: list[str]):
    client = make()
    model = client.sklearn(LinearRegression().fit(SAMPLES, [1, 2, 3, 4]), features=features, version="9")
    samples = SAMPLES.copy()
    answers = model.predict(samples)
    expected = answers.tolist()
    samples[:] = -1  # what the caller does with its arrays afterwards is its own affair
    answers[:] = -1
    rows = sent(client, service)
    assert [row["features"] for row in rows] == [dict(zip(names, one, strict=True)) for one in SAMPLES.tolist()]
    assert [row["prediction"] for row in rows] == expected
    assert {row["version"] for row in rows} == {"9"}


def test_several_classes_are_logged_with_their_scores(make: Make, service: StandIn):
    client = make()
    plain = LogisticRegression().fit(SAMPLES, [0, 1, 2, 2])
    shares = client.sklearn(plain).predict_proba(SAMPLES)
    rows = sent(client, service)
    assert rows[3]["scores"] == {"0": shares[3, 0], "1": shares[3, 1], "2": shares[3, 2]}
    assert rows[3]["prediction"] == 2


def test_a_model_that_raises_raises_and_one_that_cannot_be_read_still_answers(make: Make, service: StandIn):
    client = make()

    class Odd:
        def predict(self, samples: Any) -> list[int]:
            if samples is None:
                raise ValueError("no samples")
            return [1]

    model = client.sklearn(Odd())
    with pytest.raises(ValueError):
        model.predict(None)
    assert model.predict(object()) == [1] and model.ids == []
    assert "not readable" in sent(client, service)[0]["error"]
