"""Bodies of prediction servers: what went in, as features, and what came out, as predictions.

Read are KServe's v1 (`instances`, `predictions`) and v2 protocol (`inputs`, `outputs` of tensors), MLflow's
`dataframe_records`, `dataframe_split` and `inputs`, Seldon's `data` (`ndarray`, `tensor`), plain lists and objects,
and CSV. Values without a name get the names of the model's features in their order, or `f0`, `f1`, … before the model
has features.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from monitor.ingest.formats.base import Row, Unmapped
from monitor.store.catalog import Model

_LABEL = ("prediction", "predicted_label", "predicted_class", "label", "class", "y_pred")
_SCORE = ("score", "probability", "proba", "prediction_proba", "y_pred_proba", "predict_proba")
_SCORES = ("probabilities", "scores", "class_probabilities")
_NUMBERED = re.compile(r"f\d+")
_TEXT_KINDS = ("categorical", "text", "ignored")


def inputs(body: Any, model: Model) -> list[Row]:
    """The features of each row of a request.

    Raises:
        Unmapped: it holds no rows that are known here.
    """
    if isinstance(body, Mapping):
        if isinstance(body.get("instances"), list):
            return [_features(one, model) for one in body["instances"]]
        if "dataframe_records" in body:
            return [_features(one, model) for one in _listed(body["dataframe_records"], "dataframe_records")]
        if "dataframe_split" in body:
            return _split(body["dataframe_split"])
        if "inputs" in body:
            return _of_inputs(body["inputs"], model)
        if isinstance(body.get("data"), Mapping):
            names, rows = _seldon(body["data"])
            return [_named(names, row, model) for row in rows]
        if "jsonData" in body:
            return inputs(body["jsonData"], model)
        return [_features(body, model)]
    if isinstance(body, list):
        nested = all(isinstance(one, list | Mapping) for one in body)
        return [_features(one, model) for one in body] if nested else [_positional(body, model)]
    raise Unmapped("the request holds no instances, inputs, data or dataframe")


def outputs(body: Any, model: Model) -> list[Row]:
    """`prediction`, `score` and `scores` of each row of a response.

    Raises:
        Unmapped: it holds no predictions that are known here.
    """
    if isinstance(body, Mapping):
        if "predictions" in body:
            return _predictions(body["predictions"], model)
        if "outputs" in body:
            return _of_outputs(body["outputs"], model)
        if isinstance(body.get("data"), Mapping):
            names, rows = _seldon(body["data"])
            return [_output(row, model, names) for row in rows]
        if "jsonData" in body:
            return outputs(body["jsonData"], model)
        return [_output(body, model)]
    return _predictions(body, model)


def csv_inputs(text: str, model: Model) -> list[Row]:
    """The features of each line of CSV without a header."""
    kinds = list((model.features or {}).values()) if not _numbered(model) else []
    rows = _csv(text)
    return [
        _positional([_typed(value, kinds[at] if at < len(kinds) else None) for at, value in enumerate(row)], model)
        for row in rows
    ]


def csv_outputs(text: str, model: Model) -> list[Row]:
    """The predictions of each line of CSV: a label, a number, or a probability for each class."""
    return [_output([_typed(value, None) for value in row], model) for row in _csv(text)]


def csv_labels(text: str) -> list[str]:
    """The first value of each line of CSV."""
    return [row[0] for row in _csv(text)]


def _csv(text: str) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        raise Unmapped("the data is no CSV") from None
    if not rows:
        raise Unmapped("the data is empty")
    return rows


def _typed(text: str, kind: str | None) -> Any:
    """A CSV value as the kind of its feature wants it; without a kind, a number where it is one."""
    text = text.strip()
    if text == "":
        return None
    if kind in _TEXT_KINDS:
        return text
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _numbered(model: Model) -> bool:
    """Whether the model's features have no names of their own (yet)."""
    return model.features is None or all(_NUMBERED.fullmatch(name) for name in model.features)


def feature_names(count: int, model: Model) -> list[str]:
    """The names of `count` values that came without names.

    Raises:
        Unmapped: the model has another number of features.
    """
    if _numbered(model):
        return [f"f{at}" for at in range(count)]
    names = list(model.features or ())
    if len(names) != count:
        raise Unmapped(
            f"{count} values without names, and the model has {len(names)} features: give it all of them by PUT, in "
            "the order in which they are sent"
        )
    return names


def _features(one: Any, model: Model) -> Row:
    if isinstance(one, Mapping):
        if len(one) == 1 and isinstance(one.get("features"), list | Mapping):
            return _features(one["features"], model)
        return dict(one)
    return _positional(one if isinstance(one, list) else [one], model)


def _positional(values: Sequence[Any], model: Model) -> Row:
    while len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return dict(zip(feature_names(len(values), model), values, strict=True))


def _named(names: Sequence[str] | None, values: Any, model: Model) -> Row:
    values = values if isinstance(values, list) else [values]
    if names is not None and len(names) == len(values):
        return dict(zip(names, values, strict=True))
    return _positional(values, model)


def _listed(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unmapped(f"{what} is no list")
    return value


def _split(frame: Any) -> list[Row]:
    if not isinstance(frame, Mapping):
        raise Unmapped("dataframe_split is no object")
    rows = _listed(frame.get("data"), "dataframe_split.data")
    names = [str(name) for name in _listed(frame.get("columns"), "dataframe_split.columns")]
    if any(not isinstance(row, list) or len(row) != len(names) for row in rows):
        raise Unmapped("dataframe_split has rows of another length than its columns")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _of_inputs(value: Any, model: Model) -> list[Row]:
    if isinstance(value, Mapping):  # columns by name
        return [dict(row) for row in _transposed({str(name): one for name, one in value.items()})]
    listed = _listed(value, "inputs")
    if not (listed and all(isinstance(one, Mapping) and "data" in one and "name" in one for one in listed)):
        return inputs(listed, model)
    named = {str(one["name"]): _tensor(one) for one in listed}
    if len(named) == 1:
        ((name, rows),) = named.items()
        if any(isinstance(row, list) and len(row) != 1 for row in rows):
            return [_positional(row if isinstance(row, list) else [row], model) for row in rows]
        known = model.features is None or name in model.features or len(model.features) != 1
        return [{name: _single(row)} if known else _positional([_single(row)], model) for row in rows]
    flat: dict[str, list[Any]] = {}
    for name, rows in named.items():
        width = max((len(row) for row in rows if isinstance(row, list)), default=1)
        if width == 1:
            flat[name] = [_single(row) for row in rows]
        else:
            for at in range(width):
                flat[f"{name}[{at}]"] = [row[at] if isinstance(row, list) and at < len(row) else None for row in rows]
    return _transposed(flat)


def _transposed(columns: Mapping[str, Any]) -> list[Row]:
    lists = {name: one if isinstance(one, list) else [one] for name, one in columns.items()}
    lengths = {len(one) for one in lists.values()}
    if len(lengths) > 1:
        raise Unmapped("the inputs have different numbers of rows")
    return [{name: _single(one[at]) for name, one in lists.items()} for at in range(lengths.pop() if lengths else 0)]


def _single(value: Any) -> Any:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _tensor(tensor: Mapping[str, Any]) -> list[Any]:
    """The rows of a v2 tensor: values, or lists of values."""
    data, shape = tensor.get("data"), tensor.get("shape")
    if not isinstance(data, list):
        raise Unmapped("a tensor's data is not in the JSON: the binary extension is not read")
    if not isinstance(shape, list) or not shape or any(not isinstance(n, int) or n < 0 for n in shape):
        raise Unmapped("a tensor has no shape")
    if any(isinstance(one, list) for one in data) or len(shape) == 1:
        if len(data) != shape[0]:
            raise Unmapped("a tensor has another number of values than its shape says")
        return data
    width = 1
    for length in shape[1:]:
        width *= length
    if width * shape[0] != len(data):
        raise Unmapped("a tensor has another number of values than its shape says")
    return [data[at * width : (at + 1) * width] for at in range(shape[0])]


def _seldon(data: Mapping[str, Any]) -> tuple[list[str] | None, list[Any]]:
    """Names and rows of Seldon's `data`."""
    names = data.get("names")
    known = [str(name) for name in names] if isinstance(names, list) and names else None
    if isinstance(data.get("ndarray"), list):
        rows = data["ndarray"]
        return known, rows if all(isinstance(row, list) for row in rows) else [rows]
    tensor = data.get("tensor")
    if isinstance(tensor, Mapping):
        return known, _tensor({"data": tensor.get("values"), "shape": tensor.get("shape")})
    raise Unmapped("data has neither ndarray nor tensor")


def _predictions(value: Any, model: Model) -> list[Row]:
    if isinstance(value, Mapping):
        if value and all(isinstance(one, list) for one in value.values()):
            return [_output(row, model) for row in _transposed(value)]
        return [_output(value, model)]
    return [_output(one, model) for one in (value if isinstance(value, list) else [value])]


def _of_outputs(value: Any, model: Model) -> list[Row]:
    if not (isinstance(value, list) and value and all(isinstance(one, Mapping) and "data" in one for one in value)):
        return _predictions(value, model)
    named = {str(one.get("name", at)): _tensor(one) for at, one in enumerate(value)}
    lengths = {len(rows) for rows in named.values()}
    if len(lengths) > 1:
        raise Unmapped("the outputs have different numbers of rows")
    if len(named) > 1 and any(name in (*_LABEL, *_SCORE, *_SCORES) for name in named):
        return [_output({name: rows[at] for name, rows in named.items()}, model) for at in range(lengths.pop())]
    return [_output(row, model) for row in next(iter(named.values()))]  # several without known names: the first


def _output(value: Any, model: Model, classes: Sequence[str] | None = None) -> Row:
    value = _single(value)
    if isinstance(value, Mapping):
        return _of_mapping(value, model)
    if isinstance(value, list):
        return _of_probabilities(value, model, classes)
    if value is None or model.task == "regression":
        return {} if value is None else {"prediction": value}
    # JSON tells 1 from 1.0: classifiers answer labels as integers and texts, probabilities as decimals.
    if model.task == "binary" and isinstance(value, float):
        return {"score": value}
    return {"prediction": value}


def _of_mapping(value: Mapping[str, Any], model: Model) -> Row:
    row: Row = {}
    for name, one in value.items():
        if name in _SCORES and isinstance(one, Mapping):
            row |= _of_probabilities(list(one.values()), model, [str(label) for label in one])
        elif name in (*_SCORES, *_SCORE) and isinstance(one, list):
            row = _of_probabilities(one, model, None) | row
        elif name in _SCORE and model.task == "binary":
            row["score"] = _single(one)
    for name in _LABEL:
        if value.get(name) is not None:
            row["prediction"] = _single(value[name])
            break
    if row:
        return row
    if len(value) == 1:
        return _output(next(iter(value.values())), model)
    if value and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value.values()):
        return _of_probabilities(list(value.values()), model, [str(label) for label in value])
    raise Unmapped("the response names neither a prediction nor a score")


def _of_probabilities(values: Sequence[Any], model: Model, classes: Sequence[str] | None) -> Row:
    values = [_single(one) for one in values]
    if model.task == "regression" or any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        raise Unmapped("the response has several values for one row, which are no probabilities")
    if len(values) == 1 and model.task == "binary":
        return {"score": values[0]}
    labels = list(classes) if classes is not None and len(classes) == len(values) else None
    if model.task == "binary":
        positive = model.config.positive_class
        at = labels.index(positive) if labels is not None and positive in labels else 1
        if len(values) != 2:
            raise Unmapped("the response has more than two probabilities, and the model is binary")
        return {"score": values[at]}
    if not values:
        raise Unmapped("the response has no values")
    labels = labels or [str(at) for at in range(len(values))]
    best = max(range(len(values)), key=values.__getitem__)
    return {"prediction": labels[best], "scores": dict(zip(labels, values, strict=True))}
