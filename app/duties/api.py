"""The duty roster over HTTP."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Response

from app.core import idempotency
from app.core.db import Db
from app.core.http import Language
from app.core.idempotency import RequiredKey, Stored
from app.core.paging import CursorText, Limit, Page, cut, decode_cursor
from app.duties import actions, policy, queries
from app.duties.schemas import DutyIn, DutyOut
from app.identity.policy import Staff, require
from app.orgunits.queries import directory

router = APIRouter(prefix="/v1", tags=["duties"])


@router.get("/duties", operation_id="list_duties", summary="Lịch trực")
def list_duties(
    staff: Staff, session: Db, lang: Language, cursor: CursorText = None, limit: Limit = 50
) -> Page[DutyOut]:
    """Who is on duty now or will be, the earliest first: officers and leads see their units' and the province's."""
    units = policy.readable_units(staff, directory(session))
    after: tuple[datetime, UUID] | None = None
    if cursor:
        starts_at, duty_id = decode_cursor(cursor, datetime, UUID)
        after = (starts_at, duty_id)
    rows = queries.roster(session, units, after=after, limit=limit + 1)
    duties, following = cut(rows, limit, lambda duty: (duty.starts_at, duty.id))
    return Page(items=queries.shown(session, duties, lang), next_cursor=following)


@router.post("/duties", status_code=201, response_model=DutyOut, operation_id="enter_duty", summary="Xếp lịch trực")
def enter_duty(body: DutyIn, key: RequiredKey, staff: Staff, session: Db, lang: Language) -> Response:
    """Put somebody on duty, to be paged for urgent cases at any hour. Administrators; leads for their own units."""
    require(staff, *policy.MANAGERS)

    def act() -> Stored:
        duty = actions.enter(session, staff, body)
        return Stored(201, queries.shown(session, [duty], lang)[0].model_dump_json().encode())

    hashed = idempotency.request_hash("POST /v1/duties", body.model_dump_json().encode())
    return idempotency.once(session, staff.id, key, hashed, act).response()


@router.delete("/duties/{duty_id}", status_code=204, operation_id="take_back_duty", summary="Hủy lịch trực")
def take_back_duty(duty_id: UUID, staff: Staff, session: Db) -> None:
    """Take a duty back, at once if it has begun; audited."""
    require(staff, *policy.MANAGERS)
    actions.take_back(session, staff, duty_id)
