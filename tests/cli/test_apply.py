"""keepwatch apply: the diff, idempotence, errors by line and field, and what YAML must not do."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.engine import Engine

from monitor import clock, settings
from monitor.alerts.notify import end_silence
from monitor.alerts.rules import read_silence
from monitor.api.auth import Principal
from monitor.api.deps import Context
from monitor.commands.manifest import read_manifest
from monitor.commands.sections import SECTIONS
from monitor.store import audit, channels, keys, routing, silences
from monitor.store import tables as t
from monitor.store.channels import Channel
from monitor.store.session import make_engine, reading, writing
from tests.alerts.receivers import NOW, make_channel
from tests.keys import SECRET_KEY

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FILE = """\
project:
  alert_budget: {false_alarms: 11, per: 1d}
models:
  loans:
    task: binary
    window: 1h
    alert_budget:
      false_alarms: 1
      per: 90d
    features: {income: {kind: numeric}}
  rides: {task: regression}
monitors:
  rides:
    few: {conditions: [{metric: volume, op: <, value: 10}], windows: 3}
channels:
  on-call:
    kind: webhook
    url: https://1.1.1.1/${TOKEN}
    secret: ${HOOK_SECRET}
    match:
      - {name: severity, value: critical}
routes:
  night:
    channels: [on-call]
    escalate_after: 30m
    quiet_hours: {from: 22:00, to: 06:00}
silences:
  reload:
    matchers: [{name: model, value: loans}]
    startsAt: 2026-01-01T00:00:00Z
    endsAt: 2199-01-01T00:00:00Z
    weekly: {days: [sat], from: 22:00, to: 02:00}
    comment: no problem
"""
SILENCE = """\
silences:
  s:
    matchers:
    - name: model
      value: {value}
      isRegex: true
    endsAt: {ends}
"""


@pytest.fixture
def apply(keepwatch: Run, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """apply(text, *options): the command on a fresh database."""
    monkeypatch.setenv("KEEPWATCH_SECRET_KEY", SECRET_KEY.get_secret_value())
    monkeypatch.setenv("TOKEN", "hidden-token")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    assert keepwatch("migrate")[0] == 0

    def run(text: str, *options: str) -> tuple[int, str, str]:
        (environment / "house.yaml").write_text(text)
        return keepwatch("apply", str(environment / "house.yaml"), *options)

    return run


def _rows() -> dict[str, int]:
    engine = make_engine(settings.load())
    with reading(engine) as connection:
        tables = (t.model, t.model_change, t.channel, t.route, t.silence, t.project_policy, t.deed)
        found = {one.name: connection.scalar(sa.select(sa.func.count()).select_from(one)) or 0 for one in tables}
    engine.dispose()
    return found


def test_a_file_is_applied_whole_and_twice_changes_nothing(apply: Run) -> None:
    code, out, err = apply(FILE)
    assert (code, err) == (0, "") and out.endswith("6 new, 1 changed, 0 unchanged: applied.\n")
    assert "+ model loans\n" in out and "    quiet_hours.from: 22:00\n" in out and "    url: (not shown)\n" in out
    assert "hidden-token" not in out and SECRET not in out
    before = _rows()
    counts = {"model": 2, "model_change": 2, "channel": 1, "route": 1, "silence": 1, "project_policy": 1}
    assert before == {**counts, "deed": 7}
    assert apply(FILE) == (0, "0 new, 0 changed, 7 unchanged: nothing to do.\n", "")
    assert _rows() == before


def test_a_change_is_shown_and_made_and_a_dry_run_makes_none(apply: Run) -> None:
    apply(FILE)
    changed = FILE.replace("escalate_after: 30m", "escalate_after: 1h").replace("window: 1h", "window: 1d")
    changed = changed.replace("${TOKEN}", "other")
    dry = apply(changed, "--dry-run")
    assert dry[1] == (
        "~ model loans\n    window: 1h -> 1d\n"
        "~ channel on-call\n    url: (not shown) -> (not shown)\n"
        "~ route night\n    escalate_after: 30m -> 1h\n"
        "0 new, 3 changed, 4 unchanged: would be applied.\n"
    )
    assert apply(FILE)[1].endswith("nothing to do.\n")
    assert apply(changed)[1] == dry[1].replace("would be applied", "applied")
    assert apply(changed)[1].endswith("nothing to do.\n")
    engine = make_engine(settings.load())
    with reading(engine) as connection:
        found = channels.find_channel(connection, 1, "on-call", SECRET_KEY)
        assert found is not None and (found.url, found.secret) == ("https://1.1.1.1/other", SECRET)
        assert routing.get_route(connection, 1, "night").escalate_after == "1h"
        deeds, _ = audit.deeds(connection, 1, 3)
    assert sorted((one.actor, one.what, one.subject, one.detail) for one in deeds) == [
        ("apply", "channel.changed", "on-call", "url"),
        ("apply", "model.changed", "loans", 'window: "1h" → "1d"'),
        ("apply", "route.changed", "night", 'escalate_after: "30m" → "1h"'),
    ]
    engine.dispose()


def test_a_dry_run_on_an_empty_database_shows_everything_and_leaves_nothing(apply: Run) -> None:
    before = _rows()
    code, out, _ = apply(FILE, "--dry-run", "--json")
    shown = json.loads(out)
    assert code == 0 and shown["dry_run"] is True
    assert [(one["section"], one["action"]) for one in shown["changes"]] == [
        ("project", "changed"), ("models", "new"), ("models", "new"), ("monitors", "new"), ("channels", "new"),
        ("routes", "new"),
        ("silences", "new"),
    ]  # fmt: skip
    assert _rows() == before


def test_a_secret_that_is_made_is_shown_once_and_stays(apply: Run) -> None:
    text = "channels:\n  hook: {kind: webhook, url: 'https://1.1.1.1/x'}\n"
    assert "whsec_" not in apply(text, "--dry-run")[1]
    assert "its secret, shown once: whsec_" in apply(text)[1]
    assert apply(text)[1] == "0 new, 0 changed, 1 unchanged: nothing to do.\n"


def test_a_silence_that_is_over_is_not_made_and_one_that_was_ended_by_hand_acts_again(apply: Run) -> None:
    over = "silences:\n  old: {matchers: [{name: model, value: x}], endsAt: 2020-01-01T00:00:00Z}\n"
    assert "is over already" in apply(over)[1] and _rows()["silence"] == 0
    apply(FILE)
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        found = silences.find_silence(connection, 1, "reload")
        assert found is not None
        end_silence(connection, 1, found.id, clock.now(), "ann")
    engine.dispose()
    assert "~ silence reload\n    endsAt: 20" in apply(FILE)[1] and _rows()["silence"] == 1


def test_a_channel_that_was_switched_off_is_told_of_and_on_again_with_a_new_address(apply: Run) -> None:
    apply(FILE)
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        found = channels.find_channel(connection, 1, "on-call", SECRET_KEY)
        assert found is not None
        channels.disable_channel(connection, found.id, clock.now(), "1.1.1.1 answered 410 Gone")
    told = "  channel on-call: is switched off, and a file does not switch it on: 1.1.1.1 answered 410 Gone\n"
    assert apply(FILE)[1] == told + "0 new, 0 changed, 7 unchanged: nothing to do.\n"
    assert "  channel on-call: was switched off, and is on again\n" in apply(FILE.replace("${TOKEN}", "new"))[1]
    with reading(engine) as connection:
        assert channels.get_channel(connection, 1, found.id, None).disabled_at is None
    engine.dispose()


def test_prune_removes_what_an_earlier_file_declared_and_nothing_made_by_hand(apply: Run) -> None:
    apply(FILE)
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        for name in ("by-hand", "spare"):
            make_channel(connection, "https://1.1.1.1/", name)
        everything = {"matchers": [{"name": "model", "value": "x"}], "endsAt": "2199-01-01T00:00:00Z"}
        silences.add_silence(connection, read_silence(everything, 1, clock.now(), "Ada"))
    shorter = (
        "monitors: {rides: {}}\nchannels: {by-hand: {kind: webhook, url: 'https://1.1.1.1/'}}\nroutes:\nsilences: {}\n"
    )
    left = "(--prune removes it): route night, silence reload, monitor rides/few, channel on-call.\n"
    assert apply(shorter)[1].endswith(left)
    before = _rows()
    dry = apply(shorter, "--prune", "--dry-run")[1]
    removed = "- route night\n- silence reload\n- monitor rides/few\n- channel on-call\n"
    assert dry.endswith(removed + "0 new, 0 changed, 1 unchanged, 4 removed: would be applied.\n") and _rows() == before
    assert apply(shorter, "--prune")[1] == dry.replace("would be applied", "applied")
    assert apply(shorter, "--prune")[1] == "0 new, 0 changed, 1 unchanged, 0 removed: nothing to do.\n"
    with reading(engine) as connection:
        assert set(channels.names_of(connection, 1).values()) == {"by-hand", "spare"}
        assert len(silences.list_silences(connection, 1, clock.now(), limit=9, state="active")[0]) == 1
    engine.dispose()
    # A section that the file does not have is left alone, and models are.
    apply(FILE)
    assert apply("models: {}\n", "--prune")[1] == "0 new, 0 changed, 0 unchanged, 0 removed: nothing to do.\n"
    assert apply(FILE, "--json")[1].count('"same"') == 7


def test_a_namesake_made_by_hand_is_not_what_was_declared(apply: Run) -> None:
    apply(FILE)
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        found = channels.find_channel(connection, 1, "on-call", SECRET_KEY)
        assert found is not None
        channels.delete_channel(connection, 1, found.id, clock.now(), "ann")
        make_channel(connection, "https://1.1.1.1/", "on-call")
    engine.dispose()
    assert "0 removed" in apply("channels: {}\n", "--prune")[1] and _rows()["channel"] == 1


def test_another_project_is_another_house(apply: Run) -> None:
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        keys.project_id_of(connection, "lab", 0)
    engine.dispose()
    assert "2 new" in apply("models: {a: {task: binary}, b: {task: binary}}", "--project", "lab")[1]
    assert "1 new" in apply("models: {a: {task: binary}}")[1]
    assert apply("", "--project", "nowhere")[0] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models:\n  loans:\n    task: binary\n    window: 5m\n", "house.yaml:4: models.loans.window: must be 1h"),
        ("models:\n  loans:\n    windov: 1h\n    task: binary\n", "house.yaml:3: models.loans.windov: is not a field"),
        ("models:\n  loans: {window: 1h}\n", "house.yaml:2: models.loans.task: must be one of"),
        ("models:\n  a/b: {task: binary}\n", "house.yaml:2: models.a/b: a name is 1 to 128"),
        ("models:\n  a: {task: binary, alert_budget: {per: x}}\n", ":2: models.a.alert_budget.per: not a span"),
        ("monitors:\n  no:\n    m: {conditions: []}\n", ":3: monitors.no.m: there is no model"),
        ("models: {a: {task: binary}}\nmonitors:\n  a:\n    m: {conditions: []}\n", ":4: monitors.a.m.conditions"),
        ("model:\n  a: {}\n", "house.yaml:1: model: is not a section: project, models"),
        ("models:\n  a: {task: binary}\n  a: {task: binary}\n", "house.yaml:3: models.a: stands here twice"),
        ("models:\n  a: [1]\n", "house.yaml:2: models.a: must be an object"),
        ("models: 5\n", "house.yaml:1: models: must hold names with bodies"),
        ("- a\n", "house.yaml:1: must hold sections"),
        ("models:\n  a: {task: [}\n", "house.yaml:2: is no YAML"),
        ("a: 1\n---\nb: 2\n", "is no YAML"),
        ("channels:\n  x:\n    kind: carrier\n    url: x\n", "house.yaml:3: channels.x.kind: must be"),
        ("channels:\n  x:\n    kind: webhook\n    url: http://10.0.0.1/\n", "house.yaml:4: channels.x.url"),
        ("channels:\n  x:\n    url: https://1.1.1.1/${NO_SUCH}\n", "channels.x.url: the environment has no NO_SUCH"),
        ("routes:\n  n:\n    channels:\n      - x\n", "house.yaml:4: routes.n.channels[0]: is no channel"),
        (SILENCE.format(value="x", ends="soon"), "house.yaml:7: silences.s.endsAt: not a time"),
        (SILENCE.format(value="(", ends="2199-01-01T00:00:00Z"), ":5: silences.s.matchers[0].value: must be a regular"),
        ("project: {alert_budget: {false_alarms: 0}}\n", "house.yaml:1: project.alert_budget.false_alarms: must be"),
        ("models: !!python/object/apply:os.system ['true']\n", "house.yaml:1: models: has a tag"),
        ("models:\n  a: !secret x\n", "house.yaml:2: models.a: has a tag"),
        ("models: &m\n  a: *m\n", "holds too much, or itself"),
        ("models:\n  <<: {a: {task: binary}}\n", "merge keys are not read"),
        ("models: {? [a] : {task: binary}}\n", "has a key that is no plain text"),
        ("[" * 5000, "house.yaml:1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_and_field_and_nothing_is_applied(apply: Run, text: str, told: str) -> None:
    code, out, err = apply(text)
    assert (code, out) == (2, "") and told in err and "Traceback" not in err, err
    assert not any(_rows().values())


def test_every_error_is_told_and_the_good_half_is_not_applied(apply: Run) -> None:
    code, _, err = apply("models:\n  a: {task: binary}\n  b: {task: x}\nroutes:\n  n: {channels: [y]}\n  m: {}\n")
    assert code == 2 and [line.partition(": ")[2][:12] for line in err.splitlines()] == [
        "house.yaml:3", "house.yaml:5", "house.yaml:6",
    ]  # fmt: skip
    assert _rows()["model"] == 0


def test_a_bomb_of_aliases_is_refused_quickly(apply: Run) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "holds too much" in apply("\n".join(lines))[2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:00", "22:00"), ("no", "no"), ("on", "on"), ("2026-01-31", "2026-01-31"), ("0x1f", "0x1f"),
        ("1_000", "1_000"), ("017", "017"), ("12", 12), ("-0.5", -0.5), ("1e3", 1000.0), ("true", True),
        ("~", None), ("", None), ("'12'", "12"),
        (".inf", ".inf"), ("$${TOKEN}", "${TOKEN}"), ("a${TOKEN}b", "ahidden-tokenb"), ("1e999", "1e999"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_people_mean_them(apply: Run, environment: Path, text: str, value: Any) -> None:
    (environment / "one.yaml").write_text(f"a: {text}\n")
    assert read_manifest(environment / "one.yaml").content == {"a": value}


def test_a_file_that_is_not_there_and_no_file_are_one_line(apply: Run, keepwatch: Run) -> None:
    for arguments in (("apply", "/nowhere.yaml"), ("apply",)):
        code, _, err = keepwatch(*arguments)
        assert code == 2 and len(err.splitlines()) == 1


def test_the_schema_for_editors_is_the_one_in_the_documents(keepwatch: Run) -> None:
    code, out, _ = keepwatch("apply", "--schema")
    assert code == 0 and out == (ROOT / "docs/keepwatch.schema.json").read_text()
    schema = json.loads(out)
    declared = yaml.safe_load(FILE)
    assert set(declared) == set(schema["properties"])
    for section, content in declared.items():
        part = schema["properties"][section]
        if section == "monitors":
            part, content = part["additionalProperties"], content["rides"]
        bodies = [content] if section == "project" else content.values()
        fields = part if section == "project" else part["additionalProperties"]
        for body in bodies:
            assert set(fields.get("required", ())) <= set(body) <= set(fields["properties"]), section


def test_the_example_of_the_guide_is_applied(apply: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)
    monkeypatch.setenv("HOOK", "token")
    assert "5 new, 1 changed, 0 unchanged: applied." in apply(example)[1]


def _applied(engine: Engine, body: dict[str, Any]) -> str:
    """What applying the channel `pager` says."""
    context = Context(engine, settings.Settings(secret_key=SECRET_KEY), Principal(1, "apply", "admin"))
    with writing(engine) as connection:
        return SECTIONS["channels"].apply(connection, context, "pager", body, NOW).note


def _pager(engine: Engine) -> Channel:
    with reading(engine) as connection:
        found = channels.find_channel(connection, 1, "pager", SECRET_KEY)
    assert found is not None
    return found


def test_a_channel_with_another_url_is_not_held_up_by_what_the_old_receiver_asked_for(sqlite_engine: Engine) -> None:
    with writing(sqlite_engine) as connection:
        made = make_channel(connection, "https://example.org/old")
        channels.note_failure(connection, made.id, NOW, NOW + clock.DAY)
    _applied(sqlite_engine, {"kind": "webhook", "url": "https://example.org/new"})
    found = _pager(sqlite_engine)
    assert (found.url, found.paused_until, found.failing_since) == ("https://example.org/new", None, None)


def test_a_channel_that_becomes_a_webhook_shows_its_secret_once(sqlite_engine: Engine) -> None:
    with writing(sqlite_engine) as connection:
        make_channel(connection, "https://example.org/", kind="slack", secret="")
    assert _pager(sqlite_engine).secret == ""
    assert re.search(
        "whsec_[A-Za-z0-9+/=]{32}", _applied(sqlite_engine, {"kind": "webhook", "url": "https://a.example/"})
    )


def test_a_new_secret_leaves_the_old_one_valid_for_a_while(sqlite_engine: Engine) -> None:
    with writing(sqlite_engine) as connection:
        make_channel(connection, "https://example.org/")
    _applied(sqlite_engine, {"kind": "webhook", "url": "https://example.org/", "secret": "whsec_" + "A" * 32})
    assert len(_pager(sqlite_engine).secrets_at(NOW + 1)) == 2
