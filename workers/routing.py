"""Routing as a task."""

import contextlib
from typing import Any

from celery.signals import worker_process_init
from sqlalchemy.exc import SQLAlchemyError

from app.boundaries.queries import warm
from app.core.db import transaction
from app.core.errors import DomainError
from app.routing import actions
from workers.celery_app import celery, drain


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _warm(**_: Any) -> None:
    """Load the boundaries before the first report asks for them."""
    with contextlib.suppress(DomainError, SQLAlchemyError), transaction() as session:
        warm(session)


@celery.task(name="routing.assign")  # type: ignore[untyped-decorator]
def assign() -> None:
    """Route what is owed until nothing is. Safe to run twice and beside itself: a claimed case is skipped."""
    drain("routing", actions.assign_owed)
