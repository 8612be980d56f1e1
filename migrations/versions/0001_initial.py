"""The first schema.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

from monitor import clock

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Make every table, and the project that keys belong to unless another is named."""
    op.create_table(
        "alert",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("opened_at", Int, nullable=False),
        sa.Column("first_evidence_at", Int, nullable=False),
        sa.Column("updated_at", Int, nullable=False),
        sa.Column("resolved_at", Int, nullable=True),
        sa.Column("evidence", Real, nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("causes", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_alert_project_id_opened_at"), "alert", ["project_id", "opened_at"], unique=False)
    op.create_index(
        "uq_alert_open",
        "alert",
        ["model_id", "family"],
        unique=True,
        sqlite_where=sa.text("state <> 'resolved'"),
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_table(
        "alert_event",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_event")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_alert_event_alert_id_id"), "alert_event", ["alert_id", "id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("last_used_at", Int, nullable=True),
        sa.Column("revoked_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "binning",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("number", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("provisional", Int, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "number", name=op.f("pk_binning")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "block",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("first_row", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("arrived_at", Int, nullable=False),
        sa.Column("min_timestamp", Int, nullable=False),
        sa.Column("max_timestamp", Int, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "first_row", name=op.f("pk_block")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(
        op.f("ix_block_model_id_min_timestamp_max_timestamp"),
        "block",
        ["model_id", "min_timestamp", "max_timestamp"],
        unique=False,
    )
    op.create_table(
        "channel",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("disabled_at", Int, nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_channel_project_id_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", Int, nullable=False),
        sa.Column("next_attempt_at", Int, nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", Int, nullable=True),
        sa.Column("delivered_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_delivery_channel_id_created_at"), "delivery", ["channel_id", "created_at"], unique=False)
    op.create_index(
        "ix_delivery_due",
        "delivery",
        ["next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "delivery_attempt",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("attempt", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("status_code", Int, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("milliseconds", Int, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_delivery_attempt")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "detector",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("reference_id", Int, nullable=False),
        sa.Column("last_window", Int, nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "family", name=op.f("pk_detector")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "dirty_window",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("start", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "start", name=op.f("pk_dirty_window")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evaluation",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("start", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("end", Int, nullable=False),
        sa.Column("evaluated_at", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "kind", "start", name=op.f("pk_evaluation")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lease",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token", Int, nullable=False),
        sa.Column("lease_until", Int, nullable=False),
        sa.PrimaryKeyConstraint("job", "subject", name=op.f("pk_lease")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "log_position",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("next_row", Int, nullable=False),
        sa.Column("next_outcome", Int, nullable=False),
        sa.Column("known_at", Int, nullable=True),
        sa.Column("expired_before", Int, nullable=True),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_log_position")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "login_session",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("expires_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_session")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "login_token",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("expires_at", Int, nullable=False),
        sa.Column("used_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_token")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "measurement",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("start", Int, nullable=False),
        sa.Column("revision", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("end", Int, nullable=False),
        sa.Column("measured_at", Int, nullable=False),
        sa.Column("inputs_state", sa.Text(), nullable=False),
        sa.Column("performance_state", sa.Text(), nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("labelled", Int, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "start", "revision", name=op.f("pk_measurement")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "model",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("features", sa.Text(), nullable=True),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("paused_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_model_project_id_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "model_change",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("changed_at", Int, nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_change")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(
        op.f("ix_model_change_model_id_changed_at"), "model_change", ["model_id", "changed_at"], unique=False
    )
    op.create_table(
        "model_version",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.UniqueConstraint("model_id", "name", name=op.f("uq_model_version_model_id_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "outcome",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("position", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("actual", sa.Text(), nullable=False),
        sa.Column("observed_at", Int, nullable=False),
        sa.Column("observed_given", Int, nullable=False),
        sa.Column("known_at", Int, nullable=False),
        sa.Column("arrived_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "position", name=op.f("pk_outcome")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_outcome_model_id_key"), "outcome", ["model_id", "key"], unique=False)
    op.create_table(
        "prediction_key",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("version_id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("row", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "key", "version_id", name=op.f("pk_prediction_key")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "profile",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("span", Int, nullable=False),
        sa.Column("start", Int, nullable=False),
        sa.Column("version_id", Int, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("binning", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("labelled", Int, nullable=False),
        sa.Column("min_known_at", Int, nullable=False),
        sa.Column("max_known_at", Int, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("segments", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("model_id", "span", "start", "version_id", "role", "binning", name=op.f("pk_profile")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "project",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "quarantine",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("arrived_at", Int, nullable=False),
        sa.Column("row_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_quarantine_model_id_id"), "quarantine", ["model_id", "id"], unique=False)
    op.create_table(
        "quarantine_count",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("kept_rows", Int, nullable=False),
        sa.Column("kept_bytes", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "code", name=op.f("pk_quarantine_count")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "reference",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("number", Int, nullable=False),
        sa.Column("version_id", Int, nullable=True),
        sa.Column("binning", Int, nullable=False),
        sa.Column("provisional", Int, nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("windows", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_reference_model_id_number")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "reference_rows",
        sa.Column("reference_id", Int, nullable=False),
        sa.Column("part", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("reference_id", "part", name=op.f("pk_reference_rows")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "report",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("from_at", Int, nullable=False),
        sa.Column("to_at", Int, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("rows", Int, nullable=True),
        sa.Column("html", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("finished_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_report_model_id_created_at"), "report", ["model_id", "created_at"], unique=False)
    op.create_table(
        "watermark",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("next_row", Int, nullable=False),
        sa.Column("next_outcome", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_watermark")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    project = sa.table("project", sa.column("id"), sa.column("name"), sa.column("created_at"))
    op.bulk_insert(project, [{"id": 1, "name": "default", "created_at": clock.now()}])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT setval(pg_get_serial_sequence('project', 'id'), 1)")


def downgrade() -> None:
    """Remove every table."""
    op.drop_table("watermark")
    op.drop_index(op.f("ix_report_model_id_created_at"), table_name="report")
    op.drop_table("report")
    op.drop_table("reference_rows")
    op.drop_table("reference")
    op.drop_table("quarantine_count")
    op.drop_index(op.f("ix_quarantine_model_id_id"), table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_table("project")
    op.drop_table("profile")
    op.drop_table("prediction_key")
    op.drop_index(op.f("ix_outcome_model_id_key"), table_name="outcome")
    op.drop_table("outcome")
    op.drop_table("model_version")
    op.drop_index(op.f("ix_model_change_model_id_changed_at"), table_name="model_change")
    op.drop_table("model_change")
    op.drop_table("model")
    op.drop_table("measurement")
    op.drop_table("login_token")
    op.drop_table("login_session")
    op.drop_table("log_position")
    op.drop_table("lease")
    op.drop_table("evaluation")
    op.drop_table("dirty_window")
    op.drop_table("detector")
    op.drop_table("delivery_attempt")
    op.drop_index(
        "ix_delivery_due",
        table_name="delivery",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index(op.f("ix_delivery_channel_id_created_at"), table_name="delivery")
    op.drop_table("delivery")
    op.drop_table("channel")
    op.drop_index(op.f("ix_block_model_id_min_timestamp_max_timestamp"), table_name="block")
    op.drop_table("block")
    op.drop_table("binning")
    op.drop_table("api_key")
    op.drop_index(op.f("ix_alert_event_alert_id_id"), table_name="alert_event")
    op.drop_table("alert_event")
    op.drop_index(
        "uq_alert_open",
        table_name="alert",
        sqlite_where=sa.text("state <> 'resolved'"),
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.drop_index(op.f("ix_alert_project_id_opened_at"), table_name="alert")
    op.drop_table("alert")
