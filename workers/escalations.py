"""Warnings, pages and the morning digest as tasks."""

from app.core.db import transaction
from app.escalations import actions
from workers.celery_app import celery, drain


@celery.task(name="escalations.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Give the warnings whose moment has come, then the digest of the day. Safe to run twice and beside itself."""
    actions.sweep()
    with transaction() as session:
        actions.digest_if_owed(session)


@celery.task(name="escalations.page")  # type: ignore[untyped-decorator]
def page() -> None:
    """Page for urgent cases. Safe to run twice and beside itself: what is claimed is skipped."""
    drain("escalations", actions.page)
