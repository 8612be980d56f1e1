"""Channels' URLs and secrets are credentials: the database holds them sealed under the secret key."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import Engine

from monitor.errors import SetupError
from monitor.store import channels
from monitor.store import tables as t
from monitor.store.seal import seal, unseal
from monitor.store.session import reading, writing
from tests.alerts.receivers import SECRET, make_channel
from tests.keys import OTHER_KEY, SECRET_KEY

URL = "https://hooks.example.org/services/T000/B000/path-that-is-a-credential?token=query-of-it"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("text", ["", URL, "ключ \0 \N{SNOWMAN}"])
def test_what_was_sealed_is_unsealed(text: str) -> None:
    sealed = seal(SECRET_KEY, text)
    assert sealed.startswith("v1:") and seal(SECRET_KEY, text) != sealed and (not text or text not in sealed)
    assert unseal(SECRET_KEY, sealed) == text


def test_a_text_that_was_sealed_by_an_earlier_version_is_still_read() -> None:
    sealed = (
        "v1:gAAAAABrAtA9xGaELLps1dHvO6ddZmQClmRN4RFD1zy_E1TJYA7oFTeECMDU"
        "GjAt-XQ19Aoowy8gsmvWB_u_2xXoUTgVemAInAV-l-qc9729GlgcEShzhTw="
    )
    assert unseal(SECRET_KEY, sealed) == "https://example.org/"


@pytest.mark.parametrize(
    "change",
    [
        lambda sealed: sealed[:-8] + ("AAAA" if sealed[-8:-4] != "AAAA" else "BBBB") + sealed[-4:],
        lambda sealed: sealed[:20],
        lambda sealed: sealed.replace("v1:", "v2:"),
        lambda sealed: sealed.removeprefix("v1:"),
        lambda sealed: "v1:",
        lambda sealed: "v1:\N{SNOWMAN}",
        lambda sealed: URL,
        lambda sealed: "",
    ],
)
def test_what_was_changed_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SetupError, match="KEEPWATCH_SECRET_KEY") as refused:
        unseal(SECRET_KEY, change(seal(SECRET_KEY, URL)))
    assert URL not in str(refused.value)


@pytest.mark.parametrize("key", [OTHER_KEY, SecretStr(""), None])
def test_another_key_or_none_is_told(key: SecretStr | None) -> None:
    with pytest.raises(SetupError, match="KEEPWATCH_SECRET_KEY"):
        unseal(key, seal(SECRET_KEY, URL))


def test_without_a_key_nothing_is_stored(sqlite_engine: Engine) -> None:
    channel = channels.Channel("channel_1", 1, "webhook", "pager", URL, SECRET, (), 0)
    with pytest.raises(SetupError, match="KEEPWATCH_SECRET_KEY"), writing(sqlite_engine) as connection:
        channels.add_channel(connection, channel, None, "ann")


def test_a_row_holds_sealed_texts_alone(engine: Engine) -> None:
    with writing(engine) as connection:
        made = make_channel(connection, URL)
    with reading(engine) as connection:
        row = connection.execute(sa.select(t.channel)).one()
        assert row.url.startswith("v1:") and row.secret.startswith("v1:") and row.url != row.secret
        assert not any(part in str(row) for part in (SECRET, "hooks.example", "credential", "query-of-it"))
        assert channels.get_channel(connection, 1, made.id, SECRET_KEY) == made
        ((listed,), _) = channels.list_channels(connection, 1, SECRET_KEY, limit=9)
        assert listed == made
        locked = channels.get_channel(connection, 1, made.id, OTHER_KEY)
        assert (locked.url, locked.secret) == ("", "") and "KEEPWATCH_SECRET_KEY" in str(locked.unreadable)


def test_the_database_file_holds_nothing_in_clear(sqlite_engine: Engine, tmp_path: Path) -> None:
    with writing(sqlite_engine) as connection:
        made = make_channel(connection, URL)
    for _ in range(2):  # with the write-ahead log, and without
        content = b"".join(file.read_bytes() for file in tmp_path.glob("keepwatch.db*"))
        assert made.id.encode() in content
        for part in (SECRET, SECRET.removeprefix("whsec_"), "hooks.example", "path-that-is", "query-of-it"):
            assert part.encode() not in content
        with sqlite_engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def test_nothing_is_loaded_for_it_before_something_is_sealed() -> None:
    code = "import monitor.app, sys; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
