"""The Grafana dashboard works on what /metrics gives: every query asks for metrics and labels that are there."""

import json
import re
from pathlib import Path

from fastapi.testclient import TestClient

from monitor import jobs, telemetry
from tests.api.test_metrics import families, pages, seeded, seeded_engine, seeded_file
from tests.test_jobs import Always

__all__ = ["pages", "seeded", "seeded_engine", "seeded_file"]

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
_METRIC = re.compile(r"keepwatch_[a-z0-9_]+")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
_MATCHED = re.compile(r"([a-z_]+)(?:=~|!~|!=|=)\"")
_LEGEND = re.compile(r"{{\s*([a-z_]+)\s*}}")


def queries() -> list[tuple[str, str]]:
    """(query, legend) of every panel and variable."""
    panels = [(one["expr"], one["legendFormat"]) for panel in DASHBOARD["panels"] for one in panel.get("targets", ())]
    variables = [(one["definition"], "") for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    return panels + variables


def test_every_query_asks_for_metrics_and_labels_that_are_there(pages: TestClient) -> None:
    telemetry.JOBS.labels("evaluate", "failed").inc()
    telemetry.JOB_SECONDS.labels("evaluate").observe(0.1)
    telemetry.DELIVERIES.labels("webhook", "retry").inc()
    telemetry.REJECTED.labels("predictions", "invalid").inc()
    jobs.Jobs(pages.app.state.engine, pages.app.state.settings, Always()).count()  # type: ignore[attr-defined]
    labels: dict[str, set[str]] = {}
    for family in families(pages).values():
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    asked = set()
    for query, legend in queries():
        named = _METRIC.findall(query)
        assert named, query
        for metric in named:
            asked.add(metric)
            assert metric in labels, f"{metric} of {query} is not on /metrics"
        wanted = {name.strip() for group in _GROUPED.findall(query) for name in group.split(",")}
        wanted |= set(_MATCHED.findall(query)) | set(_LEGEND.findall(legend))
        if found := re.fullmatch(r"label_values\(\w+, (\w+)\)", query):
            wanted.add(found[1])
        for label in wanted:
            assert any(label in labels[metric] for metric in named), f"{label} of {query}"
    assert len(asked) >= 20


def test_the_metrics_that_the_documents_name_are_there(pages: TestClient) -> None:
    known = set(families(pages))
    for page in ("operations.md", "formats.md"):
        for name in re.findall(r"`(keepwatch_[a-z_]+)[`{]", (DOCS / page).read_text()):
            assert name.removesuffix("_total") in known, name


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) and DASHBOARD["schemaVersion"] >= 36
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    sources = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel}
    assert sources == {"${datasource}"}, "it works with whatever Prometheus the reader has"
