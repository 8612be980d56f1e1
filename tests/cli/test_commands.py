"""The command line, command by command."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from monitor import clock, installation, settings
from monitor.errors import SetupError
from monitor.settings import Settings
from monitor.store import audit, catalog, keys, outbox
from monitor.store.session import make_engine, reading, writing
from tests.alerts.receivers import SECRET, Receiver, make_channel
from tests.keys import OTHER_KEY

Run = Callable[..., tuple[int, str, str]]


def put_model(name: str = "m") -> None:
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        catalog.put_model(connection, 1, name, {"task": "binary"}, clock.now(), "test")
    engine.dispose()


@pytest.mark.parametrize("arguments", [(), ("keys",)])
def test_the_list_of_commands_tells_each_in_whole_sentences(
    keepwatch: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = keepwatch(*arguments, "--help")
    listed = out.partition("Commands:\n")[2]
    assert code == 0 and listed and "..." not in listed and "…" not in listed
    assert max(map(len, listed.splitlines())) <= 60, "lines are wrapped, not cut"
    ends = [
        line[-1] for line, after in zip(listed.splitlines(), listed.splitlines()[1:], strict=False) if after[2] != " "
    ]
    assert set(ends) == {"."}


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list"),
        ("keys", "create", "--name", "n", "--scope", "read"),
        ("keys", "revoke", "abcdefgh"),
        ("login",),
        ("evaluate",),
        ("worker",),
        ("api", "--port", "0"),
        ("import", "rows.csv", "--model", "m", "--kind", "predictions"),
    ],
)
def test_a_missing_database_is_refused_in_one_line(
    keepwatch: Run, environment: Path, arguments: tuple[str, ...]
) -> None:
    code, out, err = keepwatch(*arguments)
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and "does not exist" in err and "keepwatch migrate" in err
    assert list(environment.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "create", "--name", "n", "--scope", "root"), "ingest, read, admin"),
        (("keys", "create", "--name", "", "--scope", "read"), "printable"),
        (("keys", "create"), "--name"),
        (("keys", "revoke", "nothing1"), "keepwatch keys list"),
        (("login", "--scope", "ingest"), "read or admin"),
        (("login", "--project", "nowhere"), "no project"),
        (("evaluate", "--model", "absent"), "no model"),
        (("evaluate", "--until", "yesterday"), "--until"),
        (("evaluate", "--project", "typo"), "there are default"),
        (("doctor", "--model", "typo"), "there is no model of that name: there are m"),
        (("doctor", "--project", "typo"), "there is no project of that name: there are default"),
        (("login", "--project", "typo"), "there are default"),
        (("keys", "create", "--name", "n", "--scope", "read", "--project", ""), "printable"),
        (("import", "rows.csv", "--model", "m", "--kind", "labels"), "--kind"),
        (("import", "absent.csv", "--model", "m", "--kind", "outcomes"), "absent.csv"),
        (("import", "absent.csv", "--model", "absent", "--kind", "outcomes"), "no model"),
        (("fly",), "fly"),
        (("serve", "--port", "-1"), "--port"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(keepwatch: Run, arguments: tuple[str, ...], words: str) -> None:
    keepwatch("migrate")
    put_model()
    code, out, err = keepwatch(*arguments)
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and words in err and err.startswith("keepwatch: ")


def test_the_first_key_of_a_new_project_makes_the_project_and_says_so(keepwatch: Run) -> None:
    keepwatch("migrate")
    create = ("keys", "create", "--name", "n", "--scope", "admin", "--project", "lab", "--json")
    code, out, err = keepwatch(*create)
    assert (code, json.loads(out)["project"]) == (0, "lab") and "the project lab is new; there were default" in err
    assert keepwatch(*create)[2] == ""
    listed = json.loads(keepwatch("keys", "list", "--json")[1])["keys"]
    assert [one["project"] for one in listed] == ["lab", "lab"]
    assert "there are default, lab" in keepwatch("login", "--project", "lba")[2]


def test_the_doctor_looks_at_the_model_that_is_named(keepwatch: Run) -> None:
    keepwatch("migrate")
    assert "there is none yet" in keepwatch("doctor", "--model", "m")[2]
    for name in ("m", "other"):
        put_model(name)
    told = json.loads(keepwatch("doctor", "--model", "m", "--json")[1])["findings"]
    assert {one["model"] for one in told} <= {"m", None}


def test_keys_made_by_a_command_say_so_in_the_audit_log(keepwatch: Run) -> None:
    keepwatch("migrate")
    key = keepwatch("keys", "create", "--name", "n", "--scope", "admin")[1].strip()
    keepwatch("keys", "revoke", key)
    engine = make_engine(settings.load())
    with reading(engine) as connection:
        found, _ = audit.deeds(connection, 1, 10)
    engine.dispose()
    assert [(one.what, one.actor, one.subject) for one in found] == [
        ("key.revoked", "command line", "n"),
        ("key.made", "command line", "n"),
    ]


def test_an_import_says_what_became_what(keepwatch: Run, environment: Path) -> None:
    keepwatch("migrate")
    put_model()
    path = environment / "frame.csv"
    stamp = clock.render(clock.now() - clock.HOUR)[:19]
    path.write_text(f"datetime,age,prediction,target,Unnamed: 0\n{stamp},31,0.75,1,0\n{stamp},44,0.25,0,1\n")
    code, out, err = keepwatch("import", str(path), "--model", "m", "--kind", "predictions")
    assert (code, err) == (0, "")
    for line in ("format: evidently", "accepted: 2", "column prediction: score", "column age: feature age"):
        assert line in out.splitlines()
    assert "column target: not used" in out and "note: times without an offset" in out
    code, out, _ = keepwatch("import", str(path), "--model", "m", "--kind", "outcomes", "--json")
    result = json.loads(out)
    assert (result["accepted"], result["pending"], result["columns"]["target"]) == (2, 0, "actual")
    code, _, err = keepwatch("import", str(path), "--model", "m", "--kind", "outcomes", "--timezone", "Mars/Olympus")
    assert code == 2 and "--timezone" in err and err.count("\n") == 1


def test_an_import_says_how_many_rows_had_no_label_yet(keepwatch: Run, environment: Path) -> None:
    keepwatch("migrate")
    put_model()
    path = environment / "labels.csv"
    path.write_text("id,actual\nc1,\nc2,yes\nc3,\n")
    code, out, err = keepwatch("import", str(path), "--model", "m", "--kind", "outcomes")
    assert (code, err) == (0, "")
    assert {"accepted: 1", "2 without a label were left out"} <= set(out.splitlines())


def test_an_import_warns_of_names_that_look_mistyped(keepwatch: Run, environment: Path) -> None:
    keepwatch("migrate")
    put_model()
    path = environment / "rows.csv"
    path.write_text("id,age,scroe\nc1,5,0.5\n")
    code, out, err = keepwatch("import", str(path), "--model", "m", "--kind", "predictions")
    assert (code, err) == (0, "")
    assert "warning: scroe: did you mean score?" in out.splitlines()


def test_an_unforeseen_error_is_one_line_too(keepwatch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "load", lambda: 1 / 0)
    monkeypatch.setattr(settings.load, "cache_clear", lambda: None, raising=False)
    code, _, err = keepwatch("migrate")
    assert code == 70 and err.count("\n") == 1 and "Traceback" not in err


def test_a_setting_that_cannot_be_read_is_named_without_its_value(
    keepwatch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", "mysql://root:c4n4ry@host/db")
    code, _, err = keepwatch("keys", "list")
    assert code == 2 and "KEEPWATCH_DATABASE_URL" in err and "c4n4ry" not in err


def test_a_database_server_that_is_away_is_one_line_without_the_password(
    keepwatch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPWATCH_DATABASE_URL", "postgresql://ada:c4n4ry@127.0.0.1:1/none")
    code, _, err = keepwatch("keys", "list")
    assert code == 2 and err.count("\n") == 1 and "c4n4ry" not in err


def test_migrate_makes_the_database_and_says_so(keepwatch: Run, environment: Path) -> None:
    assert keepwatch("migrate")[:2] == (0, "The schema is now the one of this version.\n")
    assert keepwatch("migrate")[:2] == (0, "The schema is the one of this version.\n")
    assert (environment / "kw.db").stat().st_mode & 0o777 == 0o600


def test_keys_are_made_listed_and_revoked(keepwatch: Run) -> None:
    keepwatch("migrate")
    code, out, _ = keepwatch("keys", "create", "--name", "pipeline", "--scope", "ingest")
    assert code == 0 and re.fullmatch(r"kw_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}\n", out)
    key_id, secret = out[3:11], out[12:].strip()
    code, listed, _ = keepwatch("keys", "list", "--json")
    (shown,) = json.loads(listed)["keys"]
    assert shown["id"] == key_id and shown["scope"] == "ingest" and shown["revoked_at"] is None
    assert secret not in listed and secret not in keepwatch("keys", "list")[1]
    assert keepwatch("keys", "revoke", key_id)[0] == 0
    assert json.loads(keepwatch("keys", "list", "--json")[1])["keys"][0]["revoked_at"] is not None


def test_the_secret_of_a_key_is_not_in_the_database(keepwatch: Run, environment: Path) -> None:
    keepwatch("migrate")
    secret = keepwatch("keys", "create", "--name", "n", "--scope", "admin")[1].strip()[12:]
    content = b"".join(path.read_bytes() for path in environment.iterdir())
    assert secret.encode() not in content


def test_login_prints_an_address_that_is_good_once(keepwatch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor.api import auth

    monkeypatch.setenv("KEEPWATCH_PUBLIC_URL", "https://monitor.example/kw/")
    keepwatch("migrate")
    code, out, _ = keepwatch("login")
    assert code == 0 and out.startswith("https://monitor.example/kw/login?token=")
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        token = out.strip().partition("token=")[2]
        assert auth.exchange_login(connection, token, clock.now()) is not None
        assert auth.exchange_login(connection, token, clock.now()) is None
    engine.dispose()


def test_revoking_a_key_ends_the_sessions_of_its_name(keepwatch: Run) -> None:
    from monitor.api import auth

    keepwatch("migrate")
    key = keepwatch("keys", "create", "--name", "admin", "--scope", "admin")[1].strip()
    engine = make_engine(settings.load())
    with writing(engine) as connection:
        session = auth.exchange_login(
            connection, auth.issue_login(connection, 1, "admin", "admin", clock.now()), clock.now()
        )
    assert keepwatch("keys", "revoke", key)[0] == 0
    with reading(engine) as connection:
        assert session is not None and auth.principal_of_session(connection, session, clock.now()) is None
    engine.dispose()


def test_evaluate_says_what_it_did(keepwatch: Run) -> None:
    keepwatch("migrate")
    put_model("churn")
    code, out, err = keepwatch("evaluate", "--json")
    assert code == 0 and err == ""
    (result,) = json.loads(out)["models"]
    assert result["model"] == "churn" and result["complete"] is True and result["rows"] == 0
    assert "churn: 0 rows" in keepwatch("evaluate", "--model", "churn", "--until", "2026-01-01T00:00:00Z")[1]


def test_a_file_is_imported_and_again_changes_nothing(keepwatch: Run, tmp_path: Path) -> None:
    keepwatch("migrate")
    put_model()
    file = tmp_path / "rows.csv"
    lines = [f"r{i},2026-01-01T00:00:{i:02}Z,{i / 3},1" for i in range(50)]
    file.write_text("\n".join(["id,timestamp,features.x,prediction", *lines]) + "\n")
    options = ("import", str(file), "--model", "m", "--kind", "predictions", "--history", "--json")
    first = json.loads(keepwatch(*options)[1])
    assert first["accepted"] + first["rejected_count"] == 50
    second = json.loads(keepwatch(*options)[1])
    assert second["accepted"] == 0


# ---------------------------------------------------------------- keys and secrets of the installation

GOOD = "kw_" + "qZ7w3Lr9sK1xV5tB2nM8pD4fH6jG0y"


@pytest.mark.parametrize(
    "key",
    ["", "admin", "kw_short", "kw_" + "a" * 40, "kw_changeme_changeme_0123456", "kw_password1234567890xyz", GOOD[3:]],
)
def test_a_first_key_that_could_be_guessed_is_refused(key: str) -> None:
    with pytest.raises(SetupError, match="KEEPWATCH_ADMIN_KEY") as refused:
        keys.check_given_key(key)
    assert not key or key not in str(refused.value)


def test_the_key_of_the_environment_is_stored_once_and_replaced(sqlite_settings: Settings, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    def start(key: str) -> None:
        installation.first_key(sqlite_engine, Settings(admin_key=key), "http://x")

    start(GOOD)
    start(GOOD)
    start("kw_" + GOOD[3:].swapcase())
    with reading(sqlite_engine) as connection:
        stored = keys.list_keys(connection)
    assert [key.revoked_at is None for key in stored] in ([True, False], [False, True])
    with pytest.raises(SetupError, match="revoked"):
        start(GOOD)


def test_the_secret_key_is_made_once_and_only_we_may_read_it(sqlite_settings: Settings, tmp_path: Path) -> None:
    unset = sqlite_settings.model_copy(update={"secret_key": None})
    first = installation.with_secret_key(unset).secret_key
    again = installation.with_secret_key(unset).secret_key
    file = tmp_path / "keepwatch.db.secret"
    assert first is not None and first == again and len(first.get_secret_value()) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(SetupError, match="chmod"):
        installation.with_secret_key(unset)


def test_evaluate_sends_with_the_secret_key_beside_the_database(
    keepwatch: Run, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepwatch("migrate")
    monkeypatch.setenv("KEEPWATCH_ALLOW_NETWORKS", "127.0.0.0/8")
    receiver = Receiver()
    found = installation.with_secret_key(settings.load())
    engine = make_engine(found)
    with writing(engine) as connection:
        channel = make_channel(connection, receiver.url, key=found.secret_key)
        outbox.add(connection, channel, "channel.test", None, "{}", clock.now())
    code, out, _ = keepwatch("evaluate", "--json")
    receiver.close()
    assert code == 0 and json.loads(out)["deliveries"] == 1
    headers, body, _ = receiver.requests[0]
    assert Webhook(SECRET).verify(body, headers) == {}

    with writing(engine) as connection:
        outbox.add(connection, channel, "channel.test", None, "{}", clock.now())
    monkeypatch.setenv("KEEPWATCH_SECRET_KEY", OTHER_KEY.get_secret_value())
    code, _, err = keepwatch("evaluate", "--json")
    with reading(engine) as connection:
        (newest, _), _ = outbox.list_deliveries(connection, channel, limit=2)
    engine.dispose()
    assert code == 0 and "Traceback" not in err and newest.state == "dead"


def test_a_secret_key_that_cannot_be_read_is_one_line(sqlite_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "keepwatch.db.secret").mkdir(mode=0o700)
    with pytest.raises(SetupError, match=r"keepwatch\.db\.secret.*cannot be read"):
        installation.with_secret_key(sqlite_settings.model_copy(update={"secret_key": None}))


def test_postgresql_needs_a_secret_key_that_cannot_be_guessed() -> None:
    url = "postgresql://localhost/none"
    with pytest.raises(SetupError, match="KEEPWATCH_SECRET_KEY"):
        installation.with_secret_key(Settings(database_url=url))
    for weak in ("secret", "a" * 64):
        with pytest.raises(SetupError, match="KEEPWATCH_SECRET_KEY"):
            installation.with_secret_key(Settings(database_url=url, secret_key=weak))


def test_no_other_machine_is_answered_while_no_key_exists(sqlite_settings: Settings, sqlite_engine) -> None:  # type: ignore[no-untyped-def]
    for host in ("0.0.0.0", "::", "10.0.0.1", "monitor.example"):
        with pytest.raises(SetupError, match="no key exists"):
            installation.check_bind(sqlite_engine, sqlite_settings, host)
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        installation.check_bind(sqlite_engine, sqlite_settings, host)
    with writing(sqlite_engine) as connection:
        keys.create_key(connection, 1, "n", "admin", 0)
    installation.check_bind(sqlite_engine, sqlite_settings, "0.0.0.0")


def test_a_database_that_everybody_may_read_is_refused(sqlite_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "keepwatch.db").chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        installation.open_engine(sqlite_settings, may_create=True)


def test_a_reference_is_imported_from_a_file(keepwatch: Run, tmp_path: Path) -> None:
    keepwatch("migrate")
    put_model()
    file = tmp_path / "reference.csv"
    lines = [f"r{i},2026-01-01T{i // 60 % 24:02}:{i % 60:02}:00Z,{i % 17},{i % 2}" for i in range(400)]
    file.write_text("\n".join(["id,timestamp,features.x,prediction", *lines]) + "\n")
    code, out, err = keepwatch("import", str(file), "--model", "m", "--kind", "reference", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert made["rows"] == 400 and made["number"] == 1
