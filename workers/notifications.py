"""Messages owed: sent here."""

from celery.signals import worker_process_init
from sqlalchemy.exc import OperationalError

from app.carriers.actions import fleet
from app.notifications import actions
from workers.celery_app import celery, give_way

worker_process_init.connect(give_way)


@celery.task(  # type: ignore[untyped-decorator]
    name="notifications.send",
    queue="notifications",
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    max_retries=3,
)
def send() -> int:
    """Send what is owed. Safe to run twice, and at the same time: a leased row is not taken again."""
    return actions.send_owed(fleet=fleet())
