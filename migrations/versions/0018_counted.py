"""What workers count, for Prometheus.

Revision: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "counted",
        sa.Column("sample", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("value", sa.Double().with_variant(sa.REAL(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("sample", "labels", name=op.f("pk_counted")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Forget the counts."""
    op.drop_table("counted")
