"""An Evidently report of a stretch against its reference: the only place that imports Evidently.

Importing it costs seconds and hundreds of megabytes, so this module runs as a process of its own:
`python -m monitor.stats.report FOLDER` reads reference.arrow, current.arrow and request.json there and writes
report.html, or error.txt with one line for people. Whoever starts that process bounds its time.

What Evidently cannot take is put right before, and every such change is a note at the top of the page: columns without
a value, features with more than MAX_LEVELS levels, infinities, outcomes of a single class, rows with an outcome but no
prediction or score. Methods and thresholds are
pinned, since Evidently's defaults change with the number of rows.
"""

import html
import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from monitor.columns import ACTUAL, FEATURE

MISSING_PACKAGE = 'this needs Evidently: pip install "keepwatch[reports]"'
MAX_LEVELS = 100
MAX_FEATURES = 200
MIN_LABELLED = 30
LONGEST_SECONDS = 600
METHOD, THRESHOLD = "jensenshannon", 0.1  # a distance in [0, 1]; bounded also for constant columns
OTHER, NONE = "(other)", "(missing)"

_HEADER = (
    '<div style="font:14px/1.5 system-ui,sans-serif;margin:0;padding:16px 24px;background:#f4f5f7;color:#1d2330">'
    '<h1 style="font-size:20px;margin:0 0 4px">{title}</h1><p style="margin:0">{line}</p>{notes}</div>'
)


@dataclass(frozen=True)
class Request:
    """What a report is of.

    Attributes:
        model, stretch: for the heading.
        task: binary, multiclass or regression; positive_class: the canonical label (binary).
        features: name to kind; `text` and `ignored` features are left out.
        notes: what the reader must know, said before the numbers.
    """

    model: str
    stretch: str
    task: str
    positive_class: str | None
    features: dict[str, str]
    notes: list[str] = field(default_factory=list)

    def dump(self) -> str:
        return json.dumps(asdict(self))


def build(request: Request, reference: pa.Table, current: pa.Table) -> bytes:
    """The report as one HTML page that loads nothing.

    Args:
        reference, current: columns as in a block (`f:NAME`, `prediction`, `score`) and `actual`, null where unknown.

    Raises:
        ValueError: nothing is left to compare.
    """
    from evidently.presets import ClassificationPreset, DataDriftPreset, RegressionPreset

    prepared = prepare(request, reference, current)
    if not prepared.numeric and not prepared.categorical:
        raise ValueError("no column has a value on both sides: there is nothing to compare")
    drift = DataDriftPreset(
        columns=[*prepared.numeric, *prepared.categorical],
        num_method=METHOD,
        cat_method=METHOD,
        num_threshold=THRESHOLD,
        cat_threshold=THRESHOLD,
    )
    run = _run(drift, prepared, prepared.current, prepared.reference, {})
    if prepared.performance:
        # A run of its own: some of Evidently's curves take a row without an outcome for a negative one.
        preset = RegressionPreset() if prepared.performance == "regression" else ClassificationPreset()
        sides = (prepared.judged(prepared.current), prepared.judged(prepared.reference))
        judged = _run(preset, prepared, *sides, _task(prepared))
        run = _joined(run, judged)
    return _with_heading(str(run.get_html_str(as_iframe=False)), request, prepared).encode()


def _run(
    preset: Any, prepared: "Prepared", current: pd.DataFrame, reference: pd.DataFrame, task: dict[str, Any]
) -> Any:
    from evidently import DataDefinition, Dataset, Report

    definition = DataDefinition(
        numerical_columns=[*prepared.numeric, *prepared.numeric_answers],
        categorical_columns=[*prepared.categorical, *prepared.label_answers],
        **task,
    )
    sides = [Dataset.from_pandas(side, data_definition=definition) for side in (current, reference)]
    return Report([preset]).run(*sides)


def _joined(run: Any, other: Any) -> Any:
    """One run that shows what both show."""
    from evidently.core.report import Snapshot

    model = run.to_snapshot_model()
    model.widgets = [*model.widgets, *other.to_snapshot_model().widgets]
    return Snapshot.load_model(model)


@dataclass
class Prepared:
    """Two data frames that Evidently can take, and what was changed to get there."""

    reference: pd.DataFrame
    current: pd.DataFrame
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    numeric_answers: list[str] = field(default_factory=list)  # known to Evidently, not compared for drift
    label_answers: list[str] = field(default_factory=list)
    performance: str = ""  # binary | multiclass | regression, or empty: not computed
    positive: str | None = None
    probabilities: bool = False
    notes: list[str] = field(default_factory=list)

    def judged(self, side: pd.DataFrame) -> pd.DataFrame:
        """The rows of a side that performance is of."""
        return side[side[ACTUAL].notna()].reset_index(drop=True)


def prepare(request: Request, reference: pa.Table, current: pa.Table) -> Prepared:
    """Both sides as Evidently can take them; see the module's text for what is put right."""
    prepared = Prepared(pd.DataFrame(index=range(len(reference))), pd.DataFrame(index=range(len(current))))
    prepared.notes.extend(request.notes)
    kinds = {FEATURE + name: kind for name, kind in request.features.items() if kind not in ("text", "ignored")}
    left_out = [name for name, kind in request.features.items() if kind == "text"]
    if left_out:
        prepared.notes.append(f"Free text is not compared: {_names(left_out)}.")
    if len(kinds) > MAX_FEATURES:
        prepared.notes.append(f"Only the first {MAX_FEATURES} of {len(kinds)} features are compared.")
        kinds = dict(list(kinds.items())[:MAX_FEATURES])
    answer = "numeric" if request.task == "regression" else "categorical"
    columns = {**kinds, "prediction": answer, "score": "numeric"}

    empty: list[str] = []
    for column, kind in columns.items():
        sides = [_column(table, column, kind) for table in (reference, current)]
        name = column.removeprefix(FEATURE)
        name = name if column.startswith(FEATURE) and name not in ("prediction", "score", ACTUAL) else column
        if any(side is None or bool(side.isna().all()) for side in sides):
            if column.startswith(FEATURE) or any(side is not None and bool(side.notna().any()) for side in sides):
                empty.append(name)
            continue
        _add(prepared, name, kind, sides)
    if empty:
        prepared.notes.append(f"Left out, since one side has no value in them: {_names(empty)}.")
    _add_outcomes(prepared, request, reference, current)
    return prepared


def _column(table: pa.Table, name: str, kind: str) -> "pd.Series[Any] | None":
    index = table.schema.get_field_index(name)
    if index < 0:
        return None
    values = table.column(index)
    if kind == "numeric":
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            return None
        return pd.Series(values.to_numpy().astype(np.float64))
    texts = ["true" if one is True else "false" if one is False else one for one in values.to_pylist()]
    return pd.Series([None if one is None else str(one) for one in texts], dtype=object)


def _add(prepared: Prepared, name: str, kind: str, sides: "Sequence[pd.Series[Any]]") -> None:
    if kind == "numeric":
        infinite = sum(int(np.isinf(side).sum()) for side in sides)
        if infinite:
            prepared.notes.append(f"{name}: {infinite:,} infinite values count as missing here.")
        sides = [side.where(np.isfinite(side)) for side in sides]
        if any(bool(side.isna().all()) for side in sides):
            prepared.notes.append(f"Left out, since one side has no finite value: {name}.")
            return
        prepared.numeric.append(name)
    else:
        sides = [side.fillna(NONE) for side in sides]
        known = pd.concat(sides).value_counts()
        if len(known) > MAX_LEVELS:
            kept = set(sides[0].value_counts().index[: MAX_LEVELS - 1])
            sides = [side.where(side.isin(kept), OTHER) for side in sides]
            prepared.notes.append(
                f"{name}: {len(known):,} levels; all but the reference's {MAX_LEVELS - 1} most frequent are {OTHER}."
            )
        prepared.categorical.append(name)
    prepared.reference[name], prepared.current[name] = (side.to_numpy() for side in sides)


def _add_outcomes(prepared: Prepared, request: Request, reference: pa.Table, current: pa.Table) -> None:
    """Outcomes of both sides, when performance can be computed from them; else a note says why not."""
    kind = "numeric" if request.task == "regression" else "categorical"
    actual = [_column(table, ACTUAL, kind) for table in (reference, current)]
    # Performance needs the prediction as it was sent, without the "(missing)" that drift counts.
    predicted = [_column(table, "prediction", kind) for table in (reference, current)]
    if any(side is None for side in (*actual, *predicted)):
        prepared.notes.append("Performance is not computed: a side has no outcomes or no predictions.")
        return
    use_score = request.task == "binary" and "score" in prepared.numeric
    frames = (prepared.reference, prepared.current)
    left_out: list[int] = []
    for frame, outcome, answer in zip(frames, actual, predicted, strict=True):
        usable = outcome.notna() & answer.notna()  # type: ignore[union-attr]
        if kind == "numeric":
            usable &= np.isfinite(answer)  # type: ignore[arg-type]
        if use_score:
            usable &= frame["score"].notna()
        left_out.append(int((outcome.notna() & ~usable).sum()))  # type: ignore[union-attr]
        frame[ACTUAL] = outcome.where(usable).to_numpy()  # type: ignore[union-attr]
    if any(left_out):
        lacking = "no prediction or no score" if use_score else "no prediction"
        prepared.notes.append(
            f"Left out of performance, since they have {lacking}: {left_out[1]:,} rows (reference {left_out[0]:,})."
        )
    counts = [int(frame[ACTUAL].notna().sum()) for frame in frames]
    if min(counts) < MIN_LABELLED:
        prepared.notes.append(f"Performance is not computed: it needs {MIN_LABELLED} outcomes on each side.")
    elif request.task == "regression":
        prepared.performance = "regression"
    else:
        _check_classes(prepared, request, use_score)
    if prepared.performance:
        prepared.notes.append(f"Performance is of the rows with an outcome: {counts[1]:,} (reference {counts[0]:,}).")
        (prepared.numeric_answers if kind == "numeric" else prepared.label_answers).append(ACTUAL)
    else:
        for frame in frames:
            del frame[ACTUAL]


def _check_classes(prepared: Prepared, request: Request, use_score: bool) -> None:
    frames = (prepared.reference, prepared.current)
    seen = [set(frame[ACTUAL].dropna().unique()) for frame in frames]
    labelled = [set(frame.loc[frame[ACTUAL].notna(), "prediction"].unique()) for frame in frames]
    classes = set.union(*seen, *labelled)
    if any(len(side) < 2 for side in seen):
        prepared.notes.append("Performance is not computed: the outcomes of one side are all of one class.")
    elif request.task == "binary" and (len(classes) != 2 or request.positive_class not in classes):
        prepared.notes.append("Performance is not computed: the labels are not the two classes of the model.")
    elif len(classes) == 2:
        prepared.performance = "binary"
        prepared.positive = request.positive_class or max(classes)
        prepared.probabilities = use_score
    else:
        prepared.performance = "multiclass"


def _task(prepared: Prepared) -> dict[str, Any]:
    from evidently import BinaryClassification, MulticlassClassification, Regression

    if prepared.performance == "regression":
        return {"regression": [Regression(target=ACTUAL, prediction="prediction")]}
    if prepared.performance == "multiclass":
        return {"classification": [MulticlassClassification(target=ACTUAL, prediction_labels="prediction")]}
    if prepared.performance == "binary":
        scores = {"prediction_probas": "score"} if prepared.probabilities else {}
        task = BinaryClassification(
            target=ACTUAL, prediction_labels="prediction", pos_label=prepared.positive, **scores
        )
        return {"classification": [task]}
    return {}


def _with_heading(page: str, request: Request, prepared: Prepared) -> str:
    """The page with its subject and the notes on top."""
    line = f"{request.stretch} · {len(prepared.current):,} rows against {len(prepared.reference):,} of the reference"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in prepared.notes)
    heading = _HEADER.format(
        title=html.escape(request.model),
        line=html.escape(line),
        notes=f'<ul style="margin:8px 0 0;padding-left:20px">{notes}</ul>' if notes else "",
    )
    body = page.find(">", page.find("<body")) + 1
    return page[:body] + heading + page[body:]


def _names(names: list[str], limit: int = 20) -> str:
    shown = ", ".join(sorted(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def main(folder: Path) -> int:
    """The process: exit code 0 with report.html, or 1 with error.txt."""
    warnings.simplefilter("ignore")
    try:
        request = Request(**json.loads((folder / "request.json").read_text()))
        with pa.memory_map(str(folder / "reference.arrow")) as one, pa.memory_map(str(folder / "current.arrow")) as two:
            page = build(request, pa.ipc.open_stream(one).read_all(), pa.ipc.open_stream(two).read_all())
        (folder / "report.html").write_bytes(page)
    except ModuleNotFoundError as error:
        ours = (error.name or "").partition(".")[0] == "evidently"
        (folder / "error.txt").write_text(MISSING_PACKAGE if ours else f"{error.name} is missing")
        return 1
    except Exception as error:
        reason = str(error).split("\n", 1)[0][:300]
        (folder / "error.txt").write_text(f"Evidently could not compute it ({type(error).__name__}: {reason})")
        return 1
    return 0


if __name__ == "__main__":
    os.nice(10)  # reports are background work
    signal.alarm(LONGEST_SECONDS)  # also when whoever started it is gone and cannot end it any more
    sys.exit(main(Path(sys.argv[1])))
