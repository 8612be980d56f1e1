"""The dashboard's own health: what `keepwatch doctor` says, for the models of one project."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from dashboards import theme
from dashboards.theme import State
from monitor.doctor import LEVELS, Finding, is_well, models, service
from monitor.settings import Settings
from monitor.store import catalog
from monitor.store.session import reading

MOST_MODELS = 50
AREAS = {  # what a finding is about, as `keepwatch doctor` calls it and for people
    "installation": "Installation",
    "database": "Database",
    "schedule": "Background worker",
    "deliveries": "Messages",
    "monitors": "Monitoring",
    "schema": "Features",
    "noisy": "Many alerts",
    "dependent": "False alarms",
    "deaf": "Goes unseen",
    "starved": "Too little data",
    "stale": "Late or old",
}


@dataclass(frozen=True)
class Line:
    finding: Finding
    state: State

    @property
    def about(self) -> str:
        return AREAS.get(self.finding.area, self.finding.area)


@dataclass(frozen=True)
class DoctorPage:
    """`left_out`: models beyond the first fifty."""

    state: State
    lines: Sequence[Line]
    left_out: int


def load(engine: Engine, settings: Settings, project_id: int, wall: int) -> DoctorPage:
    """Everything the page shows; the worst first."""
    findings = service.examine(engine, settings, [project_id], wall)
    with reading(engine) as connection:
        mine = {catalog.get_model_by_id(connection, one).name for one in catalog.model_ids(connection, project_id)}
        # What is said of a model of another project is not for this one.
        findings = [one for one in findings if one.model is None or one.model in mine]
        numbers = catalog.model_ids(connection, project_id)
        for number in numbers[:MOST_MODELS]:
            model = catalog.get_model_by_id(connection, number)
            findings += models.examine(connection, model, catalog.model_now(connection, model, wall))
    findings.sort(key=lambda one: LEVELS.index(one.level))
    worst = findings[0].level if findings else "ok"
    return DoctorPage(
        state=theme.FINDING["ok" if is_well(findings) else worst],
        lines=[Line(one, theme.FINDING[one.level]) for one in findings],
        left_out=max(0, len(numbers) - MOST_MODELS),
    )
