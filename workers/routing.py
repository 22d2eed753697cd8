"""Routing as a task."""

from app.routing import actions
from workers.celery_app import celery, drain


@celery.task(name="routing.assign")  # type: ignore[untyped-decorator]
def assign() -> None:
    """Route what is owed until nothing is. Safe to run twice and beside itself: a claimed case is skipped."""
    drain("routing", actions.assign_owed)
