"""Seals as tasks of the scheduler."""

from sqlalchemy.exc import OperationalError

from app.core.db import transaction
from app.seals import actions
from workers.celery_app import celery


@celery.task(  # type: ignore[untyped-decorator]
    name="seals.seal", autoretry_for=(OperationalError,), retry_backoff=True, max_retries=3
)
def seal() -> None:
    """Make the seal of a local day soon after it began, or as soon as somebody is there to make it; once."""
    with transaction() as session:
        actions.seal_if_owed(session)


@celery.task(name="seals.deliver")  # type: ignore[untyped-decorator]
def deliver() -> None:
    """Tell the configured address of seals it has not taken yet."""
    actions.deliver_owed()
