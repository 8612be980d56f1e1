"""What files have declared, so that a later one can remove what it no longer names.

Revision: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0018"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, empty: what was declared before is noted when its file is applied again."""
    op.create_table(
        "declared",
        sa.Column("project_id", Int, autoincrement=False, nullable=False),
        sa.Column("section", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "section", "name", name=op.f("pk_declared")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Forget what was declared."""
    op.drop_table("declared")
