"""An Evidently report of a segment: its rows alone, of the stretch and of the reference."""

from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from monitor import clock, reports, tasks
from tests.dashboards.seeded import DRIFTED, START, WINDOW, WINDOWS

STRETCH = {"from": clock.render(START + DRIFTED * WINDOW), "to": clock.render(START + WINDOWS * WINDOW)}


def test_a_report_of_a_segment_gets_its_rows_alone(
    pages: TestClient, seeded_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, pa.Table] = {}

    def compute(folder: Path) -> bytes:
        for name in ("reference", "current"):
            with pa.ipc.open_stream((folder / f"{name}.arrow").read_bytes()) as reader:
                seen[name] = reader.read_all()
        assert "plan:pro" in (folder / "request.json").read_text()
        return b"<html><body>the page</body></html>"

    monkeypatch.setattr(reports, "_compute", compute)
    asked = pages.post("/v1/models/churn/reports", json={**STRETCH, "segment": "plan:pro"})
    assert asked.status_code == 202 and asked.json()["segment"] == "plan:pro"
    assert tasks.run_pending(seeded_engine, "report") == 1
    done = pages.get(asked.json()["url"]).json()
    assert done["state"] == "done", done
    counted = pages.get(
        "/v1/models/churn/summary", params={"metric": "volume", "segment": "plan:pro", **STRETCH}
    ).json()
    assert done["rows"] == counted["value"] == seen["current"].num_rows > 100
    for table in seen.values():
        assert set(table.column("f:plan").to_pylist()) == {"pro"}
    assert "plan:pro" in pages.get("/models/churn").text


@pytest.mark.parametrize("segment", ["plan:unknown", "plan", ":", "plan:other", "nothing:pro"])
def test_a_segment_that_is_none_is_refused(pages: TestClient, segment: str) -> None:
    answer = pages.post("/v1/models/churn/reports", json={**STRETCH, "segment": segment})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "segment"


def test_a_form_asks_for_a_segment(pages: TestClient) -> None:
    answer = pages.post("/models/churn/reports", data={**STRETCH, "segment": "plan:basic"})
    assert answer.status_code == 303
    assert "<bdi>plan:basic</bdi>" in pages.get(answer.headers["location"]).text
