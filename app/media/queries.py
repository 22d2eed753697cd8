"""What is read of pictures, here and by the slices above."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import and_, or_
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core import clock
from app.core.db import Session
from app.core.errors import NOT_FOUND
from app.media.models import Media
from app.media.rules import MAX_ATTEMPTS
from app.media.schemas import MEDIA_NOT_FOUND, MEDIA_PROCESSING_FAILED


def visible(session: Session, media_id: UUID) -> Media:
    """The picture, unless its deletion was asked for; 404."""
    media = session.get(Media, media_id)
    if media is None or media.delete_requested_at is not None:
        raise NOT_FOUND.error()
    return media


def owned(session: Session, account_id: UUID, ids: Sequence[UUID]) -> list[Media]:
    """The pictures `ids` of one account, in that order, in whatever state: a picture never holds up a report.

    One that is unknown, deleted or somebody else's refuses all with `media_not_found` at its /media_ids/i.
    """
    rows = select(Media).where(
        col(Media.id).in_(ids), Media.owner_id == account_id, col(Media.delete_requested_at).is_(None)
    )
    found = {media.id: media for media in session.exec(rows)} if ids else {}
    for at, media_id in enumerate(ids):
        if media_id not in found:
            raise MEDIA_NOT_FOUND.error(pointer=f"/media_ids/{at}")
    return [found[media_id] for media_id in ids]


def stuck(session: Session, limit: int = 100) -> Sequence[Media]:
    """What waits for a person: pictures that failed although they looked fine, deletions that storage never confirms.

    `actions.owe_again` puts one back.
    """
    wanted = col(Media.delete_requested_at).is_(None)
    given_up = and_(col(Media.failure_code) == MEDIA_PROCESSING_FAILED.code, wanted)
    undeleted = and_(~wanted, col(Media.deleted_at).is_(None), col(Media.attempts) >= MAX_ATTEMPTS)
    rows = select(Media).where(or_(given_up, undeleted))
    return session.exec(rows.order_by(col(Media.created_at)).limit(limit)).all()


def next_owed(session: Session) -> Media | None:
    """The picture whose processing is owed the longest, locked; what others hold is passed over."""
    rows = select(Media).where(
        Media.state == "stored", col(Media.delete_requested_at).is_(None), Media.next_attempt_at <= clock.now()
    )
    return _locked(session, rows)


def next_deletion(session: Session) -> Media | None:
    """The picture whose deletion is owed the longest, locked; what others hold is passed over."""
    rows = select(Media).where(
        col(Media.delete_requested_at).is_not(None),
        col(Media.deleted_at).is_(None),
        Media.next_attempt_at <= clock.now(),
    )
    return _locked(session, rows)


def known_keys(session: Session, keys: Sequence[str]) -> set[str]:
    """Which of these storage keys belong to the original of a row that is not deleted."""
    rows = select(Media.original_key).where(col(Media.original_key).in_(keys), col(Media.deleted_at).is_(None))
    return set(session.exec(rows))


def _locked(session: Session, rows: SelectOfScalar[Media]) -> Media | None:
    # In the order of `next_attempt_at`: what failed was moved back in the queue and starves nobody.
    first = rows.order_by(col(Media.next_attempt_at)).limit(1)
    return session.exec(first.with_for_update(skip_locked=True)).first()
