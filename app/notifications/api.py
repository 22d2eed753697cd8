"""Messages that failed, where a person can see them."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter

from app.core.db import Db
from app.core.paging import CursorText, Limit, Page, cut, decode_cursor
from app.identity.policy import Staff, require
from app.identity.rules import Role
from app.notifications import queries
from app.notifications.schemas import FailedMessageOut

router = APIRouter(prefix="/v1", tags=["notifications"])


@router.get("/messages/failed", operation_id="list_failed_messages", summary="Tin nhắn không gửi được")
def list_failed_messages(
    viewer: Staff, session: Db, limit: Limit = 50, cursor: CursorText = None
) -> Page[FailedMessageOut]:
    """List the messages nobody will try again, the latest first, with the reason; administrators only."""
    require(viewer, Role.ADMINISTRATOR)
    after: tuple[datetime, UUID] | None = None
    if cursor:
        at, message_id = decode_cursor(cursor, datetime, UUID)
        after = (at, message_id)
    rows = queries.failed(session, after=after, limit=limit + 1)
    items, following = cut(rows, limit, lambda row: (row.created_at, row.id))
    shown = [FailedMessageOut.model_validate(row, from_attributes=True) for row in items]
    return Page(items=shown, next_cursor=following)
