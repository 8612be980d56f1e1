"""Every table of Keepwatch, declared once with SQLAlchemy Core.

Conventions that hold for all of them:

- every table carries ``project_id``: the key that came with a request decides it, and every query filters by it;
- times are integers, microseconds since 1970-01-01 UTC, so that both databases store and compare them alike;
- names that users chose (models, features, tags, levels) are data in rows, never identifiers;
- SQLite tables are STRICT: a column keeps the type it declares.
"""

import sqlalchemy as sa

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
Text = sa.Text()
Blob = sa.LargeBinary()
Packed = sa.LargeBinary()  # compressed by us, or noise: PostgreSQL stores it as it is (SET STORAGE EXTERNAL)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _table(name: str, *parts: sa.schema.SchemaItem, rowid: bool = True, once: bool = False) -> sa.Table:
    """`once`: the number of a deleted row is not given again; PostgreSQL gives none again anyway."""
    return sa.Table(
        name,
        metadata,
        *parts,
        sqlite_strict=True,
        sqlite_with_rowid=rowid,
        sqlite_autoincrement=once,
    )


def _project() -> sa.Column[int]:
    return sa.Column("project_id", Int, nullable=False)


def _model(primary_key: bool = False) -> sa.Column[int]:
    return sa.Column("model_id", Int, nullable=False, primary_key=primary_key)


# ---------------------------------------------------------------- who may come in

project = _table(
    "project",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("created_at", Int, nullable=False),
)

api_key = _table(
    "api_key",
    sa.Column("id", Text, primary_key=True),  # the 8 characters between kw_ and the secret
    _project(),
    sa.Column("name", Text, nullable=False),
    sa.Column("scope", Text, nullable=False),  # ingest | read | admin
    sa.Column("secret_hash", Text, nullable=False),  # hex SHA-256 of the secret part
    sa.Column("created_at", Int, nullable=False),
    sa.Column("last_used_at", Int),
    sa.Column("revoked_at", Int),
)

login_token = _table(
    "login_token",
    sa.Column("token_hash", Text, primary_key=True),
    _project(),
    sa.Column("name", Text, nullable=False),
    sa.Column("scope", Text, nullable=False),
    sa.Column("expires_at", Int, nullable=False),
    sa.Column("used_at", Int),
)

login_session = _table(
    "login_session",
    sa.Column("token_hash", Text, primary_key=True),
    _project(),
    sa.Column("name", Text, nullable=False),
    sa.Column("scope", Text, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("expires_at", Int, nullable=False),
)

# ---------------------------------------------------------------- the catalog

model = _table(
    "model",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    sa.Column("name", Text, nullable=False),
    sa.Column("task", Text, nullable=False),  # binary | multiclass | regression
    sa.Column("config", Text, nullable=False),  # JSON: the settings as PUT, defaults filled in
    sa.Column("features", Text),  # JSON {name: kind}; null until given or frozen from the first rows
    sa.Column("created_at", Int, nullable=False),
    sa.Column("paused_at", Int),
    sa.UniqueConstraint("project_id", "name"),
    once=True,
)

model_change = _table(
    "model_change",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    _model(),
    sa.Column("changed_at", Int, nullable=False),
    sa.Column("changed_by", Text, nullable=False),
    sa.Column("config", Text, nullable=False),
    sa.Index(None, "model_id", "changed_at"),
)

model_version = _table(
    "model_version",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    _model(),
    sa.Column("name", Text, nullable=False),  # "" for rows that named no version
    sa.UniqueConstraint("model_id", "name"),
)

# What people say of a stretch of time: marks on the charts; a known-bad stretch stays out of references and evidence.
model_event = _table(
    "model_event",
    sa.Column("id", Text, primary_key=True),
    _project(),
    _model(),
    sa.Column("kind", Text, nullable=False),  # deploy | incident | known_bad
    sa.Column("from_at", Int, nullable=False),
    sa.Column("to_at", Int),  # null: a moment, or an incident that goes on
    sa.Column("text", Text, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Index(None, "model_id", "from_at"),
)

# ---------------------------------------------------------------- the log

# One row a model. An ingest transaction updates it first and so holds its lock until the commit: positions in the log
# become visible in ascending order, and a watermark can never pass a lower position that is still uncommitted.
log_position = _table(
    "log_position",
    _model(primary_key=True),
    _project(),
    sa.Column("next_row", Int, nullable=False),
    sa.Column("next_outcome", Int, nullable=False),
    sa.Column("known_at", Int),  # the latest known_at received: "now" of a model whose clock is its events
    sa.Column("expired_before", Int),  # rows older than that were removed, and their ids forgotten
    sa.Column("compacted_row", Int, nullable=False, server_default="0"),  # small blocks below it have been merged
    sa.Column("erased", Int),  # how many ids stand in the table `erased`; null: none
)

# What remains of an erased id: a hash, so that its rows cannot come in again unnoticed.
erased = _table(
    "erased",
    _model(primary_key=True),
    sa.Column("hash", Blob, primary_key=True),  # SHA-256 of the model's number and the id, see store/erased
    _project(),
    sa.Column("erased_at", Int, nullable=False),
    rowid=False,
)

# Predictions as compressed Arrow, in arrival order. Rows are numbered per model: row r of a block has number
# first_row + r. The index below names rows, not blocks, so that blocks can be merged without touching it.
block = _table(
    "block",
    _model(primary_key=True),
    sa.Column("first_row", Int, primary_key=True),
    _project(),
    sa.Column("rows", Int, nullable=False),
    sa.Column("arrived_at", Int, nullable=False),
    sa.Column("min_timestamp", Int, nullable=False),
    sa.Column("max_timestamp", Int, nullable=False),
    sa.Column("payload", Packed, nullable=False),
    sa.Index(None, "model_id", "min_timestamp", "max_timestamp"),
)

# The index of ids: sorted segments, each an immutable run of entries (key, version, row) in pages (store/id_index.py).
id_segment = _table(
    "id_segment",
    _model(primary_key=True),
    sa.Column("id", Int, primary_key=True, autoincrement=False),  # drawn at random: never of two segments
    _project(),
    sa.Column("state", Int, nullable=False),  # 0 being built, 1 live, 2 dead
    sa.Column("level", Int, nullable=False),  # how often it was merged, more or less
    sa.Column("entries", Int, nullable=False),
    sa.Column("pages", Int, nullable=False),
    sa.Column("first_key", Blob, nullable=False),  # 16 bytes made of an id, see store/identity
    sa.Column("last_key", Blob, nullable=False),
    sa.Column("next_row", Int, nullable=False),  # above every row in it
    sa.Column("changes", Int, nullable=False),  # 0; another number after each erasing from it
    rowid=False,
)

id_page = _table(
    "id_page",
    sa.Column("segment_id", Int, primary_key=True, autoincrement=False),
    sa.Column("page", Int, primary_key=True, autoincrement=False),
    _project(),
    _model(),
    sa.Column("first_key", Blob, nullable=False),
    sa.Column("filter", Packed, nullable=False),  # which keys it cannot hold
    sa.Column("payload", Packed, nullable=False),  # its entries, see store/id_pages.py
    sa.Index(None, "model_id"),
)

outcome = _table(
    "outcome",
    _model(primary_key=True),
    sa.Column("position", Int, primary_key=True),
    _project(),
    sa.Column("key", Blob, nullable=False),
    sa.Column("id", Text, nullable=False),
    sa.Column("actual", Text, nullable=False),  # canonical label, or repr of the float of a regression
    sa.Column("observed_at", Int, nullable=False),  # as given, else known_at, else arrival
    sa.Column("observed_given", Int, nullable=False),
    sa.Column("known_at", Int, nullable=False),
    sa.Column("arrived_at", Int, nullable=False),
    sa.Index(None, "model_id", "key"),
    rowid=False,
)

# A call that is logged as two events, its request and its response: the one that came first waits here for the other.
event_half = _table(
    "event_half",
    _model(primary_key=True),
    sa.Column("key", Blob, primary_key=True),  # 16 bytes made of the event's id, see store/identity
    sa.Column("side", Text, primary_key=True),  # request | response
    _project(),
    sa.Column("event_id", Text, nullable=False),
    sa.Column("arrived_at", Int, nullable=False),
    sa.Column("body", Text, nullable=False),  # JSON: its rows as far as this half knows them (ingest/pairs.py)
    sa.Index(None, "model_id", "arrived_at"),
    rowid=False,
)

quarantine = _table(
    "quarantine",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    _model(),
    sa.Column("kind", Text, nullable=False),  # predictions | outcomes | reference
    sa.Column("arrived_at", Int, nullable=False),
    sa.Column("row_id", Text),
    sa.Column("code", Text, nullable=False),
    sa.Column("message", Text, nullable=False),
    sa.Column("row", Text, nullable=False),  # the row as JSON, as far as it could be read
    sa.Index(None, "model_id", "id"),
)

quarantine_count = _table(
    "quarantine_count",
    _model(primary_key=True),
    sa.Column("code", Text, primary_key=True),
    _project(),
    sa.Column("rows", Int, nullable=False),  # all that were ever rejected with this code, kept or not
    sa.Column("kept_rows", Int, nullable=False),
    sa.Column("kept_bytes", Int, nullable=False),
)

# ---------------------------------------------------------------- references and binnings

binning = _table(
    "binning",
    _model(primary_key=True),
    sa.Column("number", Int, primary_key=True),
    _project(),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("provisional", Int, nullable=False),
    sa.Column("content", Blob, nullable=False),  # stats.binning.Binning.dump()
)

reference = _table(
    "reference",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    _model(),
    sa.Column("number", Int, nullable=False),
    sa.Column("version_id", Int),  # null: for every version that has none of its own
    sa.Column("binning", Int, nullable=False),
    sa.Column("provisional", Int, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("rows", Int, nullable=False),
    sa.Column("source", Text, nullable=False),  # JSON: {"rows": n} or {"from", "to"}
    sa.Column("profile", Packed, nullable=False),  # stats.profile.Profile.dump(), the whole reference
    sa.Column("windows", Packed, nullable=False),  # the same cut into windows of the monitored length: reference blocks
    sa.UniqueConstraint("model_id", "number"),
)

# The rows of a reference that was sent as rows; kept, so that a later binning can profile them again.
reference_rows = _table(
    "reference_rows",
    sa.Column("reference_id", Int, primary_key=True),
    sa.Column("part", Int, primary_key=True),
    _project(),
    _model(),
    sa.Column("rows", Int, nullable=False),
    sa.Column("payload", Packed, nullable=False),
)

# ---------------------------------------------------------------- profiles, measurements, evidence

watermark = _table(
    "watermark",
    _model(primary_key=True),
    _project(),
    sa.Column("next_row", Int, nullable=False),  # rows below it are in the profiles
    sa.Column("next_outcome", Int, nullable=False),
)

profile = _table(
    "profile",
    _model(primary_key=True),
    sa.Column("span", Int, primary_key=True),  # seconds: 3600 or 86400
    sa.Column("start", Int, primary_key=True),
    sa.Column("version_id", Int, primary_key=True),
    sa.Column("role", Text, primary_key=True),  # live | shadow
    sa.Column("binning", Int, primary_key=True),
    _project(),
    sa.Column("rows", Int, nullable=False),
    sa.Column("labelled", Int, nullable=False),
    sa.Column("min_known_at", Int, nullable=False),
    sa.Column("max_known_at", Int, nullable=False),  # of its rows and of their outcomes
    sa.Column("rows_known_at", Int),  # the same of its rows alone; null in profiles from before that was kept
    sa.Column("stamp", Int, nullable=False),  # drawn at random when it is saved: the same stamp, the same content
    sa.Column("payload", Packed, nullable=False),
    sa.Column("segments", Packed),
    # What is asked of many profiles before any content is read, without the pages that hold contents.
    sa.Index(
        "ix_profile_shown",
        "model_id",
        "span",
        "start",
        "version_id",
        "role",
        "binning",
        "rows",
        "labelled",
        "min_known_at",
        "max_known_at",
        "rows_known_at",
        "stamp",
    ),
    rowid=False,
)

dirty_window = _table(
    "dirty_window",
    _model(primary_key=True),
    sa.Column("start", Int, primary_key=True),
    _project(),
    rowid=False,
)

measurement = _table(
    "measurement",
    _model(primary_key=True),
    sa.Column("start", Int, primary_key=True),
    sa.Column("revision", Int, primary_key=True),
    _project(),
    sa.Column("end", Int, nullable=False),
    sa.Column("measured_at", Int, nullable=False),
    sa.Column("inputs_state", Text, nullable=False),  # provisional | final | no_data | error
    sa.Column("performance_state", Text, nullable=False),
    sa.Column("rows", Int, nullable=False),
    sa.Column("labelled", Int, nullable=False),
    sa.Column("error", Text),
    sa.Column("payload", Packed, nullable=False),
    sa.Column("performance", Real),  # the task's first metric (stats/measure.FIRST), so that lists open no payload
    # What lists show of windows, without the pages that hold payloads.
    sa.Index("ix_measurement_shown", "model_id", "start", "revision", "rows", "labelled", "performance"),
)

# That a window gave its evidence: inserted in the transaction that writes detectors, alerts and deliveries.
evaluation = _table(
    "evaluation",
    _model(primary_key=True),
    sa.Column("kind", Text, primary_key=True),  # inputs | performance
    sa.Column("start", Int, primary_key=True),
    _project(),
    sa.Column("end", Int, nullable=False),
    sa.Column("evaluated_at", Int, nullable=False),  # the model's clock
    sa.Column("rows", Int, nullable=False),
    rowid=False,
)

detector = _table(
    "detector",
    _model(primary_key=True),
    sa.Column("family", Text, primary_key=True),
    _project(),
    sa.Column("reference_id", Int, nullable=False),
    sa.Column("last_window", Int, nullable=False),
    sa.Column("state", Packed, nullable=False),
)

# What the nightly two-sample test on rows remembers of a model (monitor/evaluate/nightly.py).
two_sample = _table(
    "two_sample",
    _model(primary_key=True),
    _project(),
    sa.Column("reference_id", Int, nullable=False),
    sa.Column("judged_to", Int, nullable=False),  # the end of the last day that was judged or passed over
    sa.Column("state", Packed, nullable=False),
    sa.Column("rows", Packed),  # encoded rows, without ids; null: erased, they are sampled again
)

# ---------------------------------------------------------------- alerts and their delivery

# Monitors by hand, with what they remember from one window to the next.
monitor = _table(
    "monitor",
    sa.Column("id", Text, primary_key=True),
    _project(),
    _model(),
    sa.Column("name", Text, nullable=False),
    sa.Column("rule", Text, nullable=False),  # JSON
    sa.Column("created_at", Int, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("revision", Int, nullable=False),  # grows with every change of the rule
    sa.Column("memory", Text, nullable=False),  # JSON
    sa.Column("last", Text),  # JSON: what the last window came to
    sa.UniqueConstraint("model_id", "name"),
)

alert = _table(
    "alert",
    sa.Column("id", Text, primary_key=True),
    _project(),
    _model(),
    sa.Column("family", Text, nullable=False),
    sa.Column("state", Text, nullable=False),  # firing | acknowledged | resolved
    sa.Column("severity", Text, nullable=False),  # info | warning | critical
    sa.Column("opened_at", Int, nullable=False),
    sa.Column("first_evidence_at", Int, nullable=False),
    sa.Column("updated_at", Int, nullable=False),
    sa.Column("resolved_at", Int),
    sa.Column("evidence", Real, nullable=False),
    sa.Column("budget", Text, nullable=False),
    sa.Column("causes", Text, nullable=False),
    sa.Column("text", Text, nullable=False),
    sa.Index(None, "project_id", "opened_at"),
    sa.Index(
        "uq_alert_open",
        "model_id",
        "family",
        unique=True,
        sqlite_where=sa.text("state <> 'resolved'"),
        postgresql_where=sa.text("state <> 'resolved'"),
    ),
)

# Where rows and schema part, by feature: new, retyped or missing.
schema_finding = _table(
    "schema_finding",
    _model(primary_key=True),
    sa.Column("feature", Text, primary_key=True),
    sa.Column("kind", Text, primary_key=True),
    _project(),
    sa.Column("rows", Int, nullable=False),
    sa.Column("first_at", Int, nullable=False),  # times of rows
    sa.Column("last_at", Int, nullable=False),
)

alert_event = _table(
    "alert_event",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    sa.Column("alert_id", Text, nullable=False),
    sa.Column("at", Int, nullable=False),
    sa.Column("type", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("text", Text, nullable=False),
    sa.Column("comment", Text),
    sa.Index(None, "alert_id", "id"),
)

channel = _table(
    "channel",
    sa.Column("id", Text, primary_key=True),
    _project(),
    sa.Column("kind", Text, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("url", Text, nullable=False),  # sealed (store/seal.py), as the secret is
    sa.Column("secret", Text, nullable=False),
    sa.Column("match", Text, nullable=False),  # JSON: Alertmanager's matchers
    sa.Column("created_at", Int, nullable=False),
    sa.Column("disabled_at", Int),
    sa.Column("disabled_reason", Text),
    sa.Column("previous_secret", Text),  # sealed; signs beside the secret until previous_until
    sa.Column("previous_until", Int),
    sa.Column("failing_since", Int),  # the first failure after the last success
    sa.Column("paused_until", Int),  # the receiver asked for a pause: nothing is sent before
    sa.UniqueConstraint("project_id", "name"),
)

# The outbox: a row is written in the transaction of the event, with its body frozen, and sent afterwards.
delivery = _table(
    "delivery",
    sa.Column("id", Text, primary_key=True),  # the webhook-id, the same on every attempt
    _project(),
    sa.Column("channel_id", Text, nullable=False),
    sa.Column("alert_id", Text),
    sa.Column("type", Text, nullable=False),
    sa.Column("body", Text, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("state", Text, nullable=False),  # pending | delivered | dead
    sa.Column("attempts", Int, nullable=False),
    sa.Column("next_attempt_at", Int, nullable=False),
    sa.Column("lease_owner", Text),
    sa.Column("lease_until", Int),
    sa.Column("delivered_at", Int),
    sa.Index(None, "channel_id", "created_at"),
    sa.Index(
        "ix_delivery_waiting",
        "channel_id",
        "alert_id",
        "created_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
    sa.Index(
        "ix_delivery_due",
        "next_attempt_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
)

delivery_attempt = _table(
    "delivery_attempt",
    sa.Column("delivery_id", Text, primary_key=True),
    sa.Column("attempt", Int, primary_key=True),
    _project(),
    sa.Column("at", Int, nullable=False),
    sa.Column("status_code", Int),
    sa.Column("error", Text),
    sa.Column("response", Text),
    sa.Column("milliseconds", Int, nullable=False),
)

# ---------------------------------------------------------------- who is told, when, and why not

# What became of an event of an alert for each channel that listens: the database refuses to tell a channel twice.
notification = _table(
    "notification",
    sa.Column("id", Int, primary_key=True, autoincrement=True),
    _project(),
    _model(),
    sa.Column("alert_id", Text, nullable=False),
    sa.Column("event_id", Int, nullable=False),
    sa.Column("channel_id", Text, nullable=False),
    sa.Column("round", Int, nullable=False),  # 0, and for each reminder of the same event one more
    sa.Column("type", Text, nullable=False),
    sa.Column("state", Text, nullable=False),  # sent | held | dropped
    sa.Column("reason", Text, nullable=False),  # why it is held, was held, or was dropped; "" when sent at once
    sa.Column("detail", Text, nullable=False),  # the same for people: which silence, until when
    sa.Column("created_at", Int, nullable=False),
    sa.Column("changed_at", Int, nullable=False),
    sa.Column("due_at", Int),  # held: when to look again; sent: when to remind
    sa.Column("delivery_id", Text),
    sa.UniqueConstraint("event_id", "channel_id", "round"),
    sa.Index(None, "alert_id", "channel_id"),
    sa.Index(None, "project_id", "changed_at"),
    sa.Index(
        "ix_notification_due",
        "due_at",
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    ),
)

silence = _table(
    "silence",
    sa.Column("id", Text, primary_key=True),
    _project(),
    sa.Column("name", Text),  # of those that a file declares
    sa.Column("matchers", Text, nullable=False),  # JSON: Alertmanager's matchers
    sa.Column("starts_at", Int, nullable=False),
    sa.Column("ends_at", Int, nullable=False),
    sa.Column("weekly", Text),  # JSON: hours of a week, for maintenance that recurs; null: all the time
    sa.Column("comment", Text, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("updated_at", Int, nullable=False),
    sa.UniqueConstraint("project_id", "name"),
    sa.Index(None, "project_id", "ends_at"),
)

route = _table(
    "route",
    sa.Column("id", Text, primary_key=True),
    _project(),
    sa.Column("name", Text, nullable=False),
    sa.Column("match", Text, nullable=False),  # JSON: Alertmanager's matchers
    sa.Column("channels", Text, nullable=False),  # JSON: names of channels
    sa.Column("escalate_after", Text),  # spans as they were written
    sa.Column("repeat", Text),
    sa.Column("digest", Text),
    sa.Column("quiet_hours", Text),  # JSON: hours of a week
    sa.Column("created_at", Int, nullable=False),
    sa.UniqueConstraint("project_id", "name"),
)

project_policy = _table(
    "project_policy",
    sa.Column("project_id", Int, primary_key=True, autoincrement=False),
    sa.Column("false_alarms", Real),  # the project's own budget of pages; null: none
    sa.Column("per", Text),
    sa.Column("digest", Text, nullable=False),  # how long what exceeds the budget is gathered
    sa.Column("cooldown", Text, nullable=False),  # an alert that fires again within it is opened again
    sa.Column("updated_at", Int, nullable=False),
    sa.Column("updated_by", Text, nullable=False),
)

# Who did what, whatever has become of it since: rows are added and never changed (monitor/store/audit.py).
deed = _table(
    "deed",
    sa.Column("id", Text, primary_key=True),
    _project(),
    sa.Column("at", Int, nullable=False),  # the wall clock
    sa.Column("actor", Text, nullable=False),  # the name of a key; "" where it was not kept
    sa.Column("what", Text, nullable=False),
    sa.Column("subject", Text, nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Column("alert_id", Text),
    sa.Index(None, "project_id", "at", "id"),
)

# What files declare (`keepwatch apply`), by the id of what was made: a later file may remove what it no longer names.
declared = _table(
    "declared",
    sa.Column("project_id", Int, primary_key=True, autoincrement=False),
    sa.Column("section", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("ref", Text, nullable=False),
)

# ---------------------------------------------------------------- background work

lease = _table(
    "lease",
    sa.Column("job", Text, primary_key=True),
    sa.Column("subject", Text, primary_key=True),
    _project(),
    sa.Column("owner", Text, nullable=False),
    sa.Column("token", Int, nullable=False),  # fencing: grows with every new owner
    sa.Column("lease_until", Int, nullable=False),
)

# When each job ran last: of all models (subject ""), and of a model whose evaluation failed.
job_run = _table(
    "job_run",
    sa.Column("job", Text, primary_key=True),
    sa.Column("subject", Text, primary_key=True),
    _project(),
    sa.Column("at", Int, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("error", Text),
)

share = _table(
    "share",
    sa.Column("id", Text, primary_key=True),
    _project(),
    _model(),
    sa.Column("token_hash", Text, nullable=False, unique=True),
    sa.Column("path", Text, nullable=False),
    sa.Column("query", Text, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("expires_at", Int, nullable=False),
    sa.Column("revoked_at", Int),
)

# What workers have counted for Prometheus: a sample and its labels (JSON) with its total.
counted = _table(
    "counted",
    sa.Column("sample", Text, primary_key=True),
    sa.Column("labels", Text, primary_key=True),
    _project(),
    sa.Column("value", Real, nullable=False),
)

# Work that somebody asked for and that is done in the background.
task = _table(
    "task",
    sa.Column("id", Text, primary_key=True),
    _project(),
    _model(),
    sa.Column("kind", Text, nullable=False),  # as monitor/tasks.py lists them
    sa.Column("request", Text, nullable=False),  # JSON
    sa.Column("state", Text, nullable=False),  # pending | running | done | failed
    sa.Column("stage", Text, nullable=False),  # what is being done, for people
    sa.Column("progress", Real, nullable=False),  # 0 to 1
    sa.Column("result", Text),  # JSON
    sa.Column("document", Packed),  # a report's page, packed by zlib
    sa.Column("error", Text),
    sa.Column("attempts", Int, nullable=False),
    sa.Column("created_at", Int, nullable=False),
    sa.Column("finished_at", Int),
    sa.Index(None, "model_id", "kind", "created_at"),
    sa.Index(
        "ix_task_waiting",
        "kind",
        "created_at",
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    ),
)
