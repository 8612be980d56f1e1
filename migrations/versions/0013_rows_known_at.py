"""When the rows of a profile were known, apart from their outcomes: evidence of inputs is made of rows known in time.

Revision: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0019"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Null for what is stored already."""
    op.add_column("profile", sa.Column("rows_known_at", Int, nullable=True))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("profile", "rows_known_at")
