"""Finding cases: newest first, by keyset, each through the policy of cases."""

from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, bindparam, true
from sqlmodel import col, select

from app.cases import policy
from app.cases.models import Case
from app.core.db import Session
from app.core.ids import parse_reference
from app.core.paging import cut, decode_cursor
from app.identity.policy import Viewer
from app.orgunits.queries import directory
from app.reports.models import PublicCopy, Report, ReportContent
from app.search.models import CaseSearch
from app.search.rules import patterns
from app.search.schemas import NOTHING_TO_SEARCH

Rows = tuple[list[tuple[Case, str]], str | None]
PublicRows = tuple[list[tuple[Case, PublicCopy]], str | None]


def staff_page(session: Session, viewer: Viewer, asked: str, *, cursor: str | None, limit: int) -> Rows:
    """Cases of this person's scope that hold every word asked for, with the reported text; or that of a reference."""
    seen = (
        select(Case, ReportContent.description)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .where(policy.visible_to(viewer, directory(session)))
    )
    if (named := parse_reference(asked)) and (rows := session.exec(seen.where(Case.reference == named)).all()):
        return list(rows), None
    found = seen.join(CaseSearch, col(CaseSearch.case_id) == Case.id).where(_holds(CaseSearch.staff_words, asked))
    found = found.where(_before(cursor)).order_by(col(CaseSearch.case_id).desc()).limit(limit + 1)
    return cut(session.exec(found).all(), limit, lambda row: (row[0].id,))


def public_page(session: Session, asked: str, *, cursor: str | None, limit: int) -> PublicRows:
    """Published reports whose public copy holds every word asked for; or the one of a reference."""
    seen = (
        select(Case, PublicCopy)
        .join(Report, col(Report.id) == Case.report_id)
        .join(PublicCopy, col(PublicCopy.report_id) == Case.report_id)
        .where(policy.public_only())
    )
    if (named := parse_reference(asked)) and (rows := session.exec(seen.where(Case.reference == named)).all()):
        return list(rows), None
    found = seen.join(CaseSearch, col(CaseSearch.case_id) == Case.id).where(_holds(CaseSearch.public_words, asked))
    found = found.where(_before(cursor)).order_by(col(CaseSearch.case_id).desc()).limit(limit + 1)
    return cut(session.exec(found).all(), limit, lambda row: (row[0].id,))


def page_of_account(session: Session, viewer: Viewer, account_id: UUID, *, cursor: str | None, limit: int) -> Rows:
    """Cases of this person's scope that one account reported, with the reported text."""
    found = (
        select(Case, ReportContent.description)
        .join(Report, col(Report.id) == Case.report_id)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .where(Report.account_id == account_id, policy.visible_to(viewer, directory(session)))
        .order_by(col(Case.id).desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        found = found.where(col(Case.id) < decode_cursor(cursor, UUID)[0])
    return cut(session.exec(found).all(), limit, lambda row: (row[0].id,))


def _holds(document: str | None, asked: str) -> ColumnElement[bool]:
    """The condition on a column of words. Refuses what names no word."""
    wanted = patterns(asked)
    if not wanted:
        raise NOTHING_TO_SEARCH.error(pointer="/query/q")
    # In the statement's text: how many cases hold a word decides on the way to them, and a parameter would hide it.
    return and_(*(col(document).like(bindparam(None, each, Text, literal_execute=True)) for each in wanted))


def _before(cursor: str | None) -> ColumnElement[bool]:
    """Cases older than the last of the page before: their ids grow with time."""
    return col(CaseSearch.case_id) < decode_cursor(cursor, UUID)[0] if cursor is not None else true()
