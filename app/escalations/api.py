"""Warnings that could not be given, over HTTP."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter

from app.core.db import Db
from app.core.paging import CursorText, Limit, Page, cut, decode_cursor
from app.escalations import queries
from app.escalations.schemas import StuckOut
from app.identity.policy import Staff, require

router = APIRouter(prefix="/v1", tags=["escalations"])


@router.get("/escalations/stuck", operation_id="list_stuck_escalations", summary="Cảnh báo không gửi được")
def list_stuck_escalations(viewer: Staff, session: Db, cursor: CursorText = None, limit: Limit = 50) -> Page[StuckOut]:
    """List warnings that failed five times and are tried no more, the oldest first; administrators and dispatchers."""
    require(viewer, "administrator", "dispatcher")
    after: tuple[datetime, UUID, str, int] | None = None
    if cursor:
        next_at, case_id, kind, level = decode_cursor(cursor, datetime, UUID, str, int)
        after = (next_at, case_id, kind, level)
    rows = queries.stuck(session, after=after, limit=limit + 1)
    items, following = cut(rows, limit, lambda row: (row[0].next_at, row[0].case_id, row[0].kind, row[0].level))
    shown = [
        StuckOut.model_validate(row.model_dump(include=set(StuckOut.model_fields)) | {"reference": reference})
        for row, reference in items
    ]
    return Page(items=shown, next_cursor=following)
