"""The id index says of any key what a dictionary would, whatever was added, merged, erased and removed before."""

import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from monitor.store import blocks, id_erase, id_index, id_keys, id_merge, id_pages, retention
from monitor.store import tables as t
from monitor.store.id_keys import Entries, numbers, raw
from monitor.store.identity import key_numbers, keys_of
from monitor.store.session import reading, writing
from tests.evaluate.small import Log
from tests.indexed import indexed

MODEL = 1
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of four entries, so that a few dozen keys make every kind of segment."""
    for module in (id_pages, id_index, id_merge):
        monkeypatch.setattr(module, "PAGE", 4)
    monkeypatch.setattr(id_index, "WHOLE", 2)
    monkeypatch.setattr(id_merge, "FANOUT", 3)
    monkeypatch.setattr(id_merge, "AT_ONCE", 60)
    monkeypatch.setattr(id_merge, "SHARE", 0)
    monkeypatch.setattr(id_merge, "STEP", 4)


@pytest.fixture
def log(engine: Engine) -> int:
    return Log.make(engine, features={"x": "numeric"}).model_id


def add(connection: Connection, model_id: int, keys: list[bytes], versions: list[int]) -> range:
    """Rows with these keys, in a block, as ingest adds them; their numbers."""
    end = blocks.lock_log(connection, model_id)
    count = len(keys)
    stamps = pa.array([0] * count, pa.int64())
    batch = pa.RecordBatch.from_arrays([pa.array([str(i) for i in range(count)]), stamps], ["id", "timestamp"])
    id_index.add(connection, 1, model_id, numbers(keys), np.array(versions, np.int32), end.next_row)
    id_merge.tidy(connection, 1, model_id, id_index.segments(connection, model_id), count)
    blocks.add_block(connection, 1, model_id, end.next_row, batch, 0)
    rows = range(end.next_row, end.next_row + count)
    blocks.move_log(connection, model_id, blocks.LogEnd(rows.stop, end.next_outcome, 0))
    return rows


KEYS = st.one_of(
    st.binary(min_size=16, max_size=16),
    # Clients that count: many keys share their first half, and lie on both sides of the borders of pages.
    st.integers(0, 40).map(lambda n: bytes([0, 0, 0, 0, 0, 0, 0, n % 3]) + n.to_bytes(8, "big")),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(KEYS, st.integers(1, 3)), min_size=1, max_size=30)),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("erase"), st.lists(st.integers(0, 200), min_size=1, max_size=3)),
        st.tuples(st.just("remove"), st.integers(0, 10)),
        st.tuples(st.just("roll back"), st.lists(st.tuples(KEYS, st.integers(1, 3)), min_size=1, max_size=20)),
    ),
    min_size=4,
    max_size=14,
)


@FEW
@given(steps=STEPS, others=st.lists(KEYS, max_size=10))
def test_it_agrees_with_a_dictionary(engine: Engine, steps: list[tuple[str, object]], others: list[bytes]) -> None:
    with emptied(engine) as model_id:
        kept: dict[int, tuple[bytes, int]] = {}
        erased: set[int] = set()
        ever = list(others)
        for kind, what in steps:
            with writing(engine) as connection:
                if kind == "add":
                    pairs = [pair for pair in dict.fromkeys(what) if pair not in set(kept.values())]  # type: ignore[call-overload]
                    if pairs:
                        rows = add(connection, model_id, [key for key, _ in pairs], [v for _, v in pairs])
                        kept |= dict(zip(rows, pairs, strict=True))
                        ever += [key for key, _ in pairs]
                elif kind == "erase":
                    gone = {ever[at % len(ever)] for at in what} if ever else set()  # type: ignore[attr-defined]
                    numbered = [row for _, _, row in id_index.rows_of_keys(connection, model_id, list(gone))]
                    assert sorted(numbered) == [row for row, (key, _) in kept.items() if key in gone]
                    blocks.remove_rows(connection, model_id, numbered)
                    id_erase.erase(connection, model_id, sorted(gone))
                    assert not gone & {key for key, _, _ in indexed(connection, model_id)}
                    kept = {row: pair for row, pair in kept.items() if pair[0] not in gone}
                    erased |= set(numbered)
                elif kind == "remove":  # as retention does: the oldest blocks
                    firsts = sa.select(t.block.c.first_row, t.block.c.rows).order_by(t.block.c.first_row)
                    for first, count in connection.execute(firsts.limit(what)).all():  # type: ignore[arg-type]
                        connection.execute(sa.delete(t.block).where(t.block.c.first_row == first))
                        kept = {row: pair for row, pair in kept.items() if not first <= row < first + count}
                    id_merge.drop_gone(connection, model_id)
                elif kind == "roll back":
                    pairs = list(dict.fromkeys(what))  # type: ignore[call-overload]
                    nested = connection.begin_nested()
                    add(connection, model_id, [key for key, _ in pairs], [v for _, v in pairs])
                    id_index.rows_of_keys(connection, model_id, [key for key, _ in pairs])
                    nested.rollback()
                    ever += [key for key, _ in pairs]
            if kind == "compact":
                while id_merge.compact(engine, model_id):
                    pass
            check(engine, model_id, kept, ever)
            with reading(engine) as connection:  # merges bring none of them back
                assert not erased & {row for _, _, row in indexed(connection, model_id)}
        id_index._cache = type(id_index._cache)(id_index.CACHE_BYTES)  # as another process sees it
        check(engine, model_id, kept, ever)


def check(engine: Engine, model_id: int, kept: dict[int, tuple[bytes, int]], ever: list[bytes]) -> None:
    asked = list(dict.fromkeys(ever))
    with reading(engine) as connection:
        found = id_index.rows_of_keys(connection, model_id, asked)
    expected = [(key, version, row) for row, (key, version) in kept.items()]
    assert sorted(found) == sorted(expected)


@contextmanager
def emptied(engine: Engine) -> Iterator[int]:
    """A model of its own for each example."""
    model_id = Log.make(engine, name=uuid.uuid4().hex, features={"x": "numeric"}).model_id
    yield model_id
    with writing(engine) as connection:
        for table in (t.block, t.id_page, t.id_segment):
            connection.execute(sa.delete(table))


@given(entries=st.lists(st.tuples(KEYS, st.integers(1, 2**31 - 1), st.integers(0, 2**62)), max_size=4))
def test_a_page_reads_back_as_it_was(entries: list[tuple[bytes, int, int]]) -> None:
    keys, versions, rows = zip(*entries, strict=True) if entries else ((), (), ())
    made = Entries.of(numbers(list(keys)), np.array(versions, np.int32), np.array(rows, np.int64))
    read = id_pages.decode(id_pages.encode(made))
    assert sorted(zip(raw(read.keys), read.version.tolist(), read.row.tolist(), strict=True)) == sorted(entries)
    assert raw(read.keys) == sorted(keys)


@given(st.lists(KEYS, max_size=60), st.lists(KEYS, max_size=30))
def test_keys_are_found_where_they_stand(stored: list[bytes], asked: list[bytes]) -> None:
    entries = Entries.of(numbers(stored), np.zeros(len(stored), np.int32), np.arange(len(stored)))
    wanted = sorted([*asked, *stored[::2]])
    at, where = id_keys.match(entries, numbers(wanted))
    found = defaultdict(set)
    for place, entry in zip(at.tolist(), where.tolist(), strict=True):
        found[place].add(int(entries.row[entry]))
    assert dict(found) == {
        place: numbered
        for place, key in enumerate(wanted)
        if (numbered := {row for row, one in enumerate(stored) if one == key})
    }


def test_few_keys_that_are_not_there_pass_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    keys = key_numbers(pa.array([str(i) for i in range(5 * id_pages.PAGE)]))
    keys = keys[id_keys.order_of(keys)]
    bits = np.frombuffer(b"".join(id_pages.filters(keys)), np.uint8)
    page = np.arange(len(keys)) // id_pages.PAGE
    assert len(id_pages.may_hold(bits, page, id_pages.hashes(keys))) == len(keys)
    others = key_numbers(pa.array([f"other {i}" for i in range(100_000)]))
    passed = id_pages.may_hold(bits, np.arange(len(others)) % 5, id_pages.hashes(others))
    assert len(passed) < len(others) / 4000


def test_ids_of_both_kinds_have_the_same_keys_one_by_one_and_together() -> None:
    ids = ["a", "ü" * 40, str(uuid.uuid4()), "01890a5d-ac96-774b-bcce-b302099a8057"]
    for chosen in (ids, ids[3:] * 2, []):
        assert raw(key_numbers(pa.array(chosen, pa.string()))) == keys_of(chosen)


def sizes(engine: Engine, log: int) -> list[int]:
    with reading(engine) as connection:
        return sorted(one.entries for one in id_index.segments(connection, log))


def test_a_commit_merges_in_proportion_to_itself_and_leaves_more_to_the_background(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    monkeypatch.setattr(id_merge, "SHARE", 4)
    keys = iter([bytes([n]) * 16 for n in range(256)])

    def send(*counts: int) -> list[int]:
        for count in counts:
            with writing(engine) as connection:
                add(connection, log, [next(keys) for _ in range(count)], [1] * count)
        return sizes(engine, log)

    assert send(4, 4, 4) == [12], "three of four are three commits' worth"
    assert send(1, 1, 4) == [6, 12]
    assert send(4, 4, 1) == [1, 4, 4, 6, 12], "nine are too many for one row"
    with reading(engine) as connection:
        assert id_merge.waiting(connection) == [log]
    assert id_merge.compact(engine, log)
    assert sizes(engine, log) == [6, 9, 12]
    assert id_merge.compact(engine, log)
    assert sizes(engine, log) == [27]
    assert not id_merge.compact(engine, log)
    with reading(engine) as connection:
        assert id_merge.waiting(connection) == []


def test_commits_merge_more_when_nobody_does_it_in_the_background(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    monkeypatch.setattr(id_merge, "BEHIND", 5)
    for number in range(10):
        with writing(engine) as connection:
            add(connection, log, [bytes([number]) * 16], [1])
    assert sizes(engine, log) == [1, 1, 1, 1, 3, 3]


def test_no_level_waits_for_one_below_it_that_is_never_empty(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a background every level keeps a few too many segments, and those above are merged all the same."""
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    monkeypatch.setattr(id_merge, "FANOUT", 2)
    monkeypatch.setattr(id_merge, "BEHIND", 6)
    for number in range(100):
        with writing(engine) as connection:
            add(connection, log, [bytes([number]) * 16], [1])
    with reading(engine) as connection:
        levels = Counter(one.level for one in id_index.segments(connection, log))
        assert len(id_index.rows_of_keys(connection, log, [bytes([number]) * 16 for number in range(100)])) == 100
    assert max(levels.values()) <= 6


def test_a_merge_that_is_overtaken_comes_to_nothing(engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is erased while its segment is merged: the merge must not bring it back."""
    keys = [bytes([n]) * 16 for n in range(100)]
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    with writing(engine) as connection:
        for start in range(0, 100, 4):
            add(connection, log, keys[start : start + 4], [1] * 4)
    write = id_index.write_pages
    overtaken = []

    def meanwhile(connection: Connection, *arguments: object) -> None:
        write(connection, *arguments)  # type: ignore[arg-type]
        if not overtaken:
            overtaken.append(True)
            id_erase.erase(connection, log, [keys[7]])

    monkeypatch.setattr(id_index, "write_pages", meanwhile)
    assert not id_merge.compact(engine, log)
    assert id_merge.compact(engine, log)
    with reading(engine) as connection:
        assert [key for key, _, _ in indexed(connection, log)] == [key for key in keys if key != keys[7]]
        states = connection.execute(sa.select(t.id_segment.c.state, sa.func.count()).group_by(t.id_segment.c.state))
        assert {state for state, _ in states} == {id_index.LIVE}
        pages = set(connection.scalars(sa.select(t.id_page.c.segment_id)))
        assert pages == set(connection.scalars(sa.select(t.id_segment.c.id)))


def profiled(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(sa.update(t.watermark).values(next_row=10**6, next_outcome=10**6))


def test_rows_that_come_while_the_last_expired_ones_leave_keep_their_identity(postgres_engine: Engine) -> None:
    log = Log.make(postgres_engine, features={"x": "numeric"}).model_id
    old, new = ([bytes([n + offset]) * 16 for n in range(4)] for offset in (0, 100))
    with writing(postgres_engine) as connection:
        add(connection, log, old, [1] * 4)
    profiled(postgres_engine)
    tried: list[bool] = []

    def ingest() -> bool:
        """Whether it did not have to wait."""
        try:
            with writing(postgres_engine) as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
                add(connection, log, new, [1] * 4)
        except sa.exc.OperationalError:
            return False
        return True

    def meanwhile(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE id_segment") and not tried:
            tried.append(False)
            tried[0] = ingest()

    sa.event.listen(postgres_engine, "before_cursor_execute", meanwhile)
    assert retention.expire_blocks(postgres_engine, log, before=1) == 4
    assert len(tried) == 1
    assert tried[0] or ingest()
    with reading(postgres_engine) as connection:
        assert id_index.present(connection, log, old + new) == set(new)


def test_blocks_of_a_model_that_is_deleted_meanwhile_expire_without_complaint(engine: Engine, log: int) -> None:
    with writing(engine) as connection:
        add(connection, log, [bytes(16)], [1])
    profiled(engine)
    with writing(engine) as connection:
        connection.execute(sa.delete(t.log_position).where(t.log_position.c.model_id == log))
    assert retention.expire_blocks(engine, log, before=1) == 1


def three_segments(engine: Engine, log: int) -> list[list[bytes]]:
    """The keys of three segments of two pages each, which wait to be merged in the background."""
    keys = [[bytes([8 * segment + n]) * 16 for n in range(8)] for segment in range(3)]
    with writing(engine) as connection:
        for some in keys:
            add(connection, log, some, [1] * 8)
    return keys


@pytest.mark.parametrize("emptied_ones", [1, 3])
def test_segments_whose_first_pages_were_erased_are_merged_without_loss(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch, emptied_ones: int
) -> None:
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    keys = three_segments(engine, log)
    gone = [key for some in keys[:emptied_ones] for key in some[:4]]
    with writing(engine) as connection:
        blocks.remove_rows(connection, log, [row for _, _, row in id_index.rows_of_keys(connection, log, gone)])
        id_erase.erase(connection, log, gone)
    assert id_merge.compact(engine, log)
    with reading(engine) as connection:
        assert len(id_index.segments(connection, log)) == 1
        every = [key for some in keys for key in some]
        assert id_index.present(connection, log, every) == set(every) - set(gone)


def test_a_merge_that_read_nothing_leaves_its_sources(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    monkeypatch.setattr(id_merge, "_merged", lambda *_: iter(()))
    keys = [key for some in three_segments(engine, log) for key in some]
    assert not id_merge.compact(engine, log)
    with reading(engine) as connection:
        assert id_index.present(connection, log, keys) == set(keys)


def test_a_segment_that_becomes_whole_while_another_process_cleans_up_stays(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that led was held up for longer than its lease, and ends its merge beside the next one."""
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    keys = [key for some in three_segments(engine, log) for key in some]
    listed = threading.Event()
    cleaned: list[threading.Thread] = []
    clean, read = id_merge._clean, reading

    @contextmanager
    def looked(engine: Engine) -> Iterator[Connection]:
        with read(engine) as connection:
            yield connection
        if threading.current_thread() in cleaned and not listed.is_set():
            listed.set()
            merging.join(30)

    def merged(*arguments: object) -> Iterator[Entries]:
        yield from parts(*arguments)  # type: ignore[arg-type]
        cleaned.append(threading.Thread(target=clean, args=(engine, log)))
        cleaned[0].start()
        assert listed.wait(30)

    parts = id_merge._merged
    monkeypatch.setattr(id_merge, "reading", looked)
    monkeypatch.setattr(id_merge, "_merged", merged)
    monkeypatch.setattr(id_merge, "_clean", lambda *_: None)
    merging = threading.Thread(target=id_merge.compact, args=(engine, log))
    merging.start()
    merging.join(30)
    cleaned[0].join(30)
    with reading(engine) as connection:
        assert id_index.present(connection, log, keys) == set(keys)


def test_pages_that_a_merge_was_writing_go_with_the_erased_id(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log.make(postgres_engine, features={"x": "numeric"}).model_id
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    erased = three_segments(postgres_engine, log)[1][3]
    write = id_index.write_pages

    def erase() -> None:
        with writing(postgres_engine) as connection:
            blocks.lock_log(connection, log)
            id_erase.erase(connection, log, [erased])

    erasing = threading.Thread(target=erase)

    def meanwhile(connection: Connection, *arguments: object) -> None:
        write(connection, *arguments)  # type: ignore[arg-type]
        if erasing.ident is None:  # the pages are there, and not committed
            erasing.start()
            wait_for_a_waiting_one(postgres_engine, erasing)

    monkeypatch.setattr(id_index, "write_pages", meanwhile)
    with monkeypatch.context() as broken_off:
        broken_off.setattr(id_merge, "_clean", lambda *_: None)  # the process ends with the merge
        assert not id_merge.compact(postgres_engine, log)
    erasing.join(30)
    assert not erasing.is_alive()
    with reading(postgres_engine) as connection:
        payloads = connection.scalars(sa.select(t.id_page.c.payload))
        assert erased not in {key for payload in payloads for key in raw(id_pages.decode(payload).keys)}


def wait_for_a_waiting_one(engine: Engine, other: threading.Thread) -> None:
    """Until a transaction of the other thread waits for a lock."""
    until = time.monotonic() + 30
    while True:
        with engine.connect() as connection:
            if connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar():
                return
        assert other.is_alive()
        assert time.monotonic() < until
        other.join(0.01)


def test_erasing_one_id_reads_few_pages_of_its_segment(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [bytes([n]) * 16 for n in range(100)]
    with writing(engine) as connection:
        add(connection, log, keys, [1] * 100)
    read = []

    def decode(payload: bytes) -> Entries:
        read.append(payload)
        return id_pages.decode(payload)

    for module in (id_index, id_erase):
        monkeypatch.setattr(module, "decode", decode, raising=False)
    for gone in (keys[:12], keys[-12:], keys[50:51]):  # whole pages at both ends, then one in the middle
        read.clear()
        with writing(engine) as connection:
            id_erase.erase(connection, log, gone)
            (segment,) = id_index.segments(connection, log)
        assert len(read) <= len(gone) // 4 + 4
    assert (segment.first, segment.last) == tuple(int.from_bytes(key[:8], "big") for key in (keys[12], keys[87]))


def test_a_merge_of_a_model_that_is_deleted_meanwhile_comes_to_nothing(
    engine: Engine, log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_merge, "AT_ONCE", 0)
    three_segments(engine, log)
    merged = id_merge._merged

    def meanwhile(*arguments: object) -> Iterator[Entries]:
        yield from merged(*arguments)  # type: ignore[arg-type]
        with writing(engine) as connection:
            connection.execute(sa.delete(t.log_position).where(t.log_position.c.model_id == log))

    monkeypatch.setattr(id_merge, "_merged", meanwhile)
    assert not id_merge.compact(engine, log)
