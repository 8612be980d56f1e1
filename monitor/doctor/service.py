"""The installation, its database, its schedule and its deliveries."""

import platform
import shutil
from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import Connection, Engine

from monitor import clock, leadership, log
from monitor.clock import DAY, MINUTE, SECOND
from monitor.doctor import Finding, Level
from monitor.settings import Settings
from monitor.store import keys, migrate, ticks
from monitor.store import tables as t
from monitor.store.session import SQLITE_FLOOR, database_file, is_sqlite, reading
from monitor.telemetry import own_version

LEAST_FREE = 1 << 30  # bytes
SILENT_TICKS = 30  # ticks without a sign of life
LEAST_SILENCE = 60 * SECOND
OLD_DELIVERY = 10 * MINUTE
BACKLOG = 200_000  # rows
_SYNCED = ("on", "remote_apply", "remote_write")


def shown_settings(settings: Settings) -> dict[str, str]:
    """Every setting as text, secrets hidden, passwords in URLs too."""
    shown = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name in ("database_url", "smtp_url") and isinstance(value, SecretStr):
            text = log.hide(value.get_secret_value())
        elif isinstance(value, SecretStr):
            text = "set, hidden"
        elif isinstance(value, tuple):
            text = ", ".join(str(one) for one in value)
        else:
            text = "" if value is None else log.hide(str(value))
        shown[f"KEEPWATCH_{name.upper()}"] = text
    return shown


def installation(settings: Settings, connection: Connection) -> list[Finding]:
    """Versions, keys, the address, the disk."""
    found = [Finding("installation", "ok", f"Keepwatch {own_version()} on Python {platform.python_version()}")]
    if not keys.any_key(connection):
        change = "keepwatch keys create --name admin --scope admin"
        found.append(Finding("installation", "warning", "No key exists: nobody can send rows or look", change))
    if not settings.public_url and not settings.embedded:
        change = "Set KEEPWATCH_PUBLIC_URL"
        found.append(Finding("installation", "note", "Links in messages have no address in front", change))
    if not settings.embedded:
        return found
    path = database_file(settings.url)
    found += [
        Finding("installation", "error", f"{file}: everybody here may read it", f"chmod 600 {file}")
        for file in (path, path.with_name(path.name + ".secret"))
        if file.exists() and file.stat().st_mode & 0o007
    ]
    free = shutil.disk_usage(path.resolve().parent).free
    level: Level = "ok" if free >= LEAST_FREE else "error"
    change = "" if level == "ok" else "Make room: on a full disk rows are refused"
    found.append(Finding("installation", level, f"{free / (1 << 30):.1f} GiB are free where the database is", change))
    return found


def database(engine: Engine) -> list[Finding]:
    """Version, schema, and the settings that durability rests on."""
    current = migrate.is_current(engine)
    found = [
        Finding("database", "ok", "The schema is the one of this version")
        if current
        else Finding("database", "error", "The schema is not the one of this version", "keepwatch migrate")
    ]
    with engine.connect() as connection:
        found += _sqlite(connection) if is_sqlite(connection) else _postgres(connection)
    return found


def _sqlite(connection: Connection) -> list[Finding]:
    version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar())
    numbers = tuple(int(part) for part in version.split(".")[:3])
    change = "" if numbers >= SQLITE_FLOOR else "Install pysqlite3 0.6.1 or newer"
    found = [Finding("database", "ok" if not change else "error", f"SQLite {version}", change)]
    wanted = {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}
    for name, right in wanted.items():
        value = str(connection.exec_driver_sql(f"PRAGMA {name}").scalar())
        bad = value != right
        text = f"{name} is {value}" + (f", not {right}: acknowledged rows could be lost" if bad else "")
        found.append(Finding("database", "error" if bad else "ok", text, "Report this, please" if bad else ""))
    return found


def _postgres(connection: Connection) -> list[Finding]:
    version = connection.exec_driver_sql("SHOW server_version").scalar()
    found = [Finding("database", "ok", f"PostgreSQL {version}")]
    for name in ("synchronous_commit", "fsync", "full_page_writes"):
        value = connection.exec_driver_sql(f"SHOW {name}").scalar()
        bad = value not in _SYNCED
        text = f"{name} is {value}" + (": acknowledged rows could be lost" if bad else "")
        found.append(Finding("database", "error" if bad else "ok", text, f"Set {name} to on" if bad else ""))
    return found


def schedule(settings: Settings, connection: Connection, wall: int) -> list[Finding]:
    """Who works in the background, when it ticked last, how far it is behind."""
    known = ticks.ticks(connection)
    living = [one for one in known if one.job == "evaluate" and not one.subject]
    last = max(living, key=lambda one: one.at, default=None)
    start = "Start `keepwatch serve`" if settings.embedded else "Start `keepwatch worker`"
    found = []
    silence = max(LEAST_SILENCE, int(SILENT_TICKS * settings.tick * SECOND))
    if settings.embedded and not leadership.is_led(database_file(settings.url)):
        found.append(Finding("schedule", "error", "No worker runs: nothing is evaluated and nothing is sent", start))
    if last is None:
        found.append(Finding("schedule", "warning", "No worker has ticked yet", start))
    elif wall - last.at > silence:
        text = f"The last tick was {_span(wall - last.at)} ago"
        found.append(Finding("schedule", "error", text, f"{start}, or read the worker's log"))
    else:
        found.append(Finding("schedule", "ok", f"The last tick was {_span(wall - last.at)} ago, by {last.owner}"))
    names: dict[str, str] = {
        str(number): name for number, name in connection.execute(sa.select(t.model.c.id, t.model.c.name))
    }
    for one in known:
        if one.error is not None and one.subject in names:
            text = f"The evaluation failed {_span(wall - one.at)} ago: {one.error}"
            found.append(Finding("schedule", "error", text, "Read the worker's log", names[one.subject]))
    behind = sa.select(t.model.c.name, t.log_position.c.next_row - t.watermark.c.next_row).where(
        t.log_position.c.model_id == t.model.c.id,
        t.watermark.c.model_id == t.model.c.id,
        t.log_position.c.next_row - t.watermark.c.next_row > BACKLOG,
    )
    for name, rows in connection.execute(behind):
        text = f"{rows:,} rows wait to be profiled"
        found.append(Finding("schedule", "warning", text, "Wait, or start more workers", name))
    return found


def deliveries(connection: Connection, project_ids: Sequence[int] | None, wall: int) -> list[Finding]:
    """Whether anybody is told, and whether messages get there."""
    of = [] if project_ids is None else [t.channel.c.project_id.in_(project_ids)]
    columns = (t.channel.c.name, t.channel.c.disabled_reason, t.channel.c.disabled_at, t.channel.c.failing_since)
    rows = connection.execute(sa.select(*columns).where(*of))
    found, enabled = [], 0
    for name, reason, disabled_at, failing_since in rows:
        enabled += disabled_at is None
        if disabled_at is not None:
            text = f"The channel {name} is switched off: {reason}"
            change = "POST /v1/channels/{id}/enable, once its receiver is well"
            found.append(Finding("deliveries", "warning", text, change))
        elif failing_since is not None:
            text = f"The channel {name} has taken nothing for {_span(max(0, wall - failing_since))}"
            found.append(Finding("deliveries", "warning", text, "See its deliveries for what its receiver says"))
    if not enabled:
        found.append(Finding("deliveries", "note", "No channel is on: only the pages show alerts", "POST /v1/channels"))
    waiting = sa.select(sa.func.count(), sa.func.min(t.delivery.c.created_at)).where(
        t.delivery.c.state == "pending", *([] if project_ids is None else [t.delivery.c.project_id.in_(project_ids)])
    )
    count, oldest = connection.execute(waiting).one()
    if count and wall - oldest > OLD_DELIVERY:
        text = f"{count:,} deliveries wait, the oldest for {_span(wall - oldest)}"
        found.append(Finding("deliveries", "warning", text, "See each channel's deliveries for what its receiver says"))
    dead = sa.select(sa.func.count()).where(
        t.delivery.c.state == "dead",
        t.delivery.c.created_at > wall - 7 * DAY,
        *([] if project_ids is None else [t.delivery.c.project_id.in_(project_ids)]),
    )
    if gone := connection.scalar(dead):
        change = "POST /v1/channels/{id}/deliveries/{delivery}/replay sends one again"
        found.append(Finding("deliveries", "warning", f"{gone:,} deliveries of the last week were given up", change))
    waits = "nothing waits" if not count else f"{count:,} messages are on their way"
    return found or [Finding("deliveries", "ok", f"Channels are on, and {waits}")]


def examine(engine: Engine, settings: Settings, project_ids: Sequence[int] | None, wall: int) -> list[Finding]:
    """Everything that is not about one model. `project_ids` None: of all projects."""
    found = database(engine)
    if not migrate.is_current(engine):
        return found
    with reading(engine) as connection:
        return [
            *installation(settings, connection),
            *found,
            *schedule(settings, connection, wall),
            *deliveries(connection, project_ids, wall),
        ]


def _span(length: int) -> str:
    for unit, name in ((DAY, "d"), (clock.HOUR, "h"), (MINUTE, "min")):
        if length >= 2 * unit:
            return f"{length // unit} {name}"
    return f"{max(0, length) // SECOND} s"
