"""Endpoints for working together on cases."""

from fastapi import APIRouter

from app.cases.api import Held
from app.cases.queries import unit_in_force
from app.cases.schemas import CaseOut
from app.core.db import Db
from app.core.errors import FORBIDDEN
from app.core.http import Language
from app.identity.policy import Staff
from app.orgunits.queries import directory
from app.teams import actions, queries
from app.teams.schemas import AssignPersonIn, BulkIn, BulkOut, CooperationIn, NoteIn, StaffMemberOut

router = APIRouter(prefix="/v1")


@router.post("/cases/bulk", operation_id="move_cases", summary="Xử lý nhiều hồ sơ", tags=["cases"])
def move_cases(staff: Staff, session: Db, lang: Language, body: BulkIn) -> BulkOut:
    """Do one verb on up to 50 cases, each in the version the caller saw; each is done or refused by itself.

    The answer is 200 with a result for each case, in the order asked: its new version, or the problem. Sent again,
    what was done is refused as stale.
    """
    return BulkOut(results=actions.bulk(session, staff, body, lang))


@router.post("/cases/{case_id}/person", operation_id="assign_person", summary="Phân công cán bộ", tags=["cases"])
def assign_person(held: Held, body: AssignPersonIn) -> CaseOut:
    """Give the case to somebody of the unit; an officer takes what nobody has, or gives back what is the own."""
    actions.assign_person(held.session, held.staff, held.seen, body.assignee)
    return held.shown()


@router.post("/cases/{case_id}/involve", operation_id="involve_unit", summary="Mời phối hợp", tags=["cases"])
def involve_unit(held: Held, body: CooperationIn) -> CaseOut:
    """Ask a unit to help: it reads the case, without identity, and adds notes; the clocks stay with the holder."""
    actions.involve(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/release", operation_id="release_unit", summary="Thôi phối hợp", tags=["cases"])
def release_unit(held: Held, body: CooperationIn) -> CaseOut:
    """Let a unit help no longer; it loses sight of the case at once."""
    actions.release(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/note", operation_id="note_case", summary="Ghi chú nội bộ", tags=["cases"])
def note_case(held: Held, body: NoteIn) -> CaseOut:
    """Write for colleagues, with photos where they help; neither the citizen nor the public ever sees it."""
    actions.note(held.session, held.staff, held.seen, body)
    return held.shown()


@router.get("/units/{code}/staff", operation_id="list_unit_staff", summary="Cán bộ của đơn vị", tags=["cases"])
def list_unit_staff(code: str, staff: Staff, session: Db) -> list[StaffMemberOut]:
    """Who can be given the unit's cases now: name and role. For those who work there, and for the province."""
    unit_id = unit_in_force(session, code)
    units = staff.units(queries.WORKERS, directory(session))
    if unit_id not in (units or ()) and not staff.has("dispatcher", "administrator"):
        raise FORBIDDEN.error()
    return queries.staff_of(session, unit_id)
