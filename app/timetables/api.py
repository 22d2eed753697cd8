"""The working calendar and the deadlines in force; administrators change them."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.core import clock, idempotency
from app.core.db import Db
from app.core.http import Language
from app.core.paging import CursorText, Page, cut, decode_cursor
from app.core.paging import Limit as PageLimit
from app.deadlines.models import EVERYONE
from app.deadlines.schemas import UnitGroup
from app.identity.policy import Staff, require
from app.identity.rules import Role
from app.timetables import actions, queries
from app.timetables.schemas import TimeChangeIn, TimeChangeOut, TimeChangeRow, TimetableOut

router = APIRouter(prefix="/v1", tags=["timetables"])


@router.get("/timetable", operation_id="get_timetable", summary="Lịch làm việc và thời hạn đang áp dụng")
def get_timetable(
    _viewer: Staff,
    session: Db,
    on: Annotated[date | None, Query(description="Local day; today if left out.")] = None,
    unit_group: Annotated[UnitGroup, Query(description="Whose working hours; everybody's if left out.")] = EVERYONE,
) -> TimetableOut:
    """Read what measures deadlines on a day: policies with their decisions, and four weeks of working hours."""
    return queries.timetable(session, on or clock.local_day(clock.now()), unit_group)


@router.post(
    "/time-changes",
    status_code=201,
    response_model=TimeChangeOut,
    operation_id="create_time_change",
    summary="Thay đổi lịch làm việc hoặc thời hạn",
)
def create_time_change(
    body: TimeChangeIn, key: idempotency.RequiredKey, viewer: Staff, session: Db, lang: Language
) -> Response:
    """Enter days, working weeks, groups of units, deadlines and caps of pauses: all, or none with a list of `errors`.

    With `dry_run` nothing is stored and the answer is 200: look at `moves` first, the running deadlines that would
    fall due otherwise. Stored, they are moved within a minute or two; what was missed stays missed.
    """
    require(viewer, Role.ADMINISTRATOR)
    if body.dry_run:
        told = actions.enter(session, viewer.id, body, lang)
        return Response(told.model_dump_json(), 200, media_type="application/json")
    hashed = idempotency.request_hash("POST /v1/time-changes", body.model_dump_json().encode())

    def act() -> idempotency.Stored:
        answer = actions.enter(session, viewer.id, body, lang)
        return idempotency.Stored(201, answer.model_dump_json().encode())

    return idempotency.once(session, viewer.id, key, hashed, act).response()


@router.get("/time-changes", operation_id="list_time_changes", summary="Các lần thay đổi lịch và thời hạn")
def list_time_changes(
    viewer: Staff, session: Db, limit: PageLimit = 50, cursor: CursorText = None
) -> Page[TimeChangeRow]:
    """List changes, the last entered first, each with how many running deadlines it has moved."""
    require(viewer, Role.ADMINISTRATOR, Role.AUDITOR)
    (after,) = decode_cursor(cursor, UUID) if cursor else (None,)
    page, following = cut(queries.listed(session, after, limit + 1), limit, lambda row: (row.id,))
    return Page(
        items=[TimeChangeRow.model_validate(each, from_attributes=True) for each in page], next_cursor=following
    )
