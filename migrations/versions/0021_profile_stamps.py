"""A stamp for each profile, which says without a look at its content that it has not changed.

Revision: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEY = ("model_id", "span", "start", "version_id", "role", "binning")
_BEFORE = (*_KEY, "project_id", "rows", "labelled", "min_known_at", "max_known_at", "rows_known_at")
_CONTENT = ("payload", "segments")


def upgrade() -> None:
    """Give every profile one. In SQLite the columns that are read alone must stand before the content: it reads over
    what stands in between."""
    if op.get_bind().dialect.name == "sqlite":
        _remade(stamped=True)
    else:
        op.add_column("profile", sa.Column("stamp", Int, nullable=True))
        op.execute("UPDATE profile SET stamp = (random() * 9007199254740992)::bigint")
        op.alter_column("profile", "stamp", nullable=False)


def downgrade() -> None:
    """The stamps go."""
    if op.get_bind().dialect.name == "sqlite":
        _remade(stamped=False)
    else:
        op.drop_column("profile", "stamp")


def _remade(*, stamped: bool) -> None:
    columns = [
        *(sa.Column(name, sa.Text() if name == "role" else Int, nullable=False) for name in _BEFORE[:-1]),
        sa.Column("rows_known_at", Int, nullable=True),
        *([sa.Column("stamp", Int, nullable=False)] if stamped else []),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("segments", sa.LargeBinary(), nullable=True),
    ]
    key = sa.PrimaryKeyConstraint(*_KEY, name=op.f("pk_profile"))
    op.create_table("profile_stamped", *columns, key, sqlite_strict=True, sqlite_with_rowid=False)
    held = ", ".join(f'"{name}"' for name in (*_BEFORE, *_CONTENT))
    into, drawn = (f'{held}, "stamp"', f"{held}, random()") if stamped else (held, held)
    op.execute(f"INSERT INTO profile_stamped ({into}) SELECT {drawn} FROM profile")
    op.drop_table("profile")
    op.rename_table("profile_stamped", "profile")
