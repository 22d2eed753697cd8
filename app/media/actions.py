"""What changes pictures: receiving, processing what is owed, deleting what is owed.

Nothing slow stands inside a transaction. An original reaches storage before its row is written, so a row never names
an object that is not there; an object whose row was never written (a crash, a repeat of the same request) is an
orphan, found by `sweep_orphans` through the day in its key. Derivatives need no sweep: their keys stand in the row
before they are written.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from mmap import ACCESS_READ, mmap
from typing import BinaryIO
from uuid import UUID, uuid4

import structlog
from sqlalchemy import ColumnElement, true, update
from sqlmodel import col

from app.core import clock, idempotency, storage
from app.core.db import Session, owe, transaction
from app.core.errors import CATALOGUE, UNAUTHENTICATED, UNAVAILABLE
from app.core.idempotency import Stored
from app.identity.models import Account
from app.media import queries, rules
from app.media.models import Media
from app.media.rules import MAX_ATTEMPTS, Derived, Header, Unprocessable
from app.media.schemas import MEDIA_EMPTY, MEDIA_PROCESSING_FAILED, MEDIA_TOO_LARGE, media_out

log = structlog.get_logger("media")

# A worker child lives at most TASK_LIMIT seconds into a task; the lease is longer, so whoever comes after it is alone.
TASK_SOFT_LIMIT_S, TASK_LIMIT_S = 40, 60
Derive = Callable[[bytes, str], Derived]
LEASE = timedelta(seconds=75)
BATCH_S = 15.0
STORAGE_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
ORPHAN_AGE = timedelta(days=1)
ORPHAN_DAYS = 7


# --- receiving -----------------------------------------------------------------------------------------------------


def receive(owner_id: UUID, key: UUID, file: BinaryIO) -> Stored:
    """Keep an uploaded file and owe its processing: the answer, the same for every repeat of `key`.

    Refuses what is not one still picture within the limits, before anything is stored.
    """
    media, digest = keep(owner_id, file)
    with transaction() as session:

        def act() -> Stored:
            record(session, media)
            return Stored(201, media_out(media, "vi").model_dump_json().encode())

        return idempotency.once(session, owner_id, key, idempotency.request_hash("POST /v1/media", digest), act)


def keep(owner_id: UUID, file: BinaryIO, media_id: UUID | None = None) -> tuple[Media, bytes]:
    """Examine a file and put it into storage: the row that `record` is to store, and the SHA-256. Slow.

    Refuses what is not one still picture within the limits, before anything is stored.
    """
    digest, header, size = _examined(file)
    media = _new(owner_id, header, digest, size)
    if media_id is not None:
        media.id = media_id
    try:
        file.seek(0)
        storage.put(media.original_key, file)
    except storage.Unavailable as error:
        log.warning("storage_unavailable", error=str(error))
        raise UNAVAILABLE.error(headers={"Retry-After": "30"}) from error
    return media, digest


def record(session: Session, media: Media) -> None:
    """Store the row of what `keep` put into storage, and owe its processing."""
    # The access token may outlive the account: whoever writes looks again.
    account = session.get(Account, media.owner_id)
    if account is None or account.status != "active":
        raise UNAUTHENTICATED.error()
    session.add(media)
    session.flush()
    owe(session, "media")


def _examined(file: BinaryIO) -> tuple[bytes, Header, int]:
    """SHA-256, header and length of a file, without holding it in memory."""
    size = file.seek(0, 2)
    if size == 0:
        raise MEDIA_EMPTY.error()
    if size > rules.MAX_BYTES:
        raise MEDIA_TOO_LARGE.error(limit_bytes=rules.MAX_BYTES)
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            header = rules.inspect(data)
        except Unprocessable as refusal:
            raise CATALOGUE[refusal.code].error() from refusal
        return hashlib.sha256(data).digest(), header, size


def _new(owner_id: UUID, header: Header, digest: bytes, size: int) -> Media:
    day = f"{clock.now():%Y%m%d}"
    derived = secrets.token_hex(16)
    return Media(
        owner_id=owner_id,
        detected_type=header.detected_type,
        size_bytes=size,
        sha256=digest,
        original_key=f"originals/{day}/{secrets.token_hex(16)}",
        large_key=f"derived/{day}/{derived}-{rules.LARGE}",
        small_key=f"derived/{day}/{derived}-{rules.SMALL}",
    )


# --- processing ----------------------------------------------------------------------------------------------------


def process_owed(derive: Derive, limit: int = 20) -> int:
    """Process up to `limit` pictures that are owed, for at most about BATCH_S seconds; how many were taken.

    `derive` is `app.pictures.rules.derive`, passed in so that who only takes pictures in never loads their decoders.

    Each is leased and counted in a commit of its own, worked on outside any transaction, and finished by
    compare-and-set on the lease. Safe to run at the same time and to kill at any point.
    """
    started, taken = time.monotonic(), 0
    while taken < limit and time.monotonic() - started < BATCH_S:
        media = _claimed(queries.next_owed)
        if media is None:
            break
        taken += 1
        if media.attempts > MAX_ATTEMPTS:  # it took five workers with it
            _finish(media, state="failed", failure_code=MEDIA_PROCESSING_FAILED.code, finished_at=clock.now())
        else:
            _process(media, derive)
    return taken


def _process(media: Media, derive: Derive) -> None:
    """One picture. Whatever it does, the next one gets its turn."""
    try:
        derived = derive(storage.get(media.original_key), media.detected_type)
        storage.put(media.large_key, derived.large)
        storage.put(media.small_key, derived.small)
    except Unprocessable as refusal:
        log.info("media_unprocessable", media=str(media.id), code=refusal.code)
        _finish(media, state="failed", failure_code=refusal.code, finished_at=clock.now())
    except storage.Unavailable as error:
        # Not the picture's fault: the attempt is given back, or an outage would fail everything sent during it.
        log.warning("storage_unavailable", error=str(error))
        _finish(media, attempts=media.attempts - 1, next_attempt_at=clock.now() + STORAGE_PAUSE)
    except Exception:
        # Out of memory, out of time, a lost original, a decoder's defect: counted, shown, tried again later.
        log.exception("media_attempt_failed", media=str(media.id), attempts=media.attempts)
        _after_failure(media)
    else:
        _finish(
            media,
            state="processed",
            width=derived.width,
            height=derived.height,
            dhash=derived.dhash,
            exif_taken_at=derived.hint.taken_at,
            exif_lat=derived.hint.lat,
            exif_lon=derived.hint.lon,
            finished_at=clock.now(),
        )


def _after_failure(media: Media) -> None:
    if media.attempts < MAX_ATTEMPTS:
        _finish(media, next_attempt_at=clock.now() + _pause(media.attempts))
    else:
        _finish(media, state="failed", failure_code=MEDIA_PROCESSING_FAILED.code, finished_at=clock.now())


def _claimed(choose: Callable[[Session], Media | None]) -> Media | None:
    """Lease what `choose` finds and count the attempt, committed before any work."""
    with transaction() as session:
        media = choose(session)
        if media is None:
            return None
        media.lease_id, media.next_attempt_at = uuid4(), clock.now() + LEASE
        media.attempts += 1
        session.add(media)
    return media


def _finish(media: Media, **values: object) -> bool:
    """Write the outcome if the lease is still ours and the picture still wanted; otherwise nothing happens.

    A picture whose deletion was asked for meanwhile keeps its lease: its objects are deleted once nobody writes them.
    """
    done = _released(media, col(Media.delete_requested_at).is_(None), values)
    if not done:
        log.info("media_lease_lost", media=str(media.id))
    return done


def _released(media: Media, wanted: ColumnElement[bool], values: dict[str, object]) -> bool:
    """Compare-and-set on the lease: `values` are written and the lease ends, or nothing changes."""
    mine = update(Media).where(col(Media.id) == media.id, col(Media.lease_id) == media.lease_id, wanted)
    with transaction() as session:
        return session.scalar(mine.values(lease_id=None, **values).returning(col(Media.id))) is not None


def owe_again(session: Session, media: Media) -> None:
    """Put back what `queries.stuck` shows: all attempts are new."""
    session.refresh(media, with_for_update=True)
    media.attempts, media.lease_id, media.next_attempt_at = 0, None, clock.now()
    if media.delete_requested_at is None:
        media.state, media.failure_code, media.finished_at = "stored", None, None
        owe(session, "media")
    session.add(media)


# --- deletion ------------------------------------------------------------------------------------------------------


def request_deletion(session: Session, media: Media) -> None:
    """Owe the deletion of a picture: nobody sees it from the commit on, its private hints are gone with it.

    The objects follow by `sweep_deletions`, at once or when the worker that holds the picture is done.
    """
    session.refresh(media, with_for_update=True)  # a worker may have leased it since it was read
    if media.delete_requested_at is not None:
        return
    now = clock.now()
    media.delete_requested_at = now
    media.attempts = 0
    media.next_attempt_at = max(now, media.next_attempt_at) if media.lease_id is not None else now
    media.sha256 = media.dhash = media.exif_taken_at = media.exif_lat = media.exif_lon = None
    session.add(media)


def sweep_deletions(limit: int = 500) -> int:
    """Delete the objects of pictures whose deletion is owed; how many storage confirmed. Never gives up."""
    confirmed = 0
    for _ in range(limit):
        media = _claimed(queries.next_deletion)
        if media is None:
            break
        try:
            for key in (media.large_key, media.small_key, media.original_key):
                storage.delete(key)
        except storage.Unavailable as error:
            log.warning("deletion_failed", media=str(media.id), attempts=media.attempts, error=str(error))
            _released(media, true(), {"next_attempt_at": clock.now() + _pause(media.attempts)})
        else:
            confirmed += _released(media, true(), {"deleted_at": clock.now()})
    return confirmed


def sweep_orphans() -> int:
    """Delete originals that no row names, a day after they were written; how many. To be run daily.

    Looks at the last days only: a listing does not grow with the archive.
    """
    removed = 0
    for keys in _old_originals(clock.now()):
        with transaction() as session:
            known = queries.known_keys(session, keys)
        for key in set(keys) - known:
            storage.delete(key)
            removed += 1
    return removed


def _old_originals(now: datetime) -> Iterator[list[str]]:
    for days in range(ORPHAN_DAYS):
        yield from storage.written_before(f"originals/{now - timedelta(days=days):%Y%m%d}", now - ORPHAN_AGE)


def _pause(attempts: int) -> timedelta:
    """10 s, 20 s, 40 s … up to an hour."""
    return min(timedelta(seconds=5 << min(attempts, 10)), LONGEST_PAUSE)
