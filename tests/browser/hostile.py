"""An installation in which everything that a person or a program may name has a hostile name.

The names: every text of the Big List of Naughty Strings that may be a name, and Plotly's pseudo-HTML. They stand as
features, levels, tags (and so segments), channels, matchers, silences, events, comments and their authors, in the
texts and causes of alerts, and, where the letters are allowed, as models and versions.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection, Engine

from monitor import clock
from monitor.alerts import transition
from monitor.app import create_app
from monitor.ingest.writer import Writer
from monitor.settings import Settings
from monitor.store import keys
from monitor.store.alerts import Alert, insert_alert
from monitor.store.body import text_error
from monitor.store.catalog import Model, get_model
from monitor.store.identity import new_ids
from monitor.store.model_config import NAME
from monitor.store.session import reading, writing
from tests.dashboards.seeded import BASE, jobs_until

CORPUS = Path(__file__).parents[1] / "corpora" / "blns.json"
START = clock.parse("2026-03-02T00:00:00Z")
PSEUDO_HTML = (  # what Plotly draws as markup where it is not escaped, and what its templates replace
    "<b>bold</b>",
    "<i>slanted</i>",
    "one<br>two",
    "x<sub>1</sub>",
    "x<sup>2</sup>",
    '<a href="javascript:alert(1)">click</a>',
    '<a href="https://example.com" target="_self">out</a>',
    '<span style="font-size:90px;fill:red">huge</span>',
    '<span style="background:url(https://example.com/x)">far</span>',
    "<em>told</em><strong>loud</strong>",
    "<s>gone</s><u>line</u>",
    "$\\frac{1}{2}$",
    "$x$ and $y$",
    "%{y:.2f}",
    "%{customdata[0]}<extra></extra>",
    "<extra>aside</extra>",
    "%{meta.secret}",
    "&lt;b&gt;twice&lt;/b&gt;",
    "&amp;lt;img src=x onerror=alert(1)&amp;gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "</script><script>alert(1)</script>",
    "<!--<script>alert(1)",
    "]]></style><svg onload=alert(1)>",
    "--ink",
    "{{ 7 * 7 }}{% raw %}",
    "W" * 256,
    "ﷺ" * 40,
    "a\u202eb\u2066c\u200f",
    "-" * 200,
    "many words " * 20,
    "\u00a0\u2003\u3000",
)
PARTS = 25  # levels of one feature, as many as its page shows


def corpus() -> list[str]:
    """Every text that may be a name, each once, in a fixed order."""
    naughty = json.loads(CORPUS.read_text())
    return list(dict.fromkeys(name for name in (*PSEUDO_HTML, *naughty) if text_error(name) is None))


NAMES = corpus()
MODELS = [name for name in NAMES if NAME.fullmatch(name)]
NAMED, LEVELS = "named", "levels"  # a model whose features have the names, and one whose levels and tags have them
LEVEL_FEATURES = [f"part-{index:02d}" for index in range(-(-len(NAMES) // PARTS))]
TASK = {"task": "binary", "positive_class": "yes", "clock": "events", "window": "1h", "label_delay": "1h"}
CAUSES = 6  # that the page of an alert shows


@dataclass(frozen=True)
class Hostile:
    """What was made: the alert with all comments, and alerts whose causes hold all names."""

    commented: str
    caused: list[str]


def plain(text: str) -> str:
    """A text as a browser may show it: runs of white space are one space, and none at the ends."""
    return re.sub(r"\s+", " ", text).strip()


def seed(engine: Engine, settings: Settings) -> Hostile:
    """Make the installation, through the API wherever the API has a way."""
    with writing(engine) as connection:
        key = keys.create_key(connection, 1, "seed", "admin", clock.now())
    app = create_app(settings, engine, Writer(engine, settings))
    with TestClient(app, base_url=BASE, headers={"Authorization": f"Bearer {key}"}) as client:
        _models(client)
        _rows(client, NAMED, dict.fromkeys(NAMES, "numeric"), {})
        _rows(client, LEVELS, dict.fromkeys(LEVEL_FEATURES, "categorical"), {"tag": NAMES[-20:], NAMES[0]: NAMES[:20]})
        jobs_until(engine, settings)
        reference = {"from": clock.render(START), "to": clock.render(START + 2 * clock.HOUR)}
        for model in (NAMED, LEVELS):
            _ok(client.put(f"/v1/models/{model}/reference", json=reference))
        _ok(client.post(f"/v1/models/{MODELS[0]}/predictions", json=_version_rows()))
        _quiet(client)
        for index, name in enumerate(NAMES[:60]):
            at = clock.render(START + index * 2 * clock.MINUTE)
            _ok(client.post(f"/v1/models/{NAMED}/events", json={"kind": "incident", "from": at, "text": name}))
    jobs_until(engine, settings)
    with reading(engine) as connection:
        named, levels = get_model(connection, 1, NAMED), get_model(connection, 1, LEVELS)
    with writing(engine) as connection:
        caused = [_alert(connection, named, NAMES[at : at + CAUSES], at) for at in range(0, len(NAMES), CAUSES)]
        commented = _alert(connection, levels, NAMES[:3], 0)
        for name in NAMES:
            transition.comment(connection, 1, commented, name, clock.now(), name)
    return Hostile(commented, caused)


def _models(client: TestClient) -> None:
    for model in MODELS:
        _ok(client.put(f"/v1/models/{model}", json=TASK))
    features = {name: {"kind": "numeric"} for name in NAMES}
    _ok(client.put(f"/v1/models/{NAMED}", json={**TASK, "features": features, "segments": []}))
    features = {name: {"kind": "categorical"} for name in LEVEL_FEATURES}
    _ok(client.put(f"/v1/models/{LEVELS}", json={**TASK, "features": features, "segments": ["tag", NAMES[0]]}))


def _rows(client: TestClient, model: str, features: dict[str, str], tags: dict[str, list[str]]) -> None:
    """Four hours of rows; every level of a part once an hour, and the last two hours drift."""
    count = 4 * PARTS
    stamps = [clock.render(START + i * 4 * clock.HOUR // count) for i in range(count)]
    columns: dict[str, list[float | str]] = {}
    for place, (name, kind) in enumerate(features.items()):
        if kind == "numeric":
            columns[name] = [float((i * 7 + place) % 20 + (25 if i * 2 >= count else 0)) for i in range(count)]
        else:
            part = NAMES[place * PARTS : (place + 1) * PARTS]
            columns[name] = [part[i % len(part)] for i in range(count)]
    scores = [(i * 13 % 100) / 100 for i in range(count)]
    body = {
        "id": [f"{model}-{i}" for i in range(count)],
        "timestamp": stamps,
        "known_at": stamps,
        "version": [MODELS[i % len(MODELS)] for i in range(count)] if model == LEVELS else ["1"] * count,
        "features": columns,
        "tags": {name: [values[i % len(values)] for i in range(count)] for name, values in tags.items()},
        "score": scores,
        "prediction": ["yes" if score >= 0.5 else "no" for score in scores],
    }
    _ok(client.post(f"/v1/models/{model}/predictions", json={"columns": body}))


def _version_rows() -> dict[str, object]:
    """A row of each version that the corpus allows."""
    at = clock.render(START)
    rows = [
        {"id": f"v{i}", "timestamp": at, "known_at": at, "version": name, "features": {"x": i}, "error": "E" * 200}
        for i, name in enumerate(MODELS)
    ]
    return {"rows": rows}


def _quiet(client: TestClient) -> None:
    """A hundred channels, as many as a project may have, and silences, with all names in them and their matchers."""
    for index in range(100):
        one, *rest = NAMES[index::100]
        match = [{"name": "model", "value": name, "isRegex": False, "isEqual": False} for name in rest]
        body = {"kind": "webhook", "name": one, "url": "https://example.com/hook", "match": match}
        _ok(client.post("/v1/channels", json=body))
    for index in range(200):
        one, *rest = NAMES[index::200]
        matchers = [{"name": "model", "value": name, "isRegex": False, "isEqual": True} for name in [one, *rest]]
        ends = clock.render(clock.now() + clock.DAY)
        _ok(client.post("/v1/silences", json={"matchers": matchers, "endsAt": ends, "comment": one}))


def _alert(connection: Connection, model: Model, names: list[str], place: int) -> str:
    """An alert of the past whose text and causes hold the names, as evaluation would write them."""
    at = START + 3 * clock.HOUR + place * clock.SECOND
    causes = [
        {
            "metric": "psi",
            "feature": name,
            "segment": None,
            "effect": 0.4,
            "low": 0.3,
            "high": 0.5,
            "share": 1 / len(names),
            "text": f"the distribution of `{name}` moved",
        }
        for name in names
    ]
    text = f"{model.name}: the distribution of `{names[0]}` moved in {names[-1]}"
    made = Alert(
        id=new_ids(1)[0],
        project_id=model.project_id,
        model_id=model.id,
        model=model.name,
        family="features",
        state="firing" if place == 0 else "resolved",
        severity="warning",
        opened_at=at,
        first_evidence_at=at,
        updated_at=at,
        resolved_at=None if place == 0 else at + clock.HOUR,
        evidence=5000.0,
        budget={"threshold": 2000.0},
        causes=tuple(causes),
        text=text,
    )
    insert_alert(connection, made)
    return made.id


def _ok(answer: object) -> None:
    assert getattr(answer, "status_code") < 300, getattr(answer, "text")  # noqa: B009
