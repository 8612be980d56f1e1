"""Events of models, monitors by hand, back-tests, runs of jobs.

Revision: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "model_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_at", Int, nullable=False),
        sa.Column("to_at", Int, nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_event")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_model_event_model_id_from_at"), "model_event", ["model_id", "from_at"])
    op.create_table(
        "monitor",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revision", Int, nullable=False),
        sa.Column("memory", sa.Text(), nullable=False),
        sa.Column("last", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitor")),
        sa.UniqueConstraint("model_id", "name", name=op.f("uq_monitor_model_id_name")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "backtest",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", Real, nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", Int, nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("finished_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backtest")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_backtest_model_id_created_at"), "backtest", ["model_id", "created_at"])
    op.create_table(
        "job_run",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job", "subject", name=op.f("pk_job_run")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("job_run")
    op.drop_table("backtest")
    op.drop_table("monitor")
    op.drop_table("model_event")
