"""Small tasks of the scheduler."""

from app.cases.actions import close_confirmed_by_silence
from app.core import clock, idempotency
from app.core.db import transaction
from app.deadlines.actions import record_breaches as record
from app.forecasts.actions import count_if_owed
from app.identity.actions import forget_expired
from app.media.actions import sweep_deletions, sweep_orphans
from app.notifications.actions import end_signed_out_devices
from app.proceedings.actions import fall_due, time_out
from app.timetables.actions import recompute_owed
from app.uploads.actions import sweep_expired, sweep_files
from workers.celery_app import celery

BATCH = 500


@celery.task(name="housekeeping.record_breaches")  # type: ignore[untyped-decorator]
def record_breaches() -> None:
    """Write the breach of every clock that ran out since the last beat: what nobody touches is overdue too."""
    while True:
        with transaction() as session:
            if record(session, clock.now(), BATCH) < BATCH:
                return


@celery.task(name="housekeeping.recompute_deadlines")  # type: ignore[untyped-decorator]
def recompute_deadlines() -> None:
    """Move the running deadlines that a change of calendar or policies owes a move."""
    recompute_owed()


@celery.task(name="housekeeping.close_by_silence")  # type: ignore[untyped-decorator]
def close_by_silence() -> None:
    """Close what was resolved and not disputed."""
    while True:
        with transaction() as session:
            if not close_confirmed_by_silence(session):
                return


@celery.task(name="housekeeping.time_out_questions")  # type: ignore[untyped-decorator]
def time_out_questions() -> None:
    """Let units go on where the citizen did not answer in time."""
    time_out()


@celery.task(name="housekeeping.return_planned")  # type: ignore[untyped-decorator]
def return_planned() -> None:
    """Take up again what was planned until today."""
    fall_due()


@celery.task(name="housekeeping.forget")  # type: ignore[untyped-decorator]
def forget() -> None:
    """Drop expired sign-in codes, sessions and stored answers, and the push tokens of who signed out."""
    with transaction() as session:
        forget_expired(session)
        idempotency.forget(session)
        end_signed_out_devices(session)


@celery.task(name="housekeeping.sweep_media")  # type: ignore[untyped-decorator]
def sweep_media() -> None:
    """Delete photos whose deletion is owed."""
    sweep_deletions()


@celery.task(name="housekeeping.sweep_orphans")  # type: ignore[untyped-decorator]
def sweep_orphan_objects() -> None:
    """Delete stored objects that no row names: what a crash between storing and committing left behind."""
    sweep_orphans()


@celery.task(name="housekeeping.sweep_uploads")  # type: ignore[untyped-decorator]
def sweep_uploads() -> None:
    """Drop uploads that were never finished in time, and files that no upload needs any more."""
    while sweep_expired(BATCH) == BATCH:
        pass
    sweep_files()


@celery.task(name="housekeeping.forecast")  # type: ignore[untyped-decorator]
def forecast() -> None:
    """Count anew how long cases take, once an hour."""
    with transaction() as session:
        count_if_owed(session)
