"""NannyML's published answers for its car loan data, from counts alone (golden/README.md)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.stats.binning import Binning
from monitor.stats.measure import measure, measure_one
from monitor.stats.rows import Codes, Numbers, Rows
from tests.stats.examples import profile_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "nannyml_carloan.json").read_text(encoding="utf-8"))
LEVELS = ("salary_range", "size_of_downpayment", "repaid_loan_on_prev_car")


def rows_of(counted: dict[str, Any]) -> Rows:
    """The rows that these counts describe; columns are in no common order, which counts do not notice."""
    outcomes = np.asarray(counted["outcomes"])
    hundredths, predicted, actual = (np.repeat(outcomes[:, i], outcomes[:, 3]) for i in range(3))
    features: dict[str, Codes | Numbers] = {
        name: Codes(np.repeat(np.arange(len(counted[name])), list(counted[name].values())), tuple(counted[name]))
        for name in LEVELS
    }
    lengths = np.asarray(counted["loan_length"])
    features["loan_length"] = Numbers(np.repeat(lengths[:, 0], lengths[:, 1].astype(int)))
    return Rows(
        len(hundredths), features, prediction=Codes(predicted, ("0", "1")), score=hundredths / 100,
        actual=Codes(actual, ("0", "1")),
    )  # fmt: skip


REFERENCE = rows_of(GOLDEN["reference"])
BINNING = Binning.build(1, "binary", REFERENCE, positive_class="1")
BASE = profile_of(BINNING, REFERENCE)
CHUNKS = [profile_of(BINNING, rows_of(chunk)) for chunk in GOLDEN["chunks"]]


@pytest.mark.parametrize("chunk", range(10))
def test_realized_performance_of_every_chunk(chunk: int) -> None:
    found = measure(CHUNKS[chunk], BASE)
    for name, value in GOLDEN["expected"][chunk].items():
        if isinstance(value, float):
            assert found.values[name].value == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("chunk", range(10))
def test_drift_of_every_chunk(chunk: int) -> None:
    expected = GOLDEN["expected"][chunk]
    for name in LEVELS:
        found = measure_one(CHUNKS[chunk], BASE, "jensen_shannon", name).value
        assert found == pytest.approx(expected["jensen_shannon"][name], abs=1e-9), name
    ks = measure_one(CHUNKS[chunk], BASE, "ks", "loan_length").value
    assert ks == pytest.approx(expected["ks"]["loan_length"], abs=1e-9)
    sd = REFERENCE.features["loan_length"].values.std()
    moved = measure_one(CHUNKS[chunk], BASE, "wasserstein", "loan_length").value
    assert moved == pytest.approx(expected["wasserstein"]["loan_length"] / sd, rel=1e-3)


def test_performance_falls_after_the_fifth_chunk() -> None:
    auc = [measure_one(chunk, BASE, "roc_auc") for chunk in CHUNKS]
    assert [round(value.value, 4) for value in auc] == [
        0.9710, 0.9702, 0.9763, 0.9677, 0.9699, 0.9600, 0.9585, 0.9590, 0.9631, 0.9576,
    ]  # fmt: skip
    assert max(value.value for value in auc[5:]) < min(value.value for value in auc[:5])


@pytest.mark.parametrize("metric", sorted(GOLDEN["estimated"]))
def test_performance_is_estimated_before_outcomes_as_nannyml_does(metric: str) -> None:
    """Without a single outcome of the chunks: within 0.003 of CBPE, and as near to what came true as it is."""
    found = [measure_one(chunk, BASE, f"estimated_{metric}").value for chunk in CHUNKS]
    published = np.array(GOLDEN["estimated"][metric])
    realized = np.array([chunk[metric] for chunk in GOLDEN["expected"]])
    assert np.abs(np.array(found) - published).max() < 0.003
    assert np.abs(found - realized).mean() < 1.1 * np.abs(published - realized).mean()
    assert (np.array(found) < 0.965).tolist() == (published < 0.965).tolist() or metric != "roc_auc"
