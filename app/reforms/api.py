"""Planned changes of units: administrators plan, preview and undo them; auditors read."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.core import idempotency
from app.core.db import Db
from app.core.http import Language
from app.core.paging import CursorText, Page, cut, decode_cursor
from app.core.paging import Limit as PageLimit
from app.identity.policy import Staff, require
from app.identity.rules import Role
from app.reforms import actions, queries
from app.reforms.queries import Shown
from app.reforms.schemas import ChangesOut, PlanIn, PreviewOut, Status, UnitChangeOut

router = APIRouter(prefix="/v1", tags=["unit-changes"])


@router.post(
    "/unit-changes",
    status_code=201,
    response_model=ChangesOut,
    operation_id="create_unit_changes",
    summary="Lập kế hoạch thay đổi đơn vị",
)
def create_unit_changes(
    body: PlanIn, key: idempotency.RequiredKey, viewer: Staff, session: Db, lang: Language
) -> Response:
    """Plan renamings, changes of kind, merges, splits and moves for one day: all are entered, or none.

    What speaks against them is listed in `errors`. Look at the preview of each, and cancel what is not meant.
    """
    require(viewer, Role.ADMINISTRATOR)
    hashed = idempotency.request_hash("POST /v1/unit-changes", body.model_dump_json().encode())

    def act() -> idempotency.Stored:
        rows = actions.plan(
            session,
            [each.change() for each in body.changes],
            effective=body.effective,
            decision=body.decision,
            note=body.note,
            actor_id=viewer.id,
            lang=lang,
        )
        shown = Shown(session, lang)
        answer = ChangesOut(items=[shown.change(row) for row in rows])
        return idempotency.Stored(201, answer.model_dump_json().encode())

    answer = idempotency.once(session, viewer.id, key, hashed, act)
    return answer.response()


@router.get("/unit-changes", operation_id="list_unit_changes", summary="Danh sách thay đổi đơn vị")
def list_unit_changes(
    viewer: Staff,
    session: Db,
    lang: Language,
    status: Annotated[Status | None, Query(description="Only changes of this status.")] = None,
    limit: PageLimit = 50,
    cursor: CursorText = None,
) -> Page[UnitChangeOut]:
    """List changes of units, the last planned first."""
    require(viewer, Role.ADMINISTRATOR, Role.AUDITOR)
    (after,) = decode_cursor(cursor, UUID) if cursor else (None,)
    rows = queries.listed(session, status=status, after=after, limit=limit + 1)
    page, following = cut(rows, limit, lambda row: (row.id,))
    shown = Shown(session, lang)
    return Page(items=[shown.change(row) for row in page], next_cursor=following)


@router.get("/unit-changes/{change_id}", operation_id="get_unit_change", summary="Xem thay đổi đơn vị")
def get_unit_change(change_id: UUID, viewer: Staff, session: Db, lang: Language) -> UnitChangeOut:
    """Read one change, with how many open cases are still at the units that end."""
    require(viewer, Role.ADMINISTRATOR, Role.AUDITOR)
    return Shown(session, lang).change(queries.one(session, change_id))


@router.get(
    "/unit-changes/{change_id}/preview",
    operation_id="preview_unit_change",
    summary="Xem trước kết quả thay đổi đơn vị",
)
def preview_unit_change(change_id: UUID, viewer: Staff, session: Db, lang: Language) -> PreviewOut:
    """Say what the change will do as things stand now: units, open cases, roles, rules and categories."""
    require(viewer, Role.ADMINISTRATOR)
    return Shown(session, lang).preview(queries.one(session, change_id))


@router.post("/unit-changes/{change_id}/cancel", operation_id="cancel_unit_change", summary="Hủy thay đổi đơn vị")
def cancel_unit_change(change_id: UUID, viewer: Staff, session: Db, lang: Language) -> UnitChangeOut:
    """Undo a planned change, before its day. Afterwards only another change leads back."""
    require(viewer, Role.ADMINISTRATOR)
    return Shown(session, lang).change(actions.cancel(session, change_id, viewer.id))
