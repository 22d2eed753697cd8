"""`POST /v1/reports`: the door every report comes in by."""

from contextvars import copy_context
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from app.core.db import transaction
from app.core.http import Lang, Language
from app.core.idempotency import RequiredKey, Stored
from app.core.together import Together
from app.identity.policy import Citizen, Viewer
from app.intake import actions
from app.intake.schemas import Receipt
from app.reports.schemas import ReportIn

router = APIRouter(prefix="/v1")


@router.post(
    "/reports",
    status_code=201,
    response_model=Receipt,
    operation_id="submit_report",
    summary="Gửi phản ánh",
    tags=["reports"],
)
async def submit_report(body: ReportIn, citizen: Citizen, key: RequiredKey, lang: Language) -> Response:
    """Submit a report. Sending the same Idempotency-Key, or the same report id, again returns the same report."""
    if body.media_ids:
        answer = await run_in_threadpool(_submit_with_photos, body, citizen, key, lang)
    else:
        answer = await _intake.join(actions.Asked(citizen, body, key, lang, copy_context()))
    return answer.response()


_intake = Together(actions.submit_together, "intake")


def _submit_with_photos(body: ReportIn, citizen: Viewer, key: UUID, lang: Lang) -> Stored:
    with transaction() as session:
        return actions.submit(session, citizen, body, key, lang)
