"""Two versions over a stretch: paired by id where both answered the same rows, from profiles where not."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from monitor.clock import HOUR, MINUTE
from monitor.errors import Invalid
from monitor.evaluate import versions
from monitor.evaluate.versions import Comparison, compare_versions
from monitor.store.session import reading
from tests.evaluate.small import START, Log

END = START + 4 * HOUR
N = 240
FEATURES = {"city": "categorical"}


def truth(i: int) -> int:
    return int(i * 7919 % 10 < 4)


def score(i: int, version: str) -> float:
    """Version 2 is a little worse on odd rows."""
    noise = (i * 104729 % 100) / 100 - 0.5
    return round(
        min(0.99, max(0.01, 0.5 + (truth(i) - 0.5) * 0.6 + noise * (1.6 if version == "2" and i % 2 else 1))), 2
    )


def rows(version: str, count: int = N, shift: int = 0, role: str = "live") -> list[dict[str, object]]:
    return [
        {
            "id": f"r{i + shift}",
            "timestamp": START + i * MINUTE,
            "version": version,
            "role": role,
            "prediction": str(int(score(i + shift, version) >= 0.5)),
            "score": score(i + shift, version),
            "latency_ms": 10.0 + (i % 7) + (5 if version == "2" else 0),
            "features": {"city": "ab"[i % 2]},
        }
        for i in range(count)
    ]


def outcomes(first: int = 0, last: int = N) -> list[tuple[str, str, int]]:
    return [(f"r{i}", str(truth(i)), END) for i in range(first, last)]


def compared(log: Log, with_pairs: bool = True) -> Comparison:
    with reading(log.engine) as connection:
        return compare_versions(connection, log.model, "1", "2", START, END, with_pairs=with_pairs)


@pytest.fixture
def shadowed(make_log: "type[Log]") -> Log:
    """Version 2 as the shadow of version 1 on the same ids."""
    log = make_log(features=FEATURES, segments=["city"])  # type: ignore[operator]
    log.reference(
        [{**row, "id": f"x{i}", "version": ""} for i, row in enumerate(rows("1"))], [str(truth(i)) for i in range(N)]
    )
    log.predictions(rows("1"))
    log.predictions(rows("2", role="shadow"))
    log.outcomes(outcomes())
    log.build()
    return log


def test_a_shadow_is_paired_with_the_live_version(shadowed: Log) -> None:
    found = compared(shadowed)
    assert (found.baseline.rows, found.candidate.rows, found.unpaired) == (N, N, "")
    assert found.pairs is not None and (found.pairs.n, found.pairs.labelled) == (N, N)
    said = {version: [int(score(i, version) >= 0.5) for i in range(N)] for version in "12"}
    true = [truth(i) for i in range(N)]
    assert found.pairs.agreement.value == pytest.approx(np.mean(np.equal(said["1"], said["2"])))
    by_name = {one.metric: one for one in found.performance}
    auc = by_name["roc_auc"]
    for value, version in ((auc.baseline, "1"), (auc.candidate, "2")):
        assert value.value == pytest.approx(roc_auc_score(true, [score(i, version) for i in range(N)]), abs=1e-9)
    change = accuracy_score(true, said["2"]) - accuracy_score(true, said["1"])
    assert by_name["accuracy"].difference.value == pytest.approx(change) and by_name["accuracy"].paired
    assert not by_name["average_precision"].paired  # it has no form as a mean of rows
    flips = found.pairs.flips
    assert flips is not None and (flips.only_candidate - flips.only_baseline) / N == pytest.approx(change)
    assert sum(one.rows for one in found.pairs.changes) == sum(a != b for a, b in zip(*said.values(), strict=True))
    assert {(one.before, one.after) for one in found.pairs.changes} <= {
        ("0", "1"),
        ("1", "0"),
        ("not 1", "1"),
        ("1", "not 1"),
    }
    late = next(one for one in found.service if one.metric == "latency_p50")
    assert late.difference.value == pytest.approx(5, abs=1) and not late.paired


def test_segments_are_compared_alike_and_the_worse_one_shows(shadowed: Log) -> None:
    parts = {one.name: one for one in compared(shadowed).segments}
    assert parts.keys() == {"city:a", "city:b"}
    assert parts["city:a"].rows == (N // 2, N // 2)
    even, odd = parts["city:a"].contrast.difference, parts["city:b"].contrast.difference
    assert even.value == pytest.approx(0, abs=1e-12)
    assert odd.value is not None and odd.value < -0.02
    assert parts["city:a"].agreement.value == 1.0


def test_numbers_of_profiles_and_of_pairs_are_the_same_and_pairs_know_more(shadowed: Log) -> None:
    together, alone = compared(shadowed), compared(shadowed, with_pairs=False)
    assert alone.pairs is None and alone.unpaired == "rows were not read"
    narrower = 0
    for one, other in zip(together.performance, alone.performance, strict=True):
        assert one.metric == other.metric
        assert one.candidate.value == pytest.approx(other.candidate.value, abs=1e-3)
        assert other.difference.value == pytest.approx(one.difference.value, abs=2e-3)
        wide = [d.high - d.low for d in (one.difference, other.difference) if d.low is not None and d.high is not None]
        narrower += len(wide) == 2 and wide[0] < wide[1]
    assert narrower >= 5


def test_too_many_rows_are_not_read(shadowed: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MOST_ROWS", 2 * N - 1)
    found = compared(shadowed)
    assert found.pairs is None and "too many" in found.unpaired and found.performance[0].difference.value is not None


def test_versions_of_different_rows_are_compared_apart(make_log: "type[Log]") -> None:
    log = make_log(features=FEATURES, segments=["city"])  # type: ignore[operator]
    log.predictions(rows("1") + rows("2", shift=N - 10))
    log.outcomes(outcomes(0, 2 * N))
    log.build()
    found = compared(log)
    assert found.pairs is not None and found.pairs.n == 10
    assert found.unpaired == "only 4% of the ids were answered by both versions"
    assert not any(one.paired for one in found.performance) and found.performance[0].difference.low is not None


def test_a_regression_says_how_far_answers_are_apart(make_log: "type[Log]") -> None:
    log = make_log(task="regression", positive_class=None, features=FEATURES, segments=["city"])  # type: ignore[operator]
    for version in "12":
        log.predictions([{**row, "prediction": truth(i) + 0.25 * int(version)} for i, row in enumerate(rows(version))])
    log.outcomes(outcomes())
    log.build()
    found = compared(log)
    assert found.pairs is not None and found.pairs.flips is None and found.pairs.agreement.value is None
    assert found.pairs.apart.value == pytest.approx(0.25)
    mae = next(one for one in found.performance if one.metric == "mae")
    assert mae.difference.value == pytest.approx(0.25) and mae.paired


def test_what_cannot_be_compared_names_the_field(shadowed: Log) -> None:
    with reading(shadowed.engine) as connection:
        for asked, field in ((("9", "1", START, END), "baseline"), (("1", "1", START, END), "candidate"),
                             (("1", "2", END, END), "from")):  # fmt: skip
            with pytest.raises(Invalid) as refused:
                compare_versions(connection, shadowed.model, *asked)  # type: ignore[arg-type]
            assert field in str(refused.value.errors)
        nothing = compare_versions(connection, shadowed.model, "1", "2", END + 30 * HOUR, END + 31 * HOUR)
    assert nothing.pairs is None and nothing.performance[0].difference.value is None and not nothing.segments
