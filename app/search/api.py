"""Search over HTTP: the public's over what is published, the staff's over what they may open."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.cases.queries import Views
from app.cases.schemas import CaseRow
from app.core import limits
from app.core.db import Db
from app.core.http import Language
from app.core.limits import Limit as Quota
from app.core.paging import CursorText, Limit, Page
from app.identity.actions import account_behind
from app.identity.policy import Staff
from app.reports.schemas import PublicReportOut, Text
from app.search import queries
from app.search.rules import ASKED_MAX
from app.search.schemas import PhoneIn

router = APIRouter(prefix="/v1")
PHONES_PER_HOUR = Quota("phone-lookups", quota=60, window_s=3600)

Asked = Annotated[
    Text,
    Query(
        alias="q",
        min_length=1,
        max_length=ASKED_MAX,
        description='A reference, or words, with or without diacritics; "in quotation marks" they stand together.',
        examples=["nap ho ga", "7KQ4-M2XT"],
    ),
]


@router.get("/reports/search", operation_id="search_reports", summary="Tìm phản ánh đã công khai", tags=["reports"])
def search_reports(
    session: Db, lang: Language, asked: Asked, cursor: CursorText = None, limit: Limit = 20
) -> Page[PublicReportOut]:
    """Published reports that hold every word asked for, newest first. Private and hidden reports never appear."""
    rows, following = queries.public_page(session, asked, cursor=cursor, limit=limit)
    return Page(items=Views(session, lang).public(rows), next_cursor=following)


@router.get("/cases/search", operation_id="search_cases", summary="Tìm hồ sơ", tags=["cases"])
def search_cases(
    staff: Staff, session: Db, lang: Language, asked: Asked, cursor: CursorText = None, limit: Limit = 20
) -> Page[CaseRow]:
    """Cases the caller may open that hold every word asked for, newest first.

    Searched are the report, its place and address, what was written since, and the names of category, commune and
    unit. What was written in the last seconds may not be found yet.
    """
    rows, following = queries.staff_page(session, staff, asked, cursor=cursor, limit=limit)
    views = Views(session, lang)
    return Page(items=views.rows(rows), next_cursor=following)


@router.post(
    "/cases/by-phone", operation_id="find_cases_by_phone", summary="Tìm hồ sơ theo số điện thoại", tags=["cases"]
)
def find_cases_by_phone(
    body: PhoneIn, staff: Staff, session: Db, lang: Language, cursor: CursorText = None, limit: Limit = 20
) -> Page[CaseRow]:
    """What somebody reported who calls the operations centre. For dispatchers; each look is logged with its purpose."""
    limits.spend(PHONES_PER_HOUR, str(staff.id))
    account_id = account_behind(session, staff, body.phone, body.purpose)
    if account_id is None:
        return Page(items=[])
    rows, following = queries.page_of_account(session, staff, account_id, cursor=cursor, limit=limit)
    views = Views(session, lang)
    return Page(items=views.rows(rows), next_cursor=following)
