"""Channels keep the secret that a new one replaces for a while, and since when they fail.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns, and an index for what waits behind an earlier message; an old channel has one secret."""
    op.add_column("channel", sa.Column("previous_secret", sa.Text()))
    op.add_column("channel", sa.Column("previous_until", Int))
    op.add_column("channel", sa.Column("failing_since", Int))
    op.add_column("channel", sa.Column("paused_until", Int))
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_delivery_waiting",
        "delivery",
        ["channel_id", "alert_id", "created_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
