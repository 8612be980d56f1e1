"""What is removed with time: raw rows, into the archive where there is one, and what else has had its day."""

import pyarrow as pa
from sqlalchemy.engine import Engine

from monitor import clock, log, telemetry
from monitor.archive.keep import archive_and_expire
from monitor.archive.late import archive_and_expire_outcomes
from monitor.archive.places import Place, place_of
from monitor.errors import SetupError
from monitor.evaluate import due, nightly
from monitor.ingest import pairs
from monitor.ingest.validate import Times
from monitor.settings import Settings
from monitor.store import catalog, profiles, retention, sessions, shares, sweeping
from monitor.store.catalog import Model
from monitor.store.session import reading, writing

MESSAGES_KEPT = 90 * clock.DAY  # at least: a budget of the project looks back over what was told

_log = log.get(__name__)


def _give_up(engine: Engine, settings: Settings, model: Model, now: int, wall: int) -> int:
    """Make rows of events whose other half did not come in time; returns how many."""
    oldest = settings.retention_us + model.config.label_delay_us
    times = Times(wall, now, model.config.clock == "events", oldest)
    total = 0
    while given_up := pairs.give_up(engine, model, times, wall - pairs.WAIT):
        total += given_up
    return total


def _unneeded(engine: Engine, model: Model, before: int) -> tuple[int, int]:
    """Up to which instant nothing is left to be said of rows that are older than `before`, of those below the row that
    comes with it.

    It is asked before each step, and of the rows that are profiled by then: those that come to be profiled meanwhile
    have their windows and days before them.
    """
    with reading(engine) as connection:
        needed = due.undecided_from(connection, model), nightly.undecided_from(connection, model, before)
        profiled = profiles.read_watermark(connection, model.id).next_row
    return min(one for one in (before, *needed) if one is not None), profiled


def _expire(engine: Engine, model: Model, before: int, place: Place | None) -> int:
    oldest, below_row = _unneeded(engine, model, before)
    if place is None:
        return retention.expire_blocks(engine, model.id, oldest, below_row)
    return archive_and_expire(engine, model, oldest, place, below_row)


def _expire_outcomes(engine: Engine, model: Model, before: int, place: Place | None) -> None:
    """Remove outcomes whose prediction never came, or left the log before them: those go to its file in the archive."""
    removed = added = 0
    if place is None:
        while late := retention.late_outcomes(engine, model.id, before):
            removed += retention.remove_outcomes(engine, model.id, late)
    else:
        before -= before % clock.DAY  # the archive is searched once a day
        while (step := archive_and_expire_outcomes(engine, model, before, place))[0]:
            removed, added = removed + step[0], added + step[1]
    for result, count in (("archived", added), ("alone", removed - added)):
        telemetry.EXPIRED_OUTCOMES.labels(result).inc(max(0, count))


def sweep(engine: Engine, settings: Settings, wall: int) -> int:
    """Remove raw rows, rejected rows, messages, silences and log-ins whose time is over; returns how many raw rows.

    Raw rows live for the retention, counted from the end of the model's label delay, on the model's clock; and, when
    evaluation lags, until their window has given its evidence and the nightly test has judged their day.
    """
    removed = 0
    place = place_of(settings.archive_url) if settings.archive_url else None
    with writing(engine) as connection:
        sessions.sweep(connection, wall)
        shares.sweep(connection, wall)
    messages_before = wall - max(settings.retention_us, MESSAGES_KEPT)
    sweeping.sweep_notifications(engine, messages_before)
    sweeping.sweep_deliveries(engine, messages_before)
    sweeping.sweep_silences(engine, messages_before)
    with reading(engine) as connection:
        models = [catalog.get_model_by_id(connection, model_id) for model_id in catalog.model_ids(connection)]
        clocks = [catalog.model_now(connection, model, wall) for model in models]
    for model, now in zip(models, clocks, strict=True):
        before = now - settings.retention_us - model.config.label_delay_us
        try:
            while rows := _expire(engine, model, before, place):
                removed += rows
            _expire_outcomes(engine, model, before, place)
        except (OSError, pa.ArrowException, SetupError) as error:  # the archive's fault: its rows stay, and come again
            _log.error("archive_failed", model_id=model.id, reason=f"{type(error).__name__}: {error}")
        while retention.expire_quarantine(engine, model.id, wall - settings.retention_us):
            pass
    given_up = sum(_give_up(engine, settings, model, now, wall) for model, now in zip(models, clocks, strict=True))
    if given_up:
        _log.warning("events_given_up", events=given_up)
    if removed:
        _log.info("rows_expired", rows=removed)
    return removed
