"""The installation, its database, its schedule and its deliveries."""

import platform
import shutil
from collections.abc import Mapping, Sequence

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
ANSWERS = "See what its receiver answers: the page Channels, or GET /v1/channels/{id}/deliveries"
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
        change = "Make one: `keepwatch keys create --name admin --scope admin`"
        found.append(Finding("installation", "warning", "No key exists: nobody can send rows or look", change))
    if not settings.public_url and not settings.embedded:
        change = "Set KEEPWATCH_PUBLIC_URL to the address that people open, for instance https://keepwatch.example.org"
        text = "Links in messages lead nowhere: the service does not know at which address people reach it"
        found.append(Finding("installation", "note", text, change))
    if not settings.embedded:
        return found
    path = database_file(settings.url)
    found += [
        Finding("installation", "error", f"Every user of this machine may read {file}", f"Run `chmod 600 {file}`")
        for file in (path, path.with_name(path.name + ".secret"))
        if file.exists() and file.stat().st_mode & 0o007
    ]
    free = shutil.disk_usage(path.resolve().parent).free
    level: Level = "ok" if free >= LEAST_FREE else "error"
    change = "" if level == "ok" else "Make room on that disk: when it is full, rows are refused"
    found.append(Finding("installation", level, f"{free / (1 << 30):.1f} GiB are free where the database is", change))
    return found


def database(engine: Engine) -> list[Finding]:
    """Version, schema, and the settings that durability rests on."""
    current = migrate.is_current(engine)
    found = [
        Finding("database", "ok", "The database fits this version of Keepwatch")
        if current
        else Finding(
            "database", "error", "The database is one of another version of Keepwatch", "Run `keepwatch migrate`"
        )
    ]
    with engine.connect() as connection:
        found += _sqlite(connection) if is_sqlite(connection) else _postgres(connection)
    return found


def _sqlite(connection: Connection) -> list[Finding]:
    version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar())
    numbers = tuple(int(part) for part in version.split(".")[:3])
    change = "" if numbers >= SQLITE_FLOOR else "Install pysqlite3 0.6.1 or newer"
    found = [Finding("database", "ok" if not change else "error", f"SQLite {version}", change)]
    seen: dict[str, tuple[str, bool]] = {}
    wanted = {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}
    for name, right in wanted.items():
        value = str(connection.exec_driver_sql(f"PRAGMA {name}").scalar())
        seen[name] = (value, value == right)
    change = "Start Keepwatch again; if this stays, it is a fault of Keepwatch: report it, please"
    return [*found, *_durable(seen, dict.fromkeys(seen, change))]


def _durable(seen: Mapping[str, tuple[str, bool]], changes: Mapping[str, str]) -> list[Finding]:
    """What the database's settings, each with whether it is right, mean for rows that were acknowledged."""
    wrong = [
        Finding("database", "error", f"A crash could lose acknowledged rows: {name} is {value}", changes[name])
        for name, (value, right) in seen.items()
        if not right
    ]
    told = ", ".join(f"{name} is {value}" for name, (value, _) in seen.items())
    return wrong or [Finding("database", "ok", f"What was acknowledged survives a crash: {told}")]


def _postgres(connection: Connection) -> list[Finding]:
    version = connection.exec_driver_sql("SHOW server_version").scalar()
    seen = {}
    for name in ("synchronous_commit", "fsync", "full_page_writes"):
        value = str(connection.exec_driver_sql(f"SHOW {name}").scalar())
        seen[name] = (value, value in _SYNCED)
    changes = {name: f"Set {name} to on, in PostgreSQL's configuration" for name in seen}
    return [Finding("database", "ok", f"PostgreSQL {version}"), *_durable(seen, changes)]


def schedule(settings: Settings, connection: Connection, wall: int) -> list[Finding]:
    """Who works in the background, when it reported last, how far it is behind."""
    known = ticks.ticks(connection)
    living = [one for one in known if one.job == "evaluate" and not one.subject]
    last = max(living, key=lambda one: one.at, default=None)
    start = "Start `keepwatch serve`: the worker is a part of it" if settings.embedded else "Start `keepwatch worker`"
    found = []
    silence = max(LEAST_SILENCE, int(SILENT_TICKS * settings.tick * SECOND))
    if settings.embedded and not leadership.is_led(database_file(settings.url)):
        found.append(
            Finding(
                "schedule",
                "error",
                "No background worker runs: no window is judged, and no alert is raised or sent",
                start,
            )
        )
    if last is None:
        found.append(Finding("schedule", "warning", "No background worker has reported yet", start))
    elif wall - last.at > silence:
        text = f"The background worker last reported {_span(wall - last.at)} ago: alerts are late, or do not come"
        found.append(Finding("schedule", "error", text, f"Read the worker's log. If it has stopped: {start}"))
    else:
        found.append(
            Finding("schedule", "ok", f"The background worker last reported {_span(wall - last.at)} ago ({last.owner})")
        )
    names: dict[str, str] = {
        str(number): name for number, name in connection.execute(sa.select(t.model.c.id, t.model.c.name))
    }
    for one in known:
        if one.error is not None and one.subject in names:
            text = f"Its windows could not be judged {_span(wall - one.at)} ago, so it raises no alert: {one.error}"
            change = "It is tried again by itself. If this stays, the worker's log of that time says more"
            found.append(Finding("schedule", "error", text, change, names[one.subject]))
    behind = sa.select(t.model.c.name, t.log_position.c.next_row - t.watermark.c.next_row).where(
        t.log_position.c.model_id == t.model.c.id,
        t.watermark.c.model_id == t.model.c.id,
        t.log_position.c.next_row - t.watermark.c.next_row > BACKLOG,
    )
    for name, rows in connection.execute(behind):
        text = f"{rows:,} stored rows are not counted yet: numbers and alerts lag behind"
        change = "Wait, if many rows have just been loaded; if the number grows, start more workers"
        found.append(Finding("schedule", "warning", text, change, name))
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
            text = f"The channel {name} is switched off and sends nothing: {reason}"
            change = "Once its receiver is well, switch it on: the page Channels, or POST /v1/channels/{id}/enable"
            found.append(Finding("deliveries", "warning", text, change))
        elif failing_since is not None:
            text = f"Nothing has reached the channel {name} for {_span(max(0, wall - failing_since))}"
            found.append(Finding("deliveries", "warning", text, ANSWERS))
    if not enabled:
        text = "No channel is on: nobody is told of an alert, only the pages show it"
        found.append(Finding("deliveries", "note", text, "Make a channel, or switch one on: the page Channels"))
    waiting = sa.select(sa.func.count(), sa.func.min(t.delivery.c.created_at)).where(
        t.delivery.c.state == "pending", *([] if project_ids is None else [t.delivery.c.project_id.in_(project_ids)])
    )
    count, oldest = connection.execute(waiting).one()
    if count and wall - oldest > OLD_DELIVERY:
        text = f"{count:,} messages wait to be sent, the oldest for {_span(wall - oldest)}"
        found.append(Finding("deliveries", "warning", text, ANSWERS))
    dead = sa.select(sa.func.count()).where(
        t.delivery.c.state == "dead",
        t.delivery.c.created_at > wall - 7 * DAY,
        *([] if project_ids is None else [t.delivery.c.project_id.in_(project_ids)]),
    )
    if gone := connection.scalar(dead):
        change = "Once the receiver is well, replay them: the page Channels, or POST …/deliveries/{delivery}/replay"
        text = f"{gone:,} messages of the last week never arrived, and are not tried again"
        found.append(Finding("deliveries", "warning", text, change))
    waits = "no message waits" if not count else f"{count:,} messages are on their way"
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
