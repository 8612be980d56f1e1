"""What lists read of many models at once, on both databases."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from monitor.store import catalog, evaluations, overview
from monitor.store import tables as t
from monitor.store.evaluations import ERROR, FINAL, Measurement
from monitor.store.session import reading, writing

MANY = 300


def measured(start: int, revision: int, rows: int, labelled: int = 0, error: str | None = None) -> Measurement:
    state = ERROR if error else FINAL
    return Measurement(start, revision, start + 10, start, state, state, rows, labelled, error, b"p", labelled / rows)


def block(connection: Connection, model: int, first: int, span: tuple[int, int]) -> None:
    values = {"rows": 1, "arrived_at": 0, "min_timestamp": span[0], "max_timestamp": span[1], "payload": b""}
    connection.execute(sa.insert(t.block).values(model_id=model, project_id=1, first_row=first, **values))


def test_windows_of_many_models_are_read_in_their_latest_revision(engine: Engine) -> None:
    with writing(engine) as connection:
        ids = [catalog.put_model(connection, 1, f"m{n}", {"task": "binary"}, 0, "t")[0].id for n in range(MANY)]
        for place, model in enumerate(ids):
            restated = [measured(10, 1, 7 + place, 5)] if place % 2 else []
            windows = [measured(at, 0, 10, 4) for at in (0, 10, 20)] + restated
            evaluations.save_measurements(connection, 1, model, windows)
    with reading(engine) as connection:
        spans = [(model, 10, 21) for model in ids]
        rows = overview.window_rows(connection, spans)
        totals = overview.window_totals(connection, [*spans[:-1], (ids[-1], 100, 200)])
        assert overview.window_rows(connection, []) == {} == overview.window_totals(connection, [])
    assert [(one.start, one.rows, one.performance) for one in rows[ids[3]]] == [(10, 10, 0.5), (20, 10, 0.4)]
    expected = [(17 + place, 9) if place % 2 else (20, 8) for place in range(MANY - 1)] + [(0, 0)]
    assert totals == dict(zip(ids, expected, strict=True))


def test_the_newest_row_is_found_behind_a_backfill(engine: Engine) -> None:
    with writing(engine) as connection:
        model = catalog.put_model(connection, 1, "m", {"task": "binary"}, 0, "t")[0].id
        empty = catalog.put_model(connection, 1, "empty", {"task": "binary"}, 0, "t")[0].id
        block(connection, model, 0, (500, 900))
        block(connection, model, 1, (10, 20))
        evaluations.save_measurements(
            connection, 1, model, [measured(0, 0, 5), measured(10, 0, 5), measured(10, 1, 5, 0, "no such number")]
        )
    with reading(engine) as connection:
        found = overview.newest(connection, 1)
        assert found == {model: overview.newest(connection, 1, model)[model], empty: overview.Newest()}
        assert overview.newest(connection, 2) == {}
    assert found[model].row_at == 900
    assert (found[model].window, found[model].error) == (10, "no such number")
