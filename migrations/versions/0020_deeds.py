"""Who did what, as one table; what the other tables know of earlier deeds is where it begins.

Times of alerts' events are their model's clock; the wall clock is known where something became of them for a channel.

Revision: 0020
"""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0012"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Each gives project_id, at, actor, what, subject, detail, alert_id.
KNOWN = """
SELECT project_id, created_at, '', 'key.made', name, scope || ', ' || id, NULL FROM api_key;
SELECT project_id, revoked_at, '', 'key.revoked', name, id, NULL FROM api_key WHERE revoked_at IS NOT NULL;
SELECT project_id, created_at, '', 'channel.made', name, kind, NULL FROM channel;
SELECT project_id, disabled_at, 'keepwatch', 'channel.switched_off', name, coalesce(disabled_reason, ''), NULL
    FROM channel WHERE disabled_at IS NOT NULL;
SELECT project_id, created_at, '', 'route.made', name, '', NULL FROM route;
SELECT project_id, updated_at, updated_by, 'policy.changed', '', '', NULL FROM project_policy;
SELECT project_id, created_at, created_by, 'shared_link.made', path, '', NULL FROM share;
SELECT project_id, revoked_at, '', 'shared_link.revoked', path, '', NULL FROM share WHERE revoked_at IS NOT NULL;
SELECT m.project_id, m.created_at, m.created_by, 'monitor.made', model.name || '/' || m.name, '', NULL
    FROM monitor m JOIN model ON model.id = m.model_id;
SELECT e.project_id, e.created_at, e.created_by, 'event.made', model.name,
    replace(e.kind, '_', ' ') || CASE e.text WHEN '' THEN '' ELSE ': ' || e.text END, NULL
    FROM model_event e JOIN model ON model.id = e.model_id;
SELECT r.project_id, r.created_at, '', 'reference.made', model.name,
    'reference ' || r.number || ', ' || r.rows || ' rows', NULL
    FROM reference r JOIN model ON model.id = r.model_id
    WHERE r.provisional = 0 AND r.source NOT LIKE '%remade_from%';
SELECT e.project_id, e.erased_at, 'command line', 'rows.erased', model.name, count(*) || ' ids', NULL
    FROM erased e JOIN model ON model.id = e.model_id GROUP BY e.project_id, e.erased_at, model.name;
SELECT e.project_id, coalesce((SELECT min(n.created_at) FROM notification n WHERE n.event_id = e.id), e.at), e.actor,
    CASE e.type WHEN 'alert.comment' THEN 'alert.commented' ELSE e.type END,
    model.name || ': ' || alert.family, coalesce(e.comment, ''), e.alert_id
    FROM alert_event e JOIN alert ON alert.id = e.alert_id JOIN model ON model.id = alert.model_id
    WHERE e.actor <> 'keepwatch' AND e.type IN ('alert.acknowledged', 'alert.resolved', 'alert.comment')
"""
CHANGES = """
SELECT c.project_id, c.changed_at, c.changed_by, c.model_id, model.name, c.config
    FROM model_change c JOIN model ON model.id = c.model_id ORDER BY c.id
"""
SILENCES = "SELECT project_id, created_at, created_by, matchers, comment FROM silence"
SIGNS = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}


def upgrade() -> None:
    """Make the table, and fill it with what is known."""
    op.create_table(
        "deed",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Int, nullable=False),
        sa.Column("at", Int, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deed")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_deed_project_id_at_id"), "deed", ["project_id", "at", "id"])
    connection = op.get_bind()
    found = [tuple(row) for query in KNOWN.split(";") for row in connection.execute(sa.text(query))]
    found += [*_changes(connection), *_silences(connection)]
    names = ("project_id", "at", "actor", "what", "subject", "detail", "alert_id")
    columns = [sa.column("id"), *map(sa.column, names)]
    # Ids of what comes later begin with a digit of their time: those of before sort below them.
    rows = [
        {"id": f"00000000-{number:012d}", **dict(zip(names, one, strict=True))}
        for number, one in enumerate(sorted(found, key=lambda one: one[1]))
    ]
    if rows:
        connection.execute(sa.insert(sa.table("deed", *columns)), rows)


def _changes(connection: sa.Connection) -> Iterator[tuple[Any, ...]]:
    """Settings of models, each with what differs from those before."""
    earlier: dict[int, dict[str, Any]] = {}
    for project_id, at, actor, model_id, name, config in connection.execute(sa.text(CHANGES)):
        new, old = json.loads(config), earlier.get(model_id)
        what = "model.made" if old is None else "model.changed"
        yield project_id, at, actor, what, name, "" if old is None else _differences(old, new), None
        earlier[model_id] = new


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    parts = []
    for name in new:
        values = [json.dumps(one, ensure_ascii=False) for one in (old.get(name), new[name])]
        if values[0] != values[1]:
            parts.append(f"{name}: {values[0]} → {values[1]}" if max(map(len, values)) <= 60 else name)
    return "; ".join(parts)


def _silences(connection: sa.Connection) -> Iterator[tuple[Any, ...]]:
    for project_id, at, actor, matchers, comment in connection.execute(sa.text(SILENCES)):
        told = [f'{one["name"]}{SIGNS[one["isRegex"], one["isEqual"]]}"{one["value"]}"' for one in json.loads(matchers)]
        yield project_id, at, actor, "silence.made", " and ".join(told), comment, None


def downgrade() -> None:
    """Forget who did what; other tables still know some of it."""
    op.drop_table("deed")
