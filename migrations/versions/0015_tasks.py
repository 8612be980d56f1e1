"""One queue of background work for reports, back-tests and what comes after them.

Revision: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0007"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Make the table and take over what the two older ones hold; what was being done is begun again."""
    op.create_table(
        "task",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("model_id", Int, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("progress", Real, nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", Int, nullable=False),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("finished_at", Int, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(op.f("ix_task_model_id_kind_created_at"), "task", ["model_id", "kind", "created_at"])
    waiting = sa.text("finished_at IS NULL")
    op.create_index("ix_task_waiting", "task", ["kind", "created_at"], sqlite_where=waiting, postgresql_where=waiting)
    op.execute(
        "INSERT INTO task (id, project_id, model_id, kind, request, state, stage, progress, result, document, error,"
        " attempts, created_at, finished_at)"
        " SELECT id, project_id, model_id, 'report', '{\"from\": ' || from_at || ', \"to\": ' || to_at || '}', state,"
        " progress, CASE WHEN finished_at IS NULL THEN 0.0 ELSE 1.0 END,"
        " CASE WHEN rows IS NULL THEN NULL ELSE '{\"rows\": ' || rows || '}' END, html, error, 0, created_at,"
        " finished_at FROM report"
    )
    op.execute(
        "INSERT INTO task (id, project_id, model_id, kind, request, state, stage, progress, result, error, attempts,"
        " created_at, finished_at)"
        " SELECT id, project_id, model_id, 'backtest', request, state, state, progress, result, error, attempts,"
        " created_at, finished_at FROM backtest"
    )
    op.execute("DELETE FROM lease WHERE job IN ('report', 'backtest')")
    op.drop_table("report")
    op.drop_table("backtest")


def downgrade() -> None:
    """The two older tables again; what was queued is gone."""
    op.drop_table("task")
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
    op.create_index(op.f("ix_report_model_id_created_at"), "report", ["model_id", "created_at"])
