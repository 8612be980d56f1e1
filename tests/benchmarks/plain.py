"""The endpoint to compare with: FastAPI, pydantic and SQLAlchemy, rows as JSON in one table, committed per request."""

import argparse
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from monitor.settings import Settings
from monitor.store.session import make_engine


class Row(BaseModel):
    id: str
    timestamp: datetime
    version: str | None = None
    features: dict[str, float | str | bool | None]
    prediction: int | float | str | None = None
    score: float | None = None
    latency_ms: float | None = None


class Rows(BaseModel):
    rows: list[Row]


metadata = sa.MetaData()
plain = sa.Table(
    "plain_prediction",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("timestamp", sa.DateTime(timezone=True)),
    sa.Column("body", sa.JSON),
)


def make_app(url: str) -> FastAPI:
    engine = make_engine(Settings(database_url=url), create=True)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    app = FastAPI()

    @app.post("/predictions")
    def post(body: Rows) -> dict[str, Any]:
        values = [{"id": r.id, "timestamp": r.timestamp, "body": r.model_dump(mode="json")} for r in body.rows]
        with engine.begin() as connection:
            connection.execute(sa.insert(plain), values)
        return {"accepted": len(values)}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    uvicorn.run(make_app(arguments.database), port=arguments.port, log_level="warning", access_log=False)
