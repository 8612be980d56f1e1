"""Where rows and schema part, by feature.

Revision: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0016"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "schema_finding",
        sa.Column("model_id", Int, nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("rows", Int, nullable=False),
        sa.Column("first_at", Int, nullable=False),
        sa.Column("last_at", Int, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "feature", "kind", name=op.f("pk_schema_finding")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """What was found is forgotten."""
    op.drop_table("schema_finding")
