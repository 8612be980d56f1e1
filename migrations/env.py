"""Alembic's environment: it works on the connection that it is given, in that connection's transaction."""

from alembic import context
from sqlalchemy.engine import Connection

from monitor.store.tables import metadata


def run(connection: Connection) -> None:
    """Run the asked for migrations; committing is left to `store.session.writing`."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=False,
        transaction_per_migration=False,
    )
    context.run_migrations()


run(context.config.attributes["connection"])
