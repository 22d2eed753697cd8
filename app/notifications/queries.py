"""What failed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import col, select

from app.core.db import Session
from app.notifications.models import Message


def failed(session: Session, *, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Message]:
    """List messages that were given up, the latest first; keyset by moment and id."""
    place = tuple_(col(Message.created_at), col(Message.id))
    statement = select(Message).where(Message.state == "failed").order_by(place.desc()).limit(limit)
    return session.exec(statement if after is None else statement.where(place < after)).all()
