"""PostgreSQL does not compress what is compressed already: it found nothing to save, and took half of a commit to try.

Revision: 0023
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_PACKED = {
    "block": ("payload",),
    "id_page": ("filter", "payload"),
    "reference": ("profile", "windows"),
    "reference_rows": ("payload",),
    "profile": ("payload", "segments"),
    "measurement": ("payload",),
    "detector": ("state",),
    "two_sample": ("state", "rows"),
    "task": ("document",),
}


def upgrade() -> None:
    """Of the bytes that come from now on; what is stored stays readable as it is."""
    _store("EXTERNAL")


def downgrade() -> None:
    _store("EXTENDED")


def _store(how: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, columns in _PACKED.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE {how}")
