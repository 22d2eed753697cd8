"""What failed, which devices there are, what was tried."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import and_, or_, tuple_
from sqlmodel import col, select

from app.core.db import Session
from app.identity.models import SignedInSession
from app.notifications.models import Device, Message, MessageAttempt
from app.notifications.rules import (
    Accepted,
    Carrier,
    Channel,
    Delivery,
    Permanent,
    QuotaExceeded,
    RetryAfter,
    Target,
    TokenDead,
    Tried,
)

_SIGNED_IN = or_(col(Device.session_id).is_(None), col(SignedInSession.ended_at).is_(None))


def failed(session: Session, *, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Message]:
    """List messages that were given up, the latest first; keyset by moment and id."""
    place = tuple_(col(Message.created_at), col(Message.id))
    statement = select(Message).where(Message.state == "failed").order_by(place.desc()).limit(limit)
    return session.exec(statement if after is None else statement.where(place < after)).all()


def devices(session: Session, account_ids: Collection[UUID]) -> Sequence[Device]:
    """List the devices that may receive something, the one seen last first; a session's end is its device's."""
    return session.exec(
        select(Device)
        .join(SignedInSession, and_(col(SignedInSession.id) == col(Device.session_id)), isouter=True)
        .where(col(Device.account_id).in_(account_ids), col(Device.ended_at).is_(None), _SIGNED_IN)
        .order_by(col(Device.seen_at).desc(), col(Device.id))
    ).all()


def tried(session: Session, message_ids: Collection[UUID]) -> Mapping[UUID, list[Tried]]:
    """Tell what earlier tries of messages came to, in their order."""
    found: dict[UUID, list[Tried]] = {}
    if message_ids:
        statement = select(MessageAttempt).where(col(MessageAttempt.message_id).in_(message_ids))
        for row in session.exec(statement.order_by(col(MessageAttempt.at), col(MessageAttempt.id))):
            target = Target(cast("Channel", row.channel), cast("Carrier", row.carrier), row.device_id)
            found.setdefault(row.message_id, []).append(Tried(target, _delivery(row), now=False))
    return found


def _delivery(row: MessageAttempt) -> Delivery:
    match row.outcome:
        case "accepted":
            return Accepted()
        case "permanent":
            return Permanent(row.code or "")
        case "token_dead":
            return TokenDead()
        case "quota":
            return QuotaExceeded(0)
        case _:
            return RetryAfter()
