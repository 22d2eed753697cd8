"""What is read of uploads, here and by the slices above."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select

from app.core import clock
from app.core.db import Session
from app.core.errors import CATALOGUE, NOT_FOUND
from app.media.schemas import MEDIA_UNFINISHED
from app.uploads.models import Upload
from app.uploads.schemas import UPLOAD_EXPIRED


def owned(session: Session, owner_id: UUID, upload_id: UUID) -> Upload:
    """The upload of this account; anybody else's, and what was swept, is 404."""
    upload = session.get(Upload, upload_id)
    if upload is None or upload.owner_id != owner_id:
        raise NOT_FOUND.error()
    return upload


def usable(session: Session, owner_id: UUID, upload_id: UUID) -> Upload:
    """The upload of this account, not expired (410), and not refused: a refusal is told again each time."""
    upload = owned(session, owner_id, upload_id)
    if upload.failure_code is not None:
        raise CATALOGUE[upload.failure_code].error()
    if upload.expires_at <= clock.now():
        raise UPLOAD_EXPIRED.error()
    return upload


def refuse_unfinished(session: Session, account_id: UUID, ids: Sequence[UUID]) -> None:
    """Refuse with `media_unfinished` at its /media_ids/i what is on its way but has not arrived whole."""
    rows = select(Upload.id).where(
        col(Upload.id).in_(ids),
        Upload.owner_id == account_id,
        Upload.state == "open",
        Upload.expires_at > clock.now(),
    )
    unfinished = set(session.exec(rows)) if ids else set()
    for at, media_id in enumerate(ids):
        if media_id in unfinished:
            raise MEDIA_UNFINISHED.error(pointer=f"/media_ids/{at}", headers={"Retry-After": "10"})


def unfinished(session: Session, owner_id: UUID) -> int:
    """How many uploads of this account may still be continued."""
    rows = select(func.count()).where(
        Upload.owner_id == owner_id, Upload.state == "open", Upload.expires_at > clock.now()
    )
    return session.exec(rows).one()


def expired(session: Session, limit: int) -> Sequence[UUID]:
    """Uploads, in whatever state, whose time is over, the longest first."""
    rows = select(Upload.id).where(Upload.expires_at <= clock.now()).order_by(col(Upload.expires_at)).limit(limit)
    return session.exec(rows).all()


def still_open(session: Session, ids: Collection[UUID]) -> set[UUID]:
    """Which of these still need their file."""
    return set(session.exec(select(Upload.id).where(col(Upload.id).in_(ids), Upload.state == "open")))
