"""Halves of logged calls that wait for their other half.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, and the index by which halves are given up."""
    op.create_table(
        "event_half",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("arrived_at", Int, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "key", "side", name=op.f("pk_event_half")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_event_half_model_id_arrived_at"), "event_half", ["model_id", "arrived_at"], unique=False)


def downgrade() -> None:
    """Drop the table; the halves in it are lost."""
    op.drop_index(op.f("ix_event_half_model_id_arrived_at"), table_name="event_half")
    op.drop_table("event_half")
