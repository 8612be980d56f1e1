"""A file that is to be imported: what it looks like, and its content in pieces of bounded size.

The container (CSV, Parquet, Arrow, JSON lines) is found by the first bytes, then by the name; gzip and zstd around it
are taken off while reading. Which format the rows inside have is another question (`formats.choose`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from monitor.errors import SetupError

CONTAINERS = ("csv", "parquet", "arrow", "ndjson")
BATCH_ROWS = 10_000
_HEAD = 1 << 16
_CHUNK = 4 << 20  # bytes of lines that are handed out at a time
_MAX_LINE = 32 << 20
_SUFFIXES = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "ndjson",
    ".ndjson": "ndjson",
    ".log": "ndjson",
}
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SEPARATORS = {";": "`;`", "\t": "tabs", "|": "`|`"}
_TEXTS = ("id", "version", "error", "role", "served_from", "environment")
_TIMES = ("timestamp", "known_at", "computed_at", "observed_at")

Line = tuple[int, bytes]  # number, from 0, and content


class Source:
    """One file. `container` forces what it is; else it is found out."""

    def __init__(self, path: Path, container: str | None = None) -> None:
        """Raises: SetupError: there is no such file."""
        if not path.is_file():
            raise SetupError(f"{path}: no such file")
        self.path = path
        self._forced = container

    @cached_property
    def packing(self) -> str | None:
        """`gzip`, `zstd` or None."""
        with self.path.open("rb") as file:
            start = file.read(4)
        return next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB, unpacked."""
        with self._readable(), self._opened() as (stream, _):
            return bytes(stream.read(_HEAD))

    def check_encoding(self) -> None:
        """Raises: SetupError: a text in UTF-16."""
        if self.head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise SetupError(f"{self.path}: the file is in UTF-16: save it as UTF-8")

    @cached_property
    def container(self) -> str | None:
        """`csv`, `parquet`, `arrow`, `ndjson`; None when neither content nor name say it."""
        if self._forced is not None:
            return self._forced
        if self.head.startswith(b"PAR1"):
            return "parquet"
        if self.head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
            return "arrow"
        if self.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return "ndjson"
        name = Path(self.path.stem) if self.packing and self.path.suffix in (".gz", ".zst", ".zstd") else self.path
        return _SUFFIXES.get(name.suffix.lower())

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of a table's columns; of JSON lines, the keys of the first."""
        if self.container == "ndjson":
            return tuple(self.first or ())
        if self.container is None:
            return ()
        table = next((one for one, _, _ in self.tables()), None)
        return () if table is None else tuple(table.schema.names)

    @cached_property
    def first(self) -> dict[str, Any] | None:
        """The first line of JSON lines; None where it is no object."""
        if self.container != "ndjson":
            return None
        for lines, _, _ in self.lines():
            for _, line in lines:
                found = parsed(line)
                return found if isinstance(found, dict) else None
        return None

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of the file's content."""
        digest = blake2b(digest_size=16)
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def tables(self) -> Iterator[tuple[pa.Table, int, int]]:
        """(rows, how much is done, of how much) of a file of columns.

        Raises:
            SetupError: unreadable content.
        """
        with self._readable():
            if self.container == "parquet":
                yield from self._parquet()
            elif self.container == "arrow":
                yield from self._arrow()
            elif self.container == "csv":
                yield from self._csv()
            else:
                yield from self._json_tables()

    def lines(self) -> Iterator[tuple[list[Line], int, int]]:
        """(lines that are not empty, how much is done, of how much) of a file of lines, about 4 MiB at a time.

        Raises:
            SetupError: unreadable content, or a line of more than 32 MiB.
        """
        size = self.path.stat().st_size
        with self._readable(), self._opened() as (stream, raw):
            rest, number, first = b"", 0, True
            while True:
                chunk = bytes(stream.read(_CHUNK))
                if first:
                    chunk, first = chunk.removeprefix(b"\xef\xbb\xbf"), False
                whole = (rest + chunk).split(b"\n")
                rest = whole.pop() if chunk else b""
                if len(rest) > _MAX_LINE:
                    raise SetupError(f"{self.path}: line {number + len(whole) + 1} is longer than 32 MiB")
                found = [(number + at, line) for at, line in enumerate(whole) if line.strip()]
                number += len(whole)
                for at in range(0, len(found), BATCH_ROWS):
                    yield found[at : at + BATCH_ROWS], raw.tell(), size
                if not chunk:
                    return

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, EOFError) as error:
            reason = (str(error).splitlines() or ["it ends too early"])[0]
            kind = self._forced or self._kind()
            raise SetupError(f"{self.path}: cannot be read as {kind}: {reason}{self._separator(kind)}") from None

    def _separator(self, kind: str) -> str:
        """What to do about a CSV whose names are separated by another sign than commas; else nothing."""
        if kind != "csv" or "head" not in self.__dict__:
            return ""
        names = self.head.partition(b"\n")[0].decode("utf-8", "replace")
        sign, word = max(_SEPARATORS.items(), key=lambda one: names.count(one[0]))
        if names.count(sign) <= names.count(","):
            return ""
        return f" (its names are separated by {word}: separate them and the values by commas, decimals by points)"

    def _kind(self) -> str:
        known = self.__dict__.get("container")
        return known if isinstance(known, str) else self.packing or "a file"

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, BinaryIO]]:
        """The unpacked stream, and the file below it, whose place says how much is done."""
        with self.path.open("rb") as raw:
            if self.packing is None:
                yield raw, raw
                return
            with pa.CompressedInputStream(pa.PythonFile(raw, "r"), self.packing) as stream:
                yield stream, raw

    def _parquet(self) -> Iterator[tuple[pa.Table, int, int]]:
        file, done = pa.parquet.ParquetFile(self.path), 0
        for batch in file.iter_batches(batch_size=5 * BATCH_ROWS):
            done += batch.num_rows
            yield pa.Table.from_batches([batch]), done, file.metadata.num_rows

    def _arrow(self) -> Iterator[tuple[pa.Table, int, int]]:
        size = self.path.stat().st_size
        if self.packing is None and self.head.startswith(b"ARROW1"):
            with pa.memory_map(str(self.path)) as mapped:
                file = pa.ipc.open_file(mapped)
                for at in range(file.num_record_batches):
                    yield pa.Table.from_batches([file.get_batch(at)]), at + 1, file.num_record_batches
            return
        with self._opened() as (stream, raw):
            for batch in pa.ipc.open_stream(stream):
                yield pa.Table.from_batches([batch]), raw.tell(), size

    def _csv(self) -> Iterator[tuple[pa.Table, int, int]]:
        size = self.path.stat().st_size
        if not self.head.removeprefix(b"\xef\xbb\xbf").strip():
            raise SetupError(f"{self.path}: cannot be read as csv: no rows in the file, and no names of columns")
        # Types are inferred from the first block, so it is a large one; ids stay texts, or "007" becomes 7.
        texts = {name: pa.string() for name in (*_TEXTS, *_TIMES)}
        with self._opened() as (stream, raw):
            reader = pa.csv.open_csv(
                stream,
                read_options=pa.csv.ReadOptions(block_size=8 << 20),
                parse_options=pa.csv.ParseOptions(newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(
                    column_types=texts, strings_can_be_null=True, quoted_strings_can_be_null=False
                ),
            )
            for batch in reader:
                yield pa.Table.from_batches([batch]), min(raw.tell(), size), size

    def _json_tables(self) -> Iterator[tuple[pa.Table, int, int]]:
        for lines, done, total in self.lines():
            found = [(number, parsed(line)) for number, line in lines]
            for number, one in found:
                if not isinstance(one, dict):
                    raise SetupError(f"{self.path}: line {number + 1} is no JSON object")
            yield _table([one for _, one in found]), done, total


def parsed(line: bytes) -> Any:
    """A line's JSON; NaN and Infinity, which Python's writers leave in it, are read too. None when it is no JSON."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        found = json.loads(line)
        msgspec.json.encode(found)  # what no JSON of ours could hold (half a surrogate) is no JSON either
    except (ValueError, RecursionError, OverflowError):
        return None
    return found


def _table(records: list[dict[str, Any]]) -> pa.Table:
    """Records as columns; where one column's values are of several types, they become texts."""
    names = dict.fromkeys(name for record in records for name in record)
    arrays = {}
    for name in names:
        values = [record.get(name) for record in records]
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            arrays[name] = pa.array([_text(value) for value in values], pa.string())
    return pa.table(arrays)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
