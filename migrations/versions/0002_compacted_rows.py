"""Logs remember up to where their small blocks were merged.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the mark; a log of before has merged nothing."""
    op.add_column("log_position", sa.Column("compacted_row", Int, nullable=False, server_default="0"))
