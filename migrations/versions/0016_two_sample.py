"""The memory of the nightly two-sample test.

Revision: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0010"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "two_sample",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("reference_id", Int, nullable=False),
        sa.Column("judged_to", Int, nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_two_sample")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def downgrade() -> None:
    """Forget it: the test begins anew."""
    op.drop_table("two_sample")
