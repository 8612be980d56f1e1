"""A report's page: its progress, then the report itself in a frame that can do nothing else."""

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from dashboards import theme
from dashboards.formats import Zone
from dashboards.theme import State
from monitor import clock, reports
from monitor.errors import Invalid
from monitor.store.catalog import Model

NEWEST = 10


@dataclass(frozen=True)
class ReportPage:
    model: Model
    zone: Zone
    report: reports.Report
    state: State


def load(connection: Connection, model: Model, report_id: str) -> ReportPage:
    """One report of the model, without its HTML.

    Raises:
        NotFound: the model has no such report.
    """
    found = reports.get(connection, model.id, report_id)
    return ReportPage(model, Zone(model.config.timezone), found, theme.REPORT.get(found.state, theme.UNKNOWN))


def newest(connection: Connection, model: Model) -> list[ReportPage]:
    """The model's ten newest reports, the newest first."""
    zone = Zone(model.config.timezone)
    return [
        ReportPage(model, zone, found, theme.REPORT.get(found.state, theme.UNKNOWN))
        for found in reports.listed(connection, model.id, NEWEST)
    ]


def ask(connection: Connection, model: Model, from_: str, to: str, segment: str, now: int) -> str:
    """Ask for a report of the stretch (times as RFC 3339) and, where one is named, segment; returns its id.

    Raises:
        Invalid: a time cannot be read, or the stretch is empty.
        QuotaExceeded: too many reports of the model are not finished yet.
    """
    try:
        from_us, to_us = clock.parse(from_), clock.parse(to)
    except ValueError as error:
        raise Invalid(f"the stretch of the report: {error}") from None
    if to_us <= from_us:
        raise Invalid("the stretch of the report is empty")
    return reports.ask(connection, model, from_us, to_us, now, segment.strip()).id
