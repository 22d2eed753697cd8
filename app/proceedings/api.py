"""Endpoints for what goes on about one case: questions, approvals, extensions, directives, appeals."""

from fastapi import APIRouter, Response

from app.cases import actions as cases
from app.cases.api import Held, Own
from app.cases.schemas import CaseOut, InformationIn, ReasonIn, RejectIn, ReportOut, ResolveIn
from app.proceedings import actions
from app.proceedings.schemas import DirectiveIn, ExtensionIn, GrantIn, QuestionIn, RedactIn, ReportBackIn

router = APIRouter(prefix="/v1")

# --- citizens -------------------------------------------------------------------------------------------------------


@router.post(
    "/reports/{report_id}/answer",
    response_model=ReportOut,
    operation_id="answer_question",
    summary="Trả lời yêu cầu bổ sung",
    tags=["reports"],
)
def answer_question(own: Own, body: InformationIn) -> Response:
    """Answer what the unit asked, in words or photos; it goes on with its work."""
    return own.once(body, lambda seen: actions.answer(own.session, own.citizen, seen, body))


@router.post(
    "/reports/{report_id}/appeal",
    response_model=ReportOut,
    operation_id="appeal_report",
    summary="Kiến nghị xem xét lại việc từ chối",
    tags=["reports"],
)
def appeal_report(own: Own, body: ReasonIn) -> Response:
    """Object to a refusal, once and within the days the province gives; it is verified again."""
    return own.move("appeal", body, body.reason)


# --- units ----------------------------------------------------------------------------------------------------------


@router.post("/cases/{case_id}/ask", operation_id="ask_citizen", summary="Yêu cầu bổ sung", tags=["cases"])
def ask_citizen(held: Held, body: QuestionIn) -> CaseOut:
    """Ask the citizen; the time for resolving pauses until the answer, and no longer than the province allows."""
    return held.move("ask", note=body.question)


@router.post("/cases/{case_id}/propose", operation_id="propose_result", summary="Trình kết quả", tags=["cases"])
def propose_result(held: Held, body: ResolveIn) -> CaseOut:
    """Report the result where the category wants a lead's approval; the citizen sees it once it is approved."""
    cases.resolve(held.session, held.staff, held.seen, body, "propose")
    return held.shown()


@router.post("/cases/{case_id}/extension", operation_id="request_extension", summary="Xin gia hạn", tags=["cases"])
def request_extension(held: Held, body: ExtensionIn) -> CaseOut:
    """Ask the lead for working days more, with the reason."""
    actions.request_extension(held.session, held.staff, held.seen, body)
    return held.shown()


# --- leads ----------------------------------------------------------------------------------------------------------


@router.post("/cases/{case_id}/approve", operation_id="approve_result", summary="Duyệt kết quả", tags=["cases"])
def approve_result(held: Held) -> CaseOut:
    """Approve the proposed result; the time for resolving stopped when it was proposed."""
    actions.approve(held.session, held.staff, held.seen)
    return held.shown()


@router.post("/cases/{case_id}/send-back", operation_id="send_back_result", summary="Trả kết quả", tags=["cases"])
def send_back_result(held: Held, body: ReasonIn) -> CaseOut:
    """Send the proposed result back with the reason; the work goes on, and so does its deadline."""
    return held.move("send_back", note=body.reason)


@router.post("/cases/{case_id}/extension/grant", operation_id="grant_extension", summary="Cho gia hạn", tags=["cases"])
def grant_extension(held: Held, body: GrantIn) -> CaseOut:
    """Give the working days asked for, or fewer; the citizen is told the new date and reads the reason."""
    actions.grant(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post(
    "/cases/{case_id}/extension/deny", operation_id="deny_extension", summary="Không cho gia hạn", tags=["cases"]
)
def deny_extension(held: Held, body: ReasonIn) -> CaseOut:
    """Refuse more time, with the reason."""
    return held.move("deny", note=body.reason)


@router.post("/cases/{case_id}/rejection", operation_id="propose_rejection", summary="Đề nghị từ chối", tags=["cases"])
def propose_rejection(held: Held, body: RejectIn) -> CaseOut:
    """Propose a refusal with its code; a dispatcher rejects, or declines the proposal."""
    actions.propose_reject(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post(
    "/cases/{case_id}/rejection/decline",
    operation_id="decline_rejection",
    summary="Không chấp nhận đề nghị từ chối",
    tags=["cases"],
)
def decline_rejection(held: Held, body: ReasonIn) -> CaseOut:
    """Leave the case with its unit, which had proposed to refuse it."""
    return held.move("decline_reject", note=body.reason)


# --- leaders --------------------------------------------------------------------------------------------------------


@router.post("/cases/{case_id}/directive", operation_id="issue_directive", summary="Chỉ đạo", tags=["cases"])
def issue_directive(held: Held, body: DirectiveIn) -> CaseOut:
    """Issue a directive with a deadline of its own; the case goes on where it stands."""
    actions.direct(held.session, held.staff, held.seen, body)
    return held.shown()


@router.post(
    "/cases/{case_id}/directive/report", operation_id="report_on_directive", summary="Báo cáo chỉ đạo", tags=["cases"]
)
def report_on_directive(held: Held, body: ReportBackIn) -> CaseOut:
    """Tell the leader what was done; the directive's clock stops."""
    return held.move("report_back", note=body.text)


@router.post("/cases/{case_id}/directive/lift", operation_id="lift_directive", summary="Thôi chỉ đạo", tags=["cases"])
def lift_directive(held: Held, body: ReasonIn) -> CaseOut:
    """Take a directive back."""
    return held.move("lift", note=body.reason)


# --- dispatchers ----------------------------------------------------------------------------------------------------


@router.post("/cases/{case_id}/redact", operation_id="redact_case", summary="Sửa nội dung công khai", tags=["cases"])
def redact_case(held: Held, body: RedactIn) -> CaseOut:
    """Change what the public reads of a published report; what the citizen sent stands as received."""
    actions.redact(held.session, held.staff, held.seen, body)
    return held.shown()
