"""Power loss, simulated: the file operations of the real ingest process on SQLite, replayed up to every point.

    python -m tests.faults.power FOLDER [--requests N] [--states N] [--synchronous FULL]

strace records what the process writes, syncs and answers while a client sends. What was written since the last sync of
its file may be on the disk after a power loss or not, whole or torn: so after every operation there are states in which
none of it is there, all, a beginning, a random part, or parts that are torn at sectors of 512 bytes. Each state is
opened with the product's own store, and compared with what had been answered by then. As in SQLite's own crash tests;
a sync is believed. With NORMAL the same harness must find losses, with OFF more of them. The last line is one JSON
object.
"""

import argparse
import http.client
import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from monitor.errors import KeepwatchError
from monitor.settings import Settings
from monitor.store.migrate import upgrade
from monitor.store.session import make_engine, reading
from tests.faults.forked import Forked, strace
from tests.faults.killing import often, prepare
from tests.faults.ledger import Ledger, Sent, compared
from tests.keys import SECRET_KEY

SECTOR = 512
MODEL = "m"
_CALLS = "pwrite64,write,writev,sendto,sendmsg,ftruncate,fdatasync,fsync,unlink"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_FILE = re.compile(r"\d+<((?:[^<>]|\\x..)*)>(?:, )?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PEER = re.compile(r"\d+<TCP:")


@dataclass
class Operation:
    """One step of the record: bytes at a place of a file, its new length, its end, a sync, or an answer."""

    kind: str  # write, truncate, unlink, sync, answer
    name: str = ""
    at: int = 0
    data: bytes = b""


@dataclass
class Disk:
    """The files as they certainly are, and the operations since their last sync, which may or may not have happened."""

    files: dict[str, bytearray]
    pending: list[Operation] = field(default_factory=list)

    def take(self, one: Operation) -> None:
        if one.kind == "sync":
            for each in self.pending:
                if each.name == one.name:
                    apply(self.files, each)
            self.pending = [each for each in self.pending if each.name != one.name]
        elif one.kind != "answer":
            self.pending.append(one)


def apply(files: dict[str, bytearray], one: Operation) -> None:
    """Let an operation have happened."""
    content = files.setdefault(one.name, bytearray())
    if one.kind == "unlink":
        del files[one.name]
    elif one.kind == "truncate":
        content[one.at :] = bytes(max(0, one.at - len(content)))
    else:
        if len(content) < one.at:
            content.extend(bytes(one.at - len(content)))
        content[one.at : one.at + len(one.data)] = one.data


def torn(one: Operation, chance: random.Random) -> list[Operation]:
    """The sectors of a write that happened to be on the disk."""
    if one.kind != "write":
        return [one]
    first = one.at - one.at % SECTOR
    places = [max(one.at, at) for at in range(first, one.at + len(one.data), SECTOR)]
    ends = [*places[1:], one.at + len(one.data)]
    pieces = [
        Operation("write", one.name, at, one.data[at - one.at : end - one.at])
        for at, end in zip(places, ends, strict=True)
    ]
    return [piece for piece in pieces if chance.random() < 0.5]


def states(pending: list[Operation], chance: random.Random) -> Iterator[list[Operation]]:
    """What of the pending operations may have happened, in their order, without end: the plain cases first."""
    yield []
    yield pending
    while True:
        kind = chance.randrange(4)
        if kind == 0:
            yield pending[: chance.randrange(len(pending) + 1)]
        elif kind == 1:
            yield [one for one in pending if chance.random() < 0.5]
        elif kind == 2:
            yield [piece for one in pending for piece in torn(one, chance)]
        else:  # all but one torn write
            tears = chance.randrange(len(pending))
            yield [piece for at, one in enumerate(pending) for piece in (torn(one, chance) if at == tears else [one])]


# ------------------------------------------------------------------ recording


def record(folder: Path, requests: int, synchronous: str) -> tuple[Disk, list[Operation], list[Sent], list[Sent]]:
    """The files before, what happened to them, what was answered before, and what was answered then, in order."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "power.db"
    settings = Settings(database_url=f"sqlite:///{path}", secret_key=SECRET_KEY)
    engine = make_engine(settings, create=True)
    upgrade(engine)
    key = prepare(engine, MODEL)

    def planted(of_child: Engine) -> None:
        often(of_child)
        pragma = f"PRAGMA synchronous={synchronous}"
        sa.event.listen(of_child, "connect", lambda raw, _record: raw.execute(pragma))

    ledger = Ledger(MODEL, requests)
    service = Forked(settings, planted)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    assert ledger.send(connection, key)
    before = {one.name: bytearray(one.read_bytes()) for one in (path, path.with_name(path.name + "-wal"))}
    log = folder / "trace"
    options = ["-xx", "-yy", "-s", str(1 << 20), "-e", f"trace={_CALLS}", "-e", "signal=none"]
    tracer = strace(service.pid, options, log)
    for _ in range(requests):
        assert ledger.send(connection, key)
    connection.close()
    service.stop()
    tracer.wait()
    answered = ledger.told
    return Disk(before), list(parsed(log.read_text(), set(before))), answered[:1], answered[1:]


def parsed(text: str, names: set[str]) -> Iterator[Operation]:
    """The operations of a trace on these files: a write when it begins, a sync when it has ended."""
    begun: dict[str, tuple[str, str]] = {}  # by thread
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, resumed, call, rest = match.groups()
        if resumed:
            call, rest = begun.pop(thread)
            if call in ("fdatasync", "fsync"):
                yield from _operation(call, rest, names)
            continue
        if rest.endswith("<unfinished ...>"):
            begun[thread] = call, rest
            if call in ("fdatasync", "fsync"):
                continue
        yield from _operation(call, rest, names)


def _operation(call: str, rest: str, names: set[str]) -> Iterator[Operation]:
    strings = [bytes.fromhex(one.replace("\\x", "")) for one in _STRING.findall(rest)]
    if call == "unlink":
        name = strings[0].decode().rpartition("/")[2]
        if name in names:
            yield Operation("unlink", name)
        return
    peer = _PEER.match(rest)
    if peer is not None:
        if strings and strings[0].startswith(b"HTTP/1.1 200 "):
            yield Operation("answer")
        return
    target = _FILE.match(rest)
    if target is None:
        return
    path = bytes.fromhex(target[1].replace("\\x", "")).decode() if "\\x" in target[1] else target[1]
    name = path.rpartition("/")[2]
    if name not in names:
        return
    if call in ("fdatasync", "fsync"):
        yield Operation("sync", name)
    elif call == "ftruncate":
        yield Operation("truncate", name, at=int(rest[target.end() :].partition(")")[0]))
    elif call == "pwrite64":
        (data,) = strings
        yield Operation("write", name, at=int(re.findall(r", (\d+)(?:\)| <unf)", rest)[-1]), data=data)
    else:
        raise AssertionError(f"{call} of {name} is not replayed")


# ------------------------------------------------------------------ judging


@dataclass
class Verdicts:
    """How many states there were, and in how many acknowledged rows were gone, doubled, or changed or unreadable."""

    operations: int = 0
    acknowledged: int = 0
    states: int = 0
    losing: int = 0
    doubling: int = 0
    corrupt: int = 0


def judge(folder: Path, files: dict[str, bytearray], acknowledged: list[Sent], verdicts: Verdicts) -> None:
    """Open these files as the product does, and compare."""
    verdicts.states += 1
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    engine = make_engine(Settings(database_url=f"sqlite:///{folder}/power.db"))
    try:
        with reading(engine) as connection:
            if connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() != ["ok"]:
                verdicts.corrupt += 1
                return
            found = compared(connection, MODEL, acknowledged)
    except (DBAPIError, KeepwatchError, ValueError, OSError):  # not a database, or not what was stored
        verdicts.corrupt += 1
        return
    finally:
        engine.dispose()
    verdicts.losing += found.lost > 0
    verdicts.doubling += found.doubled > 0
    verdicts.corrupt += found.changed > 0


def replay(folder: Path, requests: int, wanted: int, synchronous: str) -> Verdicts:
    """Record, then judge at least so many states, spread over all points; each point has its plain cases."""
    disk, operations, acknowledged, later = record(folder, requests, synchronous)
    assert sum(one.kind == "answer" for one in operations) == len(later), "an answer is missing in the record"
    verdicts, chance = Verdicts(operations=len(operations)), random.Random(wanted)
    unsure = sum(one.kind not in ("answer", "sync") for one in operations)  # points with something that is not synced
    each = max(2, -(-wanted // unsure))
    answers = iter(later)
    for one in operations:
        if one.kind == "answer":
            acknowledged.append(next(answers))
            continue
        disk.take(one)
        if not disk.pending:
            judge(folder / "state", disk.files, acknowledged, verdicts)
            continue
        made = states(disk.pending, chance)
        for _ in range(each):
            files = {name: bytearray(content) for name, content in disk.files.items()}
            for happened in next(made):
                apply(files, happened)
            judge(folder / "state", files, acknowledged, verdicts)
    verdicts.acknowledged = sum(len(sent.tokens) for sent in acknowledged)
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--states", type=int, default=1000)
    parser.add_argument("--synchronous", choices=["FULL", "NORMAL", "OFF"], default="FULL")
    asked = parser.parse_args()
    print(json.dumps(vars(replay(asked.folder, asked.requests, asked.states, asked.synchronous))))


if __name__ == "__main__":
    main()
