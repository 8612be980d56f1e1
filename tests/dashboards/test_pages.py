"""The pages as a browser gets them: what they say, what they cost, and that no name breaks out of them."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from dashboards import words
from dashboards.entry import NEXT_COOKIE
from dashboards.links import Links, own
from monitor import clock
from monitor.api import auth
from monitor.app import create_app
from monitor.settings import Settings
from monitor.store import tables as t
from monitor.store.session import writing
from tests.dashboards.seeded import BASE, FEATURES, HOSTILE, Seeded, statements

LINKS = Links()
LARGEST = 200_000  # bytes of a page without the chart script


class Elements(HTMLParser):
    """Tags with their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


def alert_ids(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {row.family: row.id for row in connection.execute(sa.select(t.alert.c.family, t.alert.c.id))}


def addresses(engine: Engine, seeded: Seeded) -> list[str]:
    model = seeded.drifting
    return [
        "/",
        *(LINKS.model(name) for name in (model, seeded.learning, seeded.empty)),
        *(LINKS.model(model, range_=name) for name in ("24h", "7d", "30d", "90d", "all")),
        LINKS.features(model),
        *(LINKS.feature(model, name, range_="all") for name in FEATURES),
        "/alerts",
        *(LINKS.alert(one) for one in alert_ids(engine).values()),
        "/channels",
        "/login",
        "/login?token=" + quote('"><script>alert(1)</script>'),
    ]


def test_every_page_answers_is_small_and_holds_no_script_of_its_own(
    pages: TestClient, seeded_engine: Engine, seeded: Seeded
) -> None:
    for address in addresses(seeded_engine, seeded):
        answer = pages.get(address)
        assert answer.status_code == 200, address
        assert len(answer.content) < LARGEST, address
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        found = Elements(answer.text)
        for tag, attributes in found.tags:
            assert not any(name.startswith("on") for name in attributes), (address, tag, attributes)
            if tag == "script":
                assert "src" in attributes or attributes.get("type") == "application/json", address
            for name in ("href", "src", "action"):
                assert not (attributes.get(name) or "").lower().startswith("javascript:"), address
        assert not any(tag == "img" or tag == "b" for tag, _ in found.tags), address
        for script in found.scripts:
            json.loads(script)


def test_names_are_shown_as_they_are(pages: TestClient, seeded: Seeded) -> None:
    for name in FEATURES:
        answer = pages.get(LINKS.feature(seeded.drifting, name))
        assert answer.status_code == 200, name
        heading = re.search(r"<h1><bdi>(.*?)</bdi></h1>", answer.text)
        assert heading is not None
        assert heading[1].replace("&lt;", "<").replace("&gt;", ">") == name


def test_a_chart_label_is_escaped_once_more_because_plotly_reads_html(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.model(seeded.drifting, range_="all")).text
    figure = next(json.loads(s) for s in Elements(html).scripts if '"heatmap"' in s)
    labels = figure["layout"]["yaxis"]["ticktext"]
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in labels
    assert not any("<" in label for label in labels)


def test_the_drifted_feature_stands_on_top_of_the_heat_map_and_leads_to_its_page(
    pages: TestClient, seeded: Seeded
) -> None:
    html = pages.get(LINKS.model(seeded.drifting, range_="all")).text
    figure = next(json.loads(s) for s in Elements(html).scripts if '"heatmap"' in s)
    assert figure["layout"]["yaxis"]["ticktext"][0] in ("amount", "plan")
    assert figure["links"][0].startswith(LINKS.features(seeded.drifting) + "/")
    cells = figure["data"][0]
    assert len(cells["y"]) <= 60 and len(cells["x"]) <= 121
    assert len(cells["x"]) == len(cells["z"][0]) + 1


def test_the_list_says_how_each_model_is_and_why(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get("/").text
    assert "Critical" in html and "Learning" in html and "No data" in html
    assert html.count('class="spark"') == 4
    assert "Performance changed" in html
    model = pages.get(LINKS.model(seeded.drifting)).text.partition("</title>")[2]
    assert f"{seeded.drifting}: " not in html + pages.get("/alerts").text + model


def test_a_model_with_alerts_answers_since_when_and_why_at_the_top(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.model(seeded.drifting)).text
    first = html.index("Inputs changed")
    assert first < html.index("Traffic</bdi>")
    assert "<code>amount</code> rose by" in html and "`" not in html
    assert re.search(r'since <time datetime="2026-03-1\dT', html)


def test_an_alert_page_ranks_causes_and_draws_each(pages: TestClient, seeded_engine: Engine) -> None:
    alert = alert_ids(seeded_engine)["features"]
    with seeded_engine.connect() as connection:
        causes = json.loads(connection.scalar(sa.select(t.alert.c.causes).where(t.alert.c.id == alert)))
    html = pages.get(LINKS.alert(alert)).text
    titles = []
    for cause in causes:
        title = words.cause(cause["metric"]).title
        titles.append(title if cause["feature"] is None else f"{title} of {cause['feature']}")
    assert "Distribution of amount" in titles
    places = [html.index(f"<bdi>{title}</bdi></a></h3>") for title in titles]
    assert places and places == sorted(places)
    assert html.count('role="img"') == len(causes)
    assert "at most one false alarm in 90" in html
    assert "first evidence" in html


def test_an_effect_has_the_unit_of_its_cause(pages: TestClient, seeded_engine: Engine) -> None:
    bare = {"feature": None, "segment": None, "share": 0.5, "text": "changed"}
    causes = [
        {**bare, "metric": "accuracy", "effect": -0.031, "low": -0.045, "high": -0.017},
        {**bare, "metric": "classifier_auc", "effect": 0.42, "low": 0.32, "high": 0.5},
        {**bare, "metric": "log_loss", "effect": 0.7, "low": None, "high": None},
    ]
    alert = alert_ids(seeded_engine)["features"]
    with seeded_engine.begin() as connection:
        connection.execute(sa.update(t.alert).where(t.alert.c.id == alert).values(causes=json.dumps(causes)))
    facts = re.findall(r"<dt>(?:Effect|95 % interval)</dt><dd>(.*?)</dd>", pages.get(LINKS.alert(alert)).text)
    assert [fact.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ") for fact in facts] == [
        "−3.1 accuracy points",
        "−4.5 to −1.7 accuracy points",
        "+0.420 AUC above chance",
        "0.320 to 0.500 AUC above chance",
        "+0.700 log loss",
    ]


def test_charts_have_a_sentence_and_the_same_numbers_as_a_table(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.feature(seeded.drifting, "amount", range_="all")).text
    plots = re.findall(r'role="img" aria-label="([^"]+)"', html)
    assert len(plots) == 7 and all(plot.endswith(".") for plot in plots)
    assert html.count("<summary>Numbers</summary>") == 7
    assert html.count("<tr>") < 7 * 52


def test_empty_states_say_what_to_do_next(pages: TestClient, seeded: Seeded) -> None:
    learning = pages.get(LINKS.model(seeded.learning)).text
    assert "No labels yet" in learning and "No latency sent" in learning and "still learning" in learning
    empty = pages.get(LINKS.model(seeded.empty)).text
    assert f"curl -X POST {BASE}/v1/models/{seeded.empty}/predictions" in empty
    long_ago = pages.get(LINKS.model(seeded.drifting, from_="2020-01-01T00:00:00Z", to="2020-01-02T00:00:00Z")).text
    assert "No data in this stretch" in long_ago


def test_an_empty_installation_shows_the_first_steps(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    with writing(sqlite_engine) as connection:
        session = auth.exchange_login(
            connection, auth.issue_login(connection, 1, "anna", "admin", clock.now()), clock.now()
        )
    with TestClient(create_app(sqlite_settings, sqlite_engine), base_url=BASE) as client:
        html = client.get("/", headers={"cookie": f"{auth.COOKIE}={session}"}).text
    assert f"curl -X PUT {BASE}/v1/models/my-model" in html


def test_ranges_end_at_the_models_own_now(pages: TestClient, seeded: Seeded) -> None:
    html = pages.get(LINKS.model(seeded.drifting, range_="24h")).text
    assert "Mar 2026" in html.split('class="between"')[1][:400]
    assert 'aria-current="true">24h' in html


def test_a_stretch_that_cannot_be_read_is_explained_on_a_page(pages: TestClient, seeded: Seeded) -> None:
    for query in ("from=yesterday", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z"):
        answer = pages.get(f"{LINKS.model(seeded.drifting)}?{query}")
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("text/html")


def test_what_does_not_exist_is_a_page_that_says_so(pages: TestClient, seeded: Seeded) -> None:
    for address in (
        "/models/none",
        LINKS.feature(seeded.drifting, "none"),
        "/alerts/none",
        LINKS.report(seeded.drifting, "none"),
    ):
        answer = pages.get(address)
        assert answer.status_code == 404, address
        assert "<h1>Not found</h1>" in answer.text


def test_an_alert_is_acknowledged_and_resolved_by_buttons(pages: TestClient, seeded_engine: Engine) -> None:
    alert = alert_ids(seeded_engine)["quality"]  # the others are what other tests look at
    for action, word in (("acknowledge", "Acknowledged"), ("resolve", "Resolved")):
        answer = pages.post(LINKS.alert_action(alert, action))
        assert answer.status_code == 303
        html = pages.get(answer.headers["location"]).text
        assert f"<span>{word}</span>" in html
        assert f"{word} by <bdi>seed</bdi>" in html


def test_a_report_is_asked_for_and_its_page_waits(pages: TestClient, seeded: Seeded) -> None:
    fields = {"from": "2026-03-02T00:00:00Z", "to": "2026-03-05T00:00:00Z"}
    answer = pages.post(LINKS.reports(seeded.drifting), data=fields)
    assert answer.status_code == 303
    html = pages.get(answer.headers["location"]).text
    assert "data-report=" in html and "<iframe" not in html
    listed = pages.get(LINKS.model(seeded.drifting)).text.split('id="reports"')[1]
    assert f'href="{answer.headers["location"]}"' in listed and "Waiting" in listed
    wrong = pages.post(LINKS.reports(seeded.drifting), data={"from": "2026-03-02T00:00:00Z", "to": "later"})
    assert wrong.status_code == 422


def test_a_finished_report_stands_in_a_frame_that_can_do_nothing_else(
    pages: TestClient, seeded: Seeded, seeded_engine: Engine
) -> None:
    fields = {"from": "2026-03-02T00:00:00Z", "to": "2026-03-05T00:00:00Z"}
    address = pages.post(LINKS.reports(seeded.drifting), data=fields).headers["location"]
    with writing(seeded_engine) as connection:
        connection.execute(sa.update(t.task).values(state="done", finished_at=1))
    html = pages.get(address).text
    frame = next(attributes for tag, attributes in Elements(html).tags if tag == "iframe")
    assert frame["sandbox"] == "allow-scripts"
    assert frame["src"] == "/v1" + address + "/html"


def test_a_form_of_another_site_changes_nothing(pages: TestClient, seeded_engine: Engine) -> None:
    alert = alert_ids(seeded_engine)["features"]
    with writing(seeded_engine) as connection:
        session = auth.exchange_login(
            connection, auth.issue_login(connection, 1, "anna", "admin", clock.now()), clock.now()
        )
    headers = {"authorization": "", "cookie": f"{auth.COOKIE}={session}", "sec-fetch-site": "cross-site"}
    answer = pages.post(LINKS.alert_action(alert, "resolve"), headers=headers)
    assert answer.status_code == 403


def test_a_login_link_needs_one_click_and_works_once(sqlite_engine: Engine, sqlite_settings: Settings) -> None:
    with writing(sqlite_engine) as connection:
        token = auth.issue_login(connection, 1, "anna", "read", clock.now())
    same = {"sec-fetch-site": "same-origin"}
    app = create_app(sqlite_settings, sqlite_engine)
    with TestClient(app, base_url=BASE, follow_redirects=False, headers={"accept": "text/html"}) as client:
        assert client.get("/").headers["location"] == "/login"
        for _ in range(2):
            assert 'name="token"' in client.get(f"/login?token={token}").text
        entered = client.post("/login", data={"token": token}, headers=same)
        assert entered.status_code == 303
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert client.get("/").status_code == 200
        again = client.post("/login", data={"token": token}, headers=same)
        assert again.status_code == 401 and "keepwatch login" in again.text
        assert client.post("/logout", headers=same).status_code == 303
        assert client.get("/").status_code == 303


FOREIGN = ("//evil.example", "/\\evil.example", "https://evil.example", "evil.example", "javascript:alert(1)", "/a\nb")


@pytest.mark.parametrize("target", [*FOREIGN, "/\t/evil.example", "/" + "a" * 2000, "\\\\evil.example", " /a", ""])
def test_only_a_path_of_our_own_is_a_target_after_log_in(sqlite_app: TestClient, target: str) -> None:
    assert own(target) == "" and own("/models/shop?range=7d#drift") == "/models/shop?range=7d#drift"
    shown = sqlite_app.get("/login", params={"token": "t", "next": target})
    assert 'name="next"' not in shown.text and "set-cookie" not in shown.headers
    shown = sqlite_app.get("/login?token=t", headers={"cookie": f"{NEXT_COOKIE}={quote(target, safe='')}"})
    assert 'name="next"' not in shown.text
    with writing(sqlite_app.app.state.engine) as connection:  # type: ignore[attr-defined]
        token = auth.issue_login(connection, 1, "anna", "read", clock.now())
    entered = sqlite_app.post("/login", data={"token": token, "next": target})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")


def test_who_logs_in_is_led_to_the_page_that_was_asked_for(sqlite_app: TestClient) -> None:
    target = "/models/shop/features?q=%3Cb%3E&range=7d"
    waiting = sqlite_app.get(LINKS.login(target))
    assert "Path=/login" in waiting.headers["set-cookie"] and "HttpOnly" in waiting.headers["set-cookie"]
    with writing(sqlite_app.app.state.engine) as connection:  # type: ignore[attr-defined]
        token = auth.issue_login(connection, 1, "anna", "read", clock.now())
    form = Elements(sqlite_app.get(f"/login?token={token}").text)  # the link of the command line knows no target
    fields = {str(one["name"]): str(one["value"]) for tag, one in form.tags if tag == "input"}
    assert fields == {"token": token, "next": target}
    entered = sqlite_app.post("/login", data=fields)
    assert entered.headers["location"] == target
    assert NEXT_COOKIE not in sqlite_app.cookies, "the next log-in begins anew"


@pytest.fixture
def sqlite_app(sqlite_engine: Engine, sqlite_settings: Settings) -> Iterator[TestClient]:
    """An empty installation, and a browser that is not logged in."""
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    with TestClient(
        create_app(sqlite_settings, sqlite_engine), base_url=BASE, follow_redirects=False, headers=headers
    ) as client:
        yield client


def test_a_reader_sees_no_buttons_that_change_things(pages: TestClient, seeded: Seeded, seeded_engine: Engine) -> None:
    with writing(seeded_engine) as connection:
        session = auth.exchange_login(
            connection, auth.issue_login(connection, 1, "rita", "read", clock.now()), clock.now()
        )
    headers = {"authorization": "", "cookie": f"{auth.COOKIE}={session}"}
    html = pages.get(LINKS.alert(alert_ids(seeded_engine)["features"]), headers=headers).text
    assert "Acknowledge</button>" not in html
    assert "Evidently report" not in pages.get(LINKS.model(seeded.drifting), headers=headers).text


@pytest.mark.parametrize(("address", "most"), [("/", 40), ("/alerts", 6), ("/channels", 7)])
def test_lists_ask_few_questions(pages: TestClient, seeded_engine: Engine, address: str, most: int) -> None:
    pages.get(address)
    asked = statements(seeded_engine)
    pages.get(address)
    assert len(asked) <= most, asked
    assert not any("block.payload" in question for question in asked)
