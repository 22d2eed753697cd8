"""What changes who has a problem in common."""

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from app.cases import queries as cases
from app.cases.models import Case, CaseSupport
from app.cases.policy import is_public
from app.cases.queries import Seen
from app.cases.rules import OPEN
from app.core import clock
from app.core.db import Session
from app.core.errors import NOT_FOUND
from app.duplicates.schemas import NOT_OPEN, OWN_REPORT
from app.identity.policy import Viewer


def support(session: Session, citizen: Viewer, seen: Seen) -> None:
    """Note that somebody else has the same problem (tôi cũng gặp); once is enough. The case is locked.

    Refuses the reporter, and a case that has ended: what is still there then is a new report.
    """
    if seen.report.account_id == citizen.account_id:
        raise OWN_REPORT.error()
    if not is_public(seen.case, seen.report):
        raise NOT_FOUND.error()
    if seen.case.state not in OPEN:
        raise NOT_OPEN.error()
    row = {"case_id": seen.case.id, "account_id": citizen.id, "created_at": clock.now()}
    session.execute(insert(CaseSupport).values(row).on_conflict_do_nothing())
    recount(session, seen.case)


def take_support_back(session: Session, citizen: Viewer, seen: Seen) -> None:
    """Support a case no longer; nothing where one did not. The case is locked."""
    mine = (col(CaseSupport.case_id) == seen.case.id, col(CaseSupport.account_id) == citizen.id)
    session.execute(delete(CaseSupport).where(*mine))
    recount(session, seen.case)


def recount(session: Session, case: Case) -> None:
    """Put on a locked case how many people follow it beside its reporter."""
    session.flush()
    case.supporters = len(cases.followers(session, case.id))
