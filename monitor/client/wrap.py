"""One line around an endpoint or a model. The libraries are never imported here: what is passed in tells what it is."""

import functools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from monitor.client.clock import monotonic

if TYPE_CHECKING:
    from monitor.client.client import Client

_ANSWERS = ("prediction", "score", "scores")
_LABELS = ("prediction", "predictions", "label", "result", "class")
Read = Callable[..., Mapping[str, Any] | None]


def decorator(client: "Client", read: Read, endpoint: Any, **options: Any) -> Any:
    """`@client.fastapi` and `@client.fastapi(…)` alike."""
    if endpoint is None:
        return lambda found: wrapped(client, read, found, **options)
    return wrapped(client, read, endpoint, **options)


def wrapped(
    client: "Client",
    read: Read,
    endpoint: Callable[..., Any],
    *,
    features: Read | None = None,
    answer: Callable[[Any], Mapping[str, Any]] | None = None,
    id: Callable[..., str | None] | None = None,  # noqa: A002 - the name of the field
    tags: Callable[..., Mapping[str, Any]] | None = None,
    version: str | None = None,
) -> Any:
    """An endpoint that logs each call: its features, its answer, its latency, or the error that it raised.

    What it returns or raises goes through untouched, and so does its signature.

    Args:
        features: takes the endpoint's arguments, gives the features. Default: the fields of its first argument that is
            a model of pydantic, a dataclass or a mapping, else its plain arguments by name; with Flask, the request's
            JSON.
        answer: takes what the endpoint returned, gives `prediction`, `score`, `scores`. Default: those fields of it, or
            `label`, `result`, `class`, or the plain value itself.
        id: takes the endpoint's arguments, gives the id. Default: the answer's `id`, `prediction_id` or `request_id`,
            else one is made.
        tags: takes the endpoint's arguments, gives the tags.
        version: the model's version.
    """

    def note(arguments: tuple[Any, ...], named: dict[str, Any], began: float, result: Any, error: str | None) -> None:
        try:
            found = {} if error is not None else (answer_of(result) if answer is None else dict(answer(result)))
            own_id = found.pop("id", None)
            client.log(
                (features or read)(*arguments, **named),
                latency_ms=round((monotonic() - began) * 1000, 3),
                error=error,
                id=own_id if id is None else id(*arguments, **named),
                tags=None if tags is None else tags(*arguments, **named),
                version=version,
                **{name: found[name] for name in _ANSWERS if name in found},
            )
        except Exception as problem:  # the caller's own functions: the request must not break
            client.log(None, error=f"not readable by the wrapper: {type(problem).__name__}")

    if _is_async(endpoint):

        @functools.wraps(endpoint)
        async def call(*arguments: Any, **named: Any) -> Any:
            began = monotonic()
            try:
                result = await endpoint(*arguments, **named)
            except Exception as error:
                note(arguments, named, began, None, type(error).__name__)
                raise
            note(arguments, named, began, result, None)
            return result
    else:

        @functools.wraps(endpoint)
        def call(*arguments: Any, **named: Any) -> Any:
            began = monotonic()
            try:
                result = endpoint(*arguments, **named)
            except Exception as error:
                note(arguments, named, began, None, type(error).__name__)
                raise
            note(arguments, named, began, result, None)
            return result

    return call


def _is_async(endpoint: Callable[..., Any]) -> bool:
    code = getattr(getattr(endpoint, "__wrapped__", endpoint), "__code__", None)
    return code is not None and bool(code.co_flags & 0x80)  # CO_COROUTINE


def from_arguments(*arguments: Any, **named: Any) -> dict[str, Any] | None:
    """The features among an endpoint's arguments."""
    values = [*arguments, *named.values()]
    for value in values:
        found = fields_of(value)
        if found is not None:
            return found
    return {name: value for name, value in named.items() if isinstance(value, str | int | float | bool)}


def from_flask(*arguments: Any, **named: Any) -> dict[str, Any] | None:
    """The features of the request that Flask is serving."""
    request = sys.modules["flask"].request
    found = request.get_json(silent=True)
    if isinstance(found, Mapping):
        inner = found.get("features")
        return dict(inner) if isinstance(inner, Mapping) else dict(found)
    return dict(request.form or request.args) or from_arguments(*arguments, **named)


def fields_of(value: Any) -> dict[str, Any] | None:
    """The fields of a mapping, a dataclass or a model of pydantic; of one called `features` alone, where it has one."""
    if isinstance(value, Mapping):
        found = dict(value)
    elif callable(getattr(value, "model_dump", None)):
        found = value.model_dump()
    elif hasattr(type(value), "__dataclass_fields__"):
        found = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    else:
        return None
    inner = found.get("features")
    return dict(inner) if isinstance(inner, Mapping) else found


def answer_of(result: Any) -> dict[str, Any]:
    """prediction, score, scores and id of what an endpoint returned; (body, status, …) of Flask is its body."""
    if isinstance(result, tuple) and result:
        result = result[0]
    if callable(getattr(result, "get_json", None)):  # a response of Flask
        result = result.get_json(silent=True)
    elif isinstance(getattr(result, "body", None), bytes):  # a response of Starlette
        import json

        result = json.loads(result.body)
    if isinstance(result, str | int | float | bool) or hasattr(result, "item"):
        return {"prediction": result}
    found = fields_of(result) or {}
    answer: dict[str, Any] = {name: found[name] for name in _ANSWERS if found.get(name) is not None}
    for name in _LABELS:
        if "prediction" not in answer and isinstance(found.get(name), str | int | float | bool):
            answer["prediction"] = found[name]
    for name in ("id", "prediction_id", "request_id"):
        if found.get(name) is not None:
            answer["id"] = str(found[name])
            break
    return answer


class Model:
    """A scikit-learn model whose `predict` and `predict_proba` log a row for each sample; all else is the model's.

    `predict` logs predictions; `predict_proba` logs the most probable class with its probabilities. `ids` holds the ids
    of this thread's last call, for `Client.outcome`. The rows are made in a thread of the client: the call takes a copy
    of the samples and returns.

    Args:
        client: where to log.
        model: a fitted estimator or pipeline.
        features: names of the columns, where the samples have none and the model was not fitted with names.
        version: the model's version.
    """

    def __init__(
        self, client: "Client", model: Any, *, features: Sequence[str] | None = None, version: str | None = None
    ) -> None:
        self._client, self._model, self._features, self._version = client, model, features, version
        self._calls = threading.local()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_model", "_calls"):
            raise AttributeError(name)
        return getattr(self._model, name)

    @property
    def ids(self) -> list[str]:
        """The ids that this thread's last call was logged under, in the order of its samples."""
        return list(getattr(self._calls, "ids", []))

    def predict(self, samples: Any, *arguments: Any, ids: Sequence[str] | None = None, **named: Any) -> Any:
        """The model's predict, logged; `ids` names the samples."""
        began = monotonic()
        result = self._model.predict(samples, *arguments, **named)
        self._note(samples, ids, began, lambda: [{"prediction": one} for one in _listed(result)], len(result))
        return result

    def predict_proba(self, samples: Any, *arguments: Any, ids: Sequence[str] | None = None, **named: Any) -> Any:
        """The model's predict_proba, logged; `ids` names the samples."""
        began = monotonic()
        result = self._model.predict_proba(samples, *arguments, **named)
        classes = _listed(self._model.classes_)
        copied = _listed(result)
        self._note(samples, ids, began, lambda: [_probable(classes, row) for row in copied], len(result))
        return result

    def _note(
        self,
        samples: Any,
        ids: Sequence[str] | None,
        began: float,
        answers: Callable[[], list[dict[str, Any]]],
        rows: int,
    ) -> None:
        try:
            latency = round((monotonic() - began) * 1000 / max(1, rows), 3)
            named = [None if one is None else str(one) for one in ([None] * rows if ids is None else ids)]
            names, columns = self._columns(samples)
            made = answers()
            version = {} if self._version is None else {"version": self._version}

            def make() -> list[dict[str, Any]]:
                return [
                    {"features": dict(zip(names, values, strict=True)), "latency_ms": latency, **version, **answer}
                    for values, answer in zip(zip(*columns, strict=True), made, strict=True)
                ]

            self._calls.ids = self._client.log_later(named, rows * (len(names) * 24 + 100), make)
        except Exception as problem:  # whatever samples are: the prediction must not break
            self._calls.ids = []
            self._client.log(None, error=f"not readable by the wrapper: {type(problem).__name__}")

    def _columns(self, samples: Any) -> tuple[list[str], list[list[Any]]]:
        """The samples by column, copied."""
        if hasattr(samples, "columns"):  # a data frame
            return [str(name) for name in samples.columns], [_listed(samples[name]) for name in samples.columns]
        if hasattr(samples, "toarray"):  # a sparse matrix
            samples = samples.toarray()
        listed = _listed(samples)
        names = self._features if self._features is not None else getattr(self._model, "feature_names_in_", None)
        found = [f"x{i}" for i in range(len(listed[0]))] if names is None else [str(name) for name in names]
        return found, [list(column) for column in zip(*listed, strict=True)]


def _listed(values: Any) -> list[Any]:
    return list(values.tolist()) if hasattr(values, "tolist") else list(values)


def _probable(classes: list[Any], row: list[float]) -> dict[str, Any]:
    best = classes[max(range(len(row)), key=row.__getitem__)]
    if len(classes) == 2:
        return {"prediction": best, "score": row[1]}
    return {"prediction": best, "scores": {str(label): share for label, share in zip(classes, row, strict=True)}}
