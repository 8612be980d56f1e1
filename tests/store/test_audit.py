"""The log of deeds on both databases."""

import pytest
from sqlalchemy.engine import Engine

from monitor.store import audit, keys
from monitor.store.audit import Deed
from monitor.store.session import reading, writing


def test_deeds_of_one_moment_are_paged_without_a_gap_or_a_repeat(engine: Engine) -> None:
    with writing(engine) as connection:
        for number in range(25):
            audit.note(connection, 1, number // 6, "ann", "model.changed", str(number))
            audit.note(connection, 2, number // 6, "eve", "model.changed", "of another project")
    with reading(engine) as connection:
        whole, after = audit.deeds(connection, 1, 100)
        assert after is None and [one.subject for one in whole] == [str(number) for number in reversed(range(25))]
        seen: list[Deed] = []
        while True:
            page, after = audit.deeds(connection, 1, 4, after)
            seen += page
            if after is None:
                break
    assert seen == whole


def test_a_deed_that_is_not_committed_never_was(engine: Engine) -> None:
    def broken_off() -> None:
        with writing(engine) as connection:
            audit.note(connection, 1, 1, "ann", "model.made", "m")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    with reading(engine) as connection:
        assert audit.deeds(connection, 1, 10) == ([], None)


def test_keys_say_who_made_and_revoked_them_and_once(engine: Engine) -> None:
    with writing(engine) as connection:
        text = keys.create_key(connection, 1, "scorer", "ingest", 1, "ann")
        key_id = text.split("_")[1]
        keys.revoke_key(connection, key_id, 2, "bob")
        keys.revoke_key(connection, key_id, 3, "eve")
        keys.ensure_given_key(connection, 1, "kw_0a9z8y7x6w5v4u3t2s", 4)
        keys.ensure_given_key(connection, 1, "kw_zyxwvutsrq9876543210", 5)
        found, _ = audit.deeds(connection, 1, 10)
    told = [(one.at, one.actor, one.what, one.subject) for one in reversed(found)]
    given = ("command line", "key.made", keys.GIVEN_NAME)
    assert told[:3] == [(1, "ann", "key.made", "scorer"), (2, "bob", "key.revoked", "scorer"), (4, *given)]
    assert sorted(told[3:]) == [(5, *given), (5, "command line", "key.revoked", keys.GIVEN_NAME)]
    assert not any(text.split("_", 2)[2] in one.detail for one in found)


def test_long_values_of_a_setting_are_named_and_not_shown() -> None:
    before = {"window": "1h", "features": {"a" * 40: "numeric"}, "grace": "10m"}
    after = {"window": "2h", "features": {"b" * 70: "numeric"}, "grace": "10m"}
    assert audit.differences(before, after) == 'window: "1h" → "2h"; features'
