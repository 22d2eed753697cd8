"""Every endpoint that shows or changes where a report stands: citizens under /reports, staff under /cases."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.cases import actions, policy, queries
from app.cases.queries import BBox, Queue, Seen, Views
from app.cases.rules import State
from app.cases.schemas import (
    BAD_BBOX,
    VERSION_MISSING,
    AssignIn,
    CaseOut,
    CaseRow,
    DepartureOut,
    InformationIn,
    MessageIn,
    PublishIn,
    PurposeIn,
    RatingIn,
    ReasonIn,
    RejectIn,
    ReportOut,
    ResolveIn,
    TakeBackIn,
    TransferIn,
    UrgencyIn,
    WithdrawIn,
)
from app.core import clock, idempotency, limits
from app.core.db import Db, Session
from app.core.errors import FORBIDDEN, NOT_FOUND
from app.core.etag import etag, not_modified
from app.core.http import Lang, Language
from app.core.idempotency import RequiredKey, Stored
from app.core.ids import parse_reference
from app.core.limits import Limit as Quota
from app.core.paging import CursorText, Limit, Page
from app.identity.actions import read_identity
from app.identity.policy import Citizen, CurrentViewer, Staff, Viewer, check_active
from app.identity.schemas import PersonOut
from app.orgunits.queries import directory
from app.reports.schemas import PublicReportOut, Text

router = APIRouter(prefix="/v1")
_DEPARTURES_TOLD = timedelta(days=30)

# Each of these appends to a history for ever and keeps its answer for a month: nobody needs more.
ACTIONS_PER_DAY = Quota("report-actions", quota=100, window_s=86_400)
ACTIONS_PER_REPORT = Quota("report-actions-each", quota=20, window_s=86_400)

# --- citizens -------------------------------------------------------------------------------------------------------


@router.get("/reports", operation_id="list_public_reports", summary="Phản ánh đã công khai", tags=["reports"])
def list_public_reports(
    session: Db,
    lang: Language,
    bbox: Annotated[str | None, Query(description="west,south,east,north", max_length=100)] = None,
    category: Annotated[Text | None, Query(max_length=60)] = None,
    status: Annotated[list[State] | None, Query()] = None,
    since: AwareDatetime | None = None,
    cursor: CursorText = None,
    limit: Limit = 50,
) -> Page[PublicReportOut]:
    """Published reports, newest publication first. Private and hidden reports never appear."""
    rows, following = queries.public_reports(
        session,
        bbox=_bbox(bbox),
        category=category,
        states=status or (),
        since=since,
        cursor=cursor,
        limit=limit,
    )
    return Page(items=Views(session, lang).public(rows), next_cursor=following)


@router.get(
    "/reports/by-reference/{reference}",
    operation_id="get_report_by_reference",
    summary="Tra cứu theo mã",
    tags=["reports"],
)
def get_report_by_reference(reference: str, viewer: CurrentViewer, session: Db, lang: Language) -> ReportOut:
    """A report by its short reference, as typed or dictated: one's own, or a public one."""
    return _report(session, viewer, queries.report_by_reference(session, viewer, canonical(reference)), lang)


def canonical(reference: str) -> str:
    """A reference in its one form, as typed or dictated; what is none is 404."""
    found = parse_reference(reference)
    if found is None:
        raise NOT_FOUND.error()
    return found


@router.get(
    "/reports/{report_id}",
    response_model=ReportOut,
    operation_id="get_report",
    summary="Xem phản ánh",
    tags=["reports"],
)
def get_report(
    report_id: UUID, request: Request, viewer: CurrentViewer, session: Db, lang: Language, response: Response
) -> Any:
    """One's own report with everything on it, or a public one as published; anything else is 404."""
    seen = queries.report_for_reader(session, viewer, report_id)
    return _conditional(request, response, _report(session, viewer, seen, lang))


@router.get("/me/reports", operation_id="list_my_reports", summary="Phản ánh của tôi", tags=["reports"])
def list_my_reports(
    citizen: Citizen, session: Db, lang: Language, cursor: CursorText = None, limit: Limit = 20
) -> Page[ReportOut]:
    """The caller's own reports, newest first."""
    rows, following = queries.my_reports(session, citizen.id, cursor=cursor, limit=limit)
    return Page(items=Views(session, lang).reports(rows, mine=True), next_cursor=following)


@dataclass(frozen=True, slots=True)
class OwnReport:
    """A citizen about to act on an own report: done at most once per Idempotency-Key, answered with the report."""

    request: Request
    report_id: UUID
    citizen: Citizen
    key: RequiredKey
    session: Db
    lang: Language

    def once(self, body: BaseModel | None, act: Callable[[Seen], object]) -> Response:
        """Do `act` on the locked case, unless this key did it before; the answer is the report as it then stands."""

        def perform() -> Stored:
            seen = queries.report_for_reader(self.session, self.citizen, self.report_id, lock=True)
            if not seen.capacities:
                raise FORBIDDEN.error()
            act(seen)
            self.session.flush()
            shown = Views(self.session, self.lang).report(seen, mine=_is_mine(self.citizen, seen))
            return Stored(200, shown.model_dump_json().encode())

        limits.spend(ACTIONS_PER_REPORT, f"{self.citizen.id}:{self.report_id}")
        limits.spend(ACTIONS_PER_DAY, str(self.citizen.id))
        check_active(self.session, self.citizen)
        payload = body.model_dump_json().encode() if body else b""
        hashed = idempotency.request_hash(f"POST {self.request.url.path}", payload)
        return idempotency.once(self.session, self.citizen.id, self.key, hashed, perform).response()

    def move(self, verb: str, body: BaseModel | None = None, note: str | None = None) -> Response:
        """A move that needs nothing but a verb and perhaps words."""
        return self.once(body, lambda seen: actions.act(self.session, self.citizen, seen, verb, note=note or None))


Own = Annotated[OwnReport, Depends()]


@router.post(
    "/reports/{report_id}/withdraw",
    response_model=ReportOut,
    operation_id="withdraw_report",
    summary="Rút phản ánh",
    tags=["reports"],
)
def withdraw_report(own: Own, body: WithdrawIn) -> Response:
    """Take an own report back, as long as nobody has accepted it."""
    return own.move("withdraw", body, body.reason)


@router.post(
    "/reports/{report_id}/information",
    response_model=ReportOut,
    operation_id="add_information",
    summary="Bổ sung thông tin",
    tags=["reports"],
)
def add_information(own: Own, body: InformationIn) -> Response:
    """Add words or photos to an own report."""
    return own.once(body, lambda seen: actions.add_information(own.session, own.citizen, seen, body))


@router.post(
    "/reports/{report_id}/confirm",
    response_model=ReportOut,
    operation_id="confirm_report",
    summary="Xác nhận đã xử lý",
    tags=["reports"],
)
def confirm_report(own: Own) -> Response:
    """Confirm that the problem is solved; the case is closed."""
    return own.move("confirm")


@router.post(
    "/reports/{report_id}/rate",
    response_model=ReportOut,
    operation_id="rate_report",
    summary="Đánh giá",
    tags=["reports"],
)
def rate_report(own: Own, body: RatingIn) -> Response:
    """Rate the result: hài lòng, chấp nhận được, không hài lòng."""
    return own.once(body, lambda seen: actions.rate(own.session, own.citizen, seen, body))


@router.post(
    "/reports/{report_id}/reopen",
    response_model=ReportOut,
    operation_id="reopen_report",
    summary="Yêu cầu xử lý lại",
    tags=["reports"],
)
def reopen_report(own: Own, body: ReasonIn) -> Response:
    """Say that the problem is not solved; a new cycle with its own deadline begins."""
    return own.move("reopen", body, body.reason)


# --- staff ----------------------------------------------------------------------------------------------------------


@router.get("/cases", operation_id="list_cases", summary="Danh sách hồ sơ", tags=["cases"])
def list_cases(
    staff: Staff,
    session: Db,
    lang: Language,
    queue: Queue = "worklist",
    unit: Annotated[str | None, Query(max_length=60)] = None,
    category: Annotated[Text | None, Query(max_length=60)] = None,
    assignee: Annotated[UUID | Literal["me", "none"] | None, Query(description="Who works on them.")] = None,
    helping: Annotated[bool, Query(description="Those that other units hold and the caller's help with.")] = False,
    cursor: CursorText = None,
    limit: Limit = 50,
) -> Page[CaseRow]:
    """Cases the caller may see in one queue: urgent first, then by who must act soonest."""
    unit_ids = directory(session).descendants(queries.unit_in_force(session, unit)) if unit else None
    rows, following = queries.queue_page(
        session,
        staff,
        queue,
        unit_ids=unit_ids,
        category=category,
        assignee=staff.id if assignee == "me" else assignee,
        helping=helping,
        cursor=cursor,
        limit=limit,
    )
    return Page(items=Views(session, lang).rows(rows), next_cursor=following)


@router.get("/cases/departures", operation_id="list_departures", summary="Hồ sơ đã rời đơn vị", tags=["cases"])
def list_departures(
    staff: Staff, session: Db, lang: Language, cursor: CursorText = None, limit: Limit = 50
) -> Page[DepartureOut]:
    """Cases that left the caller's units in the last 30 days, and why: by their references, the latest first."""
    since = clock.now() - _DEPARTURES_TOLD
    rows, following = queries.departures(session, staff, since=since, cursor=cursor, limit=limit)
    views = Views(session, lang)
    return Page(items=[views.departure(*row) for row in rows], next_cursor=following)


@router.get(
    "/cases/by-reference/{reference}",
    response_model=CaseOut,
    operation_id="get_case_by_reference",
    summary="Tra cứu hồ sơ theo mã",
    tags=["cases"],
)
def get_case_by_reference(
    reference: str, request: Request, staff: Staff, session: Db, lang: Language, response: Response
) -> Any:
    """A case by its short reference, as typed or dictated: what an officer is told on the telephone."""
    seen = queries.case_by_reference(session, staff, canonical(reference))
    return _conditional(request, response, Views(session, lang).case(seen))


@router.get("/cases/{case_id}", response_model=CaseOut, operation_id="get_case", summary="Xem hồ sơ", tags=["cases"])
def get_case(case_id: UUID, request: Request, staff: Staff, session: Db, lang: Language, response: Response) -> Any:
    """A case with its report, photos, clocks, hops, history and the actions allowed to the caller."""
    seen = queries.case_for_staff(session, staff, case_id)
    return _conditional(request, response, Views(session, lang).case(seen))


IfMatch = Annotated[str | None, Header(description="ETag of the case as the caller saw it.")]


class HeldCase:
    """A case locked for a move: visible to the caller, and in the version the caller saw."""

    def __init__(
        self,
        case_id: UUID,
        staff: Staff,
        session: Db,
        lang: Language,
        response: Response,
        if_match: IfMatch = None,
    ) -> None:
        self.session, self.staff, self.lang, self._response = session, staff, lang, response
        self.seen = queries.case_to_move(session, staff, case_id)
        if if_match is None:
            raise VERSION_MISSING.error()
        queries.refuse_stale(session, self.seen, _version_of(if_match))

    def move(self, verb: str, *, note: str | None = None) -> CaseOut:
        """A move that the workflow table describes completely."""
        actions.act(self.session, self.staff, self.seen, verb, note=note or None)
        return self.shown()

    def shown(self) -> CaseOut:
        """The case as it now stands, with its new ETag."""
        self.session.flush()
        units = directory(self.session)
        case, report = self.seen.case, self.seen.report
        self.seen = Seen(case, report, policy.capacities(self.staff, case, report, units))
        shown = Views(self.session, self.lang).case(self.seen)
        self._response.headers["ETag"] = _tag(shown)
        return shown


Held = Annotated[HeldCase, Depends()]


@router.post("/cases/{case_id}/verify", operation_id="verify_case", summary="Xác minh", tags=["cases"])
def verify_case(held: Held) -> CaseOut:
    """Confirm that the report is real and ours; the machine routes it within seconds."""
    return held.move("verify")


@router.post("/cases/{case_id}/assign", operation_id="assign_case", summary="Phân công đơn vị", tags=["cases"])
def assign_case(held: Held, body: AssignIn) -> CaseOut:
    """Give a case that the rules could not place to a unit, and confirm the commune it lies in."""
    actions.assign(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/accept", operation_id="accept_case", summary="Tiếp nhận", tags=["cases"])
def accept_case(held: Held) -> CaseOut:
    """Take the case on for the unit."""
    return held.move("accept")


@router.post("/cases/{case_id}/return", operation_id="return_case", summary="Trả lại", tags=["cases"])
def return_case(held: Held, body: ReasonIn) -> CaseOut:
    """Say that the case is not the unit's; a dispatcher chooses another. Counts as a misroute."""
    return held.move("return", note=body.reason)


@router.post("/cases/{case_id}/transfer", operation_id="transfer_case", summary="Chuyển đơn vị", tags=["cases"])
def transfer_case(held: Held, body: TransferIn) -> CaseOut:
    """Hand the case to another unit; the resolve deadline runs on."""
    actions.transfer(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/hand-down", operation_id="hand_down_case", summary="Giao xuống", tags=["cases"])
def hand_down_case(held: Held, body: TransferIn) -> CaseOut:
    """Give the case to a unit below the one that holds it; the resolve deadline runs on."""
    actions.hand_down(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/take-back", operation_id="take_back_case", summary="Rút lên", tags=["cases"])
def take_back_case(held: Held, body: TakeBackIn) -> CaseOut:
    """Let the unit above have the case back; the resolve deadline runs on."""
    actions.take_back(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/start", operation_id="start_case", summary="Bắt đầu xử lý", tags=["cases"])
def start_case(held: Held) -> CaseOut:
    """Begin the work."""
    return held.move("start")


@router.post("/cases/{case_id}/message", operation_id="message_citizen", summary="Nhắn người phản ánh", tags=["cases"])
def message_citizen(held: Held, body: MessageIn) -> CaseOut:
    """Write to the citizen; the first message stops the first-response clock."""
    return held.move("message", note=body.text)


@router.post("/cases/{case_id}/resolve", operation_id="resolve_case", summary="Báo kết quả", tags=["cases"])
def resolve_case(held: Held, body: ResolveIn) -> CaseOut:
    """Report the result with a note and photos of afterwards."""
    actions.resolve(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/reject", operation_id="reject_case", summary="Từ chối", tags=["cases"])
def reject_case(held: Held, body: RejectIn) -> CaseOut:
    """Refuse the report with a code; the citizen is told where to turn."""
    actions.reject(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/urgency", operation_id="set_case_urgency", summary="Đổi mức độ khẩn", tags=["cases"])
def set_case_urgency(held: Held, body: UrgencyIn) -> CaseOut:
    """Make a case urgent, or normal again; its running deadlines are measured anew from their starts."""
    actions.set_urgency(held.session, held.staff, held.seen, body.urgency, body.reason)
    return held.shown()


@router.post("/cases/{case_id}/reopen", operation_id="reopen_case", summary="Mở lại", tags=["cases"])
def reopen_case(held: Held, body: ReasonIn) -> CaseOut:
    """Open a finished case again; a new cycle begins."""
    return held.move("reopen", note=body.reason)


@router.post("/cases/{case_id}/publish", operation_id="publish_case", summary="Công khai", tags=["cases"])
def publish_case(held: Held, body: PublishIn) -> CaseOut:
    """Show the report to the public, with redacted text and chosen photos."""
    actions.publish(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post("/cases/{case_id}/hide", operation_id="hide_case", summary="Ẩn", tags=["cases"])
def hide_case(held: Held, body: ReasonIn) -> CaseOut:
    """Take a published report out of every public view."""
    actions.hide(held.session, held.staff, held.seen, body.reason)
    return held.shown()


@router.post("/cases/{case_id}/unhide", operation_id="unhide_case", summary="Hiện lại", tags=["cases"])
def unhide_case(held: Held, body: ReasonIn) -> CaseOut:
    """Show a hidden report again."""
    actions.unhide(held.session, held.staff, held.seen, body.reason)
    return held.shown()


@router.post("/cases/{case_id}/identity", operation_id="read_citizen_identity", summary="Xem danh tính", tags=["cases"])
def read_citizen_identity(case_id: UUID, body: PurposeIn, staff: Staff, session: Db) -> PersonOut:
    """Who reported: for dispatchers, or for the officer in charge where the citizen allowed a call. Logged."""
    seen = queries.case_for_staff(session, staff, case_id)
    return read_identity(
        session,
        staff,
        seen.report.account_id,
        purpose=body.purpose,
        case_id=seen.case.id,
        allowed=policy.may_call(seen.case, seen.report, seen.capacities),
    )


# --- shared ---------------------------------------------------------------------------------------------------------


def _is_mine(viewer: Viewer, seen: Seen) -> bool:
    return viewer.account_id == seen.report.account_id


def _report(session: Session, viewer: Viewer, seen: Seen, lang: Lang) -> ReportOut:
    return Views(session, lang).report(seen, mine=_is_mine(viewer, seen))


def _tag(shown: CaseOut | ReportOut) -> str:
    """Version first, so that If-Match compares it; then all that is shown, which also changes without an event."""
    return f'"{shown.version}-{etag(shown.model_dump_json()).strip(chr(34))[:12]}"'


def _conditional(request: Request, response: Response, shown: CaseOut | ReportOut) -> Any:
    tag = _tag(shown)
    if unchanged := not_modified(request, tag):
        return unchanged
    response.headers["ETag"] = tag
    return shown


def _version_of(if_match: str) -> int | None:
    found = re.match(r'(?:W/)?"(\d{1,9})(?:-[0-9a-f]+)?"$', if_match.strip())
    return int(found.group(1)) if found else None


def _bbox(text: str | None) -> BBox | None:
    if text is None:
        return None
    try:
        box = BBox(*(float(part) for part in text.split(",")))
    except (ValueError, TypeError) as error:
        raise BAD_BBOX.error(pointer="/query/bbox") from error
    if not box.is_sound:
        raise BAD_BBOX.error(pointer="/query/bbox")
    return box
