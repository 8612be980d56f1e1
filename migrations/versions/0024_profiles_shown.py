"""What pages ask of profiles without their content lies together, and not behind each content.

Revision: 0024
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_SHOWN = ["model_id", "span", "start", "version_id", "role", "binning"]
_SHOWN += ["rows", "labelled", "min_known_at", "max_known_at", "rows_known_at", "stamp"]


def upgrade() -> None:
    op.create_index("ix_profile_shown", "profile", _SHOWN)


def downgrade() -> None:
    op.drop_index("ix_profile_shown", table_name="profile")
