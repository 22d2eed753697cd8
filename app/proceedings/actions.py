"""What goes on about one case between citizen, unit, lead and leader: asked, approved, extended, directed, planned."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement
from sqlmodel import col, select

from app.cases.actions import SYSTEM, act, add_information, advance, check_allowed
from app.cases.models import Case, CaseDocument, CaseEvent, CasePhoto, CaseText
from app.cases.queries import Seen
from app.cases.rules import DONE, Document, State
from app.cases.schemas import UNKNOWN_REJECT_CODE, InformationIn, RejectIn
from app.catalog.queries import catalogue
from app.core import clock
from app.core.db import Session, transaction
from app.identity.policy import Viewer
from app.proceedings.schemas import (
    DIRECTIVE_NOT_AHEAD,
    EXTENSION_CAPPED,
    DirectiveIn,
    ExtensionIn,
    GrantIn,
    RedactIn,
)
from app.reports.models import PublicCopy, Report, ReportMedia

BATCH = 100
DIRECTED_FOR_AT_MOST = timedelta(days=365)
log = structlog.get_logger("proceedings")


def answer(session: Session, viewer: Viewer, seen: Seen, body: InformationIn) -> None:
    """Answer what the unit asked; it goes on where it stood, with the time it waited put back on its deadline."""
    add_information(session, viewer, seen, body, "answer")


# --- a lead's word --------------------------------------------------------------------------------------------------


def approve(session: Session, viewer: Viewer, seen: Seen) -> None:
    """Let a proposed result count: the citizen now reads it, with its document and photos.

    The time for resolving stopped at the proposal.
    """
    check_allowed(session, viewer, seen, "approve")
    case = seen.case
    proposal = _newest(session, case, "propose")
    said = session.get(CaseText, (case.id, proposal.seq))
    paper = session.get(CaseDocument, (case.id, proposal.seq))
    document = Document(paper.number, paper.issued_on) if paper else None
    act(session, viewer, seen, "approve", code=proposal.code, note=said.body if said else None, document=document)
    for photo in session.exec(select(CasePhoto).where(CasePhoto.case_id == case.id, CasePhoto.seq == proposal.seq)):
        photo.is_withheld = False


def request_extension(session: Session, viewer: Viewer, seen: Seen, body: ExtensionIn) -> None:
    """Ask the lead for working days more."""
    act(session, viewer, seen, "request_extension", code=str(body.days), note=body.reason)


def grant(session: Session, viewer: Viewer, seen: Seen, body: GrantIn) -> None:
    """Give working days more, as asked or fewer; together in one round of work no more than the province allows."""
    check_allowed(session, viewer, seen, "grant")
    asked = session.get_one(CaseEvent, (seen.case.id, seen.case.extension_seq))
    days = body.days or int(asked.code or 0)
    most = catalogue(session).days("extend_by_at_most")
    left = max(0, most - _granted(session, seen.case))
    if days > left:
        raise EXTENSION_CAPPED.error(most=most, left=left, extra={"days_left": left})
    act(session, viewer, seen, "grant", code=str(days), note=body.reason)


def _granted(session: Session, case: Case) -> int:
    """The working days granted in the present round of work."""
    codes = select(CaseEvent.code).where(
        CaseEvent.case_id == case.id, CaseEvent.verb == "grant", CaseEvent.cycle == case.cycle
    )
    return sum(int(code or 0) for code in session.exec(codes))


def propose_reject(session: Session, viewer: Viewer, seen: Seen, body: RejectIn) -> None:
    """Propose a refusal with its code; a dispatcher decides."""
    known = catalogue(session).reject(body.code)
    if known is None or not known.active:
        raise UNKNOWN_REJECT_CODE.error(code=body.code, pointer="/code")
    act(session, viewer, seen, "propose_reject", code=body.code, note=body.explanation or None)


def _newest(session: Session, case: Case, verb: str) -> CaseEvent:
    """The newest event of a verb, where the state says that there is one."""
    rows = select(CaseEvent).where(CaseEvent.case_id == case.id, CaseEvent.verb == verb)
    return session.exec(rows.order_by(col(CaseEvent.seq).desc()).limit(1)).one()


# --- directives -----------------------------------------------------------------------------------------------------


def direct(session: Session, viewer: Viewer, seen: Seen, body: DirectiveIn) -> None:
    """Issue a directive (chỉ đạo) with a deadline of its own; the state of the case stays as it is."""
    now = clock.now()
    if not now < body.due_at <= now + DIRECTED_FOR_AT_MOST:
        raise DIRECTIVE_NOT_AHEAD.error(pointer="/due_at")
    act(session, viewer, seen, "direct", code=_moment(body.due_at), note=body.text)


def _moment(at: datetime) -> str:
    return at.astimezone(clock.LOCAL).isoformat(timespec="seconds")


# --- what the public reads ------------------------------------------------------------------------------------------


def redact(session: Session, viewer: Viewer, seen: Seen, body: RedactIn) -> None:
    """Change the public copy of a published report; what the citizen sent stands as received."""
    act(session, viewer, seen, "redact", note=body.reason)
    copy = session.get_one(PublicCopy, seen.report.id)
    copy.description = body.description or copy.description
    if body.media_ids is None:
        return
    reported = session.exec(select(ReportMedia).where(ReportMedia.report_id == seen.report.id)).all()
    after = session.exec(select(CasePhoto).where(CasePhoto.case_id == seen.case.id)).all()
    photos: list[ReportMedia | CasePhoto] = [*reported, *after]
    for photo in photos:
        photo.is_public = photo.is_public and photo.media_id in body.media_ids


# --- what happens by the clock --------------------------------------------------------------------------------------

Owing = Callable[[], ColumnElement[bool]]


def time_out(batch: int = BATCH) -> int:
    """Let units go on where the citizen did not answer in time; returns how many cases were moved."""

    def unanswered() -> ColumnElement[bool]:
        return (col(Case.state) == State.WAITING_CITIZEN) & (col(Case.act_by) < clock.now())

    return _sweep(unanswered, "timeout", batch)


def fall_due(batch: int = BATCH) -> int:
    """Take up again, in a new cycle, what was planned until today or earlier; returns how many cases were moved."""

    def returning() -> ColumnElement[bool]:
        return col(Case.state).in_(DONE) & (col(Case.planned_until) <= clock.local_day(clock.now()))

    return _sweep(returning, "fall_due", batch)


def _sweep(owing: Owing, verb: str, batch: int) -> int:
    """Move every case that owes `verb`, each in its own transaction: a poison row is logged and holds up nobody."""
    moved, after = 0, UUID(int=0)
    while True:
        with transaction() as session:
            owed = session.exec(
                select(Case.id).where(owing(), col(Case.id) > after).order_by(col(Case.id)).limit(batch)
            ).all()
        moved += sum(_alone(case_id, owing, verb) for case_id in owed)
        if len(owed) < batch:
            return moved
        after = owed[-1]


def _alone(case_id: UUID, owing: Owing, verb: str) -> bool:
    """Move one case unless somebody holds it or was faster; the next beat looks again."""
    try:
        with transaction() as session:
            row = session.exec(
                select(Case, Report)
                .join(Report, col(Report.id) == Case.report_id)
                .where(col(Case.id) == case_id, owing())
                .with_for_update(of=Case, skip_locked=True)
            ).one_or_none()
            if row is not None:
                advance(session, *row, verb, SYSTEM)
    except Exception:
        log.exception("sweep_failed", verb=verb, case_id=str(case_id))
        return False
    return row is not None
