"""Erased ids: a hash of each stays, so that its rows cannot come in again.

Revision: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, and count its rows where every writer looks."""
    op.create_table(
        "erased",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("erased_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "hash", name=op.f("pk_erased")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.add_column("log_position", sa.Column("erased", Int, nullable=True))


def downgrade() -> None:
    """Forget which ids were erased."""
    op.drop_column("log_position", "erased")
    op.drop_table("erased")
