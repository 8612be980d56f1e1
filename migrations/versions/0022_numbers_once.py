"""The number of a deleted model is not given again: whoever still works on the deleted one finds nothing.

Revision: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """PostgreSQL's sequences do so already."""
    if op.get_bind().dialect.name == "sqlite":
        _remade(once=True)


def downgrade() -> None:
    """The highest number that there is, and one more."""
    if op.get_bind().dialect.name == "sqlite":
        _remade(once=False)


def _remade(*, once: bool) -> None:
    columns = [
        sa.Column("id", Int, autoincrement=True, nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("features", sa.Text(), nullable=True),
        sa.Column("created_at", Int, nullable=False),
        sa.Column("paused_at", Int, nullable=True),
    ]
    held = ", ".join(f'"{column.name}"' for column in columns)
    op.create_table(
        "model_remade",
        *columns,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_model_project_id_name")),
        sqlite_strict=True,
        sqlite_autoincrement=once,
    )
    op.execute(f"INSERT INTO model_remade ({held}) SELECT {held} FROM model")
    op.drop_table("model")
    op.rename_table("model_remade", "model")
