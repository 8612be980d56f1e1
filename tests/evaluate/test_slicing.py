"""Slices on rows of a real log: searched in the background, found, and followed as segments."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy.engine import Engine

from monitor import slices, tasks
from monitor.clock import DAY, HOUR, MINUTE, render
from monitor.errors import Conflict, Invalid, NotFound
from monitor.evaluate import series as data
from monitor.evaluate.rows import fit, to_rows
from monitor.store import catalog
from monitor.store import tasks as stored
from monitor.store.session import reading, writing
from monitor.store.slices import Term
from tests.evaluate.small import START, Log, binary_rows, to_batch

STEP = 6 * MINUTE
ROWS = 20 * DAY // STEP


def outcomes(rows: list[dict[str, Any]], broken: bool) -> list[tuple[str, str, int]]:
    """True to the score, but for carrier BB above x = 0.5 when it is broken: there every second label turns over."""
    number = np.random.default_rng(9)
    found = []
    for row in rows:
        chance = row["score"]
        turned = broken and row["features"]["carrier"] == "BB" and row["features"]["x"] > 0.5 and number.random() < 0.6
        label = (number.random() < chance) != turned
        found.append((row["id"], str(int(label)), row["timestamp"] + HOUR))
    return found


def history(engine: Engine) -> Log:
    """Twenty days as they should be, and twenty in which one carrier's high values go wrong."""
    log = Log.make(engine, features={"x": "numeric", "carrier": "categorical"}, label_delay="1d", segments=[])
    for part in range(2):
        rows = binary_rows(ROWS, start=START + part * 20 * DAY, step=STEP, prefix=f"p{part}-", seed=part)
        log.predictions(rows)
        log.outcomes(outcomes(rows, part == 1))
    log.build()
    return log


def search(log: Log, **body: Any) -> stored.Task:
    with writing(log.engine) as connection:
        model = catalog.get_model_by_id(connection, log.model_id)
        now = START + 41 * DAY
        asked = slices.read(connection, model, {"against": "previous", **body}, now)
        made = slices.ask(connection, model, asked, START)
    assert tasks.run_pending(log.engine, "slices") == 1
    with reading(log.engine) as connection:
        return stored.get(connection, log.model_id, "slices", made.id)


def stretch(days: int, to: int) -> dict[str, str]:
    return {"from": render(START + days * DAY), "to": render(START + to * DAY)}


def test_a_slice_is_found_told_followed_and_counted(engine: Engine) -> None:
    broken = history(engine)
    found = search(broken, **stretch(20, 40))
    assert found.state == "done", found.error
    answer = found.answer
    assert (answer["loss"], answer["against"], answer["block"]) == ("brier", "previous", "24h")
    first = answer["slices"][0]
    assert {one["feature"] for one in first["where"]} == {"x", "carrier"}
    assert {"feature": "carrier", "is": ["BB"]} in first["where"] and "`carrier` is 'BB'" in first["text"]
    assert first["low"] > 0 and first["p"] <= 0.05 and first["rows"] > 100 and first["after"] > first["before"]
    with writing(broken.engine) as connection:
        name, model = slices.follow(connection, broken.model, found.id, 0, None, START, "anna")
        assert slices.follow(connection, model, found.id, 0, None, START, "anna")[0] == name  # again is no second one
        with pytest.raises(NotFound):
            slices.follow(connection, model, found.id, 99, None, START, "anna")
        body = {
            "task": "binary",
            "segments": [],
            "slices": {name: first["where"], "mine": [{"feature": "x", "from": 9}]},
        }
        model, _ = catalog.put_model(connection, 1, model.name, body, START, "test")
        model = replace(model, config=replace(model.config, slices={"mine": model.config.slices["mine"]}))
        with pytest.raises(Conflict):
            slices.follow(connection, model, found.id, 0, "mine", START, "anna")
    broken.build()
    with reading(broken.engine) as connection:
        model = broken.model
        query = data.Query("brier", segment=f"{name}:in", from_us=START + 20 * DAY, to_us=START + 40 * DAY, step_us=DAY)
        points = data.series(connection, model, query, START + 41 * DAY)
    values = [one.value for one in points if one.value is not None]
    assert sum(one.n for one in points) == pytest.approx(first["rows"], rel=0.06)  # the last day is not due yet
    assert np.mean(values) == pytest.approx(first["after"], abs=0.08)
    with writing(broken.engine) as connection:
        slices.unfollow(connection, model, name, START, "anna")
    with writing(broken.engine) as connection, pytest.raises(NotFound):
        slices.unfollow(connection, broken.model, name, START, "anna")


def test_a_search_says_why_it_is_not_possible_and_leaves_out_what_is_not_due(
    sqlite_engine: Engine,
) -> None:
    broken = history(sqlite_engine)
    assert "no row of the stretch has an outcome" in str(search(broken, **stretch(60, 70)).error)
    assert "choose a longer stretch" in str(search(broken, **stretch(39, 39) | {"to": "2026-04-10T05:00:00Z"}).error)
    due = search(broken, **stretch(20, 60)).answer
    assert due["to"] == "2026-04-10T00:54:00Z"  # the delay of a day before the last outcome, the model's now


@pytest.mark.parametrize(
    "body",
    [{"from": "soon"}, {"against": "yesterday"}, {"to": 5}, {"more": 1}, stretch(30, 20), stretch(0, 3000)],
)
def test_what_cannot_be_searched_is_refused(engine: Engine, body: dict[str, Any]) -> None:
    log = Log.make(engine)
    with reading(engine) as connection, pytest.raises(Invalid):
        slices.read(connection, log.model, body, START)


@pytest.mark.parametrize(
    ("terms", "inside"),
    [
        ([Term("x", low=0.0)], [1, 2]),
        ([Term("x", high=1.0)], [0, 1]),
        ([Term("x", low=0.0, high=1.0)], [1]),
        ([Term("x", missing=True)], [3, 4]),
        ([Term("c", levels=("a",))], [0, 3]),
        ([Term("c", levels=("a",), but=True)], [1]),
        ([Term("c", missing=True)], [2, 4]),
        ([Term("c", levels=("a",)), Term("x", high=0.0)], [0]),
        ([Term("c", low=1.0)], []),
        ([Term("gone", missing=True)], [0, 1, 2, 3, 4]),
        ([Term("gone", levels=("a",))], []),
    ],
)
def test_terms_choose_rows(terms: list[Term], inside: list[int]) -> None:
    values = [(-1.0, "a"), (0.5, "b"), (2.0, None), (None, "a"), (float("nan"), None)]
    rows = [{"id": str(place), "timestamp": START, "features": {"x": x, "c": c}} for place, (x, c) in enumerate(values)]
    kinds = {"x": "numeric", "c": "categorical", "gone": "categorical"}
    batch = fit(to_batch(rows, "binary", {"": 0}), kinds)
    found = to_rows(batch, "binary", kinds, ["s"], None, {"s": tuple(terms)}).segments["s"]
    assert np.flatnonzero(found.codes == 0).tolist() == inside and found.levels == ("in",)


def test_a_put_that_does_not_speak_of_slices_leaves_them(engine: Engine) -> None:
    terms = {"odd": [{"feature": "x", "from": 1, "to": 2}, {"feature": "c", "is_not": ["a", "b"]}]}
    log = Log.make(engine, slices=terms)
    assert log.model.config.to_dict()["slices"] == json.loads(json.dumps(terms))
    for body, left in (({}, ["odd"]), ({"slices": {}}, [])):
        with writing(engine) as connection:
            settings = {"task": "binary", "positive_class": "1", **body}
            made, _ = catalog.put_model(connection, 1, log.model.name, settings, START, "test")
        assert list(made.config.slices) == left


@pytest.mark.parametrize(
    "terms",
    [
        [],
        "x",
        [{"feature": "x"}],
        [{"feature": "x", "from": 2, "to": 1}],
        [{"feature": "x", "from": 1, "is": ["a"]}],
        [{"feature": "x", "is": []}],
        [{"feature": "", "missing": True}],
        [{"feature": "x", "missing": True, "more": 1}],
        [{"feature": "x", "missing": True}] * 3,
        [5],
    ],
)
def test_slices_that_are_none_are_refused(engine: Engine, terms: object) -> None:
    with pytest.raises(Invalid, match=r"slices"):
        Log.make(engine, slices={"odd": terms})
