"""The written forms of a sequential two-sample test: what it remembers, and the rows that it learns from."""

import zlib
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np

from monitor.stats.evidence import ScalarModel
from monitor.stats.rows import Floats
from monitor.stats.two_sample import Classifier, Incident, Reference, State

_MODEL = tuple(field.name for field in fields(ScalarModel))


def dump(state: State) -> bytes:
    """Classifiers and incident, without the days (MessagePack)."""
    incident = state.incident
    told = None
    if incident is not None:
        rest = (incident.since, incident.level, incident.days, incident.log_back, incident.held)
        told = [_classifier(incident.classifier), *rest]
    return msgspec.msgpack.encode([[_classifier(one) for one in state.classifiers], told, state.hold, state.quiet])


def load(content: bytes, days: tuple[Floats, ...]) -> State:
    """What `dump` wrote, with the days that `load_rows` gave."""
    classifiers, told, *held = msgspec.msgpack.decode(content)  # what was written before a hold was kept has none
    incident = None if told is None else Incident(_loaded(told[0]), *told[1:])
    return State(tuple(_loaded(one) for one in classifiers), days, incident, *held)


def _classifier(one: Classifier) -> list[Any]:
    model = [float(getattr(one.model, name)[0]) for name in _MODEL]
    arrays = [part.astype("<f8").tobytes() for part in (one.weights, one.centre)]
    return [one.born, one.terms, *arrays, model, one.usual, one.number, one.total, one.squares]


def _loaded(content: list[Any]) -> Classifier:
    born, terms, weights, centre, model, *rest = content
    named = tuple(tuple(term) for term in terms)
    scalars = ScalarModel(**{name: np.array([value]) for name, value in zip(_MODEL, model, strict=True)})
    return Classifier(born, named, _floats(weights), _floats(centre), scalars, *rest)


def _floats(content: bytes) -> Floats:
    return np.frombuffer(content, "<f8").astype(np.float64)


def dump_rows(reference: Reference, days: tuple[Floats, ...]) -> bytes:
    """The columns of the reference's rows and of the last days, in half precision: they have few distinct values."""
    parts = [reference.columns, *days]
    raw = b"".join(part.astype("<f2").tobytes() for part in parts)
    head = [reference.columns.shape[1], [part.shape[0] for part in parts]]
    return msgspec.msgpack.encode([head, reference.day.astype("<u2").tobytes(), zlib.compress(raw, 1)])


def load_rows(content: bytes) -> tuple[Reference, tuple[Floats, ...]]:
    """What `dump_rows` wrote."""
    (width, sizes), day, packed = msgspec.msgpack.decode(content)
    shape = sum(sizes), width  # rows without a column are rows all the same
    whole = np.asarray(np.frombuffer(zlib.decompress(packed), "<f2").reshape(shape), np.float32)
    parts: list[Any] = np.split(whole, np.cumsum(sizes)[:-1])
    columns, *days = parts
    return Reference(columns, np.frombuffer(day, "<u2").astype(np.int64)), tuple(days)
