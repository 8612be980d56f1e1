"""Who is told of an alert, when, and why not: notifications, silences, routes, the project's policy, comments.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Add the tables, and the comment of an event."""
    op.add_column("alert_event", sa.Column("comment", sa.Text(), nullable=True))
    op.create_table(
        "notification",
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("event_id", Int, nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("round", Int, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("changed_at", Int, nullable=False),
        sa.Column("due_at", Int, nullable=True),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("event_id", "channel_id", "round", name=op.f("uq_notification_event_id_channel_id_round")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_notification_alert_id_channel_id"), "notification", ["alert_id", "channel_id"])
    op.create_index(op.f("ix_notification_project_id_changed_at"), "notification", ["project_id", "changed_at"])
    op.create_index(
        "ix_notification_due",
        "notification",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "silence",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("matchers", sa.Text(), nullable=False),
        sa.Column("starts_at", Int, nullable=False),
        sa.Column("ends_at", Int, nullable=False),
        sa.Column("weekly", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("updated_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silence")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_silence_project_id_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_silence_project_id_ends_at"), "silence", ["project_id", "ends_at"])
    op.create_table(
        "route",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("escalate_after", sa.Text(), nullable=True),
        sa.Column("repeat", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("quiet_hours", sa.Text(), nullable=True),
        sa.Column("created_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_route")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_route_project_id_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "project_policy",
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("false_alarms", Real, nullable=True),
        sa.Column("per", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("cooldown", sa.Text(), nullable=False),
        sa.Column("updated_at", Int, nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_policy")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def downgrade() -> None:
    """Remove what `upgrade` added."""
    for table in ("project_policy", "route", "silence", "notification"):
        op.drop_table(table)
    with op.batch_alter_table("alert_event") as batch:
        batch.drop_column("comment")
