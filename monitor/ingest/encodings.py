"""The encodings of ingest bodies, and how one that is decoded piece by piece becomes drafts."""

from collections.abc import Iterator
from enum import Enum

import pyarrow as pa

from monitor.errors import UnsupportedEncoding
from monitor.ingest import arrow, tables


class Encoding(Enum):
    """What a Content-Type says."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"
    ARROW = "application/vnd.apache.arrow.stream"
    PARQUET = "application/vnd.apache.parquet"


_BY_TYPE = {one.value: one for one in Encoding}


def encoding_of(content_type: str | None) -> Encoding:
    """The encoding of a Content-Type; without one, JSON.

    Raises:
        UnsupportedEncoding: names what is read.
    """
    kind = (content_type or Encoding.JSON.value).partition(";")[0].strip().lower()
    found = _BY_TYPE.get(kind)
    if found is None:
        raise UnsupportedEncoding("send " + ", ".join(_BY_TYPE))
    return found


def pieces(body: bytes, encoding: Encoding, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """The rows of an Arrow or Parquet body in pieces of bounded size.

    Raises:
        Unreadable, TooLarge: as monitor.ingest.tables does, also after some pieces.
    """
    read = tables.parquet_batches if encoding is Encoding.PARQUET else tables.arrow_batches
    batches: Iterator[pa.RecordBatch] = read(body, max_bytes)
    for batch in batches:
        yield from arrow.pieces(batch)
