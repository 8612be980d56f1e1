"""The first metric of performance beside a window's numbers, so that the list of models opens no payload.

Windows that were measured before have none there until they are restated.

Revision: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None

SHOWN = ["model_id", "start", "revision", "rows", "labelled", "performance"]
Real = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Add the column, empty."""
    op.add_column("measurement", sa.Column("performance", Real, nullable=True))
    op.create_index("ix_measurement_shown", "measurement", SHOWN)


def downgrade() -> None:
    """Drop it: the payload holds the number too."""
    op.drop_index("ix_measurement_shown", "measurement")
    op.drop_column("measurement", "performance")
