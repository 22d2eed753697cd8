"""What changes who has a problem in common."""

from uuid import UUID

from sqlalchemy import ColumnElement, delete, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from app.cases import queries as cases
from app.cases.actions import act
from app.cases.models import Case, CaseSupport
from app.cases.policy import is_public
from app.cases.queries import Seen
from app.cases.rules import OPEN, State, Who
from app.core import clock
from app.core.db import Session
from app.core.errors import FORBIDDEN, NOT_FOUND
from app.duplicates import queries
from app.duplicates.schemas import MERGE_INTO_ITSELF, NOT_A_SURVIVOR, NOT_OPEN, OWN_REPORT
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


# --- merging -------------------------------------------------------------------------------------------------------
# One merge at a time: only then is it known which cases one touches before they are locked. All are, by id: whoever
# else holds a case waits for no second one, or takes them in the same order.

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('duplicates.merge'))")
_SURVIVOR = text("SELECT COALESCE(merged_into, id) FROM case_file WHERE id = :id")
_LOCK = text("SELECT id FROM case_file WHERE id = ANY(:ids) OR merged_into = ANY(:ids) ORDER BY id FOR UPDATE")


def lock_together(session: Session, case_id: UUID, named_id: UUID) -> UUID | None:
    """Lock a case, the survivor of the one named, and the duplicates of both; that survivor's id. None: unknown."""
    session.execute(_ONE_AT_A_TIME)
    survivor_id: UUID | None = session.execute(_SURVIVOR, {"id": named_id}).scalar_one_or_none()
    session.execute(_LOCK, {"ids": [each for each in (case_id, survivor_id) if each is not None]}).all()
    return survivor_id


def merge(session: Session, viewer: Viewer, seen: Seen, into_id: UUID | None, reason: str) -> None:
    """Make a case the duplicate of another one, both by `lock_together`: both are in this person's hands.

    The survivor is never a duplicate itself, so there are no chains and no circles. Who followed the case, with
    whatever was merged into it before, follows the survivor.
    """
    if into_id is None:
        raise NOT_FOUND.error(pointer="/into")
    into = cases.case_for_staff(session, viewer, into_id)
    if into.case.id == seen.case.id:
        raise MERGE_INTO_ITSELF.error(pointer="/into")
    if not into.capacities & _MERGERS:
        raise FORBIDDEN.error(pointer="/into")
    if into.case.state not in _SURVIVING:
        raise NOT_A_SURVIVOR.error(pointer="/into")
    act(session, viewer, seen, "merge", code=into.case.reference, note=reason, into_id=into.case.id)
    _follow(session, col(Case.merged_into) == seen.case.id, into.case.id)
    recount(session, seen.case)
    recount(session, into.case)


def unmerge(session: Session, viewer: Viewer, seen: Seen, reason: str) -> None:
    """Make a duplicate, by `lock_together`, a case of its own; what had been merged into it before comes along."""
    survivor_id = seen.case.merged_into
    act(session, viewer, seen, "unmerge", note=reason)
    survivor = session.get_one(Case, survivor_id)
    _follow(session, col(Case.id).in_(queries.came_along(session, survivor.id, seen.case.reference)), seen.case.id)
    recount(session, survivor)
    recount(session, seen.case)


_MERGERS = frozenset({Who.DISPATCHER, Who.LEAD})
_SURVIVING = (*OPEN, State.RESOLVED)


def _follow(session: Session, duplicates: ColumnElement[bool], survivor_id: UUID) -> None:
    session.flush()
    session.execute(update(Case).where(duplicates).values(merged_into=survivor_id))


def recount(session: Session, case: Case) -> None:
    """Put on a locked case how many people follow it beside its reporter."""
    session.flush()
    case.supporters = len(cases.followers(session, case.id))
