"""The day on which units change, as a task."""

from app.reforms.actions import happen
from workers.celery_app import celery


@celery.task(name="reforms.happen")  # type: ignore[untyped-decorator]
def units_change() -> None:
    """Apply what is due, hand over what units that have ended still hold. Safe to run twice, late and beside itself."""
    happen()
