"""The reference of every ratio: async FastAPI, asyncpg, the same Pydantic body, one INSERT committed. Nothing else.

No accounts, no limits, no idempotency, no events, no logs. Run by `uvicorn benchmarks.bare:app`; `bare:pooled` is the
same with asyncpg's pool as it comes, which resets every connection that returns.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
from fastapi import FastAPI

from app.reports.schemas import ReportIn

POOL = 16
TABLE = """
CREATE TABLE bare_report (
    id uuid PRIMARY KEY, category text NOT NULL, description text NOT NULL, lat float8, lon float8, accuracy_m float8,
    commune text, place_text text, address text, occurred_at timestamptz, sent_at timestamptz,
    visibility text NOT NULL, hide_name boolean NOT NULL, allow_call boolean NOT NULL, received_at timestamptz NOT NULL)
"""
_INSERT = "INSERT INTO bare_report VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
_pool: Any = None


async def _as_it_was(_connection: object) -> None:
    """No reset when a connection returns: asyncpg's own costs a second round trip, which would flatter us."""


def _application(**pool: Any) -> FastAPI:
    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        global _pool
        async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=POOL, max_size=POOL, **pool) as _pool:
            yield

    application = FastAPI(lifespan=life)
    application.post("/v1/reports", status_code=201)(submit)
    return application


async def submit(body: ReportIn) -> dict[str, str]:
    """Store the report."""
    received_at = datetime.now(UTC)
    place = body.location
    async with _pool.acquire() as connection:
        await connection.execute(
            _INSERT,
            body.id,
            body.category,
            body.description,
            place and place.lat,
            place and place.lon,
            place and place.accuracy_m,
            body.commune,
            body.place_text,
            body.address,
            body.occurred_at,
            body.sent_at,
            body.visibility,
            body.hide_name,
            body.allow_call,
            received_at,
        )
    return {"id": str(body.id), "received_at": received_at.isoformat()}


app = _application(reset=_as_it_was)
pooled = _application()
