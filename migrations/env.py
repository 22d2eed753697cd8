"""Alembic's entry: the owner role migrates, the models are the target, event partitions are left alone."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlmodel import SQLModel

import app.addresses.models
import app.assets.models
import app.boundaries.models
import app.cases.models
import app.catalog.models
import app.core.models
import app.deadlines.models
import app.duties.models
import app.escalations.models
import app.forecasts.models
import app.identity.models
import app.media.models
import app.notifications.models
import app.orgunits.models
import app.reforms.models
import app.reports.models
import app.routing.models
import app.seals.models
import app.search.models
import app.timetables.models
import app.uploads.models
from app.core.config import settings
from app.core.db import sqlalchemy_url

ischema_names["xid8"] = app.cases.models.Xid8
MIGRATION_LOCK = 0x7068616E616E68


def _include(_object: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:
    """Partitions of case_event are children of a mapped table, not tables of their own."""
    return not (kind == "table" and (name or "").startswith("case_event_"))


def run() -> None:
    """Run the migrations on one connection; a second migrator waits instead of racing."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(connection)
        return
    engine = create_engine(sqlalchemy_url(settings().owner_database_url))
    with engine.connect() as own:
        own.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        own.commit()
        _migrate(own)
    engine.dispose()


def _migrate(connection: Any) -> None:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, include_object=_include, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
